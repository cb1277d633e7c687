"""No two batches of a training draw the same, however long it is, whatever generator they draw from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cam_lightning.functional.batch_seed import batch_seed


def drawn(seed: int, batch: int, rank: int = 0) -> list[int]:
    torch.manual_seed(batch_seed(seed, batch, rank))
    return torch.randint(2**31, (4,)).tolist()


@pytest.mark.parametrize("seed", [0, 1, 4_294_967_295])
def test_a_cpu_s_draws_do_not_come_again_after_a_million_batches(seed: int) -> None:
    """Its generator has 32 bits: batch 2^20 would else draw what batch 0 did."""
    batches = [first + 2**power for first in (0, 77) for power in range(33)]
    assert len({tuple(drawn(seed, batch)) for batch in batches}) == len(set(batches))
    assert drawn(seed, 77) == drawn(seed, 77)


@pytest.mark.parametrize("seed", [0, 7, 123_456_789])
def test_seeds_differ_in_their_lower_half(seed: int) -> None:
    random = np.random.default_rng(seed)
    batches = {int(batch) for batch in (*random.integers(0, 2**32, 40_000), *range(2**20 - 500, 2**20 + 500))}
    assert len({batch_seed(seed, batch, 3) % 2**32 for batch in batches}) == len(batches)
    ranks = {batch_seed(seed, batch, rank) % 2**32 for batch in (0, 2**20, 2**31) for rank in range(4_096)}
    assert len(ranks) == 3 * 4_096


def test_a_short_training_of_seed_0_draws_what_it_always_did() -> None:
    """So that results of before can be made again."""
    for batch, rank in ((0, 0), (1, 0), (999_999, 7)):
        assert batch_seed(0, batch, rank) == batch * 4_096 + rank


def test_torch_takes_the_largest_seed() -> None:
    largest = batch_seed(4_294_967_295, 2**32, 4_095)
    torch.manual_seed(largest)
    assert torch.initial_seed() == largest < 2**64
