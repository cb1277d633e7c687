"""Drawn scenes with known answers, and a network that sees their patterns: its filters are written down, not learned.

A unit each for upright stripes, level stripes, red, green, blue, and brightness, on cells of 4 pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.layers import cam_fc
from cam_lightning.backbone.network import GapNetwork, PublishedWeights
from cam_lightning.contracts import Normalization

UNITS = ("upright stripes", "level stripes", "red", "green", "blue", "brightness")
STRIPE = 3
"""Pixels; a light and a dark one are a period."""
COLOURS = {"red": (210, 50, 50), "green": (50, 190, 60), "blue": (60, 70, 220), "grey": (150, 150, 150)}
SIDE = 24
"""Of an object."""


class PatternTrunk(nn.Module):
    """Fixed filters, half-wave rectified, averaged over 4×4 pixels: (B, 6, H/4, W/4)."""

    def __init__(self, brightness: float = 1.0) -> None:
        super().__init__()
        self.brightness = brightness
        ticks = torch.arange(-6, 7).float()
        wave, window = torch.pi / STRIPE * ticks, torch.exp(-(ticks**2) / 18)
        upright = torch.stack([torch.cos(wave), torch.sin(wave)])[:, None] * window[:, None] * window
        upright = upright - upright.mean((1, 2), keepdim=True)
        self.register_buffer("gratings", torch.cat([upright, upright.mT])[:, None] / 20)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        grey_B1HW = x_B3HW.mean(1, keepdim=True)
        padded = F.pad(grey_B1HW, (6, 6, 6, 6), mode="replicate")
        waves_B4HW = F.conv2d(padded, self.gratings)
        energy_B2HW = waves_B4HW.unflatten(1, (2, 2)).pow(2).sum(2).sqrt()
        colours_B3HW = (x_B3HW - grey_B1HW).relu()
        return F.avg_pool2d(torch.cat([energy_B2HW, colours_B3HW, self.brightness * grey_B1HW], 1), 4)


def pattern_network(
    num_classes: int, weights: str = "none", new_head: bool = True, brightness: float = 1.0
) -> GapNetwork:
    """A backbone for commands: nothing of it is loaded, whatever `weights` says."""
    return GapNetwork(
        PatternTrunk(brightness),
        cam_fc(len(UNITS), num_classes),
        normalization=Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        min_size=16,
        published=PublishedWeights({}),
    )


def pattern_backbone(folder: Path) -> list[str]:
    """Writes a yaml of it below `folder`; the words of a command line that choose it."""
    (folder / "conf" / "backbone").mkdir(parents=True, exist_ok=True)
    target = "_target_: pattern_world.pattern_network\nweights: none\nbrightness: 1.0\n"
    (folder / "conf" / "backbone" / "patterns.yaml").write_text(f"# Written-down filters.\n{target}")
    config = f"--config-dir={folder / 'conf'}"
    return [config, "backbone=patterns", "backbone.weights=written_down", "trust=[pattern_world]"]


def background(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth grey unevenness: uint8 (H, W, 3)."""
    coarse = random.uniform(90, 140, (height // 16 + 1, width // 16 + 1)).astype(np.float32)
    grey_HW = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.repeat(grey_HW[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


def draw_object(image_HW3: np.ndarray, x: int, y: int, colour: str, stripes: str = "", side: int = SIDE) -> list[int]:
    """Draws a square in place; `stripes` are upright, level, or none. Returns its box, xyxy half-open."""
    patch = np.full((side, side, 3), COLOURS[colour], np.float32)
    if stripes:
        is_dark = (np.arange(side) // STRIPE % 2).astype(bool)
        patch[:, is_dark] *= 0.25
        if stripes == "level":
            patch = patch.transpose(1, 0, 2)
    image_HW3[y : y + side, x : x + side] = patch.astype(np.uint8)
    return [x, y, x + side, y + side]


def two_places(random: np.random.Generator, height: int, width: int, side: int = SIDE) -> list[tuple[int, int]]:
    """Corners of two objects, one in each half of the image, in no order."""
    places = [
        (
            int(random.integers(2 + half * width // 2, (half + 1) * width // 2 - side - 2)),
            int(random.integers(2, height - side - 2)),
        )
        for half in (0, 1)
    ]
    return places if random.random() < 0.5 else places[::-1]


def probed_network(data: Any, features: Path, c: float = 10.0) -> GapNetwork:
    """What `probe` makes of a dataset by this network, in eval mode."""
    from cam_lightning.backbone.probe import set_classifier
    from cam_lightning.classifier.linear_svm import LinearSvm
    from cam_lightning.feature.probing import probed
    from cam_lightning.feature.reader import FeatureReader

    data.setup()
    network = pattern_network(1).eval()
    rows = probed(FeatureReader(network, data.input_size, features, "patterns"), data, LinearSvm(c=c), False).rows
    set_classifier(network, torch.from_numpy(rows.weight_CK), torch.from_numpy(rows.bias_C))
    return network
