"""The table that ends a run: errors of the network beside those of boxes that see nothing."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cam_lightning.contracts import Results

_COLUMNS = (
    ("localization error\ntop-1", "localization_error/top1"),
    ("localization error\ntop-5", "localization_error/top5"),
    ("GT-known\nerror", "gt_known_error"),
)


_RULES = {
    "selected": "… threshold selected in validation",
    "oracle": "… best threshold of this split (oracle)",
}


def results_table(results: Results, split: str = "test") -> Table:
    """Localization errors (in %) of the configured rule and of every baseline; classification's on top."""
    images = results[f"{split}/num_images"]
    top1, top5 = (results[f"{split}/classification_error/top{k}"] for k in (1, 5))
    skipped = results.get(f"{split}/num_skipped_images", 0)
    counted = f"{images:,} images" + (f" and {skipped:,} skipped as unreadable" if skipped else "")
    table = Table(
        title=f"{split}, {counted}: classification error top-1 {top1:.2%}, top-5 {top5:.2%}",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("box")
    columns = [(title, key) for title, key in _COLUMNS if f"{split}/{key}" in results]
    for title, _ in columns:
        table.add_column(title, justify="right")
    if not columns:
        table.add_row("localization: not available (no boxes are known, or the network has no map)")
        return table
    table.add_row(_rule(results), *(f"{results[f'{split}/{key}']:.2%}" for _, key in columns), style="bold")
    for rule in _further_rules(results, split):
        table.add_row(
            _RULES.get(rule, f"… threshold {rule}"), *(_cell(results, f"{split}/{key}@{rule}") for _, key in columns)
        )
    prefix = f"{split}/baseline/"
    for name in sorted({key[len(prefix) :].split("/")[0] for key in results if key.startswith(prefix)}):
        table.add_row(
            f"baseline: {name.replace('_', ' ')}",
            *(f"{results[f'{prefix}{name}/{key}']:.2%}" for _, key in columns),
        )
    return table


def size_table(results: Results, split: str = "test") -> Table | None:
    """GT-known error (in %) by the object's share of the image, beside every baseline's; None where nobody counted."""
    start = f"{split}/gt_known_error_by_size/"
    groups = [key[len(start) :] for key in results if key.startswith(start) and not key.endswith("/num_images")]
    if not groups:
        return None
    # Results are sorted by key, where 0_to_0.15 stands last.
    groups.sort(key=lambda group: float(group.partition("_to_")[0]))
    table = Table(title="GT-known error by the object's share of the image", title_justify="left", title_style="bold")
    table.add_column("box")
    for group in groups:
        low, high = group.split("_to_")
        table.add_column(f"{low}–{high}\n{results[f'{start}{group}/num_images']:,} images", justify="right")
    table.add_row("CAM", *(f"{results[start + group]:.2%}" for group in groups), style="bold")
    prefix = f"{split}/baseline/"
    for name in sorted({key[len(prefix) :].split("/")[0] for key in results if key.startswith(prefix)}):
        cells = (f"{results[f'{prefix}{name}/gt_known_error_by_size/{group}']:.2%}" for group in groups)
        table.add_row(f"baseline: {name.replace('_', ' ')}", *cells)
    return table


def print_results(results: Results, split: str = "test") -> None:
    """Prints the tables; of a split that was not evaluated (`trainer.limit_test_batches=0`), that it was not."""
    console = Console()
    console.print()
    if f"{split}/num_images" not in results:
        console.print(f"{split}: no image was evaluated")
        return
    console.print(results_table(results, split))
    sizes = size_table(results, split)
    if sizes is not None:
        console.print(sizes)


def _further_rules(results: Results, split: str) -> list[str]:
    """The suffixes of keys that the table shows: fixed thresholds first, then those that were chosen."""
    starts = tuple(f"{split}/{key}@" for _, key in _COLUMNS)
    rules = {key.rpartition("@")[2] for key in results if key.startswith(starts) and not key.endswith("/threshold")}
    return sorted(rules - _RULES.keys()) + [rule for rule in _RULES if rule in rules]


def _cell(results: Results, key: str) -> str:
    if key not in results:
        return ""
    threshold = results.get(f"{key}/threshold")
    return f"{results[key]:.2%}" + (f" at {threshold:g}" if threshold is not None else "")


def _rule(results: Results) -> str:
    rule = str(results.get("protocol/box/rule", "box")).replace("_", " ")
    threshold = results.get("protocol/box/threshold")
    return f"CAM, {rule}" + (f", threshold {threshold:g}" if threshold is not None else "")
