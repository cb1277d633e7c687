"""The command that scores a submission."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import hydra
import pytest

from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory
from cam_lightning.run.place import CONF, VERSION_BASE
from cam_lightning.score_submission import run, score


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Three images: found at once; found by the second guess; wrong class, and blacklisted."""
    texts = {
        "predictions": "1 0 0 9 9\n3 0 0 9 9 2 0 0 9 4\n1 0 0 9 9\n",
        "labels": "1\n2\n3\n",
        "boxes": "image,label,xmin,ymin,xmax,ymax\n1,1,0,0,9,9\n2,2,0,0,9,9\n3,3,0,0,9,9\n",
        "blacklist": "3\n",
    }
    for name, text in texts.items():
        (tmp_path / f"the {name}, it's=here.txt").write_text(text)
    return {name: tmp_path / f"the {name}, it's=here.txt" for name in texts}


def test_the_errors_and_what_they_are_of(files: dict[str, Path]) -> None:
    results = score(**files)
    assert [results[f"classification_error/top{g}"] for g in range(1, 6)] == [2 / 3] + [1 / 3] * 4
    assert [results[f"localization_error/top{g}"] for g in range(1, 6)] == [1 / 2] + [0] * 4
    assert (results["num_images"], results["num_blacklisted"]) == (3, 1)
    del files["blacklist"]
    results = score(**files)
    assert [results[f"localization_error/top{g}"] for g in range(1, 6)] == [2 / 3] + [1 / 3] * 4
    assert results["num_blacklisted"] == 0
    assert results["protocol/blacklist"] == "none"
    assert results["protocol/predictions"] == str(files["predictions"])
    assert results["protocol/rule"] == "ILSVRC CLS-LOC devkit, eval_clsloc"
    assert "protocol/arithmetic" not in results


def test_a_wrong_number_of_rows_and_missing_files(files: dict[str, Path]) -> None:
    with (files["labels"]).open("a") as file:
        file.write("4\n")
    with pytest.raises(ValueError, match=r"predictions.* has 3 rows, .*labels.* has 4"):
        score(**files)
    for name in files:
        with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere"):
            score(**(files | {name: files[name].parent / "nowhere"}))


def test_the_job(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prints every number with the digits that the devkit's table has, and keeps them all as JSON."""
    monkeypatch.setenv(RUN_DIR_VARIABLE, "")
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        config = hydra.compose("score_submission")
    folder = RunDirectory.create(tmp_path / "runs", "score")
    with pytest.raises(ValueError, match="needs predictions=FILE labels=FILE boxes=FILE; no predictions given"):
        run(config, folder)
    for name, path in files.items():
        config[name] = str(path)
    run(config, folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["1", "0.6666666667", "0.5000000000"]
    assert lines[5].split() == ["5", "0.3333333333", "0.0000000000"]
    assert lines[6] == "3 images; 1 of them blacklisted for localization"
    assert json.loads((folder.path / "results.json").read_text()) == score(**files)


def test_only_numpy_is_needed(files: dict[str, Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from cam_lightning.score_submission import score; "
        f"score(*map(Path, {[str(path) for path in files.values()]!r})); "
        "assert 'torch' not in sys.modules and 'numpy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_unknown_option_gets_the_choices(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "cam_lightning.score_submission", "prediction=x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode != 0
    assert "there is no prediction; score_submission has: blacklist, boxes, labels" in answer.stderr
    assert "Did you mean predictions?" in answer.stderr
