"""A table of the paper: `python -m experiments.paper TABLE dataset.root=… dataset.metadata=… --weights googlenet=FILE`.

Runs what is missing, each run in a directory of its own below the folder, and goes on with what was cut off; then
writes page.md and page.html there, and the paper's figures into figures/. TABLE is imagenette (Tables 1 to 3 in
miniature, for a laptop), or table1, table2, table3 (all of ILSVRC, for eight GPUs). Runs whose weights are not given
are left out, and the page says so. Seed by seed: a first seed of every row is there before the second of any.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments.paper.figures import draw_figures
from experiments.paper.outcome import read_outcomes
from experiments.paper.page import html, markdown
from experiments.paper.runs import planned, run_missing
from experiments.paper.sections import sections
from experiments.paper.tables import TABLES


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m experiments.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("options", nargs="*", help="of every run, as dataset.root=… trainer=gpu trainer.devices=8")
    parser.add_argument("--folder", type=Path, help="of the runs; runs/paper/TABLE where it is not given")
    parser.add_argument(
        "--weights", nargs="*", default=[], metavar="NAME=FILE", help="the published files to begin with"
    )
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=[], metavar="RUN", help="these runs and those they need")
    parser.add_argument("--report-only", action="store_true", help="the page and the figures of what is there")
    parser.add_argument("--list", action="store_true", help="print the commands, run nothing")
    arguments = parser.parse_args()
    table = TABLES[arguments.table]
    folder = (arguments.folder or Path("runs", "paper", table.name)).expanduser().absolute()
    try:
        weights = given_weights(arguments.weights, {run.weights for run in table.runs if run.weights})
        plan = planned(table, folder, arguments.options, weights, arguments.seeds, arguments.only)
        if arguments.list:
            for job in plan:
                print(f"{job.said}{f'  # {job.lacks}' if job.lacks else ''}")
            return
        complete = arguments.report_only or run_missing(plan)
        outcomes = read_outcomes(table, folder)
    except ValueError as error:
        parser.error(str(error))
    folder.mkdir(parents=True, exist_ok=True)
    content = sections(table, folder, outcomes, plan)
    (folder / "page.md").write_text(markdown(content), encoding="utf-8")
    pictures = draw_figures(folder, outcomes)
    (folder / "page.html").write_text(html(content, pictures), encoding="utf-8")
    print(f"page  {folder / 'page.md'}\n      {folder / 'page.html'}")
    sys.exit(0 if complete else 1)


def given_weights(given: list[str], names: set[str]) -> dict[str, Path]:
    """The files of NAME=FILE, by name; raises ValueError for a name that there is not, and for no such file."""
    weights = {}
    for each in given:
        name, equals, file = each.partition("=")
        if not equals or name not in names:
            raise ValueError(f"--weights takes NAME=FILE, with NAME one of {', '.join(sorted(names))}; got {each}")
        weights[name] = Path(file).expanduser().absolute()
        if not weights[name].is_file():
            raise ValueError(f"--weights {name}: there is no file {weights[name]}")
    return weights


if __name__ == "__main__":
    main()
