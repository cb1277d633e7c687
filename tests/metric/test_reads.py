"""What each metric says it reads (`contracts.Reads`) is all that it reads: it is fed that, and no more."""

from __future__ import annotations

from typing import Any

import hydra
import pytest
import torch

from cam_lightning.build import instantiate, plain
from cam_lightning.contracts import Localization, Proposals
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.place import CONF, VERSION_BASE

NAMES = sorted(path.stem for path in (CONF / "metric").glob("*.yaml"))


def as_read(localization: Localization, reads: str) -> Localization:
    """With the maps and boxes of as few classes as an evaluation makes that nothing else reads."""
    count = {"label": 0, "best": 1, "ranked": localization.classes_BT.shape[1]}[reads]
    boxes_BP4, rank_P, degenerate_BP = localization.proposals
    return localization._replace(
        map_BThw=localization.map_BThw[:, :count],
        proposals=Proposals(boxes_BP4[:, :count], rank_P[:count], degenerate_BP[:, :count]),
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_reads_what_it_says(name: str, evaluation: Any) -> None:
    torch.manual_seed(0)
    localization, truth = evaluation
    B, T = localization.classes_BT.shape
    localization = localization._replace(
        map_BThw=torch.rand(B, T, 2, 3), label=localization.label._replace(map_Bhw=torch.rand(B, 2, 3))
    )
    truth = truth._replace(mask_BHW=torch.randint(0, 2, (B, 8, 9), dtype=torch.uint8))
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), **VERSION_BASE):
        config = hydra.compose("train", overrides=[f"metric=[{name}]", "dataset.image_size=[8,9]"])
    options = plain(config.metric)[name]
    metric, reduced = (instantiate(options | ({"box": plain(config.box)} if "box" in options else {})) for _ in "12")
    metric.update(localization, truth)
    reads = getattr(metric, "reads", "ranked")
    reduced.update(as_read(localization, reads), truth)
    assert reduced.compute() == metric.compute()
    assert (reads == "ranked") == (name == "localization_error")
