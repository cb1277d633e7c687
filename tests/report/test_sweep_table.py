"""Several runs as one table, made of run directories small enough to know every number in them."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from report_world import LOSS, specs_of, stored

from cam_lightning.contracts import Spec
from cam_lightning.report.__main__ import main, write_reports
from cam_lightning.report.found_runs import find_runs
from cam_lightning.report.sweep_html import side_by_side
from cam_lightning.report.sweep_table import SweepTable, Unfinished, sweep_table
from cam_lightning.report.sweep_text import as_csv, as_markdown, as_text

TOP1 = "test/localization_error/top1"
GAP = {"_target_": "cam_lightning.backbone.googlenet_gap.googlenet_gap", "width": 1.0, "stride": 16}
SPECS = {TOP1: specs_of("test")[TOP1], "test/loss": LOSS, "test/accuracy": Spec("accuracy", better="higher")}
VGG = {"_target_": "cam_lightning.backbone.vgg16_gap.vgg16_gap", "width": 1.0}

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes `<tmp>/sweep/<name>`; `error` is its localization error, None for a run without results."""

    def make(
        name: str,
        error: float | None = 0.5,
        seed: int = 0,
        backbone: dict[str, Any] = GAP,
        state: str = "finished",
        traceback: str = "",
        pictures: tuple[str, ...] = (),
        **parameters: Any,
    ) -> Path:
        run_dir = tmp_path / "sweep" / name
        run_dir.mkdir(parents=True)
        config = {
            "seed": seed,
            "run_dir": str(run_dir),
            "sweep": "sweep",
            "dataset": {"seed": seed, "scene_seed": 0},
            "backbone": backbone,
            "callback": {"checkpoint": {"dirpath": f"{run_dir}/checkpoints"}},
            **parameters,
        }
        if state != "queued":
            (run_dir / "config.yaml").write_text(yaml.safe_dump(config))
        status = {"state": state, **({"traceback": traceback, "error": "not shown"} if traceback else {})}
        (run_dir / "status.json").write_text(json.dumps(status))
        if error is not None:
            results = {TOP1: error, "test/loss": 10 * error, "test/accuracy": 1 - error, "protocol/seed": seed}
            results |= {"specs": stored(SPECS)}
            (run_dir / "results.json").write_text(json.dumps(results))
        for picture in pictures:
            (run_dir / "overlays" / "test").mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((110, 132, 3), np.uint8)).save(run_dir / "overlays" / "test" / picture)
        return run_dir

    return make


def table_of(tmp_path: Path, **options: Any) -> SweepTable:
    return sweep_table(find_runs([tmp_path / "sweep"]), **options)


def test_a_row_is_the_mean_and_sample_deviation_over_seeds(make: Make, tmp_path: Path) -> None:
    for seed, error in enumerate((0.30, 0.34, 0.38)):
        make(f"g{seed}", error, seed)
    make("v0", 0.25, 0, VGG)
    table = table_of(tmp_path)
    assert table.parameters == ["backbone"]
    assert [row.parameters for row in table.rows] == [["vgg16_gap"], ["googlenet_gap"]]
    alone, three = (row.measures[TOP1] for row in table.rows)
    assert alone == (0.25, None)
    # Three numbers 0.04 apart: deviations -0.04, 0, 0.04, so √(2 · 0.04² / (3 - 1)) = 0.04.
    assert three.mean == pytest.approx(0.34)
    assert three.deviation == pytest.approx(0.04)
    assert np.std([0.30, 0.34, 0.38], ddof=1) == pytest.approx(0.04)
    assert table.notes == []


def test_only_parameters_that_differ_are_columns_and_no_consequences_of_the_seed(make: Make, tmp_path: Path) -> None:
    for number, rate in enumerate((0.01, 0.1)):
        for seed in (1, 2):
            make(f"{number}{seed}", rate, seed, method={"learning_rate": rate}, paths={"runs": f"/{number}"})
    table = table_of(tmp_path)
    assert table.parameters == ["method.learning_rate"]
    assert [row.parameters for row in table.rows] == [["0.01"], ["0.1"]]


