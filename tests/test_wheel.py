"""An installed wheel works without the repository: it carries the configuration and the data files."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def files_below(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_it_holds_the_package_and_its_configuration_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {name for name in names if ".dist-info/" not in name}
    package = {f"cam_lightning/{name}" for name in files_below(ROOT / "cam_lightning")}
    conf = {f"cam_lightning/conf/{name}" for name in files_below(ROOT / "conf")}
    assert "cam_lightning/conf/backbone/googlenet_gap.yaml" in conf
    assert "cam_lightning/dataset/imagenet_classes.txt" in package
    assert ours == package | conf
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_its_commands_find_that_configuration(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "from cam_lightning import train; from cam_lightning.launch.entry_point import CONF; print(CONF); train.main()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, "backbone=googlenet_gmp", "--cfg", "job", "--package", "backbone"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[0] == str(tmp_path / "site" / "cam_lightning" / "conf")
    assert "pool: max" in answer.stdout
