"""Where the package and its configuration lie."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
"""An installed wheel carries the configuration inside the package; a checkout has it beside."""
