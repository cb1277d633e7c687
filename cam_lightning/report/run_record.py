"""What a run directory holds, read back: everything that is there, of a run in any state, damaged or not."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cam_lightning.contracts import Results, Spec
from cam_lightning.report.earlier_specs import earlier_specs
from cam_lightning.report.split_results import SplitResults, split_of
from cam_lightning.run import prediction_table
from cam_lightning.run.earlier import upgraded_config
from cam_lightning.run.prediction_table import Prediction, table_file

_READ = ("id", "label", "label_name", "classes", "names", "probabilities", "ranks", "ious", "gt_known_iou")
"""The columns of predictions that a report shows; earlier versions have them too."""
TIMES = "times.json"


class Point(NamedTuple):
    """One logged number."""

    step: int
    epoch: str
    value: float


class RunRecord(NamedTuple):
    """One run directory; what it does not hold is empty."""

    path: Path
    status: dict[str, Any]
    config_text: str
    config: dict[str, Any]
    """As this version writes it, also of an earlier run; `config_text` is what it was."""
    curves: dict[str, list[Point]]
    """Every number in `metrics.csv` by key, in the order logged; without NaN and infinity."""
    results: Results
    specs: dict[str, Spec]
    """What each number is, in the order in which they were made."""
    damage: dict[str, str]
    """File → what is wrong with it. What could be read of it is above."""
    times: Results
    """Of several maps, what each took, with `specs`: apart from the results, which are the same when made again."""

    @property
    def hit_iou(self) -> float:
        """The overlap that counts as a hit in this run."""
        return float(self.config.get("hit_iou", 0.5))

    @property
    def numbers(self) -> dict[str, float | None]:
        """Its results; of a run that ended before it had any, the last number logged under every key."""
        return numbers_of(self.results) or self.last_values

    @property
    def last_values(self) -> dict[str, float | None]:
        """The last number logged under every key."""
        return {key: points[-1].value for key, points in self.curves.items()}

    def split_results(self, split: str) -> SplitResults:
        """Its numbers of one split, and what maps took."""
        specs = self.specs | specs_of(self.times.get("specs") or {})
        return SplitResults({**self.numbers, **numbers_of(self.times)}, specs, split)

    def shown_split(self) -> str:
        """The split that a page is about: a run that ended before its test is shown by its last validation."""
        if "results.json" in self.damage:
            return "test"
        splits = {split_of(key) for key in self.numbers}
        return next((split for split in ("test", "val", "") if split in splits), "test")


def read_run(run_dir: Path) -> RunRecord:
    """Reads a run directory, also one of a run that failed, is still writing, or is damaged (`RunRecord.damage`)."""
    damage: dict[str, str] = {}
    config_text = _text(run_dir / "config.yaml", damage)
    results = _json(run_dir / "results.json", damage)
    curves = _read_curves(run_dir / "metrics.csv", damage)
    status = _json(run_dir / "status.json", damage)
    said = _json(run_dir / "specs.json", damage)
    told = results.pop("specs", None)
    specs: dict[str, Spec] = {}
    for file, content in (("specs.json", said), ("results.json", told or {})):
        try:
            specs |= specs_of(content)
        except ValueError as error:
            damage[file] = str(error)
    if not specs:
        specs = earlier_specs([*numbers_of(results), *(key for key in curves if key not in results)])
    times = read_times(run_dir, damage)
    config = _config(config_text, damage)
    return RunRecord(run_dir, status, config_text, config, curves, results, specs, damage, times)


def read_times(run_dir: Path, damage: dict[str, str] | None = None) -> Results:
    """What each of several maps took, with `specs`; nothing where the run has not said, or the file is damaged."""
    damage = {} if damage is None else damage
    times = _json(run_dir / TIMES, damage)
    try:
        specs_of(times.get("specs") or {})
    except ValueError as error:
        damage[TIMES] = str(error)
        return {}
    return times


def specs_of(content: Any) -> dict[str, Spec]:
    """Specs as a results file holds them; raises ValueError where they are not such.

    A field that a later version may have added is left out.
    """
    if not isinstance(content, Mapping) or not all(isinstance(spec, Mapping) for spec in content.values()):
        raise ValueError("the specs are not a table of what each number is")
    specs = {}
    for key, fields in content.items():
        known = {name: fields[name] for name in Spec._fields if name in fields}
        texts = {name: value for name, value in known.items() if name not in ("better", "headline", "has_baseline")}
        headline = known.get("headline")
        if "title" not in known or not all(isinstance(value, str) for value in texts.values()):
            raise ValueError(f"the spec of {key} has no title, or a field that is no text")
        if headline is not None and not isinstance(headline, int):
            raise ValueError(f"the headline of {key} is a place, not {headline!r}")
        specs[str(key)] = Spec(**known)
    return specs


def read_threshold_curves(run_dir: Path, split: str) -> dict[str, list[float]]:
    """`threshold` and the numbers there, by key; empty where the run has none. Raises ValueError for a damaged file."""
    path = run_dir / ("threshold_curves.json" if split == "test" else f"threshold_curves_{split}.json")
    damage: dict[str, str] = {}
    curves = _json(path, damage)
    lengths = {len(values) if isinstance(values, list) else -1 for values in curves.values()}
    if damage or (curves and ("threshold" not in curves or len(lengths) > 1 or lengths & {-1, 0})):
        raise ValueError(f"{path.name} is damaged: {damage.get(path.name, 'its columns are not of one length')}")
    return curves


def read_predictions(run_dir: Path, split: str) -> list[Prediction]:
    """The rows of a split's predictions, in the dataset's order; none where the file is absent.

    Raises ValueError for a damaged file.
    """
    path = table_file(run_dir, split)
    if not path.exists():
        return []
    rows = []
    for number, row in enumerate(prediction_table.read_predictions(path, _READ), start=1):
        rows.append(row)
        lengths = {len(row.classes), len(row.names), len(row.probabilities)}
        if len(lengths) > 1 or not row.classes or any(not 0 <= rank < len(row.classes) for rank in row.ranks):
            raise ValueError(f"{path.name}, row {number}: classes, names, probabilities and ranks do not fit together")
        if row.ious and len(row.ious) != len(row.ranks):
            raise ValueError(f"{path.name}, row {number}: there are {len(row.ious)} IoUs of {len(row.ranks)} guesses")
    return rows


def prediction_of(picture_name: str, predictions: list[Prediction], image_id: str | None = None) -> Prediction | None:
    """The row of an overlay called `{index:06d}_{id}.png`; None where no row is certainly that image's.

    `image_id` is the whole id, where the picture says it: of images of several classes names end in the class alone.

    Row numbers are positions in the split only where every image was evaluated. So the row at `index` must
    have the picture's id; where it has not (a run limited to some batches), the id must name one row alone.
    """
    if image_id is not None:
        return next((prediction for prediction in predictions if prediction.id == image_id), None)
    index, _, name = Path(picture_name).stem.partition("_")
    if index.isdigit() and int(index) < len(predictions) and _agree(predictions[int(index)].id, name):
        return predictions[int(index)]
    rows = [prediction for prediction in predictions if _agree(prediction.id, name)]
    return rows[0] if len(rows) == 1 else None


def _agree(image_id: str, name: str) -> bool:
    """Whether `name` is the id's last part, as far as characters fit for a file's name can tell."""
    return re.sub(r"[^A-Za-z0-9]", "", Path(image_id).stem).startswith(re.sub(r"[^A-Za-z0-9]", "", name))


def numbers_of(results: Results) -> dict[str, float | None]:
    """What is a result: how it was made is text, or below `protocol/`."""
    return {
        key: value
        for key, value in results.items()
        if (value is None or (isinstance(value, int | float) and not isinstance(value, bool)))
        and not key.startswith("protocol/")
    }


def _read_curves(path: Path, damage: dict[str, str]) -> dict[str, list[Point]]:
    curves: dict[str, list[Point]] = defaultdict(list)
    text = _text(path, damage)
    # A run that is still writing, or was killed, may show half a last row: not all of a number's digits.
    whole = text[: text.rfind("\n") + 1]
    try:
        for number, row in enumerate(csv.DictReader(whole.splitlines(keepends=True)), start=1):
            try:
                point = Point(int(row["step"]), row["epoch"], float(row["value"]))
            except (TypeError, KeyError, ValueError):
                damage.setdefault(path.name, f"row {number} is not a row of step, epoch, key and value")
                continue
            if math.isfinite(point.value):
                curves[row["key"]].append(point)
    except csv.Error as error:
        damage[path.name] = str(error)
    return dict(curves)


def _config(text: str, damage: dict[str, str]) -> dict[str, Any]:
    try:
        config = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        damage["config.yaml"] = " ".join(str(error).split())
        return {}
    try:
        return upgraded_config(config)
    except (AttributeError, TypeError, ValueError):
        damage["config.yaml"] = "it is not a configuration"
        return {}


def _json(path: Path, damage: dict[str, str]) -> dict[str, Any]:
    """An object; an empty one where the file is absent, or is damaged."""
    text = _text(path, damage)
    # A directory that was made a moment ago may have an empty status.
    if not text or path.name in damage:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        damage[path.name] = f"it is not JSON: {error}"
        return {}
    if not isinstance(content, dict):
        damage[path.name] = f"it holds {type(content).__name__}, and not an object of keys"
        return {}
    return content


def _text(path: Path, damage: dict[str, str]) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        damage[path.name] = f"it cannot be read: {error}"
        return ""
