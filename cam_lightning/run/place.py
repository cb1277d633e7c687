"""Where the package and its configuration lie, and which Hydra reads it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
"""An installed wheel carries the configuration inside the package; a checkout has it beside."""
VERSION_BASE: dict[str, Any] = {"version_base": None} if version("hydra-core").startswith("1.3.") else {}
"""What Hydra's functions get in order to behave as their own version: 1.4 warns of it, 1.3 without it is as 1.1 was."""
