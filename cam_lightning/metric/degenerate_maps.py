"""How many maps named no region, so that the whole image stood in for their box."""

from __future__ import annotations

from cam_lightning.contracts import GroundTruth, Localization, Reads, Spec
from cam_lightning.metric.counter import CounterMetric


class DegenerateMaps(CounterMetric):
    """Counts maps that are constant, not finite, or nowhere positive where the rule needs it.

    Both the maps of the ranked classes and those of the labels count, each once, however many boxes it gave; of the
    former those alone that something else reads, since others are not made.
    """

    needs_maps = True
    reads: Reads = "label"

    def __init__(self) -> None:
        super().__init__(num_maps=())

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch."""
        rank_P = localization.proposals.rank_P
        first_of_each_map = [rank_P.index(rank) for rank in sorted(set(rank_P))]
        ranked = localization.proposals.degenerate_BP[:, first_of_each_map].sum()
        self.add("num_maps", ranked + localization.label_degenerate_B.sum())

    def compute(self) -> dict[str, float]:
        """`num_degenerate_maps`."""
        return {"num_degenerate_maps": self.count("num_maps")}

    def specs(self) -> dict[str, Spec]:
        return {"num_degenerate_maps": Spec("maps that named no region", "count", better=None)}
