"""The tables that `python -m experiments.paper` knows: the paper's 1 to 3, at full size and in miniature."""

from __future__ import annotations

from experiments.paper.table import Claim, Row, Run, Table

_GRAINY = (
    "A gradient at the pixels is grainy: what of it lies above 20 % of the maximum are specks, which this rule cannot "
    "box. So backpropagation's errors at 20 % say little, and it is compared at the threshold that is best for it."
)
_BACKPROP = ("cam=backprop",)
_TEN_CROP = ("cam=ten_crop", "box=[distance_transform,largest_component,top5_heuristic]", "dataset.image_size=256")


def _trained(folder: str, name: str, weights: str, hours: float) -> tuple[Run, ...]:
    """A training, and its checkpoint with backpropagation in place of the class activation map."""
    return (
        Run(name, (f"experiment=paper/{folder}/{name}",), weights=weights, hours=hours),
        Run(f"{name}_backprop", _BACKPROP, "evaluate", of=name, hours=hours / 3),
    )


def _published(folder: str, name: str, weights: str, hours: float, experiment: str = "") -> Run:
    """An evaluation of published weights."""
    return Run(name, (f"experiment=paper/{folder}/{experiment or name}",), "evaluate", weights=weights, hours=hours)


IMAGENETTE = Table(
    "imagenette",
    "Tables 1 to 3 of the paper in miniature",
    "Ten classes of ILSVRC (Imagenette), tested on their official validation photos with the official boxes. Networks "
    "begin with weights published for all 1000 classes and are fine-tuned on the ten, or are restricted to the ten as "
    "they are. Boxes by the paper's text: the largest component above 20 % of the map's maximum, a threshold fixed "
    "beforehand; an overlap of 0.5 is a hit. The paper's numbers are those of all of ILSVRC: ten classes are easier to "
    "tell apart, so which row is better can be compared, and how large its error is cannot. " + _GRAINY,
    (
        *_trained("imagenette", "googlenet_gap", "googlenet", 0.4),
        *_trained("imagenette", "googlenet_gmp", "googlenet", 0.4),
        *_trained("imagenette", "googlenet", "googlenet", 0.4),
        *_trained("imagenette", "googlenet_gap_stride32", "googlenet", 0.4),
        *_trained("imagenette", "googlenet_gap_stride8", "googlenet", 0.8),
        *_trained("imagenette", "googlenet_gap_no_conv", "googlenet", 0.4),
        *_trained("imagenette", "googlenet_gap_stride32_no_conv", "googlenet", 0.4),
        *_trained("imagenette", "googlenet_gap_stride8_no_conv", "googlenet", 0.5),
        Run("googlenet_gap_ten_crop", _TEN_CROP, "evaluate", of="googlenet_gap", hours=0.2),
        _published("imagenette", "googlenet_published", "googlenet", 0.05),
        Run(
            "googlenet_published_backprop", ("experiment=paper/imagenette/googlenet_published", *_BACKPROP), "evaluate",
            weights="googlenet", hours=0.2,
        ),
        Run(
            "googlenet_published_ten_crop", ("experiment=paper/imagenette/googlenet_published", *_TEN_CROP), "evaluate",
            weights="googlenet", hours=0.2,
        ),
        _published("imagenette", "squeezenet1_0_published", "squeezenet1_0", 0.05),
        _published("imagenette", "squeezenet1_1_published", "squeezenet1_1", 0.05),
        _published("imagenette", "efficientnet_lite0_published", "efficientnet_lite0", 0.05),
        *_trained("imagenette", "alexnet_gap", "alexnet", 0.4),
        *_trained("imagenette", "alexnet_plus_gap", "alexnet_plus", 0.4),
        *_trained("imagenette", "vgg16_gap", "vgg16", 4.0),
        _published("imagenette", "alexnet_published", "alexnet", 0.2),
        _published("imagenette", "vgg16_published", "vgg16", 1.0),
        _published("imagenette", "nin_published", "nin", 0.05),
    ),
    (
        Row("googlenet_gap", "GoogLeNet-GAP", "googlenet_gap", "", (35.0, 13.2), (56.40, 43.00)),
        Row("googlenet_gmp", "GoogLeNet-GMP", "googlenet_gmp", "", (35.6, 13.9), (57.78, 45.26)),
        Row("googlenet", "GoogLeNet, its own 7×7 map, fine-tuned", "googlenet", "", (31.9, 11.3), (60.09, 49.34)),
        Row("stride32", "GoogLeNet-GAP, map 7×7", "googlenet_gap_stride32"),
        Row("stride8", "GoogLeNet-GAP, map 28×28", "googlenet_gap_stride8"),
        Row("no_conv", "GoogLeNet-GAP without its convolution", "googlenet_gap_no_conv"),
        Row("stride32_no_conv", "GoogLeNet-GAP without its convolution, 7×7", "googlenet_gap_stride32_no_conv"),
        Row("stride8_no_conv", "GoogLeNet-GAP without its convolution, 28×28", "googlenet_gap_stride8_no_conv"),
        Row("googlenet_gap_backprop", "Backprop on GoogLeNet-GAP", "googlenet_gap_backprop"),
        Row("googlenet_gmp_backprop", "Backprop on GoogLeNet-GMP", "googlenet_gmp_backprop"),
        Row("googlenet_backprop", "Backprop on GoogLeNet, fine-tuned", "googlenet_backprop", "", None, (61.31, 50.55)),
        Row("stride32_backprop", "Backprop on GoogLeNet-GAP, map 7×7", "googlenet_gap_stride32_backprop"),
        Row("stride8_backprop", "Backprop on GoogLeNet-GAP, map 28×28", "googlenet_gap_stride8_backprop"),
        Row("no_conv_backprop", "Backprop on GoogLeNet-GAP without its convolution", "googlenet_gap_no_conv_backprop"),
        Row(
            "stride32_no_conv_backprop", "Backprop on GoogLeNet-GAP without it, 7×7",
            "googlenet_gap_stride32_no_conv_backprop",
        ),
        Row(
            "stride8_no_conv_backprop", "Backprop on GoogLeNet-GAP without it, 28×28",
            "googlenet_gap_stride8_no_conv_backprop",
        ),
        Row("ten_crop_text", "GoogLeNet-GAP, ten crops", "googlenet_gap_ten_crop", "largest_component"),
        Row(
            "ten_crop", "GoogLeNet-GAP, ten crops, the authors' boxes",
            "googlenet_gap_ten_crop", "", None, (None, 42.9),
        ),
        Row("heuristic", "GoogLeNet-GAP, heuristic", "googlenet_gap_ten_crop", "top5_heuristic", None, (None, 37.1)),
        Row("googlenet_published", "GoogLeNet, as published", "googlenet_published", "", (31.9, 11.3), (60.09, 49.34)),
        Row(
            "googlenet_published_backprop", "Backprop on GoogLeNet, as published", "googlenet_published_backprop", "",
            None, (61.31, 50.55),
        ),
        Row(
            "published_ten_crop_text", "GoogLeNet, as published, ten crops", "googlenet_published_ten_crop",
            "largest_component",
        ),
        Row(
            "published_ten_crop", "GoogLeNet, as published, ten crops, the authors' boxes",
            "googlenet_published_ten_crop",
        ),
        Row(
            "published_heuristic", "GoogLeNet, as published, heuristic",
            "googlenet_published_ten_crop", "top5_heuristic",
        ),
        Row("squeezenet1_0", "SqueezeNet 1.0, as published", "squeezenet1_0_published"),
        Row("squeezenet1_1", "SqueezeNet 1.1, as published", "squeezenet1_1_published"),
        Row("efficientnet_lite0", "EfficientNet-lite0, as published", "efficientnet_lite0_published"),
        Row("alexnet_gap", "AlexNet-GAP", "alexnet_gap", "", (51.1, 26.3), (67.19, 52.16)),
        Row("alexnet_plus_gap", "AlexNet*-GAP", "alexnet_plus_gap", "", (44.9, 20.9), (63.75, 49.53)),
        Row("vgg16_gap", "VGGnet-GAP", "vgg16_gap", "", (33.4, 12.2), (57.20, 45.14)),
        Row("alexnet_backprop", "Backprop on AlexNet", "alexnet_published", "", (42.6, 19.5), (65.17, 52.64)),
        Row("vgg16_backprop", "Backprop on VGGnet", "vgg16_published", "", (31.2, 11.4), (61.12, 51.46)),
        Row("nin", "NIN, as published", "nin_published", "", (41.9, 19.6), (65.47, 54.19)),
    ),
    (
        Claim("GAP localizes better than GMP", "googlenet_gap", "googlenet_gmp"),
        Claim("A finer map localizes better: 14×14 against 7×7", "googlenet_gap", "stride32"),
        Claim("… 28×28 against 14×14 (beyond the paper)", "stride8", "googlenet_gap"),
        Claim("… GoogLeNet-GAP against GoogLeNet's own 7×7 map, fine-tuned", "googlenet_gap", "googlenet"),
        Claim("… GoogLeNet-GAP, fine-tuned, against GoogLeNet as published", "googlenet_gap", "googlenet_published"),
        *(
            Claim(text, row, f"{row}_backprop", "gt_known_error@oracle")
            for text, row in (
                ("CAM localizes better than backpropagation: GoogLeNet-GAP", "googlenet_gap"),
                ("… GoogLeNet-GMP", "googlenet_gmp"),
                ("… GoogLeNet, fine-tuned", "googlenet"),
                ("… GoogLeNet, as published", "googlenet_published"),
            )
        ),
        Claim("The extra convolution helps to localize", "googlenet_gap", "no_conv"),
        Claim("… and to classify", "googlenet_gap", "no_conv", "classification_error/top1"),
        Claim("… AlexNet needs two of them", "alexnet_plus_gap", "alexnet_gap"),
        Claim(
            "Five guesses by the heuristic beat one box a class, top-5: GoogLeNet-GAP", "heuristic", "ten_crop",
            "localization_error/top5",
        ),
        Claim("… GoogLeNet, as published", "published_heuristic", "published_ten_crop", "localization_error/top5"),
        Claim(
            "Removing layers costs at most 2 points of classification: GoogLeNet-GAP against GoogLeNet, fine-tuned",
            "googlenet_gap", "googlenet", "classification_error/top1", 2.0,
        ),
        Claim("… VGGnet-GAP against VGGnet", "vgg16_gap", "vgg16_backprop", "classification_error/top1", 2.0),
    ),
)  # fmt: skip
"""Sources of the paper's numbers: its Tables 1, 2 and 3 (the last one on ILSVRC's test photos)."""


