"""What five class activation maps and their boxes cost beside other packages: `python -m experiments.bench_peers`.

One image at a time, float32, one thread: the network's forward alone; forward, maps of the five best classes and a
box of each in the original's pixels; the same with torchcam's CAM and with Grad-CAM of grad-cam, whose maps become
boxes as their users write it with OpenCV (upsample, 20 % of the maximum, largest of connectedComponentsWithStats).
For a GAP head all three make the same maps. Medians of the CPU time of alternating runs; needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchcam.methods import CAM

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.build import build_network
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.functional.ranking import ranked_classes
from cam_lightning.launch.resolver import register_resolvers
from cam_lightning.run.place import CONF, VERSION_BASE

INPUT, ORIGINAL = (224, 224), (375, 500)
CLASSES = 1000


class Logits(nn.Module):
    """Our network as the peers expect one."""

    def __init__(self, network: TrunkNetwork) -> None:
        super().__init__()
        own = copy.deepcopy(network)  # the peers hang hooks into it, which would run in our forward too
        self.trunk, self.classifier = own.trunk, own.get_submodule("classifier")

    def forward(self, image_B3HW: Tensor) -> Tensor:
        return self.classifier(self.trunk(image_B3HW).mean((2, 3)))


def main() -> None:
    """Prints one line per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="googlenet_gap")
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    register_resolvers()
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        config = compose("train", [f"backbone={options.backbone}"])
    torch.manual_seed(0)
    network = build_network(config, CLASSES).eval()
    image = torch.randn(1, 3, *INPUT)
    output = network(image)
    ways = {
        "forward": lambda: network(image),
        "our maps and boxes, after it": torch.no_grad()(lambda: ours(network, image, output)),
        "forward and ours": lambda: ours(network, image, network(image)),
        "torchcam, CAM": torchcam(network, image),
        "grad-cam, GradCAM": grad_cam(network, image),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(options.runs + 1):
        for name, way in ways.items():
            start = time.process_time()
            # Grad-CAM differentiates; the others need no graph.
            with torch.set_grad_enabled(name.startswith("grad-cam")):
                way()
            if run > 0:  # the first compiles and warms
                seconds[name].append(time.process_time() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{options.backbone}, {INPUT[0]}×{INPUT[1]}, boxes in {ORIGINAL[1]}×{ORIGINAL[0]}, one image, one thread")
    for name, time_ in median.items():
        print(
            f"  {name:30s} {time_ * 1e3:8.2f} ms, {time_ / median['forward']:6.3f}× the forward, "
            f"{time_ / median['forward and ours']:6.3f}× forward and ours"
        )


def ours(network: TrunkNetwork, image: Tensor, output: object) -> Tensor:
    """Five boxes (5, 4) of the five best classes."""
    classes_BT = ranked_classes(output.logits_BC)  # type: ignore[attr-defined]
    map_BThw = ClassActivationMap()(network, image, output, classes_BT)  # type: ignore[arg-type]
    return LargestComponent()(map_BThw, torch.tensor([ORIGINAL]), INPUT).boxes_BP4[0]


def torchcam(network: TrunkNetwork, image: Tensor) -> Callable[[], list[list[int]]]:
    """Its hooks, its contraction and normalisation, class by class."""
    model = Logits(network).eval()
    extractor = CAM(model, target_layer="trunk", fc_layer="classifier")

    def boxes() -> list[list[int]]:
        scores = model(image)
        best = scores[0].topk(5).indices.tolist()
        return [opencv_box(extractor(c, scores)[0].squeeze().numpy()) for c in best]

    return boxes


def grad_cam(network: TrunkNetwork, image: Tensor) -> Callable[[], list[list[int]]]:
    """The five classes as a batch of five, after a forward that says which."""
    model = Logits(network).eval()
    explain = GradCAM(model=model, target_layers=[model.trunk])

    def boxes() -> list[list[int]]:
        with torch.no_grad():
            best = model(image)[0].topk(5).indices.tolist()
        targets = [ClassifierOutputTarget(c) for c in best]
        return [opencv_box(map_HW) for map_HW in explain(input_tensor=image.repeat(5, 1, 1, 1), targets=targets)]

    return boxes


def opencv_box(map_hw: np.ndarray) -> list[int]:
    """The largest component above 20 % of the maximum, at the original's size."""
    map_HW = cv2.resize(map_hw.astype(np.float32), ORIGINAL[::-1], interpolation=cv2.INTER_LINEAR)
    region_HW = (map_HW > 0.2 * map_HW.max()).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(region_HW, connectivity=8)
    x, y, width, height = (
        stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax(), :4].tolist() if len(stats) > 1 else stats[0, :4]
    )
    return [x, y, x + width, y + height]


if __name__ == "__main__":
    main()
