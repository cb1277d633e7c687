"""Any runs as a leaderboard: `python -m experiments.leaderboard RUNS… [--output FOLDER]`.

RUNS are runs, sweeps, or folders of these. Prints Markdown;
`--output` gets `leaderboard.html`, `.md`, `.csv` and `.tex`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cam_lightning.report.found_runs import find_runs
from cam_lightning.report.leaderboard import leaderboard
from cam_lightning.report.leaderboard_html import write_leaderboard
from cam_lightning.report.leaderboard_text import as_csv, as_latex, as_markdown
from cam_lightning.run.file import write_text
from cam_lightning.run.printing import outlive_reader


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code, which is 2 where nothing can be shown."""
    outlive_reader()
    parser = argparse.ArgumentParser(prog="python -m experiments.leaderboard", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="runs, sweeps, or folders of these")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="gets leaderboard.html, .md, .csv and .tex")
    parser.add_argument("--title", default="Leaderboard", help="of the page")
    given = parser.parse_args(arguments)
    try:
        boards = leaderboard(find_runs([path.absolute() for path in given.runs]))
        markdown = as_markdown(boards)
        print(markdown, end="", flush=True)
        if given.output is not None:
            given.output.mkdir(parents=True, exist_ok=True)
            write_text(given.output / "leaderboard.md", markdown)
            write_text(given.output / "leaderboard.csv", as_csv(boards))
            write_text(given.output / "leaderboard.tex", as_latex(boards))
            page = write_leaderboard(boards, given.output / "leaderboard.html", given.title)
            print(page, file=sys.stderr)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
