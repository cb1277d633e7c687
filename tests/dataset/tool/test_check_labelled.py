"""`check` on the labelled photos of generic features, as their archives lie: what is there, and a broken photo."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from test_build import composed
from test_table5 import TREES

from cam_lightning.build import instantiate
from cam_lightning.dataset.tool.check import check
from cam_lightning.dataset.tool.check_text import as_text

NUM_IMAGES = {"sun_attribute": 20, "uiuc_event8": 48}


def plain(things: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    return things


@pytest.mark.parametrize("dataset", list(TREES))
def test_every_photo_is_looked_at(dataset: str, tmp_path: Path) -> None:
    options = [option for option in TREES[dataset](tmp_path) if option.startswith("dataset.")]
    config = composed(f"dataset={dataset}", f"dataset.root={tmp_path}", "dataset.on_bad_image=skip", *options)

    report = check(instantiate(config.dataset, []), True, plain, 0)
    wrong = [finding for finding in report.wrong if finding.kind != "empty class"]
    assert wrong == []
    assert sum(split.num_images for split in report.splits.values()) == NUM_IMAGES.get(dataset, 12)
    assert all(split.num_boxes == 0 for split in report.splits.values())
    assert report.found is not None
    path = tmp_path / report.found.test.ids[0]
    path.write_bytes(path.read_bytes()[:-400])
    report = check(instantiate(config.dataset, []), True, plain, 0)
    (finding,) = [finding for finding in report.wrong if finding.kind != "empty class"]
    assert finding.kind == "unreadable"
    assert path.name in finding.what
    assert path.name in as_text(report)


@pytest.mark.parametrize("dataset", list(TREES))
def test_an_empty_root_is_one_line(dataset: str, tmp_path: Path) -> None:
    config = composed(f"dataset={dataset}", f"dataset.root={tmp_path}")
    report = check(instantiate(config.dataset, []), False, plain, 0)
    (finding,) = report.wrong
    assert finding.kind == "cannot be used"
    assert str(tmp_path) in finding.what
    assert "\n" not in finding.what
