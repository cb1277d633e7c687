"""What a table's page says: numbers beside the paper's and beside boxes that see nothing, claims, what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np

from experiments.kept import made_otherwise
from experiments.paper.outcome import Outcome, provenance, verdict
from experiments.paper.page import Code, Grid, Section
from experiments.paper.runs import Job, state
from experiments.paper.table import Table

ABSENT = "–"
_SIZES = "gt_known_error_by_size/"


def sections(table: Table, folder: Path, outcomes: Mapping[str, Outcome], plan: Sequence[Job]) -> list[Section]:
    """The whole page; sections without anything to show are left out."""
    shown = [outcomes[row.name] for row in table.rows if row.name in outcomes]
    content = [Section(table.title, [table.about, _how_to_read(shown)])]
    if shown:
        content += [
            Section("Classification error, %", [_classification(shown)]),
            Section("Localization error, %", [_localization(shown)]),
            Section("GT-known localization error, %", [_gt_known(shown)]),
            Section("GT-known localization error by the object's share of the image, %", [_by_size(shown)]),
        ]
    if table.claims:
        content.append(Section("The paper's claims", [_HOW_TO_JUDGE, _claims(table, outcomes)]))
    if shown:
        content.append(Section("How each row was made", [_provenance(shown, plan)]))
    missing = _missing(table, outcomes, plan)
    if missing.rows:
        content.append(
            Section("Rows that are missing", [missing, "One command makes them all:", _command(table, plan)])
        )
    return [each for each in content if any(not isinstance(part, Grid) or part.rows for part in each.parts)]


_HOW_TO_JUDGE = (
    "A claim is reproduced, or not, where the difference of the two errors is further than two standard errors from "
    "what it says; between, the two are not told apart. The standard error is that of the images; how another seed "
    "would have come out, one seed cannot say."
)


def _how_to_read(shown: Sequence[Outcome]) -> str:
    if not shown:
        return "Nothing has been run yet."
    count = int(shown[0].results[0]["test/num_images"])
    return (
        f"{count:,} test images. Means over seeds, with the sample standard deviation where there are several. The "
        "centre box and the whole image are boxes that see nothing, with the same classifier."
    )


def _classification(shown: Sequence[Outcome]) -> Grid:
    head = ("", "seeds", "top-1", "paper", "difference", "top-5", "paper", "difference")
    rows = []
    for outcome in shown:
        paper = outcome.row.classification
        if outcome.row.arm or (paper is None and "backprop" in outcome.row.name):
            continue
        ours = [outcome.values(f"classification_error/top{k}") for k in (1, 5)]
        rows.append((outcome.row.title, _seeds(outcome), *_beside(ours[0], paper and paper[0]),
                     *_beside(ours[1], paper and paper[1])))  # fmt: skip
    return Grid(head, rows)


def _localization(shown: Sequence[Outcome]) -> Grid:
    columns = ("centre box", "whole image", "paper", "difference")
    head = ("", "seeds", "top-1", *columns, "top-5", *columns)
    rows = []
    for outcome in shown:
        paper = outcome.row.localization or (None, None)
        cells: list[str] = []
        for k, published in zip((1, 5), paper, strict=True):
            key = f"localization_error/top{k}"
            ours, *rest = _beside(outcome.values(key), published)
            boxes = [_said(outcome.baseline(name, key)) for name in ("centre_box", "whole_image")]
            cells += [ours, *boxes, *rest]
        rows.append((outcome.row.title, _seeds(outcome), *cells))
    return Grid(head, rows)


def _gt_known(shown: Sequence[Outcome]) -> Grid:
    head = ("", "seeds", "error", "centre box", "whole image", "at the best threshold of the test photos", "which is")
    return Grid(
        head,
        [
            (
                outcome.row.title,
                _seeds(outcome),
                _said(outcome.values("gt_known_error")),
                *(_said(outcome.baseline(name, "gt_known_error")) for name in ("centre_box", "whole_image")),
                _said(outcome.values("gt_known_error@oracle")),
                ", ".join(f"{value:.2f}" for value in outcome.values("gt_known_error@oracle/threshold")) or ABSENT,
            )
            for outcome in shown
        ],
    )


def _by_size(shown: Sequence[Outcome]) -> Grid:
    first = shown[0]
    prefix = "/".join(filter(None, ("test", first.row.arm, _SIZES)))
    keys = [key.removeprefix(prefix) for key in first.results[0] if key.startswith(prefix)]
    groups = [key for key in keys if "/" not in key]
    groups.sort(key=lambda group: float(group.partition("_to_")[0]))
    counts = {group: first.values(f"{_SIZES}{group}/num_images") for group in groups}
    titles = [
        f"{group.replace('_to_', ' to ')}{f': {counts[group][0]:.0f} images' if counts[group] else ''}"
        for group in groups
    ]
    rows = [(o.row.title, *(_said(o.values(f"{_SIZES}{group}")) for group in groups)) for o in shown]
    for name, title in (("centre_box", "centre box"), ("whole_image", "whole image")):
        rows.append((title, *(_said(first.baseline(name, f"{_SIZES}{group}")) for group in groups)))
    return Grid(("", *titles), rows)


def _claims(table: Table, outcomes: Mapping[str, Outcome]) -> Grid:
    rows = []
    for claim in table.claims:
        found, numbers = verdict(claim, outcomes)
        rows.append((claim.text, found, _in_words(claim.metric), numbers))
    return Grid(("claim", "found", "by", "errors"), rows)


def _provenance(shown: Sequence[Outcome], plan: Sequence[Job]) -> Grid:
    # As it is typed now, where that is what was run.
    said = {job.path: job.said for job in plan if not made_otherwise(job.path, job.command)}
    rows = []
    for outcome in shown:
        made = [provenance(path) for path in outcome.paths]
        texts = ["; ".join(dict.fromkeys(each[key] for each in made)) for key in ("commit", "machine", "minutes")]
        rows.append((outcome.row.title, *texts, without_places(said.get(outcome.paths[0], made[0]["command"]))))
    return Grid(("", "commit", "machine", "minutes", "command, of the first seed"), rows)


def _missing(table: Table, outcomes: Mapping[str, Outcome], plan: Sequence[Job]) -> Grid:
    by_run: dict[str, list[Job]] = {}
    for job in plan:
        by_run.setdefault(job.run.name, []).append(job)
    rows = []
    for row in table.rows:
        jobs = [job for job in by_run.get(row.run, []) if state(job.path) != "finished"]
        if not jobs:
            continue
        first, run = jobs[0], table.run(row.run)
        seeds = ", ".join(str(job.seed) for job in jobs)
        why = first.lacks or ("cut off or failed" if state(first.path) else "not run yet")
        rows.append((row.title, seeds, why, f"{run.hours:.2g}", without_places(first.said)))
    return Grid(("", "seeds", "why", "hours a seed, about", "command, of the first of them"), rows)


def _command(table: Table, plan: Sequence[Job]) -> Code:
    trunks = dict.fromkeys(run.weights for run in table.runs if run.weights)
    given = [option for option in (plan[0].command[1:] if plan else ()) if option.startswith(("dataset.", "trainer"))]
    weights = " ".join(f"{name}=FILE" for name in trunks)
    shown = " ".join(without_places(option) for option in given) or "dataset.root=… dataset.metadata=…"
    return Code(f"python -m experiments.paper {table.name} {shown} --weights {weights}")


def without_places(command: str) -> str:
    """A command without this machine's folders: of each path the last part, and no run_dir."""
    words = []
    for word in shlex.split(command):
        key, equals, value = word.partition("=")
        if key == "run_dir":
            continue
        if key == "checkpoint" and equals:
            value = "/".join(PurePath(value).parts[-2:])
        elif value.startswith("/"):
            value = PurePath(value).name
        words.append(f"{key}{equals}{value}")
    return " ".join(words)