_FULL = (
    "All of ILSVRC, its 50,000 validation photos. Boxes by the paper's text, the largest component above 20 % of the "
    "map's maximum, on one view of the whole photo; the paper's numbers were made with ten crops and the box generator "
    "that its authors released, which the rows that say so have. " + _GRAINY
)
_FULL_TRAINED = {
    "googlenet_gap": ("googlenet", 8.0),
    "googlenet_gmp": ("googlenet", 8.0),
    "vgg16_gap": ("vgg16", 40.0),
    "alexnet_gap": ("alexnet", 4.0),
    "alexnet_plus_gap": ("alexnet_plus", 5.0),
}
_FULL_PUBLISHED = {
    "googlenet": ("googlenet", 0.1),
    "vgg16": ("vgg16", 0.2),
    "alexnet": ("alexnet", 0.1),
    "nin": ("nin", 0.1),
    "googlenet_backprop": ("googlenet", 0.5),
    "vgg16_backprop": ("vgg16", 2.0),
    "alexnet_backprop": ("alexnet", 0.3),
}
_TRAINED_RUNS = tuple(
    Run(name, (f"experiment=paper/ilsvrc/{name}",), weights=weights, hours=hours)
    for name, (weights, hours) in _FULL_TRAINED.items()
)
_PUBLISHED_RUNS = tuple(
    _published("ilsvrc", f"{name}_published", weights, hours, name)
    for name, (weights, hours) in _FULL_PUBLISHED.items()
)
_TEN_CROP_RUNS = tuple(
    Run(f"{name}_ten_crop", _TEN_CROP, "evaluate", of=name, hours=hours)
    for name, hours in {"googlenet_gap": 0.6, "vgg16_gap": 2.0}.items()
)

