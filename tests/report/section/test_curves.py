"""Learning curves: what shares a plate, what has a line, and what it is called, by the specs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from report_world import LOSS, specs_of

from cam_lightning.contracts import Spec
from cam_lightning.report.run_record import Point, read_run
from cam_lightning.report.section.curves import learning_curves


def curves_of(values: dict[str, float]) -> dict[str, list[Point]]:
    return {key: [Point(1, "0", value)] for key, value in values.items()}


def test_learning_curves_join_what_belongs_together(make_run: Callable[..., Path]) -> None:
    record = read_run(make_run())
    loss, localization = learning_curves(record.curves, record.specs)
    assert loss.title == "Loss"
    assert [(line.label, line.value) for line in loss.lines] == [("val", "2.2500"), ("train", "2.5000")]
    assert [line.label for line in localization.lines] == ["val top-1", "val GT-known", "val centre box"]
    assert [line.style for line in localization.lines] == ["line0", "line1", "baseline dash0"]
    assert record.last_values["val/gt_known_error"] == 0.75


def test_a_run_of_before_looks_the_same(make_run: Callable[..., Path], tmp_path: Path) -> None:
    record = read_run(make_run(has_specs=False))
    loss, localization = learning_curves(record.curves, record.specs)
    assert [line.label for line in (*loss.lines, *localization.lines)] == [
        "val", "train", "val top-1", "val GT-known", "val centre box",
    ]  # fmt: skip


def test_a_number_that_nobody_speaks_for_has_a_plate_of_its_own_by_its_key() -> None:
    charts = learning_curves(curves_of({"lr-SGD": 0.1, "test/loss": 3.0}), {"test/loss": LOSS})
    assert [(chart.title, [line.label for line in chart.lines]) for chart in charts] == [("Lr-SGD", ["Lr-SGD"])]


def test_what_belongs_to_another_key_has_no_line_of_its_own() -> None:
    """A threshold is no error, a count no share, and an error at another threshold is in the table."""
    curves = curves_of(
        {
            "val/gt_known_error": 0.5,
            "val/gt_known_error@oracle": 0.4,
            "val/gt_known_error@oracle/threshold": 0.3,
            "val/num_images": 40,
            "val/gt_known_error_by_size/0_to_0.15": 0.9,
            "val/gt_known_error_by_size/0_to_0.15/num_images": 7,
        }
    )
    charts = learning_curves(curves, specs_of("val"))
    assert [[line.label for line in chart.lines] for chart in charts] == [["val GT-known"], ["val 0 to 0.15"]]


def test_further_maps_have_a_line_beside_the_first_headline() -> None:
    keys = ("localization_error/top1", "gt_known_error")
    values = {f"val/{arm}{key}": 0.5 for arm in ("", "grad_cam/", "baseline/centre_box/") for key in keys}
    (chart,) = learning_curves(curves_of(values), specs_of("val", "grad_cam"))
    assert [(line.label, line.style) for line in chart.lines] == [
        ("val top-1", "line0"),
        ("val GT-known", "line1"),
        ("val grad cam", "line2"),
        ("val centre box", "baseline dash0"),
    ]


def test_terms_of_a_loss_share_its_plate_and_an_axis_has_its_unit() -> None:
    specs = {"train/loss": LOSS, "train/loss/erased": LOSS._replace(title="loss, erased"),
             "val/time": Spec("time for a map", "number", unit="s")}  # fmt: skip
    loss, time = learning_curves(curves_of({"train/loss": 3.0, "train/loss/erased": 1.0, "val/time": 0.0025}), specs)
    assert [line.label for line in loss.lines] == ["train", "train loss, erased"]
    assert (time.title, time.note, time.lines[0].value) == ("Time for a map", "s", "0.0025 s")
