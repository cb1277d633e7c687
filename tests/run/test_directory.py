"""A run's directory: its own, whole, and never in doubt about how the run ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments.slurm import _is_srun_used

from cam_lightning.run import directory as run_module
from cam_lightning.run.directory import RUN_DIR_VARIABLE, RunDirectory

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_NAME")


@pytest.fixture(autouse=True)
def _outside_of_any_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (RUN_DIR_VARIABLE, *RANK_VARIABLES):
        # Set first, so that what the test's own runs set is taken back too.
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


def together(folder: Path, wanted: Path | None) -> list[tuple[int, str, str]]:
    """Exit code, output and last line of the error of ten processes that make a run at the same moment."""
    code = f"""
import pathlib, time
from cam_lightning.run.directory import RunDirectory
print("ready", flush=True)
while not pathlib.Path({str(folder / "go")!r}).exists():
    pass
print(RunDirectory.create({str(folder / "runs")!r}, "same", {None if wanted is None else str(wanted)!r}).path)
"""
    pipe = subprocess.PIPE
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True) for _ in range(10)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    (folder / "go").touch()
    ends = [(process, *process.communicate(timeout=60)) for process in processes]
    return [(process.returncode, out.strip(), err.strip().rpartition("\n")[2]) for process, out, err in ends]


def test_ten_runs_at_once_have_ten_directories(tmp_path: Path) -> None:
    ends = together(tmp_path, None)
    assert [code for code, _, _ in ends] == [0] * 10
    paths = {Path(out) for _, out, _ in ends}
    assert len(paths) == 10
    assert paths == set((tmp_path / "runs").iterdir())


def test_one_of_ten_runs_gets_the_directory_they_all_want(tmp_path: Path) -> None:
    wanted = tmp_path / "the one"
    ends = together(tmp_path, wanted)
    assert sorted(code for code, _, _ in ends) == [0] + [1] * 9
    for code, out, err in ends:
        assert out == ("" if code else str(wanted))
        if code:
            assert err.startswith("FileExistsError: ")
            assert str(wanted) in err


def test_a_name_that_is_taken_is_not_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same second and, against all odds, the same random letters."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Stopped:  # type: ignore[override]
            return cls(2026, 1, 2, 3, 4, 5)

    letters = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr(run_module, "datetime", Stopped)
    monkeypatch.setattr(run_module.secrets, "token_hex", lambda size: next(letters))
    names = [RunDirectory.create(tmp_path, "x").path.name for _ in range(2)]
    assert names == ["2026-01-02_03-04-05_x_aaaaaa", "2026-01-02_03-04-05_x_bbbbbb"]


@pytest.mark.parametrize("name", ["plain", "it's here", "a = b, c", 'ümlaut "quoted" [0]'])
def test_a_wanted_directory_may_be_absent_or_empty(tmp_path: Path, name: str) -> None:
    for wanted in (tmp_path / "above" / name, tmp_path / name):
        if wanted.parent == tmp_path:
            wanted.mkdir()
        run = RunDirectory.create(tmp_path / "runs", "x", str(wanted))
        run.write_json("results.json", {})
        assert run.path == wanted
        assert (wanted / "results.json").is_file()
    assert not (tmp_path / "runs").exists()


def test_a_directory_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "results.json").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for wanted in (tmp_path / "used", tmp_path / "file"):
        with pytest.raises(FileExistsError) as caught:
            RunDirectory.create(tmp_path / "runs", "x", wanted)
        assert str(caught.value).startswith(f"run_dir={wanted} is already in use")
    assert (tmp_path / "used" / "results.json").read_text() == (tmp_path / "file").read_text() == "precious"
    assert os.listdir(tmp_path / "used") == ["results.json"]


def test_paths_do_not_depend_on_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [RunDirectory.create("runs", "x"), RunDirectory.create("runs", "x", "wanted")]
    monkeypatch.chdir("/")
    for run in runs:
        assert run.path.is_absolute()
        run.write_text("a.txt", "text")
        assert (run.path / "a.txt").read_text() == "text"


def test_other_ranks_share_the_directory_and_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = RunDirectory.create(tmp_path, "x")
    assert first.is_writer
    monkeypatch.setenv("LOCAL_RANK", "1")
    second = RunDirectory.create(tmp_path, "x", first.path)
    assert second.path == first.path
    assert not second.is_writer
    second.write_text("a.txt", "text")
    second.write_json("a.json", {})
    second.write_status("failed", "command", ValueError("of rank 1"))
    assert list(first.path.iterdir()) == []
    assert list(tmp_path.iterdir()) == [first.path]


SRUN = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "2"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "3"}, 3),
        (SRUN, 2),
        ({**SRUN, "LOCAL_RANK": "0"}, 2),
        ({**SRUN, "RANK": "5", "LOCAL_RANK": "1"}, 5),
        # A batch script without tasks of its own, and shells in an allocation: Lightning starts the other ranks.
        ({"SLURM_PROCID": "0", "SLURM_JOB_NAME": "train", "LOCAL_RANK": "3"}, 3),
        ({**SRUN, "SLURM_JOB_NAME": "bash", "SLURM_PROCID": "0", "LOCAL_RANK": "3"}, 3),
        ({**SRUN, "SLURM_JOB_NAME": "interactive", "SLURM_PROCID": "0", "LOCAL_RANK": "1"}, 1),
        ({**SRUN, "SLURM_JOB_NAME": "bash", "SLURM_PROCID": "0"}, 0),
    ],
)
def test_a_process_knows_its_rank_as_lightning_will(
    variables: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning 2.6: torchrun's rank, then SLURM's where `srun` started the process, then its own."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run_module._rank() == expected
    assert run_module._is_slurm_task() == _is_srun_used()


def test_the_next_run_of_a_sweep_gets_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process, where the first run has left its directory in the environment for its ranks."""
    first = RunDirectory.create(tmp_path, "x")
    monkeypatch.setenv("LOCAL_RANK", "0")
    second = RunDirectory.create(tmp_path, "x")
    assert second.path != first.path
    assert second.is_writer
    assert os.environ[RUN_DIR_VARIABLE] == str(second.path)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "x")
    run.write_json("status.json", {"number": -1, "filling": []})
    done = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            content = json.loads((run.path / "status.json").read_text())
            assert len(content["filling"]) == (20_000 if content["number"] >= 0 else 0)
            seen.append(content["number"])

    failed: list[BaseException] = []
    reader = threading.Thread(target=lambda: _catch(read, failed))
    reader.start()
    for number in range(15):
        run.write_json("status.json", {"number": number, "filling": list(range(20_000))})
    done.set()
    reader.join()
    assert failed == []
    assert seen
    assert os.listdir(run.path) == ["status.json"]