TABLE1 = Table(
    "table1",
    "Table 1 of the paper: classification on ILSVRC",
    "All of ILSVRC, its 50,000 validation photos, one view of the whole photo each.",
    (*_TRAINED_RUNS, *(run for run in _PUBLISHED_RUNS if "backprop" not in run.name)),
    (
        Row("vgg16_gap", "VGGnet-GAP", "vgg16_gap", "", (33.4, 12.2)),
        Row("googlenet_gap", "GoogLeNet-GAP", "googlenet_gap", "", (35.0, 13.2)),
        Row("alexnet_plus_gap", "AlexNet*-GAP", "alexnet_plus_gap", "", (44.9, 20.9)),
        Row("alexnet_gap", "AlexNet-GAP", "alexnet_gap", "", (51.1, 26.3)),
        Row("googlenet", "GoogLeNet", "googlenet_published", "", (31.9, 11.3)),
        Row("vgg16", "VGGnet", "vgg16_published", "", (31.2, 11.4)),
        Row("alexnet", "AlexNet", "alexnet_published", "", (42.6, 19.5)),
        Row("nin", "NIN", "nin_published", "", (41.9, 19.6)),
        Row("googlenet_gmp", "GoogLeNet-GMP", "googlenet_gmp", "", (35.6, 13.9)),
    ),
    tuple(
        Claim(
            f"Removing layers costs at most 2 points of classification: {gap} against {plain}",
            lower, higher, "classification_error/top1", 2.0,
        )
        for gap, plain, lower, higher in (
            ("VGGnet-GAP", "VGGnet", "vgg16_gap", "vgg16"),
            ("GoogLeNet-GAP", "GoogLeNet", "googlenet_gap", "googlenet"),
            ("AlexNet*-GAP", "AlexNet", "alexnet_plus_gap", "alexnet"),
        )
    ),
)  # fmt: skip