def test_where_localized_images_go_is_no_parameter(make: Make, tmp_path: Path) -> None:
    for number, count in enumerate((24, 0)):
        make(f"g{number}", callback={"localization": {"sinks": {"overlays": {"count": count}}}})
    assert table_of(tmp_path).parameters == []


def test_where_a_probe_keeps_its_features_is_no_parameter(make: Make, tmp_path: Path) -> None:
    for seed, folder in enumerate(("/scratch/1/features", "/scratch/2/features")):
        make(f"g{seed}", seed=seed, features=folder)
    table = table_of(tmp_path)
    assert table.parameters == []
    assert [len(row.finished) for row in table.rows] == [2]


def test_a_seed_of_its_own_is_a_parameter(make: Make, tmp_path: Path) -> None:
    """`dataset.seed=7` beside `seed=1`: other images are held out, which is not the run's own chance."""
    make("a", seed=1)
    make("b", seed=1, dataset={"seed": 7, "scene_seed": 0})
    assert table_of(tmp_path).parameters == ["dataset.seed"]


def test_a_seed_held_fixed_is_one_configuration_also_where_it_is_the_run_s_own(make: Make, tmp_path: Path) -> None:
    """`-m seed=0,1,2 dataset.seed=0`: the same images are held out in all three, seed 0 among them."""
    for seed, error in enumerate((0.30, 0.34, 0.38)):
        make(f"g{seed}", error, seed, dataset={"seed": 0, "scene_seed": 0})
    table = table_of(tmp_path)
    assert table.parameters == []
    assert [len(row.finished) for row in table.rows] == [3]


def test_options_that_only_one_of_two_parts_has_are_no_columns(make: Make, tmp_path: Path) -> None:
    make("a")
    make("b", backbone=VGG)
    make("c", backbone={**VGG, "width": 0.5})
    assert table_of(tmp_path).parameters == ["backbone", "backbone.width"]


def test_variants_of_one_part_are_told_apart(make: Make, tmp_path: Path) -> None:
    make("a", backbone={**GAP, "pool": "max"})
    make("b")
    table = table_of(tmp_path)
    assert table.parameters == ["backbone.pool"]
    assert sorted(row.parameters[0] for row in table.rows) == ["max", "–"]


def test_variants_of_a_part_are_told_apart_beside_a_part_without_that_option(make: Make, tmp_path: Path) -> None:
    """GAP and GMP differ in `pool` alone, which SqueezeNet lacks: no row is a mean over the two of them."""
    for seed in (1, 2, 3):
        make(f"gap{seed}", 0.1 * seed, seed, {**GAP, "pool": "mean"})
        make(f"gmp{seed}", 0.4 + 0.1 * seed, seed, {**GAP, "pool": "max"})
        make(f"vgg{seed}", 0.9, seed, VGG)
    table = table_of(tmp_path)
    assert table.parameters == ["backbone", "backbone.pool"], "the stride follows from the backbone"
    assert [row.parameters for row in table.rows] == [
        ["googlenet_gap", "mean"],
        ["googlenet_gap", "max"],
        ["vgg16_gap", "–"],
    ]
    assert [len(row.finished) for row in table.rows] == [3, 3, 3]
    assert [row.measures[TOP1].mean for row in table.rows] == pytest.approx([0.2, 0.6, 0.9])
    assert table.notes == []


