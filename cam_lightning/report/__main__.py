"""`python -m cam_lightning.report FOLDER…`: one table over runs, and their page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cam_lightning.run.file import write_text
from cam_lightning.run.printing import outlive_reader

FORMATS = ("text", "markdown", "csv")


def write_reports(
    folders: list[Path], output: Path | None, by: str | None, keys: list[str] | None, shown: str | None = None
) -> dict[str, str]:
    """The table of the runs in `folders` in every format of `FORMATS`, of which `shown` is printed.

    Printed first, so that a full disk does not cost the table. Where `output` is a folder, it also gets `report.html`,
    `results.md` and `results.csv`. A run that ended without a page of its own gets one. Raises ValueError where there
    are no runs, or no such result; OSError where `output` cannot be written.
    """
    from cam_lightning.report.found_runs import find_runs
    from cam_lightning.report.html import write_missing_report
    from cam_lightning.report.sweep_html import write_sweep_report
    from cam_lightning.report.sweep_table import sweep_table
    from cam_lightning.report.sweep_text import as_csv, as_markdown, as_text

    runs = find_runs(folders)
    for run in runs:
        write_missing_report(run)
    table = sweep_table(runs, by, keys)
    # A file or a pipe has no width that a table must fit.
    texts = {
        "text": as_text(table, None if sys.stdout.isatty() else 240),
        "markdown": as_markdown(table),
        "csv": as_csv(table),
    }
    if shown is not None:
        print(texts[shown], end="", flush=True)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_sweep_report(table, output / "report.html", ", ".join(folder.name for folder in folders))
        write_text(output / "results.md", texts["markdown"])
        write_text(output / "results.csv", texts["csv"])
    return texts


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code, which is 2 where nothing can be shown."""
    outlive_reader()
    parser = argparse.ArgumentParser(prog="python -m cam_lightning.report", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a run, a sweep, or a folder of these")
    parser.add_argument("--by", metavar="KEY", help="the result that orders the table, such as test/gt_known_error")
    parser.add_argument("--keys", nargs="+", metavar="KEY", help="the results shown; by default the headlines")
    parser.add_argument("--format", choices=FORMATS, default="text", help="how the table is printed")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="gets report.html, results.md and results.csv; by default the one FOLDER given, unless it is a run",
    )
    given = parser.parse_args(arguments)
    folders = [folder.absolute() for folder in given.folders]
    output = given.output
    if output is None and len(folders) == 1 and not (folders[0] / "status.json").exists():
        output = folders[0]
    try:
        write_reports(folders, output, given.by, given.keys, given.format)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if output is not None:
        print(output / "report.html", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