TABLE2 = Table(
    "table2",
    "Table 2 of the paper: localization on ILSVRC's validation photos",
    _FULL,
    (*_TRAINED_RUNS, *_PUBLISHED_RUNS, *_TEN_CROP_RUNS),
    (
        Row("googlenet_gap", "GoogLeNet-GAP", "googlenet_gap", "", (35.0, 13.2), (56.40, 43.00)),
        Row(
            "googlenet_gap_released",
            "… by the authors' code",
            "googlenet_gap_ten_crop",
            "",
            None,
            (56.40, 43.00),
        ),
        Row("vgg16_gap", "VGGnet-GAP", "vgg16_gap", "", (33.4, 12.2), (57.20, 45.14)),
        Row("vgg16_gap_released", "… by the authors' code", "vgg16_gap_ten_crop", "", None, (57.20, 45.14)),
        Row("googlenet", "GoogLeNet", "googlenet_published", "", (31.9, 11.3), (60.09, 49.34)),
        Row("alexnet_plus_gap", "AlexNet*-GAP", "alexnet_plus_gap", "", (44.9, 20.9), (63.75, 49.53)),
        Row("alexnet_gap", "AlexNet-GAP", "alexnet_gap", "", (51.1, 26.3), (67.19, 52.16)),
        Row("nin", "NIN", "nin_published", "", (41.9, 19.6), (65.47, 54.19)),
        Row("googlenet_backprop", "Backprop on GoogLeNet", "googlenet_backprop_published", "", None, (61.31, 50.55)),
        Row("vgg16_backprop", "Backprop on VGGnet", "vgg16_backprop_published", "", None, (61.12, 51.46)),
        Row("alexnet_backprop", "Backprop on AlexNet", "alexnet_backprop_published", "", None, (65.17, 52.64)),
        Row("googlenet_gmp", "GoogLeNet-GMP", "googlenet_gmp", "", (35.6, 13.9), (57.78, 45.26)),
    ),
    (
        Claim("GAP localizes better than GMP", "googlenet_gap", "googlenet_gmp", "localization_error/top1"),
        Claim("A finer map localizes better: GoogLeNet-GAP against GoogLeNet", "googlenet_gap", "googlenet"),
        *(
            Claim(text, cam, backprop, "gt_known_error@oracle")
            for text, cam, backprop in (
                ("CAM localizes better than backpropagation: GoogLeNet", "googlenet", "googlenet_backprop"),
                ("… GoogLeNet-GAP against backpropagation on GoogLeNet", "googlenet_gap", "googlenet_backprop"),
                ("… VGGnet-GAP against backpropagation on VGGnet", "vgg16_gap", "vgg16_backprop"),
            )
        ),
        Claim("AlexNet needs two extra convolutions", "alexnet_plus_gap", "alexnet_gap"),
    ),
)

TABLE3 = Table(
    "table3",
    "Table 3 of the paper: five guesses, top-5 localization on ILSVRC",
    "The paper's numbers are of the test photos, whose labels only the organisers have: `write_submission` makes the "
    "file that their server takes. Ours are of the 50,000 validation photos, where the paper's GoogLeNet-GAP has "
    "43.00 %. Ten crops, the authors' box generator.",
    (
        *(run for run in _TRAINED_RUNS if run.name == "googlenet_gap"),
        *(run for run in _PUBLISHED_RUNS if run.name == "googlenet_backprop_published"),
        *(run for run in _TEN_CROP_RUNS if run.of == "googlenet_gap"),
    ),
    (
        Row("heuristic", "GoogLeNet-GAP, heuristic", "googlenet_gap_ten_crop", "top5_heuristic", None, (None, 37.1)),
        Row("one_box", "GoogLeNet-GAP", "googlenet_gap_ten_crop", "", None, (None, 42.9)),
        Row("backprop", "Backprop", "googlenet_backprop_published", "", None, (None, 46.4)),
    ),
    (Claim("Five guesses by the heuristic beat one box a class", "heuristic", "one_box", "localization_error/top5"),),
)

TABLES = {table.name: table for table in (IMAGENETTE, TABLE1, TABLE2, TABLE3)}
