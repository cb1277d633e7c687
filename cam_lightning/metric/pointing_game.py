"""The pointing game: is the highest point of the true class's map on the object?"""

from __future__ import annotations

from cam_lightning.contracts import GroundTruth, Localization, Reads, Spec
from cam_lightning.functional.pointing_game import pointing_shares, points_at
from cam_lightning.metric.counter import CounterMetric

_ONE = 2**32
"""Hits are counted in such parts, since those of tied cells are shares."""


class PointingGame(CounterMetric):
    """The share of images whose true class's map is highest beside every box of its object; lower is better.

    The point is the centre of the highest cell, in pixels of the original; `tolerance` pixels beside a box still count
    (15 in the released code of Zhang et al. 2016, Excitation Backprop, section 4.1). Cells that tie share the hit; see
    `functional/pointing_game.py`. Beside it the error of the photo's centre, which sees nothing. There it is an
    accuracy, the mean over classes; here an error, the mean over images. Images without a known box are not counted.

    Raises ValueError for a negative tolerance.
    """

    reads: Reads = "label"

    def __init__(self, tolerance: float = 15.0) -> None:
        if tolerance < 0:
            raise ValueError(f"metric.pointing_game.tolerance is a number of pixels, not below 0; got {tolerance}")
        super().__init__(hits=(), centre_hits=(), num_images=())
        self.tolerance = tolerance

    def update(self, localization: Localization, truth: GroundTruth) -> None:
        """Counts one batch; both arguments on the CPU, boxes in frame `original`."""
        rows = (truth.num_boxes_B > 0).nonzero()[:, 0]
        boxes_BN4, num_B, size_B2 = truth.boxes_BN4[rows], truth.num_boxes_B[rows], truth.size_B2[rows]
        map_Bhw = localization.label_map_Bhw[rows]
        share_B = pointing_shares(map_Bhw, size_B2, boxes_BN4, num_B, self.tolerance)
        self.add("hits", (share_B * _ONE).round().long().sum())
        for size_2, boxes_N4, num in zip(size_B2, boxes_BN4, num_B.tolist(), strict=True):
            self.add("centre_hits", points_at(size_2[None] / 2, boxes_N4[:num], self.tolerance).sum())
        self.add("num_images", len(rows))

    def compute(self) -> dict[str, float]:
        """`pointing_game_error` and `pointing_game_error@centre`, as fractions; nothing where no image had a box."""
        num_images = self.count("num_images")
        if num_images == 0:
            return {}
        return {
            "pointing_game_error": (num_images * _ONE - self.count("hits")) / (num_images * _ONE),
            "pointing_game_error@centre": (num_images - self.count("centre_hits")) / num_images,
        }

    def specs(self) -> dict[str, Spec]:
        key = "pointing_game_error"
        spec = Spec("pointing game error", family="pointing game", label="map")
        return {key: spec, f"{key}@centre": spec._replace(of=key, role="variant", label="centre of the photo")}