@pytest.mark.parametrize("boxes", [(0.1, 0.2, None), (None, 0.2, 0.1)])
def test_thresholds_are_told_apart_beside_a_box_that_has_none(
    make: Make, tmp_path: Path, boxes: tuple[float | None, ...]
) -> None:
    for number, threshold in enumerate(boxes):
        box: dict[str, Any] = {"_target_": "cam_lightning.box.distance_transform.DistanceTransform"}
        if threshold is not None:
            box = {"_target_": "cam_lightning.box.largest_component.LargestComponent", "threshold": threshold}
        make(f"{number}", threshold or 0.9, box=box)
    assert [row.parameters for row in table_of(tmp_path).rows] == [
        ["LargestComponent", "0.1"],
        ["LargestComponent", "0.2"],
        ["DistanceTransform", "–"],
    ]


def test_a_part_that_only_some_runs_have_is_a_column(make: Make, tmp_path: Path) -> None:
    other = {"_target_": "cam_lightning.metric.y.Y"}
    make("a", metric={"y": other, "x": {"_target_": "cam_lightning.metric.x.X", "interval": 0.1}})
    make("b", metric={"y": other})
    table = table_of(tmp_path)
    assert table.parameters == ["metric.x"], "its options follow"
    assert len(table.rows) == 2


def test_values_that_read_alike_are_other_configurations(make: Make, tmp_path: Path) -> None:
    """Learning rates equal to six digits, and two parts of one name."""
    make("a", 0.1, method={"learning_rate": 0.0123456})
    make("b", 0.2, method={"learning_rate": 0.01234561})
    make("c", 0.3, 0, {**VGG, "_target_": "cam_lightning.backbone.other.vgg16_gap"}, method={"learning_rate": 0.5})
    make("d", 0.4, 0, VGG, method={"learning_rate": 0.5})
    table = table_of(tmp_path)
    assert table.parameters == ["backbone", "method.learning_rate"]
    assert [row.parameters for row in table.rows] == [
        [GAP["_target_"], "0.0123456"],
        [GAP["_target_"], "0.01234561"],
        ["cam_lightning.backbone.other.vgg16_gap", "0.5"],
        [VGG["_target_"], "0.5"],
    ]


def test_long_numbers_are_cut_where_that_tells_them_apart(make: Make, tmp_path: Path) -> None:
    make("a", 0.1, method={"learning_rate": 0.012345678901234567})
    make("b", 0.2, method={"learning_rate": 0.1})
    assert [row.parameters for row in table_of(tmp_path).rows] == [["0.0123457"], ["0.1"]]


def test_how_a_run_was_carried_out_is_no_parameter_and_what_it_saw_is(make: Make, tmp_path: Path) -> None:
    """A seed that went on with more workers is still one of the seeds; one of other images is not."""
    # As earlier versions wrote it: their parts declared nothing.
    for seed, workers in enumerate((0, 4)):
        make(
            f"a{seed}",
            0.5 + 0.1 * seed,
            seed,
            dataset={"seed": seed, "root": "/a", "num_workers": workers},
            trainer={"max_epochs": 8, "timeout_minutes": 60 * seed},
            callback={"checkpoint": {"every_minutes": 10 + seed}},
        )
    make("b", 0.2, 3, dataset={"seed": 3, "root": "/b", "num_workers": 0}, trainer={"max_epochs": 8},
         callback={"checkpoint": {"every_minutes": 10}})  # fmt: skip
    table = table_of(tmp_path)
    assert table.parameters == ["dataset.root"]
    assert [row.parameters for row in table.rows] == [["/b"], ["/a"]]
    assert [len(row.finished) for row in table.rows] == [1, 2]


def test_a_path_that_begins_like_the_run_s_own_is_a_parameter(make: Make, tmp_path: Path) -> None:
    """Evaluations called after the runs that they evaluate."""
    for name in ("gap", "vgg"):
        make(name, checkpoint=str(tmp_path / "sweep" / f"{name}_trained" / "checkpoints" / "last.ckpt"))
    assert table_of(tmp_path).parameters == ["checkpoint"]


