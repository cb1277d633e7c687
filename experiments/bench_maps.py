"""What many maps cost together, beside other packages: `python -m experiments.bench_maps`.

CAM, Grad-CAM, LayerCAM, Eigen-CAM and HiResCAM of the five best classes of one image, float32, one thread: ours after
one forward, and forward and ours; torchcam's and grad-cam's own way, each map by itself, and their sum. Then Score-CAM
of one class and of five, of a layer of few units, forwards batched alike. Medians of the CPU time of alternating runs,
of Score-CAM the least too, since its runs are few and long; needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

import torch
from pytorch_grad_cam import EigenCAM, GradCAM, HiResCAM, LayerCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchcam.methods import CAM
from torchcam.methods import GradCAM as TorchcamGradCAM
from torchcam.methods import LayerCAM as TorchcamLayerCAM
from torchcam.methods import ScoreCAM as TorchcamScoreCAM

from cam_lightning.backbone.network import GapNetwork
from cam_lightning.backbone.resnet50_gap import resnet50_gap
from cam_lightning.build import choice, instantiate
from cam_lightning.cam.gradient_map import maps_together
from cam_lightning.cam.score_cam import ScoreCam
from cam_lightning.functional.ranking import ranked_classes

NAMES = ("cam", "grad_cam", "layer_cam", "eigen_cam", "hires_cam")
SIZE, CLASSES, BATCH = (224, 224), 1000, 16
SCORE_LAYER = "maxpool"
"""64 units of the 56×56 map; the last layer has 2048."""


class Logits(nn.Module):
    """Our network as the peers expect one; they hang hooks into it."""

    def __init__(self, network: GapNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image_B3HW: Tensor) -> Tensor:
        return self.network(image_B3HW).logits_BC


def main() -> None:
    """Prints one line per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stride", type=int, default=32, choices=(8, 16, 32), help="32: ResNet-50 as published")
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--score-cam-runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = resnet50_gap(CLASSES, stride=options.stride).eval()
    network.to(memory_format=torch.channels_last)
    image = torch.randn(1, 3, *SIZE).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        output = network(image)
    cams = {name: instantiate(choice("cam", name)) for name in NAMES}
    classes_BT = ranked_classes(output.logits_BC)
    peer = resnet50_gap(CLASSES, stride=options.stride).eval()
    peer.load_state_dict(network.state_dict())
    peer.to(memory_format=torch.channels_last)
    ways: dict[str, Callable[[], Any]] = {
        "forward": torch.no_grad()(lambda: network(image)),
        "our five maps, after it": torch.no_grad()(lambda: maps_together(cams, network, image, output, classes_BT)),
        "forward and ours": torch.no_grad()(
            lambda: maps_together(cams, network, image, network(image), classes_BT),
        ),
        "torchcam, CAM": of_torchcam(CAM, peer, image, fc_layer="network.classifier"),
        "torchcam, GradCAM": of_torchcam(TorchcamGradCAM, peer, image),
        "torchcam, LayerCAM": of_torchcam(TorchcamLayerCAM, peer, image),
        "grad-cam, GradCAM": of_grad_cam(GradCAM, peer, image),
        "grad-cam, LayerCAM": of_grad_cam(LayerCAM, peer, image),
        "grad-cam, EigenCAM": of_grad_cam(EigenCAM, peer, image),
        "grad-cam, HiResCAM": of_grad_cam(HiResCAM, peer, image),
    }
    median = {name: statistics.median(times) for name, times in timed(ways, options.runs).items()}
    # CAM is torchcam's alone, Eigen-CAM and HiResCAM are grad-cam's; of the others the quicker.
    median["the peers' quicker five, summed"] = (
        median["torchcam, CAM"]
        + min(median["torchcam, GradCAM"], median["grad-cam, GradCAM"])
        + min(median["torchcam, LayerCAM"], median["grad-cam, LayerCAM"])
        + median["grad-cam, EigenCAM"]
        + median["grad-cam, HiResCAM"]
    )
    print(f"resnet50_gap, stride {options.stride}, {SIZE[0]}×{SIZE[1]}, one image, five classes, one thread")
    for name, seconds in median.items():
        print(f"  {name:34s} {seconds * 1e3:9.2f} ms, {seconds / median['forward']:7.3f}× the forward")

    if not options.score_cam_runs:
        return
    score_cam = ScoreCam(f"trunk.{SCORE_LAYER}", batch_size=BATCH)
    one = classes_BT[:, :1]
    ways = {
        "ours, one class": torch.no_grad()(lambda: score_cam(network, image, output, one)),
        "forward and ours, one class": torch.no_grad()(lambda: score_cam(network, image, network(image), one)),
        "ours, five classes": torch.no_grad()(lambda: score_cam(network, image, output, classes_BT)),
        "torchcam, one class": torch.no_grad()(torchcam_score_cam(peer, image, int(one))),
        "grad-cam, one class": torch.no_grad()(grad_cam_score_cam(peer, image, int(one))),
    }
    times = timed(ways, options.score_cam_runs)
    ours = times["ours, one class"]
    print(f"Score-CAM of {SCORE_LAYER}, 64 units, {BATCH} at once: median, least, and both over ours of one class")
    for name, own in times.items():
        of_median, of_least = statistics.median(own) / statistics.median(ours), min(own) / min(ours)
        print(f"  {name:34s} {statistics.median(own):6.2f} s, {min(own):6.2f} s, {of_median:7.3f}×, {of_least:6.3f}×")


