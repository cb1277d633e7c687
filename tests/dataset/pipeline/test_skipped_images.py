"""Skipped images are counted once each, named in the log, and listed in the split's order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cam_lightning.dataset.pipeline.examples import Examples
from cam_lightning.dataset.pipeline.skipped_images import SkippedImages
from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage


class Broken(ImageSplit):
    ids = ("a", "b", "c", "d")
    label_N = np.zeros(4, np.int64)

    def read(self, index: int) -> RawImage:
        raise OSError(f"/data/{self.ids[index]}.jpg is broken")


def test_each_is_counted_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    skipped, examples = SkippedImages(), Examples(Broken(), (8, 8), on_bad_image="skip")
    assert skipped.ids() == {}
    skipped.note("val", examples, None)
    assert skipped.ids() == {"val": []}
    for _ in range(2):
        skipped.note("test", examples, torch.tensor([3, 1]))
    assert skipped.ids() == {"val": [], "test": ["b", "d"]}
    assert [record.getMessage() for record in caplog.records] == [
        "skipped: /data/d.jpg is broken",
        "skipped: /data/b.jpg is broken",
    ]


def test_what_every_rank_skipped_outlives_the_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rank zero alone writes checkpoints, so it keeps what the others met; what is known is not said again."""
    examples = Examples(Broken(), (8, 8), on_bad_image="skip")
    ranks = [SkippedImages(), SkippedImages()]
    for rank, index in zip(ranks, (3, 1), strict=True):
        rank.note("train", examples, torch.tensor([index]))

    def gather(parts: list[object], own: object) -> None:
        assert own is ranks[0]._indices
        parts[:] = [rank._indices for rank in ranks]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    positions = ranks[0].positions()
    assert positions == {"train": [1, 3]}
    monkeypatch.undo()
    resumed = SkippedImages()
    resumed.remember(positions, {"train": examples, "val": examples})
    caplog.clear()
    resumed.note("train", examples, torch.tensor([2, 3]))
    assert resumed.ids() == {"train": ["b", "c", "d"]}
    assert [record.getMessage() for record in caplog.records] == ["skipped: /data/c.jpg is broken"]
