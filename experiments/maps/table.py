"""The numbers of finished runs as a table: rows for Markdown and for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.maps.cost import map_costs
from experiments.maps.runs import CHEAP, DEAR, NETWORKS, STEPS
from experiments.paper.runs import state

COLUMNS = {
    "gt_known_error": "GT-known at 0.2, %",
    "gt_known_error@oracle": "at the best threshold, %",
    "pointing_game_error": "pointing game, %",
    "deletion": "deletion",
    "insertion": "insertion",
    "randomized_weights/rank_correlation": "like random weights",
}
"""Keys of the results below `test/`, and their titles; what has a % is a share."""


class Row(NamedTuple):
    """One map of one network."""

    network: str
    kind: str
    """The run that it is of, `cheap` or `dear`; or `control`."""
    cam: str
    num_images: int
    values: dict[str, float | None]
    cost: float | None
    """In forwards; None for what is no map."""


def read_rows(folder: Path) -> list[Row]:
    """Every map of every finished run, in the table's order."""
    rows: list[Row] = []
    for network in NETWORKS:
        for kind, names in {"cheap": CHEAP, "dear": DEAR}.items():
            run_dir = folder / network / kind / "0"
            if state(run_dir) != "finished":
                continue
            results, costs = _results(run_dir), map_costs(run_dir)
            # A run of an earlier list of maps has no others.
            for name in filter(costs.__contains__, names if kind == "cheap" else names[1:]):
                arm = "" if name == names[0] else f"{name}/"
                values = {key: results.get(f"test/{arm}{key}") for key in COLUMNS}
                rows.append(Row(network, kind, name, results["test/num_images"], values, costs[name]))
        rows += _controls(folder / network)
    return rows


def every_of(folder: Path) -> int | None:
    """Of how many photos one was looked at for faithfulness, by the runs that are there; None where they differ."""
    key = "protocol/evaluator/deletion_insertion/every"
    runs = [folder / network / "cheap" / "0" for network in NETWORKS]
    found = {_results(run).get(key) for run in runs if state(run) == "finished"}
    return found.pop() if len(found) == 1 else None


def _controls(network: Path) -> Iterator[Row]:
    """CAM of random weights, and the box that sees nothing."""
    run_dir = network / "random_weights" / "0"
    if state(run_dir) == "finished":
        results = _results(run_dir)
        nothing: dict[str, float | None] = dict.fromkeys(COLUMNS)
        count = results["test/num_images"]
        for name, key in (
            ("cam, random weights", "test/randomized_weights/gt_known_error"),
            ("centre box", "test/baseline/centre_box/gt_known_error"),
        ):
            yield Row(network.name, "control", name, count, nothing | {"gt_known_error": results[key]}, None)


def markdown(rows: list[Row], every: int) -> str:
    """A table for each network, and what its columns are."""
    lines = [
        "# Every map on ten classes of ILSVRC",
        "",
        "Networks as published, the 500 official validation photos of Imagenette at 224, the true class's map, boxes "
        "of the largest component. Errors: lower is better. Deletion (lower is better) and insertion (higher): areas "
        f"under the probability of the best class in {STEPS} steps, of every {every}th photo; so is the rank "
        "correlation with the map that random weights make (lower is better). Score-CAM has its 128 units of largest "
        "variance (SqueezeNet's features are its ten class maps), integrated gradients 16 steps. Cost: CPU time of the "
        "map by itself after the forward, for five classes of one photo, in forwards.",
    ]
    for network, title in NETWORKS.items():
        own = [row for row in rows if row.network == network]
        if not own:
            continue
        lines += ["", f"## {title}", "", f"| map | photos | {' | '.join(COLUMNS.values())} | cost |"]
        lines.append("|---|" + "---:|" * (len(COLUMNS) + 2))
        lines += [_line(row) for row in own]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    cells = [_said(row.values[key], "%" in title) for key, title in COLUMNS.items()]
    name = row.cam if row.kind == "control" else f"`{row.cam}`"
    return f"| {' | '.join([name, str(row.num_images), *cells, '' if row.cost is None else f'{row.cost:.2f}'])} |"


def _said(value: float | None, is_share: bool) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f}" if is_share else f"{value:.3f}"


def spreadsheet(rows: list[Row]) -> str:
    """CSV, shares as fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["network", "kind", "map", "num_images", *COLUMNS, "cost"])
    for row in rows:
        values = ["" if value is None else value for value in (*row.values.values(), row.cost)]
        writer.writerow([row.network, row.kind, row.cam, row.num_images, *values])
    return text.getvalue()


def _results(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "results.json").read_text(encoding="utf-8"))
