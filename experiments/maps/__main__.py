"""Every map, of three published networks, in one table: `python -m experiments.maps FOLDER OPTIONS --weights …`.

    python -m experiments.maps runs/maps_imagenette dataset.root=imagenette-224.zip dataset.metadata=metadata/ILSVRC \\
        --weights squeezenet1_1=FILE googlenet=FILE efficientnet_lite0=FILE

Errors of boxes and the pointing game on all test photos; deletion, insertion, and the comparison with random weights
on every twentieth (`--every`). Runs what FOLDER does not hold finished, measures what each map costs by itself, and
writes maps.md and maps.csv there. About three hours of one core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments.maps.runs import NETWORKS, maps_table
from experiments.maps.table import every_of, markdown, read_rows, spreadsheet
from experiments.paper.__main__ import given_weights
from experiments.paper.runs import planned, run_missing


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m experiments.maps", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the runs")
    parser.add_argument("options", nargs="*", help="of every run, as dataset.root=… dataset.metadata=…")
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME=FILE", help=", ".join(NETWORKS))
    parser.add_argument("--every", type=int, default=20, help="20: faithfulness of every twentieth photo")
    parser.add_argument("--report-only", action="store_true", help="the table of what is there")
    parser.add_argument("--list", action="store_true", help="print the commands, run nothing")
    arguments = parser.parse_args()
    folder = arguments.folder.expanduser().absolute()
    try:
        weights = given_weights(arguments.weights, set(NETWORKS))
        plan = planned(maps_table(arguments.every), folder, arguments.options, weights, [0])
    except ValueError as error:
        parser.error(str(error))
    if arguments.list:
        print("\n".join(job.said for job in plan))
        return
    complete = arguments.report_only or run_missing(plan)
    rows = read_rows(folder)
    if not rows:
        sys.exit(f"error: {folder} holds no finished run")
    # As the runs that are there had it, whatever is asked for now.
    text = markdown(rows, every_of(folder) or arguments.every)
    (folder / "maps.md").write_text(text, encoding="utf-8")
    (folder / "maps.csv").write_text(spreadsheet(rows), encoding="utf-8")
    print(text)
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
