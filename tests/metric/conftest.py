"""A random evaluation to be scored: made to have every awkward case, and to be split in any way."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
import torch
from torchmetrics import Metric
from toy_localization import localization_of

from cam_lightning.contracts import GroundTruth, LabelBox, Localization, Proposals


class Evaluation(NamedTuple):
    """All images of a split, as one batch."""

    localization: Localization
    truth: GroundTruth

    def rows(self, rows: Sequence[int]) -> Evaluation:
        """Some images, as a batch of their own; boxes padded to the most that one of them has."""
        index = torch.tensor(rows, dtype=torch.int64)
        label_B, boxes_BN4, num_boxes_B, size_B2 = (tensor[index] for tensor in self.truth[:4])
        mask_BHW = None if self.truth.mask_BHW is None else self.truth.mask_BHW[index]
        most = max(num_boxes_B.tolist(), default=0)
        whole, proposals = self.localization, self.localization.proposals
        assert whole.label is not None
        return Evaluation(
            whole._replace(
                **{
                    name: getattr(whole, name)[index]
                    for name in ("index_B", "classes_BT", "probability_BT", "map_BThw")
                },
                proposals=Proposals(proposals.boxes_BP4[index], proposals.rank_P, proposals.degenerate_BP[index]),
                label=LabelBox(*(tensor[index] for tensor in whole.label)),
            ),
            GroundTruth(label_B, boxes_BN4[:, :most], num_boxes_B, size_B2, mask_BHW),
        )


def _random_box(rng: random.Random, height: int, width: int) -> list[int]:
    x0, y0 = rng.randrange(width - 1), rng.randrange(height - 1)
    return [x0, y0, rng.randrange(x0 + 1, width + 1), rng.randrange(y0 + 1, height + 1)]


def _guess(rng: random.Random, truth: list[list[int]], height: int, width: int) -> list[int]:
    """Near a true box, exactly half of one, or anywhere."""
    if truth and rng.random() < 0.8:
        x0, y0, x1, y1 = rng.choice(truth)
        if rng.random() < 0.3 and (x1 - x0) % 2 == 0:
            return [x0, y0, (x0 + x1) // 2, y1]
        return [x0, y0, max(x0 + 1, x1 - rng.randrange(4)), max(y0 + 1, y1 - rng.randrange(3))]
    return _random_box(rng, height, width)


@pytest.fixture(scope="session")
def evaluation() -> Evaluation:
    """120 images of 9 classes, 0 to 3 boxes each, wider than high and higher than wide."""
    rng = random.Random(0)
    B, T, N, C = 120, 5, 3, 9
    sizes = [rng.choice([(12, 20), (24, 9), (15, 16)]) for _ in range(B)]
    num_boxes = [rng.choice([0, 1, 1, 2, 3]) for _ in range(B)]
    truth = [[_random_box(rng, *size) for _ in range(n)] for size, n in zip(sizes, num_boxes, strict=True)]
    padded = [boxes + [[0, 0, 0, 0]] * (N - len(boxes)) for boxes in truth]
    classes = [rng.sample(range(C), T) for _ in range(B)]
    labels = [rng.choice([*row[:1] * 3, *row, rng.randrange(C)]) for row in classes]

    def guesses(count: int) -> torch.Tensor:
        return torch.tensor(
            [[_guess(rng, boxes, *size) for _ in range(count)] for boxes, size in zip(truth, sizes, strict=True)]
        ).float()

    localization = localization_of(
        classes_BT=torch.tensor(classes),
        probability_BT=torch.full((B, T), 1 / C),
        map_BThw=torch.zeros(B, T, 2, 3),
        proposals=Proposals(guesses(T), tuple(range(T)), torch.tensor([[rng.random() < 0.2] * T] * B)),
        label_map_Bhw=torch.zeros(B, 2, 3),
        label_box_B4=guesses(1)[:, 0],
        label_degenerate_B=torch.tensor([rng.random() < 0.1 for _ in range(B)]),
    )
    localization = localization._replace(
        proposals=localization.proposals._replace(
            degenerate_BP=torch.tensor([[rng.random() < 0.2 for _ in range(T)] for _ in range(B)])
        )
    )
    return Evaluation(
        localization,
        GroundTruth(torch.tensor(labels), torch.tensor(padded).float(), torch.tensor(num_boxes), torch.tensor(sizes)),
    )


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Pixel by pixel, on whole-number corners."""
    both = either = 0
    for x in range(30):
        for y in range(30):
            in_a = a[0] <= x < a[2] and a[1] <= y < a[3]
            in_b = b[0] <= x < b[2] and b[1] <= y < b[3]
            both += in_a and in_b
            either += in_a or in_b
    return both / either if either else 0.0


@pytest.fixture(scope="session")
def overlap() -> Callable[[Sequence[float], Sequence[float]], float]:
    """IoU by counting pixels."""
    return _overlap


Update = Callable[[Metric, Sequence[int]], None]


def _compute_synced(metrics: list[Metric], rank: int) -> dict[str, float]:
    """What `compute` gives on one rank when its process group holds all of `metrics`."""
    metric = metrics[rank]

    def gather(state: torch.Tensor, group: object = None) -> list[torch.Tensor]:
        name = next(name for name, value in vars(metric).items() if value is state)
        return [getattr(other, name).clone() for other in metrics]

    metric.dist_sync_fn = gather
    metric.distributed_available_fn = lambda: True
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``compute`` method")  # of a rank that has no image
        result: dict[str, float] = metric.compute()
    return result


def _check_every_split(make: Callable[[], Metric], update: Update, num_images: int) -> None:
    whole = make()
    update(whole, range(num_images))
    expected = whole.compute()
    rng = random.Random(0)
    for world_size in (1, 2, 3, 8):
        order = rng.sample(range(num_images), num_images)
        metrics = [make() for _ in range(world_size)]
        # Unequal shares; the last of eight ranks has no image at all.
        cuts = sorted(rng.sample(range(1, num_images), max(0, min(world_size, 7) - 1)))
        shares = [order[a:b] for a, b in zip([0, *cuts], [*cuts, num_images], strict=True)]
        for metric, share in zip(metrics, shares + [[]] * (world_size - len(shares)), strict=True):
            start = 0
            while start < len(share):
                size = rng.randrange(1, 20)
                update(metric, share[start : start + size])
                start += size
        for rank in range(world_size):
            assert _compute_synced(metrics, rank) == expected, f"rank {rank} of {world_size}"


@pytest.fixture(scope="session")
def check_every_split() -> Callable[[Callable[[], Metric], Update, int], None]:
    """Asserts that batches, ranks and order change no bit of a metric, empty ranks included."""
    return _check_every_split
