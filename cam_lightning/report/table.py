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


def results_table(results: Results, split: str = "test") -> Table:
    """Localization errors (in %) of the configured rule and of every baseline; classification's on top."""
    images = results[f"{split}/num_images"]
    top1, top5 = (results[f"{split}/classification_error/top{k}"] for k in (1, 5))
    table = Table(
        title=f"{split}, {images:,} images: classification error top-1 {top1:.2%}, top-5 {top5:.2%}",
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
    prefix = f"{split}/baseline/"
    for name in sorted({key[len(prefix) :].split("/")[0] for key in results if key.startswith(prefix)}):
        table.add_row(
            f"baseline: {name.replace('_', ' ')}",
            *(f"{results[f'{prefix}{name}/{key}']:.2%}" for _, key in columns),
        )
    return table


def print_results(results: Results, split: str = "test") -> None:
    """Prints the table."""
    console = Console()
    console.print()
    console.print(results_table(results, split))


def _rule(results: Results) -> str:
    rule = str(results.get("protocol/box/rule", "box")).replace("_", " ")
    threshold = results.get("protocol/box/threshold")
    return f"CAM, {rule}" + (f", threshold {threshold:g}" if threshold is not None else "")
