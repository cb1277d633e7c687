"""The report as one file, and as a reader's browser shows it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cam_lightning.contracts import GroundTruth, LabelBox, Localization, Proposals
from cam_lightning.report import section
from cam_lightning.report.html import TEMPLATES, write_report
from cam_lightning.run.prediction_table import Prediction
from cam_lightning.sink.overlays import Overlays
from cam_lightning.sink.predictions import Predictions

MakeRun = Callable[..., Path]


class Page(HTMLParser):
    """A page as a browser reads it: its elements, and the text that is neither style nor script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("style", "script"):
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self.text += " " if tag in ("th", "td") else ""

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.elements if attribute in attrs]


def _page(run_dir: Path) -> Page:
    path = write_report(run_dir)
    assert path == run_dir / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_is_one_file(make_run: MakeRun, rows: list[Prediction], results: dict[str, Any]) -> None:
    page = _page(make_run(rows, results))
    sources = [source for source in page.values("src") if source]
    assert len(sources) == len(rows)
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert all(link.startswith(("#", "overlays/test/")) for link in page.values("href"))
    assert not [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed")]
    (policy,) = [value for value in page.values("content") if "default-src" in value]
    assert policy.startswith("default-src 'none'")


def test_every_link_within_the_page_leads_somewhere(
    make_run: MakeRun, rows: list[Prediction], results: dict[str, Any]
) -> None:
    run_dir = make_run(rows, results)
    page = _page(run_dir)
    for link in page.values("href"):
        assert link[1:] in page.values("id") if link.startswith("#") else (run_dir / link).is_file()


def test_names_stay_text(make_run: MakeRun, rows: list[Prediction], results: dict[str, Any], hostile: str) -> None:
    page = _page(make_run(rows, results))
    assert hostile in page.text
    assert hostile in page.values("value")
    assert hostile in page.values("data-class")
    assert "run_dir=/it'\"'\"'s <here>" in page.text
    assert "here" not in [tag for tag, _ in page.elements]


def test_the_table_holds_run_and_baseline(make_run: MakeRun, rows: list[Prediction], results: dict[str, Any]) -> None:
    text = " ".join(_page(make_run(rows, results)).text.split())
    assert "The test split, 5 images." in text
    assert "localization error, top-1 ↓, lower is better 60.00% 55.00%" in text
    assert "GT-known error ↓, lower is better 40.00% 90.00%" in text
    assert "box/threshold" in text
    assert "python -m cam_lightning.train" in text
    assert "_target_: cam_lightning.dataset.shapes.Shapes" in text


def test_a_failed_run_says_why_and_shows_what_it_has(make_run: MakeRun) -> None:
    error = "FloatingPointError: the loss is <nan> at step 50"
    failed = {"state": "failed", "error": error, "traceback": f"Traceback (most …)\n  File …\n{error}"}
    text = " ".join(_page(make_run(status=failed, overlays=False)).text.split())
    assert error in text
    assert "Traceback (most …)" in text
    assert "The last validation, 40 images." in text
    assert "localization error, top-1 ↓, lower is better 87.50% 80.00%" in text
    assert "Gallery" not in text
    assert "Overlap" not in text


def test_a_run_that_failed_at_once_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"state": "failed", "error": "ValueError: no data"}))
    text = _page(tmp_path).text
    assert "ValueError: no data" in text
    assert tmp_path.name in text
    assert "Results" not in text


def test_a_run_without_boxes_has_a_gallery_and_no_overlaps(make_run: MakeRun, rows: list[Prediction]) -> None:
    unknown = [row._replace(ious=[], gt_known_iou=None) for row in rows]
    page = _page(make_run(unknown, {"test/classification_error/top1": 0.4, "test/num_images": 5}))
    assert page.values("data-box") == ["no box known"] * 5
    assert "overlap" not in page.values("id")


