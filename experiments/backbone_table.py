"""Prints the table of `conf/backbone/README.md`: `python experiments/backbone_table.py`. It computes shapes alone."""

from __future__ import annotations

import torch

from cam_lightning.backbone.network import GapNetwork, TrunkNetwork
from cam_lightning.build import choice, instantiate
from cam_lightning.contracts import ClassifierOutput
from cam_lightning.run.place import CONF


def table() -> str:
    """Every yaml of conf/backbone with its defaults, for 1,000 classes and images of 224×224, as Markdown."""
    lines = [
        "| `backbone=` | parameters | map at 224 | units | class activation map |",
        "|---|---:|---:|---:|---|",
    ]
    for path in sorted((CONF / "backbone").glob("*.yaml")):
        with torch.device("meta"):
            network: TrunkNetwork = instantiate(choice("backbone", path.stem), num_classes=1000).eval()
            output = network(torch.zeros(1, 3, 224, 224))
        _, units, h, w = output.features_BKhw.shape
        millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        lines.append(f"| `{path.stem}` | {millions:.2f} M | {h}×{w} | {units} | {_kind(network, output)} |")
    return "\n".join(lines)


def _kind(network: TrunkNetwork, output: ClassifierOutput) -> str:
    if isinstance(network, GapNetwork):
        return {"average": "average pooling", "max": "max pooling"}[network.pool]
    has_map = network.class_maps(output, torch.zeros(1, 1, dtype=torch.int64, device="meta")) is not None
    return "one map per class" if has_map else "none: it only classifies"


if __name__ == "__main__":
    print(table())
