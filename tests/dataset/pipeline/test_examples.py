"""Examples and batches: pixels are a pure function of (seed, epoch, image), boxes stay the original's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cam_lightning.contracts import Batch
from cam_lightning.dataset.augmentation.random_crop import RandomCrop
from cam_lightning.dataset.pipeline.examples import Example, Examples, collate
from cam_lightning.dataset.pipeline.sampler import Key
from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage
from cam_lightning.dataset.shapes import SceneSplit


class Noise(ImageSplit):
    """Image i is 20 + i high and 33 wide, and has i boxes."""

    def __init__(self, count: int = 4) -> None:
        self.ids = [f"noise/{index}" for index in range(count)]
        self.label_N = np.arange(count, dtype=np.int64) * 10

    def read(self, index: int) -> RawImage:
        random = np.random.default_rng(index)
        image = random.integers(0, 256, (20 + index, 33, 3), dtype=np.uint8)
        boxes = np.arange(4 * index, dtype=np.float32).reshape(index, 4) + 0.5
        return RawImage(image, boxes)


def test_an_example_keeps_the_original_s_size_and_boxes() -> None:
    examples = Examples(Noise(), (16, 24), RandomCrop(40, 30), seed=0)
    example = examples[Key(epoch=1, image=3)]
    assert example.image_3HW.shape == (3, 16, 24)
    assert example.image_3HW.dtype == torch.uint8
    assert example.size == (23, 33)
    assert example.label == 30
    assert (example.boxes_N4 == Noise().read(3).boxes_N4).all()


def test_it_is_an_image_source() -> None:
    examples = Examples(Noise(), (16, 24), RandomCrop(40, 30))
    assert len(examples) == 4
    assert list(examples.ids) == ["noise/0", "noise/1", "noise/2", "noise/3"]
    assert (examples.original(2) == Noise().read(2).image_HW3).all()


def test_pixels_follow_from_seed_epoch_and_index_alone() -> None:
    def pixels(seed: int, epoch: int, index: int) -> bytes:
        return Examples(Noise(), (16, 24), RandomCrop(40, 20), seed)[Key(epoch, index)].image_3HW.numpy().tobytes()

    keys = [(seed, epoch, index) for seed in (0, 1) for epoch in (0, 1, 5) for index in range(4)]
    first = {key: pixels(*key) for key in keys}
    np.random.seed(1)
    torch.manual_seed(1)
    again = {key: pixels(*key) for key in reversed(keys)}
    assert first == again
    assert len(set(first.values())) == len(keys)


def test_epoch_and_index_are_not_added_up() -> None:
    """Crops of (epoch 1, image 2) and (epoch 2, image 1) are as unrelated as any two."""

    class Same(Noise):
        def read(self, index: int) -> RawImage:
            return super().read(2)

    examples = Examples(Same(), (16, 24), RandomCrop(400, 200), seed=0)
    crops = {examples[Key(epoch, index)].image_3HW.numpy().tobytes() for epoch in range(4) for index in range(4)}
    assert len(crops) > 12


def test_without_an_augmentation_the_epoch_changes_nothing() -> None:
    examples = Examples(Noise(), (16, 24))
    assert (examples[Key(0, 1)].image_3HW == examples[Key(7, 1)].image_3HW).all()


def example(num_boxes: int, index: int) -> Example:
    boxes = 1 + np.arange(4 * num_boxes, dtype=np.float32).reshape(num_boxes, 4)
    return Example(torch.full((3, 2, 5), index, dtype=torch.uint8), index + 1, boxes, (10 + index, 20), index)


def test_a_batch_pads_boxes_with_zero_rows() -> None:
    batch = collate([example(1, 0), example(3, 7), example(0, 2)])
    assert batch.image_B3HW.shape == (3, 3, 2, 5)
    assert batch.image_B3HW.dtype == torch.uint8
    assert batch.image_B3HW[:, 0, 0, 0].tolist() == [0, 7, 2]
    assert batch.index_B.tolist() == [0, 7, 2]
    assert batch.truth.label_B.tolist() == [1, 8, 3]
    assert batch.truth.num_boxes_B.tolist() == [1, 3, 0]
    assert batch.truth.size_B2.tolist() == [[10, 20], [17, 20], [12, 20]]
    assert batch.truth.boxes_BN4.tolist() == [
        [[1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ]
    assert batch.truth.boxes_BN4.dtype == torch.float32
    for tensor in (batch.index_B, batch.truth.label_B, batch.truth.num_boxes_B, batch.truth.size_B2):
        assert tensor.dtype == torch.int64


class Broken(Noise):
    """Some images cannot be read."""

    def __init__(self, broken: set[int], count: int = 6) -> None:
        super().__init__(count)
        self.broken = broken

    def read(self, index: int) -> RawImage:
        if index in self.broken:
            raise OSError(f"noise {index} is broken")
        return super().read(index)


def batch_of(broken: set[int], images: list[int], on_bad_image: str) -> Batch:
    examples = Examples(Broken(broken), (8, 12), on_bad_image=on_bad_image)
    return collate(examples.__getitems__([Key(0, image) for image in images]))


def test_a_bad_image_ends_the_run_with_its_name() -> None:
    with pytest.raises(OSError, match="noise 3 is broken"):
        batch_of({3}, [2, 3], "error")


def test_a_bad_image_is_left_out_of_its_batch() -> None:
    batch = batch_of({1, 3}, [0, 1, 2, 3], "skip")
    assert batch.index_B.tolist() == [0, 2]
    assert batch.skipped_S is not None
    assert batch.skipped_S.tolist() == [1, 3]
    assert batch.image_B3HW.shape == (2, 3, 8, 12)
    assert batch_of({1}, [0, 2], "skip").skipped_S is None


def test_a_batch_of_bad_images_holds_none() -> None:
    batch = batch_of({1, 3}, [3, 1], "skip")
    assert batch.skipped_S is not None
    assert batch.skipped_S.tolist() == [3, 1]
    assert [len(tensor) for tensor in (batch.image_B3HW, batch.index_B, *batch.truth[:4])] == [0] * 6  # type: ignore[arg-type]
    assert batch.truth.boxes_BN4.shape == (0, 0, 4)
    assert batch.truth.size_B2.shape == (0, 2)


def test_in_training_the_next_readable_image_stands_in() -> None:
    """So that batches keep their size, on every rank."""
    batch = batch_of({1, 4, 5}, [0, 1, 2, 4], "replace")
    assert batch.index_B.tolist() == [0, 2, 2, 0]
    assert batch.skipped_S is not None
    assert batch.skipped_S.tolist() == [1, 4, 5]
    with pytest.raises(OSError, match="none of 6 images can be read; the first: noise 0 is broken"):
        batch_of(set(range(6)), [2], "replace")


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_without_any_box(count: int) -> None:
    batch = collate([example(0, index) for index in range(count)])
    assert batch.truth.boxes_BN4.shape == (count, 0, 4)
    assert batch.truth.num_boxes_B.tolist() == [0] * count


def test_evaluation_carries_the_mask_of_the_whole_image():
    examples = Examples(SceneSplit("test", 1, 3), size=(24, 32))
    batch = collate([examples[0, index] for index in range(3)])
    assert batch.truth.mask_BHW is not None
    assert batch.truth.mask_BHW.shape == (3, 24, 32)
    for mask_HW, box, size in zip(batch.truth.mask_BHW, batch.truth.boxes_BN4[:, 0], batch.truth.size_B2, strict=True):
        # The centre of the object's box, in the frame of the input.
        y = int((box[1] + box[3]) / 2 / size[0] * 24)
        x = int((box[0] + box[2]) / 2 / size[1] * 32)
        assert mask_HW[y, x] == 1
        assert 0 < mask_HW.float().mean() < 1


def test_without_pixels_it_says_which_image_of_which_epoch_and_reads_none() -> None:
    class Unread(Noise):
        def read(self, index: int) -> RawImage:
            raise OSError("read")

    examples = Examples(Unread(), (16, 24), RandomCrop(40, 30))
    examples.has_pixels = False
    batch = collate(examples.__getitems__([Key(7, 3), Key(7, 1)]))
    assert batch.index_B.tolist() == [3, 1]
    assert batch.epoch_B is not None
    assert batch.epoch_B.tolist() == [7, 7]
    assert batch.truth.label_B.tolist() == [30, 10]
    assert batch.image_B3HW.shape == (2, 3, 0, 0)
    assert batch.truth.num_boxes_B.tolist() == [0, 0]
    examples.has_pixels = True
    with pytest.raises(OSError, match="read"):
        examples[Key(7, 3)]
    assert collate([Examples(Noise(), (16, 24))[Key(7, 3)]]).epoch_B is None