def test_an_overlap_never_reads_as_the_hit_that_it_is_not(
    make_run: MakeRun, rows: list[Prediction], results: dict[str, Any]
) -> None:
    nearly = rows[0]._replace(ious=[0.4996, 0.1], gt_known_iou=0.49996)
    text = write_report(make_run([nearly, *rows[1:]], results)).read_text(encoding="utf-8")
    assert "miss, IoU 0.49" in text
    assert "the box of its map has IoU 0.499" in text
    assert "best class first: 0.499, 0.100" in text


@pytest.mark.parametrize(
    ("file", "content", "anchor", "said"),
    [
        ("results.json", b'{"test/loss": 1.', "results", "results.json: it is not JSON"),
        ("results.json", b"\xff\xfe", "results", "results.json: it cannot be read"),
        ("metrics.csv", b"time,step,epoch,key,value\nx,1,0,val/lo\n", "curves", "metrics.csv: row 1 is not a row"),
        ("predictions.csv", b"id,label\nx", "overlap", "has no column 'label_name'"),
        ("predictions.csv", b"id,label\nx", "gallery", "has no column 'label_name'"),
        ("threshold_curves.json", b'{"threshold": [0', "overlap", "threshold_curves.json is damaged: it is not JSON"),
        ("overlays/test/000002_c.png", b"\x89PNG cut", "gallery", "overlays/test/000002_c.png: cannot identify"),
        ("config.yaml", b"a: [1", "configuration", "config.yaml: "),
        ("status.json", b"{", "state", "status.json: it is not JSON"),
    ],
)
def test_a_damaged_file_is_said_in_its_section_and_the_others_stand(
    make_run: MakeRun,
    rows: list[Prediction],
    results: dict[str, Any],
    file: str,
    content: bytes,
    anchor: str,
    said: str,
) -> None:
    run_dir = make_run(rows, results)
    sections = {"results", "curves", "overlap", "gallery", "configuration"}
    assert sections <= set(_page(run_dir).values("id"))
    (run_dir / file).write_bytes(content)
    text = write_report(run_dir).read_text(encoding="utf-8")
    assert sections <= set(Page(text).values("id")), "every section is still there"
    of_section = Page(text[text.index(f'<section id="{anchor}"') :].partition("</section>")[0]).text
    assert "Damaged" in of_section
    assert said in of_section
    for other in sections - {anchor, "overlap", "gallery"}:
        elsewhere = Page(text[text.index(f'<section id="{other}"') :].partition("</section>")[0]).text
        assert "Damaged" not in elsewhere


def test_results_that_are_damaged_are_those_that_were_logged(make_run: MakeRun, results: dict[str, Any]) -> None:
    run_dir = make_run(results=results)
    (run_dir / "results.json").write_text("{")
    with (run_dir / "metrics.csv").open("a") as file:
        file.write("x,99,2,test/num_images,5\nx,99,2,test/localization_error/top1,0.6\n")
    text = " ".join(_page(run_dir).text.split())
    assert "The test split, 5 images." in text
    assert "localization error, top-1 ↓, lower is better 60.00%" in text


