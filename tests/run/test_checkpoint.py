"""What a checkpoint says of the data it was trained on, and who is told when they have changed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cam_lightning.run.checkpoint import require_same_data, warn_of_other_images


def data(names: list[str], **splits: list[str]) -> Any:
    prints = {name: {"num_images": len(ids), "fingerprint": " ".join(ids)} for name, ids in splits.items()}
    return SimpleNamespace(class_names=names, fingerprints=lambda: prints)


def checkpoint(of: Any) -> dict[str, Any]:
    return {"cam_lightning": {"class_names": of.class_names, "splits": of.fingerprints()}}


BEFORE = data(["1", "2", "3"], train=["a", "b"], test=["c"])


def test_the_same_data_are_gone_on_with() -> None:
    require_same_data(checkpoint(BEFORE), BEFORE)


def test_classes_that_were_exchanged_are_named() -> None:
    """Labels 0, 1, 2 would become others' in silence."""
    with pytest.raises(ValueError, match=r"3 then, 3 now; gone: 1; new: 4"):
        require_same_data(checkpoint(BEFORE), data(["2", "3", "4"], train=["a", "b"], test=["c"]))


@pytest.mark.parametrize(
    ("split", "ids", "said"),
    [("test", ["c", "a"], "1 images then, 2 now"), ("train", ["a", "x"], "2 images then, 2 now, not the same")],
)
def test_a_split_of_other_images_is_named(split: str, ids: list[str], said: str) -> None:
    splits = {"train": ["a", "b"], "test": ["c"], split: ids}
    with pytest.raises(ValueError, match=rf"the {split} split is not what the run began with: {said}"):
        require_same_data(checkpoint(BEFORE), data(["1", "2", "3"], **splits))


def test_a_checkpoint_from_before_they_were_kept_says_nothing() -> None:
    require_same_data({"cam_lightning": {"class_names": ["1", "2", "3"]}}, BEFORE)


def test_an_evaluation_is_told_of_another_test_split(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_other_images(checkpoint(BEFORE), data(["1", "2", "3"], train=["z"], test=["c"]))
    assert caplog.text == ""
    warn_of_other_images(checkpoint(BEFORE), data(["1", "2", "3"], train=["a", "b"], test=["c", "d"]))
    assert "the test split is not what it was when the checkpoint was trained" in caplog.text
