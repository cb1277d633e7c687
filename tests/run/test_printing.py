"""What is printed to a reader who leaves is lost, and nothing else is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cam_lightning.run.printing import outlive_reader


def test_a_reader_who_leaves_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "__stdout__", stdout)
        print("before")
        outlive_reader()
        print("é")
        assert os.read(reading, 100).decode() == "before\né\n"
        os.close(reading)
        for _ in range(3):
            print("nobody reads this")
        Console().print("nor this")
        goes_to = os.fstat(stdout.fileno()).st_rdev
        monkeypatch.undo()
    assert goes_to == os.stat(os.devnull).st_rdev


def test_a_file_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "__stdout__", stdout)
        outlive_reader()
        after = sys.stdout
        monkeypatch.undo()
    assert after is stdout
