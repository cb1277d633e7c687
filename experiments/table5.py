"""Table 5: `python -m experiments.table5 FOLDER scene15=ROOT caltech101=ROOT … --weights googlenet=FILE alexnet=FILE`.

A linear SVM on pooled features, for each dataset whose root and each network whose weights are given: a probe in
FOLDER/DATASET/NETWORK each. Features of an image are computed once, in FOLDER/features. Prints the table, with the
paper's figures beside, and writes it to FOLDER/table5.md. A run that FOLDER holds finished is not run again; one that
was cut off is begun anew, and finds the features that it had computed; after one that fails the next is run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from experiments.table4 import finished

NETWORKS = {
    "alexnet": "fc7 of AlexNet",
    "googlenet": "average pool of GoogLeNet",
    "googlenet_gap": "GAP of GoogLeNet-GAP",
}
PAPER = {
    "sun397": (42.61, 51.68, 51.31),
    "mit_indoor67": (56.79, 66.63, 66.61),
    "scene15": (84.23, 88.02, 88.30),
    "sun_attribute": (84.23, 92.85, 92.21),
    "caltech101": (87.22, 92.05, 91.98),
    "caltech256": (67.23, 78.99, 78.07),
    "stanford_action40": (54.92, 72.03, 70.62),
    "uiuc_event8": (94.42, 95.42, 95.00),
}
"""Per cent, by network in the order above; as recalled, not compared with the printed page."""
TITLE = (
    "Linear SVM on pooled features: accuracy in %, of SUN Attribute the mean average precision; the paper's in brackets"
)
ERROR, PRECISION = "test/classification_error/top1", "test/average_precision/mean"
"""What a probe of one label has, and one of several."""


class Job(NamedTuple):
    """One probe."""

    dataset: str
    network: str
    path: Path
    command: list[str]
    """The entry point and its overrides, but for its directory."""


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m experiments.table5", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the runs")
    parser.add_argument("roots", nargs="*", metavar="DATASET=ROOT", help=", ".join(PAPER))
    parser.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE", help=", ".join(NETWORKS))
    parser.add_argument("--options", nargs="*", default=[], help="of every probe, as device=cuda draws=null test=true")
    arguments = parser.parse_args()
    folder = arguments.folder.expanduser().absolute()
    try:
        roots, weights = named(arguments.roots, PAPER, "roots"), named(arguments.weights, NETWORKS, "--weights")
    except ValueError as error:
        parser.error(str(error))
    done = [finished(job.path, job.command) for job in jobs(folder, roots, weights, arguments.options)]
    found = results(folder)
    Console().print(table(found))
    if folder.is_dir():
        (folder / "table5.md").write_text(markdown(found), encoding="utf-8")
    if not all(done):
        sys.exit("error: not all runs have ended well; what there was to say stands above")


def named(given: Sequence[str], names: Mapping[str, Any], where: str) -> dict[str, Path]:
    """Paths by name, in the order of `names`; raises ValueError for another name, and for what is not there."""
    paths = {}
    for each in given:
        name, equals, path = each.partition("=")
        if not equals or name not in names:
            raise ValueError(f"{where}: expected NAME=PATH, with NAME one of {', '.join(names)}; got {each}")
        paths[name] = Path(path).expanduser().absolute()
        if not paths[name].exists():
            raise ValueError(f"{where}: {name}: there is no {paths[name]}")
    return {name: paths[name] for name in names if name in paths}


def jobs(folder: Path, roots: Mapping[str, Path], weights: Mapping[str, Path], options: Sequence[str]) -> list[Job]:
    """Every probe whose photos and weights are there."""
    return [
        Job(
            dataset, network, folder / dataset / network,
            [
                "probe", f"experiment=[paper/table5_{dataset},paper/table5_network/{network}]",
                f"dataset.root={root}", f"backbone.weights={file}",
                f"features={folder / 'features'}", "test=false", *options,
            ],
        )
        for dataset, root in roots.items()
        for network, file in weights.items()
    ]  # fmt: skip


def results(folder: Path) -> dict[tuple[str, str], tuple[float, float | None]]:
    """By dataset and network, of finished runs: what came out in per cent, and its deviation where splits are drawn."""
    found: dict[tuple[str, str], tuple[float, float | None]] = {}
    for dataset in PAPER:
        for network in NETWORKS:
            file = folder / dataset / network / "results.json"
            if not file.is_file():
                continue
            values = json.loads(file.read_text(encoding="utf-8"))
            key = ERROR if ERROR in values else PRECISION
            value = values.get(f"{key}/mean", values[key])
            deviation = values.get(f"{key}/deviation")
            found[dataset, network] = (
                100 * (1 - value if key == ERROR else value),
                None if deviation is None else 100 * deviation,
            )
    return found


def rows(found: Mapping[tuple[str, str], tuple[float, float | None]]) -> list[list[str]]:
    """A line for each dataset: ours ± deviation over splits (the paper's), `–` where there is no run."""
    lines = []
    for dataset, paper in PAPER.items():
        cells = []
        for network, theirs in zip(NETWORKS, paper, strict=True):
            value, deviation = found.get((dataset, network), (None, None))
            ours = "–" if value is None else f"{value:.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")
            cells.append(f"{ours} ({theirs:.2f})")
        lines.append([dataset, *cells])
    return lines


def table(found: Mapping[tuple[str, str], tuple[float, float | None]]) -> Table:
    """For the terminal."""
    shown = Table(title=TITLE, title_justify="left")
    for column in ("", *NETWORKS.values()):
        shown.add_column(column, justify="right" if column else "left")
    for line in rows(found):
        shown.add_row(*line)
    return shown


def markdown(found: Mapping[tuple[str, str], tuple[float, float | None]]) -> str:
    """For a page."""
    lines = [["", *NETWORKS.values()], ["---"] * (1 + len(NETWORKS)), *rows(found)]
    return f"{TITLE}.\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
