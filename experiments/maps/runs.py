"""What the table of all maps is made of: three runs for each network, as jobs of `experiments.paper`."""

from __future__ import annotations

from experiments.paper.table import Run, Table

NETWORKS = {
    "squeezenet1_1": "SqueezeNet 1.1",
    "googlenet": "GoogLeNet",
    "efficientnet_lite0": "EfficientNet-lite0",
}
"""Published networks, as `--weights` and the experiments of paper/imagenette call them, and their titles."""
CHEAP = (
    "cam", "grad_cam", "hires_cam", "xgrad_cam", "grad_cam_plus_plus", "layer_cam", "grad_cam_elementwise", "eigen_cam",
    "eigen_grad_cam", "pc1", "bag_cam", "smooth_grad_cam_plus_plus", "ablation_cam", "finer_cam", "full_grad",
    "refine_cam", "backprop", "random",
)  # fmt: skip
"""Made in one pass."""
DEAR = ("cam", "score_cam", "integrated_gradients", "smooth_grad")
"""Those of a hundred forwards a photo, in a pass of their own; `cam` is that pass's own, and told by the first."""
DEAR_OPTIONS = ("further.cam.score_cam.units=128", "further.cam.integrated_gradients.steps=16")
"""Score-CAM of a thousand units and more is a thousand forwards a photo."""
STEPS = 10
"""Of deletion and insertion."""
_HOURS = {
    "cheap": {"squeezenet1_1": 0.2, "googlenet": 0.5, "efficientnet_lite0": 0.5},
    "dear": {"squeezenet1_1": 0.2, "googlenet": 1.3, "efficientnet_lite0": 1.1},
    "random_weights": dict.fromkeys(NETWORKS, 0.02),
}


def maps_table(every: int) -> Table:
    """The runs: `NETWORK/cheap`, `NETWORK/dear`, and `NETWORK/random_weights`, whose results have the control."""
    metrics = (
        "metric=[gt_known_error,threshold_curve,pointing_game]",
        "callback.localization.sinks.overlays.count=8",
        # Its boxes of five classes would have five maps made for each that these numbers are of.
        "~callback.localization.sinks.predictions",
        "trainer=cpu",
    )
    steps = f"evaluator.deletion_insertion.steps={STEPS}"
    some = {name: f"evaluator.{name}.every={every}" for name in ("deletion_insertion", "randomized_weights")}
    options = {
        "cheap": (_cams(CHEAP), "evaluator=[deletion_insertion,randomized_weights]", steps, *some.values()),
        "random_weights": ("cam=cam", "evaluator=randomized_weights"),
        "dear": (_cams(DEAR), *DEAR_OPTIONS, "evaluator=deletion_insertion", steps, some["deletion_insertion"]),
    }
    runs = tuple(
        Run(
            f"{network}/{kind}", (f"experiment=paper/imagenette/{network}_published", *metrics, *own), "evaluate",
            weights=network, hours=_HOURS[kind][network],
        )
        for kind, own in options.items()
        for network in NETWORKS
    )  # fmt: skip
    return Table("maps_imagenette", "Every map on ten classes of ILSVRC", "", runs, ())


def _cams(names: tuple[str, ...]) -> str:
    return f"cam=[{','.join(names)}]"
