"""`report.html`: one run on one page that opens from disk, finished or not."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cam_lightning.functional.overlap import written_overlap
from cam_lightning.report import section
from cam_lightning.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from cam_lightning.report.number import share
from cam_lightning.report.page import RunPage
from cam_lightning.report.run_record import RunRecord, read_run
from cam_lightning.run.file import write_text

log = logging.getLogger(__name__)

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "template"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""Everything that a run directory says is text to a page: the templates escape it."""
TEMPLATES.filters["overlap"] = written_overlap
TEMPLATES.filters["share"] = share
TEMPLATES.globals["plate"] = {
    "width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM,
}  # fmt: skip


class Section(NamedTuple):
    """One section as it stands on a page."""

    anchor: str
    name: str
    title: str
    style: str
    damage: list[str]
    """What is wrong with the files that it is made from."""
    body: Markup


def write_missing_report(record: RunRecord) -> None:
    """Draws the page of a run that has ended and has none: one that was killed before, or where it could not be drawn.

    A folder that cannot be written, as an archive's, is left as it is.
    """
    has_ended = record.status.get("state") in ("finished", "failed", "interrupted")
    if not has_ended or "callback" not in record.config or (record.path / "report.html").exists():
        return
    try:
        write_report(record.path)
    except OSError as error:
        log.warning("%s has no report.html, and it cannot be written: %s", record.path, error)


def write_report(run_dir: Path) -> Path:
    """Writes `<run_dir>/report.html` from what the directory holds, and returns its path.

    One file without outside parts, of every section (`report/section/`) that has something to show; for a run that
    failed, as far as it got. What is damaged is said where it would have stood.
    """
    record = read_run(run_dir)
    page = RunPage(record)
    text = TEMPLATES.get_template("report.html.j2").render(
        title=_title(record),
        record=record,
        state=str(record.status.get("state", "unknown")),
        time=_readable(record.status.get("time")),
        command=str(record.status.get("command", "")),
        sections=[shown for module in section_modules() if (shown := _section(module, page)) is not None],
    )
    path = run_dir / "report.html"
    write_text(path, text)
    return path


def section_modules() -> list[Any]:
    """Every file of `report/section/`, in the order of their places."""
    names = [module.name for module in pkgutil.iter_modules(section.__path__)]
    modules = [importlib.import_module(f"{section.__name__}.{name}") for name in names]
    return sorted(modules, key=lambda module: module.PLACE)


def _section(module: Any, page: RunPage) -> Section | None:
    """What a section shows; None where it has nothing to show, and nothing of its is damaged."""
    damage = [f"{file}: {page.record.damage[file]}" for file in module.FILES if file in page.record.damage]
    body = ""
    try:
        content = module.content(page)
        if content is not None:
            damage += content.pop("damage", [])
            template = TEMPLATES.get_template(f"section/{module.__name__.rpartition('.')[2]}.html.j2")
            body = template.render(split=page.split, **content)
    except (ValueError, OSError, LookupError, TypeError) as error:
        # Of a file whose parts do not fit together; what the other sections show is as good as ever.
        log.warning("%s: %s could not be shown: %s", page.record.path, module.TITLE, error)
        log.debug("the section's error", exc_info=error)
        damage.append(str(error) or type(error).__name__)
    if not body and not damage:
        return None
    style = getattr(module, "STYLE", "")
    return Section(module.ANCHOR, module.NAME, module.TITLE, style, damage, Markup(body))


def _title(record: RunRecord) -> str:
    """What was trained on what, in the names of the configuration's targets."""
    parts = [_target(record.config.get(group)) for group in ("backbone", "dataset")]
    return " on ".join(part for part in parts if part) or record.path.name


def _target(part: Any) -> str:
    return str(part.get("_target_", "")).rpartition(".")[2] if isinstance(part, dict) else ""


def _readable(time: Any) -> str:
    try:
        return f"{datetime.fromisoformat(time):%-d %B %Y, %H:%M}" if time else ""
    except (TypeError, ValueError):
        return str(time)
