"""Prints README's table of backbones: `python experiments/backbone_table.py`. It computes shapes alone."""

from __future__ import annotations

from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from cam_lightning.backbone.network import GapNetwork, TrunkNetwork

CONF = Path(__file__).parents[1] / "conf" / "backbone"


def table() -> str:
    """Every yaml of conf/backbone with its defaults, for 1,000 classes and images of 224×224, as Markdown."""
    lines = [
        "| `backbone=` | parameters | map at 224 | units | class activation map |",
        "|---|---:|---:|---:|---|",
    ]
    for path in sorted(CONF.glob("*.yaml")):
        with torch.device("meta"):
            network: TrunkNetwork = instantiate(OmegaConf.load(path), num_classes=1000).eval()
            _, units, h, w = network(torch.zeros(1, 3, 224, 224)).features_BKhw.shape
        millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        lines.append(f"| `{path.stem}` | {millions:.2f} M | {h}×{w} | {units} | {_kind(network)} |")
    return "\n".join(lines)


def _kind(network: TrunkNetwork) -> str:
    if isinstance(network, GapNetwork):
        return {"average": "average pooling", "max": "max pooling"}[network.pool]
    return "one map per class" if network.has_cam else "none: it only classifies"


if __name__ == "__main__":
    print(table())
