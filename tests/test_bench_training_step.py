"""`experiments.bench_training_step`: both loops take steps on the same images, and each is timed."""

from __future__ import annotations

import pytest

from experiments.bench_training_step import measure, report


def test_both_loops_are_timed_in_turn(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["dataset.image_size=32", "dataset.batch_size=2", "dataset.num_workers=0", "dataset.num_train=60"]
    small += ["dataset.augmentation.crop=32", "dataset.augmentation.resize=36", "dataset.train_size=null"]
    small += ["backbone=googlenet_gap", "backbone.width=0.1", "trainer=cpu"]
    ours, theirs, operations, images = measure(small, blocks=2, block=1, warm=1, with_bare=True)
    assert len(ours) == len(theirs) == 2
    assert min(*ours, *theirs) > 0
    assert (operations > 1e6, images) == (True, 2)
    report("toy", ours, theirs, 1, images, operations)
    assert "2 pairs" in capsys.readouterr().out