def _catch(work: object, failed: list[BaseException]) -> None:
    try:
        work()  # type: ignore[operator]
    except BaseException as error:
        failed.append(error)


def test_what_is_already_written_survives_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory.create(tmp_path, "x")
    run.write_json("results.json", {"test/loss": 1.0})
    with pytest.raises(TypeError):
        run.write_json("results.json", {"test/loss": object()})

    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run.write_json("results.json", {"test/loss": 2.0})
    assert json.loads((run.path / "results.json").read_text()) == {"test/loss": 1.0}


def test_the_status_says_how_the_run_ended(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "x")

    def status() -> dict[str, str]:
        return json.loads((run.path / "status.json").read_text())

    run.write_status("running", "python -m x")
    assert status()["state"] == "running"
    assert status()["command"] == "python -m x"
    assert datetime.fromisoformat(status()["time"]).tzinfo is not None
    run.write_status("finished", "python -m x")
    assert status()["state"] == "finished"
    assert "error" not in status()
    try:
        try:
            {}["the cause"]
        except KeyError as error:
            raise ValueError("ü is wrong") from error
    except ValueError as error:
        run.write_status("failed", "python -m x", error)
    assert status()["state"] == "failed"
    assert status()["error"] == "ValueError: ü is wrong"
    for part in ("KeyError: 'the cause'", "ValueError: ü is wrong", Path(__file__).name):
        assert part in status()["traceback"]


def test_files_are_those_that_exist(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "x")
    assert run.files() == {}
    run.write_json("results.json", {})
    assert run.files() == {"results": str(run.path / "results.json")}


def test_no_run_is_made_inside_another_one(tmp_path: Path) -> None:
    outer = RunDirectory.create(tmp_path, "x")
    outer.write_text("config.yaml", "seed: 0\n")
    outer.write_status("running", "command")
    before = sorted(os.listdir(outer.path))
    for root, wanted in ((outer.path / "runs", None), (tmp_path, outer.path / "a" / "b")):
        with pytest.raises(FileExistsError, match=r"lies inside .*, the directory of another run"):
            RunDirectory.create(root, "x", wanted)
    assert sorted(os.listdir(outer.path)) == before
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "status.json").write_text("{}")
    RunDirectory.create(tmp_path / "sweep", "x")


def test_a_run_is_reopened_where_there_was_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = RunDirectory.create(tmp_path, "x")
    with pytest.raises(FileNotFoundError, match="is not a run's directory"):
        RunDirectory.reopen(first.path)
    first.write_text("config.yaml", "seed: 0\n")
    first.write_status("interrupted", "command")
    assert not first.is_resumed
    again = RunDirectory.reopen(first.path)
    assert (again.path, again.is_resumed, again.is_writer) == (first.path, True, True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not RunDirectory.reopen(first.path).is_writer


@pytest.mark.parametrize("wanted", [None, "file/run"])
def test_a_place_that_can_hold_no_run_is_named_with_the_way_out(tmp_path: Path, wanted: str | None) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=r"file.* cannot hold a run \(.*\)\. Another place is paths\.runs=FOLDER"):
        RunDirectory.create(tmp_path / "file", "x", None if wanted is None else tmp_path / wanted)
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
