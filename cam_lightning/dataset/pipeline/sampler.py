"""Which images a process sees, in which order: a pure function of (seed, epoch, rank), never of the workers.

Keys are pairs (epoch, image), so that a dataset's crop of an image follows from its key alone: persistent
workers need not be told of a new epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Key(NamedTuple):
    """What a sampler asks a dataset for."""

    epoch: int
    image: int


class TrainBatches(Sampler[list[Key]]):
    """Shuffled batches of one rank; every rank has the same number of them.

    Batch i of all ranks together is the next `batch_size · world_size` images of the epoch's order. What is
    left over at the end is dropped, another part in every epoch. Where the whole dataset is smaller than
    one such batch, the ranks share it evenly.

    `resumed_at` is an (epoch, batch): that epoch begins with that batch, as where training goes on inside it.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        resumed_at: tuple[int, int] = (0, 0),
    ) -> None:
        if num_images < world_size:
            raise ValueError(f"{num_images} training images cannot be shared by {world_size} processes")
        self.num_images = num_images
        self.batch_size = min(batch_size, num_images // world_size)
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.resumed_at = resumed_at
        # Workers ask for the first batches before Lightning tells the epoch.
        self.epoch = resumed_at[0]
        # Lightning looks for `batch_sampler.sampler` to tell the epoch to.
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order that the next iteration follows."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of a whole epoch, also where it is resumed inside."""
        return self.num_images // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[Key]]:
        order_N = np.random.Generator(np.random.Philox(key=[self.seed, self.epoch])).permutation(self.num_images)
        step = self.batch_size * self.world_size
        epoch = self.epoch
        first = self.resumed_at[1] if epoch == self.resumed_at[0] else 0
        for batch in range(first, len(self)):
            start = batch * step + self.rank * self.batch_size
            yield [Key(epoch, int(index)) for index in order_N[start : start + self.batch_size]]


class EvaluationBatches(Sampler[list[Key]]):
    """Every image exactly once over all ranks: rank r has images r, r + world, …; none padded or dropped."""

    def __init__(self, num_images: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if num_images < world_size:
            # Lightning skips the whole evaluation on a rank without batches, and the others wait for it.
            raise ValueError(f"{num_images} images cannot be evaluated by {world_size} processes")
        self.index_N = range(rank, num_images, world_size)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.index_N) // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for start in range(0, len(self.index_N), self.batch_size):
            yield [Key(0, index) for index in self.index_N[start : start + self.batch_size]]