def test_what_a_part_says_of_its_options_is_no_parameter_and_tells_which_are_none(make: Make, tmp_path: Path) -> None:
    """A package of one's own has options that only say how a run is carried out, and says so itself."""
    part = {"_target_": "mine.Data", "_options_": {"cache": "manner", "root": "path"}, "_partial_": True}
    make("a", 0.1, 1, mine={**part, "cache": "/a", "size": 1})
    make("b", 0.2, 2, mine={**part, "cache": "/b", "size": 1, "_options_": {"cache": "manner"}}, logger={}, further={})
    make("c", 0.3, 1, mine={**part, "cache": "/c", "size": 2})
    table = table_of(tmp_path)
    assert table.parameters == ["mine.size"]
    assert [(row.parameters, len(row.finished)) for row in table.rows] == [(["1"], 2), (["2"], 1)]


@pytest.mark.parametrize(
    ("by", "order"), [(None, ["a", "b", "c"]), ("test/loss", ["a", "b", "c"]), ("test/accuracy", ["a", "b", "c"])]
)
def test_the_best_come_first_whichever_way_is_better(make: Make, tmp_path: Path, by: str | None, order: list) -> None:
    for name, error in (("c", 0.9), ("a", 0.1), ("b", 0.5)):
        make(name, error, tag=name)
    make("d", math.nan, tag="d")
    make("e", None, state="failed", tag="e")
    table = table_of(tmp_path, by=by)
    assert [row.parameters[0] for row in table.rows] == [*order, "d", "e"]


def test_unfinished_runs_are_marked_with_the_last_line_of_their_traceback(make: Make, tmp_path: Path) -> None:
    make("a", seed=1)
    make("b", None, seed=2, state="failed", traceback="Traceback:\n  line\nValueError: the | reason\n")
    make("c", None, state="queued")
    make("d", 0.0, seed=3, state="running")
    table = table_of(tmp_path)
    (row,) = table.rows
    assert row.measures[TOP1] == (0.5, None), "what has not finished is not in the mean"
    assert table.unfinished == [
        ("b", "failed", "ValueError: the | reason"),
        ("c", "queued", ""),
        ("d", "running", ""),
    ]
    for text in (as_text(table, 200), as_markdown(table)):
        assert "failed: b: ValueError: the | reason" in text
        assert "queued: c" in text
        assert "1 of 3" in text


def test_a_seed_run_twice_is_said(make: Make, tmp_path: Path) -> None:
    make("a", 0.4, seed=1)
    make("b", 0.4, seed=1)
    assert table_of(tmp_path).notes == ["seed 1 was run 2 times: the deviation is not over seeds alone"]


def test_a_mean_over_fewer_runs_than_its_row_has_is_said(make: Make, tmp_path: Path) -> None:
    for seed, error in enumerate((0.2, 0.4, math.nan)):
        make(f"g{seed}", error, seed)
    table = table_of(tmp_path)
    (row,) = table.rows
    assert row.measures[TOP1].mean == pytest.approx(0.3)
    assert table.notes == [f"{TOP1} is of 2 of 3 runs: the others have no such number"]


def test_what_was_logged_in_training_can_be_shown(make: Make, tmp_path: Path) -> None:
    run_dir = make("a")
    (run_dir / "metrics.csv").write_text("time,step,epoch,key,value\nx,1,0,val/loss,3.0\nx,2,1,val/loss,2.0\n")
    table = table_of(tmp_path, by="val/loss")
    assert table.keys == ["val/loss", TOP1]
    assert table.rows[0].measures["val/loss"].mean == 2.0


def test_an_unknown_result_gets_the_known_ones(make: Make, tmp_path: Path) -> None:
    make("a")
    with pytest.raises(ValueError, match=r"no run has the result test/x; there is: test/loss, test/l.*, test/accuracy"):
        table_of(tmp_path, by="test/x")