def _beside(ours: Sequence[float], paper: float | None) -> tuple[str, str, str]:
    """Ours, the paper's, and by how much ours is larger."""
    if paper is None:
        return _said(ours), ABSENT, ABSENT
    return _said(ours), f"{paper:.1f}", f"{100 * float(np.mean(ours)) - paper:+.1f}" if ours else ABSENT


def _said(values: Sequence[float]) -> str:
    """In per cent: a mean, and a deviation where they differ; boxes that see nothing are right whatever the seed."""
    if not values:
        return ABSENT
    deviation = f" ± {100 * float(np.std(values, ddof=1)):.1f}" if len(set(values)) > 1 else ""
    return f"{100 * float(np.mean(values)):.1f}{deviation}"


def _seeds(outcome: Outcome) -> str:
    # Nothing is random in published weights: their evaluation names no checkpoint.
    is_random = any(result.get("protocol/checkpoint", "of its own training") for result in outcome.results)
    return ", ".join(outcome.seeds) if is_random else ABSENT


def _in_words(metric: str) -> str:
    name, _, threshold = metric.partition("@")
    name = {"gt_known_error": "GT-known"}.get(name, name.replace("_error/top", ", top-").replace("_", " "))
    return f"{name}, each at its best threshold of these photos" if threshold == "oracle" else name
