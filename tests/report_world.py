"""What tests of reports are made of: rows of predictions, and the specs that the real metrics give their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cam_lightning.contracts import Spec
from cam_lightning.metric.classification_error import ClassificationError
from cam_lightning.metric.degenerate_maps import DegenerateMaps
from cam_lightning.metric.gt_known_error import GtKnownError
from cam_lightning.metric.gt_known_error_by_size import GtKnownErrorBySize
from cam_lightning.metric.localization_error import LocalizationError
from cam_lightning.metric.max_box_accuracy import MaxBoxAccuracy
from cam_lightning.metric.threshold_curve import ThresholdCurve
from cam_lightning.run.prediction_table import Prediction

LOSS = Spec("loss", "number", family="loss")
BASELINES = ("centre_box", "whole_image")


def prediction(
    image_id: str,
    label: int,
    label_name: str,
    classes: Sequence[int],
    names: Sequence[str],
    probabilities: Sequence[float],
    ranks: Sequence[int],
    ious: Sequence[float],
    gt_known_iou: float | None,
) -> Prediction:
    """A row with what a report reads of it; a list is a list, as it comes back from a file."""
    lists = {"classes": classes, "names": names, "probabilities": probabilities, "ranks": ranks, "ious": ious}
    return Prediction(
        image_id, label, label_name, gt_known_iou=gt_known_iou, **{name: list(each) for name, each in lists.items()}
    )


def specs_of(split: str, *further_arms: str) -> dict[str, Spec]:
    """As a run keeps them: of the default metrics, two baselines and further maps."""
    boxes = [LocalizationError(), GtKnownError(), GtKnownErrorBySize(edges=(0.15,))]
    maps = [ThresholdCurve(box=None, fixed=(0.05, 0.3)), MaxBoxAccuracy(), DegenerateMaps()]  # type: ignore[arg-type]
    specs: dict[str, Spec] = {}
    for arm in ("", *further_arms, *(f"baseline/{name}" for name in BASELINES)):
        prefix = f"{split}/{arm}/" if arm else f"{split}/"
        for metric in (*boxes, *([] if arm.startswith("baseline/") else maps)):
            for key, spec in metric.specs().items():  # type: ignore[attr-defined]
                specs[prefix + key] = spec._replace(arm=arm, of=prefix + spec.of if spec.of else "")
    for key, spec in ClassificationError().specs().items():
        specs[f"{split}/{key}"] = spec
    return specs | {f"{split}/loss": LOSS}


def stored(specs: dict[str, Spec]) -> dict[str, Any]:
    """As a file holds them."""
    return {key: spec._asdict() for key, spec in specs.items()}
