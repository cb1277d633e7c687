"""The page's table of backbones is what the networks say."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_readme_has_the_table_of_today() -> None:
    readme = (ROOT / "conf" / "backbone" / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- backbones -->")[2].partition("<!-- /backbones -->")[0]
    expected = runpy.run_path(str(ROOT / "experiments" / "backbone_table.py"))["table"]()
    assert shown.strip() == expected, "paste what `python experiments/backbone_table.py` prints"
