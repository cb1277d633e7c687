"""From an output or from pixels to a Localization: the one place where images are localized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cam_lightning.cam.gradient_map import Measure, maps_together, unmeasured
from cam_lightning.contracts import (
    ActivationMap,
    BoxGenerator,
    ClassifierOutput,
    LabelBox,
    Localization,
    Network,
    Proposals,
    Reads,
)
from cam_lightning.functional.finite_output import require_finite_output
from cam_lightning.functional.network_input import full_float32, normalised
from cam_lightning.functional.probability import class_probabilities
from cam_lightning.functional.ranking import rank_of_label, ranked_classes


class Maps(NamedTuple):
    """What there is of one batch before anything is boxed, all on the CPU."""

    index_B: Tensor
    classes_BT: Tensor
    probability_BT: Tensor
    map_BThw: dict[str, Tensor]
    """Raw maps of `classes_BT`, or of the best of them alone or of none, by the cam's name; sizes differ."""
    label_map_Bhw: dict[str, Tensor]
    """Those of the labels; empty where no label is known."""


class Localizer:
    """Localizes with one network, by every one of some maps and box generators at once, on one forward.

    The first map and the first box generator are the run's own, whose arm has no name; the others' arms are called
    after what is not the first: `grad_cam`, `distance_transform`, `grad_cam/distance_transform`. Raises ValueError
    where two would be called alike, as a map and a box generator of one name.
    """

    def __init__(self, network: Network, cams: Mapping[str, ActivationMap], boxes: Mapping[str, BoxGenerator]) -> None:
        self.network = network
        self.cams = dict(cams)
        self.boxes = dict(boxes)
        first_cam, first_box = next(iter(self.cams)), next(iter(self.boxes))
        self.arms: dict[str, tuple[str, str]] = {}
        """(cam, box) by the arm's name."""
        for cam, box in product(self.cams, self.boxes):
            arm = "/".join(name for name, first in ((cam, first_cam), (box, first_box)) if name != first)
            if arm in self.arms:
                raise ValueError(
                    f"the numbers of two would stand below {arm!r}: a further map and a further box generator have one "
                    "name. Rename the yaml of one of them"
                )
            self.arms[arm] = cam, box
        self.measure: Measure = unmeasured
        """What is told which maps are being made."""

    @property
    def cam(self) -> ActivationMap:
        """The run's own map."""
        return self.cams[self.arms[""][0]]

    @property
    def box(self) -> BoxGenerator:
        """The run's own box generator."""
        return self.boxes[self.arms[""][1]]

    def unit(self, cam: str) -> str:
        """What a raw value of one cam's maps is; empty where it does not say."""
        unit = getattr(self.cams[cam], "unit", None)
        return "" if unit is None else unit(self.network)

    def check(self, input_size: tuple[int, int]) -> None:
        """Raises, before any image is read, what a map says that cannot be made of inputs of this height and width."""
        for cam in self.cams.values():
            check = getattr(cam, "check", None)
            if check is not None:
                check(self.network, input_size)

    def maps(
        self,
        image_B3HW: Tensor,
        output: ClassifierOutput,
        index_B: Tensor,
        label_B: Tensor | None = None,
        reads: Reads = "ranked",
    ) -> Maps:
        """The ranked classes of an output, their probabilities and their maps, and the labels' where there are any.

        `image_B3HW` are the normalised images that the output is of; `index_B` their positions in the split. No map is
        made that is not read: a map that costs a backward for each class costs six of them for `ranked`, one for
        `label`.
        """
        classes_BT = ranked_classes(output.logits_BC)
        probability_BT = class_probabilities(self.network, output.logits_BC).gather(1, classes_BT)
        mapped_BT = classes_BT[:, : {"label": 0, "best": 1, "ranked": None}[reads]]
        wanted = mapped_BT if label_B is None else torch.cat([mapped_BT, label_B[:, None]], dim=1)
        T = mapped_BT.shape[1]
        maps: dict[str, Tensor] = {}
        label_maps: dict[str, Tensor] = {}
        made = maps_together(self.cams, self.network, image_B3HW, output, wanted, self.measure)
        for name, made_BThw in made.items():
            map_BThw = made_BThw.float()
            maps[name] = map_BThw[:, :T].cpu()
            if label_B is not None:
                # A label that was predicted has one map, not two that could differ in the last bit.
                rank_B = rank_of_label(mapped_BT, label_B)
                label_maps[name] = map_BThw[torch.arange(len(rank_B), device=rank_B.device), rank_B].cpu()
        return Maps(index_B.cpu(), classes_BT.cpu(), probability_BT.cpu(), maps, label_maps)

    def boxed(self, maps: Maps, size_B2: Tensor, input_size: tuple[int, int]) -> dict[str, Localization]:
        """Boxes of maps, by arm; `size_B2` are the originals' heights and widths."""
        localizations = {}
        for arm, (cam, box) in self.arms.items():
            generate = self.boxes[box]
            label = None
            if cam in maps.label_map_Bhw:
                label_map_Bhw = maps.label_map_Bhw[cam]
                proposals = generate(label_map_Bhw[:, None], size_B2, input_size)
                label = LabelBox(label_map_Bhw, proposals.boxes_BP4[:, 0], proposals.degenerate_BP[:, 0])
            localizations[arm] = Localization(
                index_B=maps.index_B,
                classes_BT=maps.classes_BT,
                probability_BT=maps.probability_BT,
                map_BThw=maps.map_BThw[cam],
                proposals=_proposals(generate, maps.map_BThw[cam], size_B2, input_size),
                label=label,
                unit=self.unit(cam),
            )
        return localizations

    @torch.no_grad()
    def pixels(
        self, pixels_B3HW: Tensor, index_B: Tensor, size_B2: Tensor, names_B: Sequence[str] | None = None
    ) -> dict[str, Localization]:
        """Localizes uint8 RGB images at the input size, in float32, as evaluation does down to the last bits.

        Raises FloatingPointError, with the images' names, where the network's output is not finite.
        """
        network: Any = self.network
        device = next(network.parameters()).device
        with full_float32(device.type):
            image_B3HW = normalised(pixels_B3HW.to(device), *self.network.normalization)
            image_B3HW = image_B3HW.contiguous(memory_format=torch.channels_last)
            output = self.network(image_B3HW)
            names_B = [f"image {index}" for index in index_B.tolist()] if names_B is None else names_B
            require_finite_output(network, image_B3HW, output.logits_BC, names_B.__getitem__)
            maps = self.maps(image_B3HW, output, index_B)
        return self.boxed(maps, size_B2, (pixels_B3HW.shape[2], pixels_B3HW.shape[3]))


def _proposals(generate: BoxGenerator, map_BThw: Tensor, size_B2: Tensor, input_size: tuple[int, int]) -> Proposals:
    """What is guessed from the maps that were made; of none, nothing."""
    if map_BThw.shape[1] == 0:
        num_images = len(map_BThw)
        return Proposals(torch.zeros(num_images, 0, 4), (), torch.zeros(num_images, 0, dtype=torch.bool))
    return generate(map_BThw, size_B2, input_size)


def protocol(part: ActivationMap | BoxGenerator) -> dict[str, Any]:
    """The options of a part as a results file holds them; of one that does not tell, none."""
    return getattr(part, "protocol", dict)()
