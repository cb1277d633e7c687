"""A page as Markdown and as HTML: headings, paragraphs and tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple


class Grid(NamedTuple):
    """A table of texts; the first column stands left, numbers right."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Code(NamedTuple):
    """Lines as they are typed."""

    text: str


class Section(NamedTuple):
    """A heading, and what stands below it."""

    title: str
    parts: list[str | Grid | Code]


def markdown(sections: Sequence[Section]) -> str:
    """The page for a repository; the first section's title is the page's."""
    lines: list[str] = []
    for number, section in enumerate(sections):
        lines += [f"{'##' if number else '#'} {section.title}", ""]
        for part in section.parts:
            if isinstance(part, Grid):
                lines += [_line(part.head), _line(["---", *["---:"] * (len(part.head) - 1)])]
                lines += [*(_line([cell.replace("|", "\\|") for cell in row]) for row in part.rows), ""]
            elif isinstance(part, Code):
                lines += ["```", part.text, "```", ""]
            else:
                lines += [part, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def html(sections: Sequence[Section], pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The same as one file, but for its pictures: (path beside it, caption)."""
    body: list[str] = []
    for number, section in enumerate(sections):
        body.append(f"<h{min(number + 1, 2)}>{escape(section.title)}</h{min(number + 1, 2)}>")
        for part in section.parts:
            if isinstance(part, Grid):
                body.append(f"<div><table><thead>{_row(part.head, 'th')}</thead><tbody>")
                body += [*(_row(row, "td") for row in part.rows), "</tbody></table></div>"]
            elif isinstance(part, Code):
                body.append(f"<pre>{escape(part.text)}</pre>")
            else:
                body.append(f"<p>{escape(part)}</p>")
    for path, caption in pictures:
        body.append(f'<figure><img src="{escape(path)}" alt=""><figcaption>{escape(caption)}</figcaption></figure>')
    title = escape(sections[0].title) if sections else ""
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>\n'
        + "\n".join(body)
        + "\n</html>\n"
    )


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "div{overflow-x:auto}table{border-collapse:collapse}th,td{padding:.2rem .7rem;text-align:right;vertical-align:top;"
    "border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}th{font-weight:600}"
    "pre{overflow-x:auto;background:#f5f5f5;padding:.6rem}img{max-width:100%}figure{margin:1.5rem 0}"
)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