def test_a_section_is_one_file_and_one_template(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing lists them: a file that lies there stands on the page, at its place."""
    code, templates = tmp_path / "code", tmp_path / "template" / "section"
    code.mkdir()
    templates.mkdir(parents=True)
    (code / "weather.py").write_text(
        "PLACE, ANCHOR, NAME, TITLE, FILES = 15, 'weather', 'Weather', 'How the weather was', ()\n"
        "def content(page):\n    return {'sky': '<grey>'} if page.split == 'val' else None\n"
    )
    (templates / "weather.html.j2").write_text("<p>{{ sky }} in {{ split }}</p>")
    monkeypatch.setattr(section, "__path__", [*section.__path__, str(code)])
    monkeypatch.setattr(TEMPLATES.loader, "searchpath", [*TEMPLATES.loader.searchpath, str(tmp_path / "template")])
    run_dir = make_run()
    page = _page(run_dir)
    assert [link for link in page.values("href") if link.startswith("#")] == [
        "#results", "#weather", "#curves", "#configuration",
    ]  # fmt: skip
    assert "How the weather was" in page.text
    assert "<grey> in val" in page.text
    (run_dir / "results.json").write_text(json.dumps({"test/loss": 1.0}))
    assert "weather" not in _page(run_dir).text, "it had nothing to say"


def test_writing_again_replaces_the_page(make_run: MakeRun, rows: list[Prediction]) -> None:
    run_dir = make_run(rows)
    first = write_report(run_dir).read_text(encoding="utf-8")
    assert write_report(run_dir).read_text(encoding="utf-8") == first
    assert [path.name for path in run_dir.glob("*report*")] == ["report.html"]


class _Images:
    """A split of three images whose ids are unkind to file names."""

    ids = ("a/l'été 1.JPEG", "b/x=1,y.png", "c/plain.jpg")
    class_names = ("n01", "n02", "n03")

    def __len__(self) -> int:
        return len(self.ids)

    def original(self, index: int) -> np.ndarray:
        return np.full((30, 40, 3), 60 * index, np.uint8)


def test_what_the_sinks_write_is_what_the_report_reads(tmp_path: Path) -> None:
    """Overlays and predictions come from other rooms: their files' names and columns must meet here."""
    source = _Images()
    for sink in (Overlays(str(tmp_path), count=3), Predictions(str(tmp_path))):
        sink.start("test", source, ["cat", "dog"], 0, 1)
        for index in range(3):
            box_114 = torch.tensor([[[0.0, 0, 20, 30]]])
            localization = Localization(
                torch.tensor([index]),
                torch.tensor([[index % 2, 1 - index % 2]]),
                torch.tensor([[0.8, 0.2]]),
                torch.ones(1, 2, 3, 4),
                Proposals(box_114.expand(1, 2, 4), (0, 1), torch.zeros(1, 2, dtype=torch.bool)),
                LabelBox(torch.ones(1, 3, 4), box_114[:, 0], torch.zeros(1, dtype=torch.bool)),
            )
            truth = GroundTruth(torch.tensor([0]), box_114 * (index + 1), torch.tensor([1]), torch.tensor([[30, 40]]))
            sink.add(localization, truth, {})
        sink.finish()
        sink.merge()
    page = _page(tmp_path)
    assert page.values("data-box") == ["hit", "miss", "miss"]
    assert page.values("data-classification") == ["right", "wrong", "right"]
    assert list(map(float, page.values("data-iou"))) == [1, 1 / 4, 1 / 9]
    assert all(image_id in page.text for image_id in source.ids)


@pytest.mark.slow
def test_five_hundred_overlays_stay_below_20_megabytes(tmp_path: Path) -> None:
    """Photos of 480 pixels side by side; noise is harder to compress than any photo."""
    folder = tmp_path / "overlays" / "test"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (406, 964, 3), dtype=np.uint8)
    Image.fromarray(picture).save(folder / "000000_a.png", compress_level=0)
    for index in range(1, 500):
        (folder / f"{index:06d}_a.png").hardlink_to(folder / "000000_a.png")
    assert write_report(tmp_path).stat().st_size < 20_000_000


# --- in a browser


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on this machine")
    return path


def _in_browser(chromium: str, report: Path, tmp_path: Path, script: str, width: int = 1400) -> Any:
    """What `script` returns, run in the page after it has loaded in a frame of `width` pixels.

    A frame, since a browser's own window has a least width, which is more than a phone's.
    """
    answer = "(answer) => { parent.document.body.dataset.answer = JSON.stringify(answer); }"
    script = f"<script>(async () => {{{script}}})().then({answer})</script>"
    page = report.read_text(encoding="utf-8").replace("</body>", script + "</body>")
    driver = tmp_path / "driver.html"
    frame = f'<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{escape(page)}"></iframe>'
    driver.write_text(f'<!doctype html><meta charset="utf-8"><body>{frame}', encoding="utf-8")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1600,1000",
        "--virtual-time-budget=10000", "--dump-dom", driver.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    (answer,) = Page(dom).values("data-answer")
    return json.loads(answer)


