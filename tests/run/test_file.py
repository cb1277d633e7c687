"""Files whole or not at all, and JSON that is JSON."""

from __future__ import annotations

import ast
import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import pytest

import cam_lightning
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.file import json_text, not_finite, write_bytes, write_json, write_text


def test_what_is_written_is_what_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "it's = a.txt"
    write_text(path, "a\r\nb\né")
    assert path.read_bytes() == "a\r\nb\né".encode()
    write_bytes(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_of_a_file_that_is_no_text_is_written_and_read_back(tmp_path: Path) -> None:
    """As `explain` has it of a photo whose name an old archive left in another encoding."""
    named = {"path": os.fsdecode(b"caf\xe9/\xc3\xa9.jpg")}
    write_json(tmp_path / "a.json", named)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == named
    write_text(tmp_path / "a.html", named["path"])
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == "caf\\udce9/é.jpg"


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """A disk that is full says so anywhere between the first byte and the new name."""
    path = tmp_path / "results.json"
    write_text(path, "old")

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]


def test_json_never_holds_what_is_not_json(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Python writes NaN and Infinity, which other readers refuse: null stands for them, and it is said where."""
    content = {"test/loss": math.nan, "a": {"b": [1.5, (math.inf, -math.inf)]}, "fine": 0.25, "text": "NaN é"}
    with caplog.at_level(logging.WARNING):
        write_json(tmp_path / "results.json", content)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert read == {"test/loss": None, "a": {"b": [1.5, [None, None]]}, "fine": 0.25, "text": "NaN é"}
    assert "results.json" in caplog.text
    assert "test/loss (nan), a.b[1][0] (inf), a.b[1][1] (-inf)" in caplog.text


def test_finite_json_is_python_s_own_and_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = {"x": [0.1, 1e-300, 2**70, True, None], "specs": {}}
    assert json_text(content) == json.dumps(content)
    write_json(tmp_path / "a.json", content)
    assert not_finite(content) == []
    assert caplog.text == ""


def test_a_run_s_directory_writes_in_this_way(tmp_path: Path) -> None:
    RunDirectory(tmp_path).write_json("a.json", {"x": math.nan})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None}
    RunDirectory(tmp_path, is_writer=False).write_text("b.txt", "another rank writes nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_nothing_writes_json_but_what_refuses_nan() -> None:
    """`json.dumps` writes NaN unless told not to: it is for digests and messages alone, in the files named here."""
    may = {
        "run/file.py",
        "feature/fingerprint.py",
        "dataset/pipeline/index_cache.py",
        "dataset/format/coco.py",
        "dataset/format/json_file.py",
    }
    package = Path(cam_lightning.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name in ("json.dump", "json.dumps", "dumps", "json.JSONEncoder"):
                found.add(path.relative_to(package).as_posix())
    assert found == may
    templates = [path.read_text(encoding="utf-8") for path in package.rglob("*.j2")]
    assert templates
    assert not any("tojson" in text for text in templates)
