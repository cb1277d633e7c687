"""Localizations by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import LabelBox, Localization, Network, Proposals
from cam_lightning.localization.localizer import Localizer


def localization_of(
    classes_BT: Tensor,
    probability_BT: Tensor,
    map_BThw: Tensor,
    proposals: Proposals | Tensor,
    label_map_Bhw: Tensor,
    label_box_B4: Tensor,
    label_degenerate_B: Tensor,
    index_B: Tensor | None = None,
) -> Localization:
    """In the order of the main job; `index_B` are the first positions where nothing else is said."""
    return Localization(
        torch.arange(len(label_box_B4 if label_map_Bhw is None else label_map_Bhw)) if index_B is None else index_B,
        classes_BT,
        probability_BT,
        map_BThw,
        proposals,  # type: ignore[arg-type]
        LabelBox(label_map_Bhw, label_box_B4, label_degenerate_B),
    )


def with_label_map(localization: Localization, map_Bhw: Tensor) -> Localization:
    """The same with other maps of the true classes."""
    assert localization.label is not None
    return localization._replace(label=localization.label._replace(map_Bhw=map_Bhw))


def plain_localizer(network: Network, **options: Any) -> Localizer:
    """The class activation map's largest component; `options` are the box's."""
    return Localizer(network, {"": ClassActivationMap()}, {"": LargestComponent(**options)})
