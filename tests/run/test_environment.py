"""What a run was made with, against git itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cam_lightning.run import environment as environment_module
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.environment import environment, record_environment


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that holds one committed file of the package's name."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "environment.py").write_text("one\n")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=code, check=True)
    monkeypatch.setattr(environment_module, "CODE", code)
    return code


def test_commit_and_uncommitted_changes(checkout: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    record_environment(run, 3)
    first = json.loads((run.path / "environment.json").read_text())
    assert first["git"] == {"commit": commit.stdout.strip(), "is_dirty": False, "changed": []}
    assert first["seed"] == 3
    assert not (run.path / "uncommitted.diff").exists()

    (checkout / "environment.py").write_text("two\n")
    record_environment(run, 3)
    second = json.loads((run.path / "environment.json").read_text())
    assert second["git"]["changed"] == [" M environment.py"]
    assert second["earlier"] == [first], "a run that goes on keeps what it began with"
    assert "+two" in (run.path / "uncommitted.diff").read_text()
    assert "the code is not what this run began with" in caplog.text


def test_an_installed_package_in_somebody_s_checkout_is_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "site").mkdir()
    (checkout / "site" / "environment.py").write_text("one\n")
    monkeypatch.setattr(environment_module, "CODE", checkout / "site")
    assert environment(None)["git"] is None


@pytest.mark.parametrize(
    "damaged", ["", "{garbage", "[]", "{}", '{"git": null, "earlier": 1}', "\udcff", "[" * 100_000]
)
def test_a_damaged_file_stops_no_run_that_goes_on(
    checkout: Path, tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    (run.path / "environment.json").write_text(damaged, errors="surrogateescape")
    record_environment(run, 3)
    now = json.loads((run.path / "environment.json").read_text())
    assert (now["seed"], now["earlier"]) == (3, [])
    assert "environment.json is damaged" in caplog.text


def test_other_ranks_record_nothing(tmp_path: Path) -> None:
    record_environment(RunDirectory(tmp_path, is_writer=False), 0)
    assert list(tmp_path.iterdir()) == []
