"""The file of predictions: whole or not there, and readable as far as it came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cam_lightning.sink.predictions_json import PredictionsJson

STRAY = b"\xff it's \xe2\x80\xa8 {\"}.jpg".decode("utf-8", "surrogateescape")
"""A file name that is not valid UTF-8, with a line separator and characters of JSON's own."""


def _read(run_dir: Path) -> Any:
    return json.loads((run_dir / "predictions.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("num_images", [0, 1, 3])
@pytest.mark.parametrize("num_unreadable", [0, 2])
def test_what_is_written_is_read_back(num_images: int, num_unreadable: int, tmp_path: Path) -> None:
    images = [{"path": STRAY, "boxes": [[0.0, 1.5, 2, number]]} for number in range(num_images)]
    with PredictionsJson(tmp_path, {"box": {"threshold": 0.2}}) as file:
        for image in images:
            file.add(image)
        for number in range(num_unreadable):
            file.add_unreadable(STRAY, f"{number} bytes")
        assert not (tmp_path / "predictions.json").exists()
    assert _read(tmp_path) == {
        "protocol": {"box": {"threshold": 0.2}},
        "images": images,
        "unreadable": [{"path": STRAY, "error": f"{number} bytes"} for number in range(num_unreadable)],
        "num_images": num_images,
        "num_unreadable": num_unreadable,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]


def test_an_error_leaves_the_lines_so_far(tmp_path: Path) -> None:
    def stop() -> None:
        with PredictionsJson(tmp_path, {}) as file:
            file.add({"path": "a"})
            file.add({"path": "b"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.partial.json"]
    lines = (tmp_path / "predictions.partial.json").read_text().splitlines()
    assert [json.loads(line.rstrip(",")) for line in lines[2:]] == [{"path": "a"}, {"path": "b"}]