def test_runs_are_found_once_in_sweeps_and_by_themselves(make: Make, tmp_path: Path) -> None:
    one = make("a")
    make("b")
    (tmp_path / "sweep" / "earlier" / "a.1").mkdir(parents=True)
    (tmp_path / "sweep" / "earlier" / "a.1" / "status.json").write_text("{}")
    found = find_runs([one, tmp_path / "sweep"])
    assert [record.path.name for record in found] == ["a", "b"]
    # A folder of runs holds sweeps beside single runs, and tables whose rows have a folder for their seeds.
    single = tmp_path / "alone"
    single.mkdir()
    (single / "status.json").write_text("{}")
    seed = tmp_path / "paper" / "imagenette" / "gap" / "0"
    (seed / "checkpoints" / "status.json").mkdir(parents=True)
    (seed / "status.json").write_text("{}")
    (tmp_path / ".trash" / "c").mkdir(parents=True)
    (tmp_path / ".trash" / "c" / "status.json").write_text("{}")
    assert [record.path for record in find_runs([tmp_path])] == [single, seed, one, tmp_path / "sweep" / "b"]
    with pytest.raises(ValueError, match="neither a run's directory nor a folder of such"):
        find_runs([tmp_path / "nowhere"])


def test_the_formats_say_the_same(make: Make, tmp_path: Path) -> None:
    for seed, error in enumerate((0.30, 0.34)):
        make(f"g{seed}", error, seed, tag="[x|y]")
    make("v", 0.25, tag="other")
    table = table_of(tmp_path, keys=[TOP1, "test/loss"])
    text, markdown = as_text(table, 200), as_markdown(table)
    for part in ("25.00 %", "32.00 ± 2.83 %", "3.2000 ± 0.2828", "test localization error, top-1 ↓"):
        assert part in text
        assert part in markdown
    assert "[x|y]" in text
    assert r"| [x\|y] | 2 | 32.00 ± 2.83 %" in markdown
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [row["tag"] for row in rows] == ["other", "[x|y]"]
    assert float(rows[1][f"{TOP1} mean"]) == pytest.approx(0.32)
    assert float(rows[1][f"{TOP1} deviation"]) == pytest.approx(0.04 / math.sqrt(2))
    assert rows[0][f"{TOP1} deviation"] == ""
    assert [row["finished"] for row in rows] == ["1", "2"]


def test_galleries_stand_side_by_side_by_image_of_one_seed(make: Make, tmp_path: Path) -> None:
    """A seed chooses the sample of images, so runs of one seed are compared."""
    make("a1", 0.1, 1, tag="a", pictures=("000001_x.png",))
    make("a2", 0.1, 2, tag="a", pictures=("000003_z.png",))
    make("b2", 0.2, 2, tag="b", pictures=("000003_z.png", "000000_w.png"))
    gallery = side_by_side(table_of(tmp_path))
    assert gallery.columns == ["a", "b"]
    assert [(name, [cell is not None for cell in row]) for name, row in gallery.rows] == [
        ("000003_z", [True, True]),
        ("000000_w", [False, True]),
    ]
    assert gallery.note == "Runs of seed 2."


