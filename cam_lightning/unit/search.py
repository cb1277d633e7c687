"""What the strongest units of some classes see in a split of a dataset: one pass, which keeps what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from cam_lightning.contracts import ImageSource
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.functional.network_input import full_float32, normalised
from cam_lightning.functional.receptive_field import ReceptiveFields, receptive_fields
from cam_lightning.run.progress import bar
from cam_lightning.unit.strongest_images import StrongestImages
from cam_lightning.unit.weight import ClassUnits, strongest_units, unit_weights

NUM_CLASSES = 20
"""How many are shown where nobody says which."""


class FoundUnits(NamedTuple):
    """All that a page of units shows."""

    split: str
    num_images: int
    """How many were looked at."""
    names: list[str]
    """Of the shown classes, for people."""
    units: ClassUnits
    strongest: StrongestImages
    fields: ReceptiveFields
    """Of the units in the order of `strongest.units`."""
    source: ImageSource
    labels: Sequence[str]
    """The name of each image's own class, by position."""
    input_size: tuple[int, int]
    threshold: float
    """The share of a unit's maximum in an image above which its part is cut out."""


@torch.inference_mode()
def search_units(
    network: Any,
    data: LocalizationDataModule,
    split: str = "test",
    classes: int | str | Sequence[str] | None = None,
    num_units: int = 5,
    num_images: int = 8,
    threshold: float = 0.5,
) -> FoundUnits:
    """Looks through every image of a split, as evaluation sees it, by a network in eval mode.

    `classes` are shown: the first so many, or names; None: the first `NUM_CLASSES`. Raises ValueError for options
    that cannot be, a network whose head is not linear, and a split that there is not; OSError for an image that cannot
    be read.
    """
    classes = NUM_CLASSES if classes is None else classes
    for name, number in (("classes", classes), ("num_units", num_units), ("num_images", num_images)):
        if isinstance(number, int) and number < 1:
            raise ValueError(f"{name} is at least 1; got {number}")
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is a share of a unit's maximum, in [0, 1); got {threshold}")
    if split not in data.examples:
        raise ValueError(f"split={split}: these data have {', '.join(data.examples)}")
    shown = _shown(classes, data)
    weight_CK = unit_weights(network, data.input_size)
    units = strongest_units(weight_CK, shown, min(num_units, weight_CK.shape[1]))
    strongest = StrongestImages(units.unit_CU.unique(), num_images)
    images = data.images_of(split)
    device = next(network.parameters()).device
    batches = data.batches_of(images.split)
    with full_float32(device.type):
        for batch in bar(batches, f"{split}: looking for what units see", len(batches)):
            if len(batch.index_B):
                image_B3HW = normalised(batch.image_B3HW.to(device), *network.normalization)
                strongest.update(network.forward_features(image_B3HW), batch.index_B)
        fields = receptive_fields(network.forward_features, data.input_size, strongest.units, device)
    people = [data.display_name(name) for name in data.class_names]
    labels = [people[label] for label in images.split.label_N.tolist()]
    return FoundUnits(
        split,
        len(images),
        [people[c] for c in shown],
        units,
        strongest,
        fields,
        images,
        labels,
        data.input_size,
        threshold,
    )


def _shown(classes: int | str | Sequence[str], data: LocalizationDataModule) -> list[int]:
    """Positions of the classes to show; raises ValueError for a name that no class has."""
    if isinstance(classes, int):
        return list(range(min(classes, len(data.class_names))))
    position = {data.display_name(name): index for index, name in enumerate(data.class_names)}
    position |= {name: index for index, name in enumerate(data.class_names)}
    wanted = [classes] if isinstance(classes, str) else list(classes)
    unknown = [name for name in wanted if name not in position]
    if unknown or not wanted:
        raise ValueError(
            f"classes={wanted}: {', '.join(map(repr, unknown)) or 'none'} is no class of the dataset. "
            f"Its {len(data.class_names)} classes: {', '.join(data.class_names[:20])}"
        )
    return [position[name] for name in wanted]
