"""Published weights on ILSVRC's own photos, with official boxes: the known figures of Imagenette's 500 test photos."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from commands import run

TOLERANCE = 0.008
"""A share of the photos: four of 500."""
TRIVIAL = {"whole_image": 0.632, "centre_box": 0.486}


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize(
    ("options", "weights", "at_1_2_3", "best", "classification"),
    [
        (["squeezenet_gap"], "squeezenet/squeezenet1_0", (0.436, 0.454, 0.592), 0.436, 0.030),
        (
            ["squeezenet_gap", "backbone.variant=squeezenet1_1"],
            "weights/squeezenet1_1",
            (0.532, 0.452, 0.506),
            0.448,
            0.040,
        ),
        (["googlenet", "backbone.variant=caffe"], "weights/googlenet_caffe", (0.530, 0.490, 0.470), 0.458, 0.024),
        pytest.param(
            ["timm_gap", "backbone.trunk=tf_efficientnet_lite0"],
            "weights/tf_efficientnet_lite0",
            (0.506, 0.404, 0.382),
            0.376,
            0.022,
            marks=pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed"),
        ),
    ],
    ids=["SqueezeNet 1.0", "SqueezeNet 1.1", "GoogLeNet", "EfficientNet-lite0"],
)
def test_evaluate_gives_the_known_figures(
    reference_data: Path,
    tmp_path: Path,
    options: list[str],
    weights: str,
    at_1_2_3: tuple[float, float, float],
    best: float,
    classification: float,
) -> None:
    """Counted by others: GT-known errors at the thresholds 0.1, 0.2, 0.3 and at the best, and the ten-way error."""
    run(
        "evaluate",
        "dataset=imagenette", f"dataset.root={reference_data}/imagenette-224.zip",
        f"dataset.metadata={reference_data}/wsol-metadata/ILSVRC", "dataset.cache=null", "trainer=cpu",
        f"backbone={options[0]}", *options[1:], f"backbone.weights={reference_data}/{weights}-imagenet.pth",
        "metric.threshold_curve.fixed=[0.1,0.2,0.3]", f"run_dir={tmp_path / 'run'}", cwd=tmp_path,
    )  # fmt: skip
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    found = {
        **{name: results[f"test/baseline/{name}/gt_known_error"] for name in TRIVIAL},
        **{f"@0.{i}": results[f"test/gt_known_error@0.{i}"] for i in (1, 2, 3)},
        "best": results["test/gt_known_error@oracle"],
        "classification": results["test/classification_error/top1"],
    }
    known = {
        **TRIVIAL,
        **{f"@0.{i}": value for i, value in enumerate(at_1_2_3, start=1)},
        "best": best,
        "classification": classification,
    }
    assert found == pytest.approx(known, abs=TOLERANCE)
