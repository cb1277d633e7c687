"""`python -m cam_lightning.evaluate_maps`: scores a folder of maps, any method's, as the WSOL benchmark does."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.table import Table

    from cam_lightning.contracts import Results, Spec
    from cam_lightning.localization.map_scorer import MapScorer
    from cam_lightning.run.directory import RunDirectory

NEEDED = ("maps", "metadata")
MOST_THREADS = 512
"""More than any machine has use for only fill its memory."""


def run(config: DictConfig, run: RunDirectory) -> None:
    """One evaluation, from its folders to `results.json`, `hits.json` and, where maps need a word, `problems.csv`."""
    from rich.console import Console
    from rich.progress import Progress

    missing = [name for name in NEEDED if config[name] is None]
    if missing:
        raise ValueError(f"evaluate_maps needs {' '.join(f'{name}=FOLDER' for name in NEEDED)}; no {missing[0]} given")
    _require_options(config)
    folders = {name: _folder(name, config[name]) for name in (*NEEDED, "masks") if config[name] is not None}

    from cam_lightning.localization.map_scorer import MapScorer, score_all

    scorer = MapScorer(
        **folders,
        mode=config.mode,
        map_size=config.map_size,
        interval=config.interval,
        iou_thresholds=list(config.iou_thresholds),
        corners=config.corners,
    )
    with Progress(transient=True) as progress:
        task = progress.add_task("maps", total=len(scorer.truth.ids))
        score_all(scorer, config.threads, lambda count: progress.advance(task, count))
    results = scorer.results()
    results["specs"] = {key: spec._asdict() for key, spec in specs(scorer).items() if key in results}
    run.write_json("results.json", results)
    run.write_json("hits.json", scorer.hits())
    console = Console()
    console.print(results_table(results))
    if scorer.problems:
        run.write_text("problems.csv", _csv(scorer.problems))
        for line in complaints(scorer.problems):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        console.print(f"every one by name: {run.path / 'problems.csv'}", highlight=False, markup=False, soft_wrap=True)


def _require_options(config: DictConfig) -> None:
    """Raises ValueError for what no evaluation can be made with, before a map is read."""
    from cam_lightning.dataset.pipeline.option import share, whole

    share("interval", config.interval)
    size, overlaps = config.map_size, config.iou_thresholds
    if not isinstance(size, Sequence) or isinstance(size, str) or len(size) != 2:
        raise ValueError(f"map_size is [HEIGHT, WIDTH]; got {size!r:.80}")
    for side in size:
        whole("map_size: a side", side, 1)
    if not isinstance(overlaps, Sequence) or isinstance(overlaps, str) or not overlaps:
        raise ValueError(f"iou_thresholds is a list of numbers; got {overlaps!r:.80}")
    for overlap in overlaps:
        share("iou_thresholds: each", overlap, up_to_one=True)
    if config.threads is not None:
        whole("threads", config.threads, 1, MOST_THREADS)


def specs(scorer: MapScorer) -> dict[str, Spec]:
    """What each result is: the metrics' own word, and of the other mode that it is another arm."""
    from cam_lightning.contracts import Spec
    from cam_lightning.dataset.format.map_folder import PROBLEMS

    found: dict[str, Spec] = {"num_images": Spec("images", "count", better=None, headline=0)}
    for place, metric in scorer.boxed.items():
        mode = place.rpartition("/")[0]
        prefix = f"{mode}/" if mode else ""
        for key, spec in metric.specs().items():
            found[prefix + key] = spec._replace(arm=mode, of=prefix + spec.of if spec.of else "")
    found |= scorer.pixels.specs()
    counts = {f"num_maps_{problem}": f"maps: {problem.replace('_', ' ')}" for problem in PROBLEMS}
    return found | {key: Spec(title, "count", better=None) for key, title in counts.items()}


def results_table(results: Results) -> Table:
    """Every measure, a column for each mode, with the threshold that is best for it."""
    from rich.table import Table

    from cam_lightning.report.run_record import numbers_of, specs_of
    from cam_lightning.report.split_results import SplitResults

    shown = SplitResults(numbers_of(results), specs_of(results["specs"]), "")
    table = Table(title=f"{results['num_images']:,} images", title_justify="left", title_style="bold")
    table.add_column("measure")
    for arm in shown.arms:
        table.add_column(arm or results["protocol/mode"], justify="right")
    for name in shown.names:
        table.add_row(shown.spec(name).title, *(shown.cell(name, arm) for arm in shown.arms))
    return table


def complaints(problems: list[tuple[str, str]]) -> list[str]:
    """What was wrong with how many maps, how those counted, and the first of them by name."""
    from cam_lightning.dataset.format.map_folder import PROBLEMS

    lines = []
    for problem, meaning in PROBLEMS.items():
        names = [name for name, found in problems if found == problem]
        if names:
            more = ", …" if len(names) > 5 else ""
            lines.append(f"{len(names):,} × {problem.replace('_', ' ')} ({meaning}): {', '.join(names[:5])}{more}")
    return lines


def _csv(problems: list[tuple[str, str]]) -> str:
    from cam_lightning.run.spreadsheet import safe_cell

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [("image_id", "problem"), *((safe_cell(image_id), problem) for image_id, problem in problems)]
    )
    return text.getvalue()


def _folder(name: str, value: object) -> Path:
    path = Path(str(value)).expanduser()
    if not path.is_dir():
        is_of_run = name != "masks" and (path.absolute().parent.parent / "status.json").is_file()
        hint = f": a run writes it with callback.localization.sinks.maps.splits=[{path.name}]" if is_of_run else ""
        raise FileNotFoundError(f"{name}={path} is not a folder{hint}")
    return path


main = entry_point("evaluate_maps")

if __name__ == "__main__":
    main()