CLICK = """
const shown = () => [...document.querySelectorAll(".cards > li")].filter((li) => !li.hidden)
    .map((li) => li.querySelector("h3, img").alt.split(":")[0]);
const choose = (name, value) => {
  const radios = [...document.querySelectorAll(`input[name="${name}"]`)];
  const radio = radios.find((input) => input.value === value);
  if (radio) return radio.click();
  const select = document.querySelector(`select[name="${name}"]`);
  select.value = value;
  select.dispatchEvent(new Event("change", { bubbles: true }));
};
const counts = (name) => [...document.querySelectorAll(`input[name="${name}"]`)]
    .map((input) => Number(input.parentElement.querySelector("small").textContent));
"""


def _wanted(
    rows: list[Prediction], box: str = "", classification: str = "", label: str = "", low: float = 0, high: float = 2
) -> list[str]:
    """The filters once more, as a plain loop."""
    wanted = []
    for row in rows:
        outcome = "hit" if row.ious[0] >= 0.5 else "miss"
        verdict = "right" if row.names[0] == row.label_name else "wrong"
        if (
            box in ("", outcome)
            and classification in ("", verdict)
            and label in ("", row.label_name)
            and low <= row.probabilities[0] < high
        ):
            wanted.append(row.id)
    return wanted


@pytest.mark.browser
def test_filters_combine_and_count(
    make_run: MakeRun, rows: list[Prediction], results: dict[str, Any], hostile: str, chromium: str, tmp_path: Path
) -> None:
    answer = _in_browser(
        chromium, write_report(make_run(rows, results)), tmp_path,
        CLICK + f"""
        const steps = {{ all: shown() }};
        choose("box", "hit"); steps.hit = shown(); steps.confidenceCounts = counts("confidence");
        choose("confidence", "75 % and more"); steps.hitSure = shown(); steps.boxCounts = counts("box");
        choose("class", {json.dumps(hostile)}); steps.hitSureHostile = shown();
        steps.said = document.querySelector("#shown").textContent;
        choose("box", "miss"); steps.nothing = shown(); steps.note = !document.querySelector("#none").hidden;
        choose("box", ""); choose("confidence", ""); choose("class", "");
        choose("classification", "wrong"); steps.wrong = shown();
        choose("classification", ""); choose("order", "iou"); steps.byIou = shown();
        steps.options = [...document.querySelector("select[name=class]").options].map((o) => o.textContent);
        return steps;
        """,
    )  # fmt: skip
    assert answer["all"] == _wanted(rows)
    assert answer["hit"] == _wanted(rows, box="hit")
    # All, then the four bands, of the hits alone.
    bands = [(0, 2), (0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 2)]
    assert answer["confidenceCounts"] == [len(_wanted(rows, "hit", low=low, high=high)) for low, high in bands]
    assert answer["hitSure"] == _wanted(rows, "hit", low=0.75)
    assert answer["boxCounts"] == [len(_wanted(rows, box, low=0.75)) for box in ("", "hit", "miss")]
    assert answer["hitSureHostile"] == _wanted(rows, "hit", label=hostile, low=0.75) == ["test/d"]
    assert answer["said"] == "1 of 5 pictures"
    assert (answer["nothing"], answer["note"]) == ([], True)
    assert answer["wrong"] == _wanted(rows, classification="wrong")
    assert answer["byIou"] == ["test/e", "test/b", "test/c", "test/d", "test/a"]
    assert answer["options"] == ["all (5)", "cat (3)", f"{hostile} (2)"]


