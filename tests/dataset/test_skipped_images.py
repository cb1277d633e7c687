"""Skipped images are counted once each, named in the log, and listed in the split's order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cam_lightning.dataset.examples import Examples
from cam_lightning.dataset.skipped_images import SkippedImages
from cam_lightning.dataset.split import ImageSplit, RawImage


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
