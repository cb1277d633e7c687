"""A number that nobody has heard of, in a unit, higher being better: its spec alone takes it through every door.

No file of `report/`, `logger/` or `sweep/` names it, and none has to be touched for it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cam_lightning.contracts import Spec
from cam_lightning.report.__main__ import write_reports
from cam_lightning.report.html import write_report
from cam_lightning.report.table import further_line, further_tables, results_table

SHARPNESS = Spec("sharpness of maps", "number", better="higher", family="sharpness", unit="lines")
BLUR = Spec("blur of maps", "number", better="lower", family="sharpness", unit="lines", label="blur")
HEADLINE = SHARPNESS._replace(headline=5, has_baseline=True)
IMAGES = Spec("images", "count", better=None, headline=0)


def specs(split: str, sharpness: Spec) -> dict[str, Any]:
    named = {f"{split}/num_images": IMAGES}
    for arm in ("", "grad_cam", "baseline/centre_box"):
        prefix = f"{split}/{arm}/" if arm else f"{split}/"
        named |= {f"{prefix}q/sharpness": sharpness._replace(arm=arm), f"{prefix}q/blur": BLUR._replace(arm=arm)}
    named[f"{split}/q/sharpness/threshold"] = Spec(
        "threshold", "number", better=None, of=f"{split}/q/sharpness", role="threshold"
    )
    return {key: spec._asdict() for key, spec in named.items()}


def results(sharpness: float, spec: Spec = HEADLINE) -> dict[str, Any]:
    return {
        "test/num_images": 40,
        "test/q/sharpness": sharpness,
        "test/q/sharpness/threshold": 0.25,
        "test/q/blur": 0.5,
        "test/grad_cam/q/sharpness": 7.25,
        "test/baseline/centre_box/q/sharpness": 1.125,
        "protocol/box/threshold": 0.2,
        "specs": specs("test", spec),
    }


def write_run(run_dir: Path, sharpness: float, rate: float) -> Path:
    run_dir.mkdir(parents=True)
    (run_dir / "status.json").write_text('{"state": "finished"}')
    (run_dir / "config.yaml").write_text(f"seed: 0\nmethod: {{learning_rate: {rate}}}\n")
    (run_dir / "results.json").write_text(json.dumps(results(sharpness)))
    (run_dir / "specs.json").write_text(json.dumps(specs("val", HEADLINE)))
    rows = [f"t,{step},{step},val/{arm}q/sharpness,{sharpness}" for step in (1, 2) for arm in ("", "grad_cam/")]
    (run_dir / "metrics.csv").write_text("\n".join(["time,step,epoch,key,value", *rows, ""]))
    return run_dir


def printed(table: Any) -> list[list[str]]:
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in capture.get().splitlines()]


def test_in_the_table_that_ends_a_run() -> None:
    rows = printed(results_table(results(3.5)))
    assert ["this run, box, threshold 0.2", "3.5000 lines at 0.25"] in rows
    assert ["grad_cam", "7.2500 lines"] in rows
    assert ["baseline: centre box", "1.1250 lines"] in rows
    assert further_line(results(3.5)) == "blur of maps 0.5000 lines"


def test_in_the_further_tables_where_it_is_no_headline() -> None:
    (table,) = further_tables(results(3.5, SHARPNESS))
    rows = printed(table)
    assert rows[0] == ["Sharpness"]
    assert ["this run, box, threshold 0.2", "3.5000 lines at 0.25", "0.5000 lines"] in rows
    assert ["grad_cam", "7.2500 lines", ""] in rows


def test_on_the_page(tmp_path: Path) -> None:
    text = " ".join(write_report(write_run(tmp_path / "run", 3.5, 0.1)).read_text(encoding="utf-8").split())
    assert '<th scope="row">sharpness of maps&nbsp;<span class="direction"><span aria-hidden="true">↑' in text
    cells = re.findall(r"<td( class=\"best\")?>([^<]*)</td>", text)
    assert cells[:3] == [("", "3.5000 lines at 0.25"), (' class="best"', "7.2500 lines"), ("", "1.1250 lines")]
    assert "<h3>Sharpness <small>lines</small></h3>" in text, "a chart of its own, with its unit"
    assert "val sharpness of maps <b>3.5000 lines</b>" in text
    assert "val grad cam <b>3.5000 lines</b>" in text


def test_in_the_table_of_a_sweep(tmp_path: Path) -> None:
    for name, sharpness in (("blurred", 2.0), ("sharp", 6.0)):
        write_run(tmp_path / "sweep" / name, sharpness, sharpness / 100)
    texts = write_reports([tmp_path / "sweep"], tmp_path / "sweep", None, None)
    markdown = texts["markdown"].splitlines()
    assert markdown[0] == "| method.learning_rate | runs | test sharpness of maps ↑ |"
    assert markdown[2:4] == ["| 0.06 | 1 | 6.0000 lines |", "| 0.02 | 1 | 2.0000 lines |"], "higher is better"
    assert texts["csv"].splitlines()[1] == "0.06,1,0,6.0,"
    assert "test sharpness of maps ↑" in (tmp_path / "sweep" / "report.html").read_text(encoding="utf-8")
    by_blur = write_reports([tmp_path / "sweep"], None, None, ["test/q/blur"])["markdown"]
    assert "test blur of maps ↓" in by_blur


def test_in_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its own file holds is read in tests/logger; here, what it is told."""
    from cam_lightning.logger.wandb_run import finish_run

    told: dict[str, Any] = {}

    class Run:
        def __init__(self) -> None:
            self.summary: dict[str, Any] = {}

        def define_metric(self, key: str, **options: Any) -> None:
            told[key] = options["summary"]

        def finish(self, exit_code: int) -> None: ...

    class Wandb:
        run = Run()

        def teardown(self, exit_code: int) -> None: ...

    wandb = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    finish_run(write_run(tmp_path / "run", 3.5, 0.1), 0)
    assert (told["test/q/sharpness"], told["test/q/blur"]) == ("max", "min")
    assert "test/num_images" not in told
    assert wandb.run.summary["test/q/sharpness"] == 3.5
    assert "specs" not in wandb.run.summary


def test_in_optuna(tmp_path: Path) -> None:
    """The study minimises what is better higher by its negative, where nobody gave a direction."""
    pytest.importorskip("optuna", reason="the extra `sweep` is not installed")
    from hydra.errors import HydraException

    from cam_lightning.sweep.optuna_sweeper import OptunaSweeper

    directory = write_run(tmp_path / "run", 3.5, 0.1)

    def sign(objective: str, direction: Any) -> int:
        sweeper = OptunaSweeper(objective, direction, 3, 1, "tpe", 0)
        assert sweeper._result(directory) is not None
        return sweeper.sign

    assert sign("test/q/sharpness", None) == sign("val/q/sharpness", None) == -1
    assert sign("test/q/blur", None) == 1
    assert sign("test/q/sharpness", "minimize") == 1, "as given"
    with pytest.raises(HydraException, match="nothing says whether test/num_images is better lower or higher"):
        sign("test/num_images", None)