def timed(ways: dict[str, Callable[[], Any]], runs: int) -> dict[str, list[float]]:
    """Seconds of CPU time, by name; every way once in each run, after a first that warms."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(runs + (runs > 1)):
        for name, way in ways.items():
            start = time.process_time()
            way()
            if run > 0 or runs == 1:
                seconds[name].append(time.process_time() - start)
    return seconds


def of_torchcam(kind: Any, network: GapNetwork, image: Tensor, **options: Any) -> Callable[[], Any]:
    """A forward, then class by class, its graph kept for the next."""
    model = Logits(network)
    is_cam = kind is CAM

    def maps() -> Any:
        with kind(model, "network.trunk", **options) as extractor, torch.set_grad_enabled(not is_cam):
            scores = model(image)
            best = scores[0].topk(5).indices.tolist()
            more = {} if is_cam else {"retain_graph": True}
            return [extractor(c, scores, **more)[0] for c in best]

    return maps


def of_grad_cam(kind: Any, network: GapNetwork, image: Tensor) -> Callable[[], Any]:
    """The five classes as a batch of five, after a forward that says which; Eigen-CAM has one map for all."""
    model = Logits(network)

    def maps() -> Any:
        with kind(model=model, target_layers=[network.trunk]) as explain:
            if kind is EigenCAM:
                return explain(input_tensor=image, targets=[ClassifierOutputTarget(0)])
            with torch.no_grad():
                best = model(image)[0].topk(5).indices.tolist()
            targets = [ClassifierOutputTarget(c) for c in best]
            return explain(input_tensor=image.repeat(5, 1, 1, 1), targets=targets)

    return maps


def torchcam_score_cam(network: GapNetwork, image: Tensor, label: int) -> Callable[[], Any]:
    """Of one class: all of its forwards are asked again for the next."""
    model = Logits(network)

    def maps() -> Any:
        with TorchcamScoreCAM(model, f"network.trunk.{SCORE_LAYER}", batch_size=BATCH) as extractor:
            model(image)
            return extractor(label)

    return maps


def grad_cam_score_cam(network: GapNetwork, image: Tensor, label: int) -> Callable[[], Any]:
    """Of one class, without its progress bar."""
    model = Logits(network)

    def maps() -> Any:
        with (
            open(os.devnull, "w") as nowhere,
            redirect_stderr(nowhere),
            ScoreCAM(model=model, target_layers=[network.trunk.get_submodule(SCORE_LAYER)]) as explain,
        ):
            explain.batch_size = BATCH
            return explain(input_tensor=image, targets=[ClassifierOutputTarget(label)])

    return maps


if __name__ == "__main__":
    main()
