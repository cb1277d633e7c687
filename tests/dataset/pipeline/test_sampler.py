"""Samplers: evaluation sees every image once, training the same number of batches on every rank."""

from __future__ import annotations

from collections import Counter

import pytest

from cam_lightning.dataset.pipeline.sampler import EvaluationBatches, TrainBatches


def indices(batches: list[list[tuple[int, int]]]) -> list[int]:
    return [index for batch in batches for _, index in batch]


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("num_images", [3, 4, 7, 12, 13, 64])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_evaluation_sees_every_image_exactly_once(num_images: int, batch_size: int, world_size: int) -> None:
    seen: Counter[int] = Counter()
    for rank in range(world_size):
        sampler = EvaluationBatches(num_images, batch_size, rank, world_size)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert all(1 <= len(batch) <= batch_size for batch in batches)
        assert {epoch for batch in batches for epoch, _ in batch} == {0}
        seen.update(indices(batches))
    assert seen == Counter(range(num_images))


def test_evaluation_keeps_the_dataset_s_order() -> None:
    assert indices(list(EvaluationBatches(5, 2))) == [0, 1, 2, 3, 4]
    assert indices(list(EvaluationBatches(5, 2, rank=1, world_size=2))) == [1, 3]


def test_evaluation_refuses_a_rank_without_images() -> None:
    with pytest.raises(ValueError, match="2 images cannot be evaluated by 3 processes"):
        EvaluationBatches(2, 4, rank=0, world_size=3)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("num_images", [3, 4, 7, 12, 13, 64])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_training_ranks_are_disjoint_and_equal(num_images: int, batch_size: int, world_size: int) -> None:
    samplers = [TrainBatches(num_images, batch_size, 0, rank, world_size) for rank in range(world_size)]
    ranks = [list(sampler) for sampler in samplers]
    shapes = {tuple(len(batch) for batch in batches) for batches in ranks}
    assert len(shapes) == 1
    sizes = shapes.pop()
    assert len(sizes) == len(samplers[0]) >= 1
    assert set(sizes) == {min(batch_size, num_images // world_size)}
    seen = Counter(index for batches in ranks for index in indices(batches))
    assert set(seen.values()) == {1}
    assert set(seen) <= set(range(num_images))
    # Less than one batch of all ranks together is left out.
    assert num_images - len(seen) < sizes[0] * world_size


def test_the_next_images_are_the_same_however_many_ranks_share_them() -> None:
    alone = list(TrainBatches(50, 12, seed=3))
    for world_size in (2, 3):
        ranks = [list(TrainBatches(50, 12 // world_size, 3, rank, world_size)) for rank in range(world_size)]
        together = [[key for batch in step for key in batch] for step in zip(*ranks, strict=True)]
        assert together == alone


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = TrainBatches(40, 8, seed)
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert {key.epoch for batch in batches for key in batch} == {epoch}
        return indices(batches)

    orders = {(seed, epoch): order(seed, epoch) for seed in (0, 1, 7) for epoch in (0, 1, 2)}
    assert len({tuple(value) for value in orders.values()}) == len(orders)
    assert all(sorted(value) == list(range(40)) for value in orders.values())
    # Again, in another order and with a sampler that has been used before.
    used = TrainBatches(40, 8, 7)
    list(used)
    for epoch in (2, 0):
        used.set_epoch(epoch)
        assert indices(list(used)) == orders[7, epoch]


def test_what_is_left_out_differs_between_epochs() -> None:
    left_out = set()
    for epoch in range(6):
        sampler = TrainBatches(11, 4, seed=0)
        sampler.set_epoch(epoch)
        left_out |= set(range(11)) - set(indices(list(sampler)))
    assert len(left_out) > 3


def test_training_refuses_fewer_images_than_ranks() -> None:
    with pytest.raises(ValueError, match="2 training images cannot be shared by 3 processes"):
        TrainBatches(2, 4, seed=0, rank=0, world_size=3)


def test_an_epoch_goes_on_with_the_batch_that_it_is_resumed_at() -> None:
    """The epochs after it are whole, and the number of batches that Lightning counts is that of a whole epoch."""
    for rank in range(2):
        whole = TrainBatches(31, 4, seed=3, rank=rank, world_size=2)
        resumed = TrainBatches(31, 4, seed=3, rank=rank, world_size=2, resumed_at=(2, 1))
        assert len(resumed) == len(whole) == 3
        assert resumed.epoch == 2, "workers ask before anyone has told the epoch"
        for epoch, first in ((2, 1), (3, 0)):
            whole.set_epoch(epoch)
            resumed.set_epoch(epoch)
            assert list(resumed) == list(whole)[first:]
