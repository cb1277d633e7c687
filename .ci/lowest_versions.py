"""Prints the constraints that hold every direct dependency at the lowest version that pyproject.toml admits."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
groups = (project["dependencies"], *project["optional-dependencies"].values())
for requirement in sorted(set(itertools.chain(*groups))):
    name, version = re.match(r"([\w.-]+)>=([\w.]+)", requirement).groups()
    print(f"{name}=={version}")