@pytest.mark.browser
def test_every_choice_of_every_filter_shows_what_it_says(
    make_run: MakeRun, rows: list[Prediction], results: dict[str, Any], hostile: str, chromium: str, tmp_path: Path
) -> None:
    unknown = rows[1]._replace(id="test/f", ious=[], gt_known_iou=None, probabilities=[0.3, 0.3])
    answer = _in_browser(
        chromium, write_report(make_run([*rows, unknown], results)), tmp_path,
        CLICK + """
        const controls = [...document.querySelectorAll("#filters input, #filters select")];
        const names = [...new Set(controls.map((control) => control.name))];
        const choices = (name) => controls.filter((control) => control.name === name)
            .flatMap((control) => control.options ? [...control.options].map((o) => o.value) : [control.value]);
        const seen = [];
        for (const name of names) {
          for (const value of choices(name)) {
            choose(name, value);
            seen.push([name, value, shown()]);
          }
          document.querySelector("#filters button[type=reset]").click();
          await new Promise((done) => setTimeout(done));
          seen.push([name, "reset", shown()]);
        }
        return seen;
        """,
    )  # fmt: skip
    everything = ["test/a", "test/b", "test/c", "test/d", "test/e", "test/f"]
    bands = {"below 25 %": ["test/e"], "25 to 50 %": ["test/f"], "50 to 75 %": ["test/b", "test/c"],
             "75 % and more": ["test/a", "test/d"]}  # fmt: skip
    expected = {
        "box": {"": everything, "hit": ["test/a", "test/c", "test/d"], "miss": ["test/b", "test/e"],
                "no box known": ["test/f"]},
        "classification": {"": everything, "right": ["test/a", "test/b", "test/d", "test/f"],
                           "wrong": ["test/c", "test/e"]},
        "confidence": {"": everything, **bands},
        "class": {"": everything, "cat": ["test/a", "test/b", "test/c", "test/f"], hostile: ["test/d", "test/e"]},
        "order": {"position": everything, "iou": ["test/e", "test/b", "test/c", "test/d", "test/a", "test/f"],
                  "probability": ["test/d", "test/a", "test/c", "test/b", "test/f", "test/e"]},
    }  # fmt: skip
    assert answer == [
        [name, value, shown]
        for name, values in expected.items()
        for value, shown in {**values, "reset": everything}.items()
    ]


@pytest.mark.browser
def test_a_picture_opens_large_and_steps_through_what_is_shown(
    make_run: MakeRun, rows: list[Prediction], results: dict[str, Any], chromium: str, tmp_path: Path
) -> None:
    answer = _in_browser(
        chromium, write_report(make_run(rows, results)), tmp_path,
        CLICK + """
        choose("box", "miss");
        const dialog = document.querySelector("dialog"), title = () => dialog.querySelector("h3").textContent;
        const press = (key) => dialog.dispatchEvent(new KeyboardEvent("keydown", { key }));
        document.querySelector(".cards > li:not([hidden]) button").click();
        const seen = [dialog.open, title()];
        press("ArrowRight"); seen.push(title());
        press("ArrowRight"); seen.push(title());
        press("ArrowLeft"); seen.push(title(), dialog.querySelector("table").textContent.includes("10.0%"));
        dialog.querySelector("[data-close]").click(); seen.push(dialog.open);
        return seen;
        """,
    )  # fmt: skip
    assert answer == [True, "test/b", "test/e", "test/b", "test/e", True, False]


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_its_window_in_both_themes(
    make_run: MakeRun, rows: list[Prediction], results: dict[str, Any], chromium: str, tmp_path: Path, width: int
) -> None:
    answer = _in_browser(
        chromium, write_report(make_run(rows, results)), tmp_path,
        """
        const button = document.querySelector("#theme"), root = document.documentElement, seen = [];
        for (let i = 0; i < 3; i++) {
          button.click();
          seen.push([root.style.colorScheme, getComputedStyle(document.body).backgroundColor]);
        }
        return { inner: innerWidth, page: root.scrollWidth, seen };
        """,
        width,
    )  # fmt: skip
    assert answer["inner"] == width
    assert answer["page"] <= width
    (light, paper), (dark, night), (auto, system) = answer["seen"]
    assert (light, dark, auto) == ("light", "dark", "light dark")
    assert paper != night
    assert system in (paper, night)
