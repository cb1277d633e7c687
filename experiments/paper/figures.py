"""The paper's Figures 3 to 6 of the test photos and the networks that there are, drawn into `figures/`.

Photos are drawn by a fixed number from those whose objects are not too large, whatever their maps look like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from cam_lightning.api import localize
from cam_lightning.build import build_data, choice, instantiate, network_for_data, on_device
from cam_lightning.functional.overlay import Caption, contact_sheet, localization_picture
from cam_lightning.run.checkpoint import checkpoint_file
from experiments.paper.outcome import Outcome

PHOTOS = 4
_NETWORKS = ("googlenet_gap", "googlenet_gmp", "googlenet", "googlenet_published", "squeezenet1_0", "squeezenet1_1",
             "efficientnet_lite0", "vgg16_gap", "alexnet_plus_gap", "alexnet_gap", "nin")  # fmt: skip
"""Rows of Figure 3, as far as they are there."""
_FIRST = ("googlenet_gap", "googlenet_published")
"""Whose maps Figures 4 and 6 show: the first that is there."""


def draw_figures(folder: Path, outcomes: Mapping[str, Outcome]) -> list[tuple[str, str]]:
    """Draws what can be drawn; gives each file's place in the folder, and its caption."""
    drawn = []
    figures = {
        "figure3": ("One photo, several networks: the map of each one's best class.", _across_networks),
        "figure4": ("One photo, the maps of its five best classes.", _five_classes),
        "figure5": ("Average pooling, then maximum pooling, of the same photos.", _gap_beside_gmp),
        "figure6": ("The class activation map, then backpropagation, of the same photos.", _cam_beside_backprop),
    }
    for name, (caption, draw) in figures.items():
        pictures = list(draw(outcomes))
        if pictures:
            path = folder / "figures" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(contact_sheet(pictures, width=2000)).save(path)
            drawn.append((f"figures/{name}.png", caption))
    return drawn


class _Network:
    """The network and the test photos of a row's first seed."""

    def __init__(self, outcome: Outcome) -> None:
        self.title = outcome.row.title
        path = outcome.paths[0]
        config = OmegaConf.load(path / "config.yaml")
        assert isinstance(config, DictConfig)
        if "checkpoint" not in config:
            config.checkpoint = str(checkpoint_file(path))
        self.data = build_data(config)
        network = network_for_data(config, self.data)
        self.network = on_device(network, "cpu")
        self.test = self.data.examples["test"]
        self.options: dict[str, Any] = {
            "image_size": self.data.input_size,
            "cam": instantiate(choice("cam", "cam")),
            "box": instantiate(config.box),
        }

    def photos(self, count: int) -> list[int]:
        """Positions of a fixed sample, of those whose objects leave at least half of the photo to the background."""
        chosen: list[int] = []
        for index in np.random.default_rng(0).permutation(len(self.test)).tolist():
            raw = self.test.split.read(index)
            sides_N2 = raw.boxes_N4[:, 2:] - raw.boxes_N4[:, :2]
            if len(sides_N2) and sides_N2.prod(1).max() <= raw.image_HW3.shape[0] * raw.image_HW3.shape[1] / 2:
                chosen.append(index)
            if len(chosen) == count:
                break
        return chosen

    def pictures(self, index: int, title: str, classes: Sequence[int] = (0,), cam: str = "") -> Iterator[np.ndarray]:
        """The photo with the map and box of each of the ranked `classes`."""
        raw = self.test.split.read(index)
        options = self.options | ({"cam": instantiate(choice("cam", cam))} if cam else {})
        (found,) = localize(self.network, [raw.image_HW3], **options)
        for rank in classes:
            if rank >= len(found.classes_T):
                return
            name = self.data.display_name(self.data.class_names[int(found.classes_T[rank])])
            caption = Caption(title, f"{name}, {float(found.probability_T[rank]):.1%}")
            box_14 = found.boxes_P4[rank : rank + 1].numpy()
            yield localization_picture(raw.image_HW3, found.map_Thw[rank].numpy(), box_14, raw.boxes_N4, caption)


def _first(outcomes: Mapping[str, Outcome]) -> _Network | None:
    return next((_Network(outcomes[name]) for name in _FIRST if name in outcomes), None)


def _across_networks(outcomes: Mapping[str, Outcome]) -> Iterator[np.ndarray]:
    for name in _NETWORKS:
        if name in outcomes:
            network = _Network(outcomes[name])
            yield from network.pictures(network.photos(1)[0], network.title)


def _five_classes(outcomes: Mapping[str, Outcome]) -> Iterator[np.ndarray]:
    network = _first(outcomes)
    if network is not None:
        yield from network.pictures(network.photos(1)[0], network.title, range(5))


def _gap_beside_gmp(outcomes: Mapping[str, Outcome]) -> Iterator[np.ndarray]:
    if "googlenet_gap" in outcomes and "googlenet_gmp" in outcomes:
        networks = [_Network(outcomes[name]) for name in ("googlenet_gap", "googlenet_gmp")]
        for index in networks[0].photos(PHOTOS):
            for network in networks:
                yield from network.pictures(index, network.title)


def _cam_beside_backprop(outcomes: Mapping[str, Outcome]) -> Iterator[np.ndarray]:
    network = _first(outcomes)
    if network is not None:
        for index in network.photos(PHOTOS):
            yield from network.pictures(index, f"{network.title}, CAM")
            yield from network.pictures(index, f"{network.title}, backpropagation", cam="backprop")
