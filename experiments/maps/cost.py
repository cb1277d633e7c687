"""What each map costs by itself, in forwards of its network: kept in the folder, since it is measured once."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from cam_lightning.build import build_data, build_localizer, network_for_data, on_device
from cam_lightning.functional.network_input import blank_input
from cam_lightning.functional.ranking import ranked_classes

RUNS = 5


def map_costs(run_dir: Path) -> dict[str, float]:
    """CPU seconds of every map of a run, one photo and five classes on one thread, over those of a forward.

    By the names that the run's results have, its own map called `cam`; the medians of alternating runs. Read from
    `cost.json` beside the run where they have been measured.
    """
    file = run_dir / "cost.json"
    if not file.is_file():
        file.write_text(json.dumps(_measured(run_dir), indent=1) + "\n", encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


@torch.no_grad()
def _measured(run_dir: Path) -> dict[str, float]:
    torch.set_num_threads(1)
    config = OmegaConf.load(run_dir / "config.yaml")
    assert isinstance(config, DictConfig)
    data = build_data(config)
    network: Any = on_device(network_for_data(config, data), "cpu")
    localizer = build_localizer(config, network, data.input_size)
    assert localizer is not None
    random = torch.Generator().manual_seed(0)
    image = torch.randn(blank_input(network, data.input_size).shape, generator=random)
    image = image.contiguous(memory_format=torch.channels_last)
    output = network(image)
    classes_BT = ranked_classes(output.logits_BC)
    ways = {"forward": lambda: network(image)}
    for name, cam in localizer.cams.items():
        ways[name or "cam"] = lambda cam=cam: cam(network, image, output, classes_BT)  # type: ignore[misc]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    return {name: value / median["forward"] for name, value in median.items() if name != "forward"}