def test_a_folder_gets_its_page_and_tables(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("a", 0.1, 1, tag="<b>bold</b>", pictures=("000001_x.png",))
    make("b", None, 2, tag="<b>bold</b>", state="failed", traceback="ValueError: <script>")
    assert main([str(tmp_path / "sweep"), "--format", "csv"]) == 0
    written = capsys.readouterr()
    assert written.out == (tmp_path / "sweep" / "results.csv").read_text()
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert "data:image/webp;base64," in page
    assert "ValueError: &lt;script&gt;" in page
    assert "<script" not in page
    assert 'href="a/report.html"' in page
    assert "| runs |" in (tmp_path / "sweep" / "results.md").read_text()


def test_a_run_s_own_page_is_not_overwritten(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = make("a")
    (run_dir / "report.html").write_text("its own")
    assert main([str(run_dir)]) == 0
    assert "50.00 %" in capsys.readouterr().out
    assert (run_dir / "report.html").read_text() == "its own"


@pytest.mark.parametrize("state", ["finished", "failed", "interrupted", "running", "queued"])
def test_a_run_that_was_killed_before_its_page_gets_one(make: Make, tmp_path: Path, state: str) -> None:
    """Between how it ended and its page lie some seconds; one that still runs draws its own."""
    kept, lost = make("a", 0.1), make("b", 0.2, 2, state=state)
    (kept / "report.html").write_text("its own")
    assert main([str(tmp_path / "sweep")]) == 0
    assert (kept / "report.html").read_text() == "its own"
    assert (lost / "report.html").exists() == (state in ("finished", "failed", "interrupted"))


def test_a_page_that_cannot_be_written_costs_no_table(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(run_dir: Path) -> Path:
        raise OSError(30, "Read-only file system", str(run_dir))

    monkeypatch.setattr("cam_lightning.report.html.write_report", read_only)
    run_dir = make("a")
    assert main([str(run_dir)]) == 0
    assert "50.00 %" in capsys.readouterr().out


def test_bad_input_is_one_line(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("a")
    assert main([str(tmp_path / "sweep"), "--by", "test/x"]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["error:", "error:"]


def test_a_sweep_of_which_nothing_finished_has_a_table_too(make: Make, tmp_path: Path) -> None:
    make("a", None, state="failed", traceback="ValueError: x")
    make("b", None, state="queued")
    texts = write_reports([tmp_path / "sweep"], tmp_path / "sweep", None, None)
    assert "failed: a: ValueError: x" in texts["text"]


def test_the_headlines_are_shown_in_their_order_and_the_first_orders(make: Make, tmp_path: Path) -> None:
    """Of the run's own, of the test; whatever they are called."""
    specs = {
        "test/beauty": Spec("beauty", "number", better="higher", headline=2, unit="°"),
        "test/speed": Spec("speed", "number", better="lower", headline=1, unit="s"),
        "test/grad_cam/speed": Spec("speed", "number", better="lower", headline=1, arm="grad_cam"),
        "val/speed": Spec("speed", "number", better="lower", headline=1),
        "test/count": Spec("images", "count", better=None, headline=0),
        "test/aside": Spec("aside"),
    }
    for name, beauty in (("a", 3.0), ("b", 5.0)):
        values = dict.fromkeys(specs, 2.0) | {"test/beauty": beauty, "test/speed": beauty / 1000}
        (make(name, tag=name) / "results.json").write_text(json.dumps(values | {"specs": stored(specs)}))
    table = table_of(tmp_path)
    assert (table.keys, table.by) == (["test/speed", "test/beauty"], "test/speed")
    assert [row.parameters for row in table.rows] == [["a"], ["b"]]
    assert [row.parameters for row in table_of(tmp_path, by="test/beauty").rows] == [["b"], ["a"]]
    text = as_text(table, 200)
    for part in ("test speed ↓", "test beauty", "0.003 s", "5.0000 °"):
        assert part in text
    assert "test speed (grad_cam)" in as_markdown(table_of(tmp_path, keys=["test/grad_cam/speed"]))


def test_runs_of_before_and_of_now_stand_in_one_table(make: Make, tmp_path: Path) -> None:
    make("now", 0.2, tag="now")
    earlier = make("earlier", 0.4, tag="earlier")
    (earlier / "results.json").write_text(json.dumps({TOP1: 0.4, "test/loss": 2.0}))
    table = table_of(tmp_path)
    assert table.keys == [TOP1]
    assert [row.parameters for row in table.rows] == [["now"], ["earlier"]]
    assert "test localization error, top-1 ↓" in as_text(table, 200)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("results.json", '{"test/loc'),
        ("results.json", "[1, 2]"),
        ("results.json", '{"specs": {"a": 3}}'),
        ("specs.json", "\x00"),
        ("config.yaml", "a: [1"),
        ("config.yaml", "- 1"),
        ("status.json", "finished"),
    ],
)
def test_a_damaged_run_is_named_beside_the_others(
    make: Make, tmp_path: Path, file: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make("good", 0.25, 1)
    (make("bad", 0.75, 2) / file).write_text(content)
    assert main([str(tmp_path / "sweep")]) == 0
    page = (tmp_path / "sweep" / "report.html").read_text()
    for text in (capsys.readouterr().out, page, (tmp_path / "sweep" / "results.md").read_text()):
        assert "25.00 %" in text
        assert "50.00" not in text, "what cannot be relied on is in no mean"
        assert file in text
    assert ">bad</code>: " + file in page


def test_damage_that_spares_the_numbers_is_a_note(make: Make, tmp_path: Path) -> None:
    """Half a line in metrics.csv, a table of predictions cut off, a picture that is none."""
    make("good", 0.25, 1, pictures=("000000_a.png", "000001_b.png"))
    bad = make("bad", 0.75, 1, tag="x", pictures=("000000_a.png", "000001_b.png"))
    (bad / "metrics.csv").write_text("time,step,epoch,key,value\nx,1,0,val/lo\nx,2,1,val/loss,2.0\n")
    (bad / "predictions.csv").write_text("id,label\n")
    (bad / "overlays" / "test" / "000001_b.png").write_bytes(b"no picture")
    table = table_of(tmp_path)
    assert [row.measures[TOP1].mean for row in table.rows] == [0.25, 0.75]
    assert table.notes == ["damaged: bad: metrics.csv: row 1 is not a row of step, epoch, key and value"]
    gallery = side_by_side(table)
    cells = {name: [cell is not None for cell in row] for name, row in gallery.rows}
    assert cells == {"000000_a": [True, True], "000001_b": [True, False]}
    predictions, picture = gallery.damaged
    assert predictions.startswith(f"bad: {bad / 'predictions.csv'} has no column")
    assert picture.startswith("bad: overlays/test/000001_b.png: ")


def test_no_cell_of_the_csv_is_a_formula(make: Make, tmp_path: Path) -> None:
    for name, tag in (("a", "=1+1"), ("b", "@x")):
        make(name, tag=tag)
    make("c", tag=-1)
    rows = list(csv.reader(io.StringIO(as_csv(table_of(tmp_path)))))
    assert sorted(row[0] for row in rows) == ["'=1+1", "'@x", "-1", "tag"]
    assert "=1+1" in as_markdown(table_of(tmp_path)), "no spreadsheet reads that"


def test_when_a_run_that_says_it_runs_was_last_heard_of(make: Make, tmp_path: Path) -> None:
    """One that was killed says so for ever."""
    make("a")
    run = make("killed", None, state="running")
    (run / "metrics.csv").write_text("time,step,epoch,key,value\n")
    os.utime(run / "metrics.csv", (moment := datetime(2026, 3, 4, 5, 6).timestamp(), moment))
    table = table_of(tmp_path)
    assert table.unfinished == [Unfinished("killed", "running", "its last number is of 2026-03-04, 05:06")]
    assert "running: killed: its last number is of 2026-03-04, 05:06" in as_text(table, 200)


def test_an_option_that_a_metric_takes_over_is_one_column(make: Make, tmp_path: Path) -> None:
    for number, (own, other) in enumerate(((0.1, 0.1), (0.2, 0.2))):
        make(f"g{number}", box={"threshold": own}, metric={"curve": {"box": {"threshold": other}}})
    assert table_of(tmp_path).parameters == ["box.threshold"]
    make("another", box={"threshold": 0.1}, metric={"curve": {"box": {"threshold": 0.5}}})
    table = table_of(tmp_path)
    assert table.parameters == ["box.threshold", "metric.curve.box.threshold"]
    assert len(table.rows) == 3
