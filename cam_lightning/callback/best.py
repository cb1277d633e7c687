"""The best checkpoint by one number of the validation: which it is, and whether a validation was better."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cam_lightning.contracts import Spec
from cam_lightning.run.checkpoint import read_checkpoint
from cam_lightning.run.choice import nearest

log = logging.getLogger(__name__)


class Best:
    """One file that holds the best so far by the first of some keys that validation logs.

    Which direction is better is the `mode`, `min` or `max`; without one, what the key's spec says. Nothing is kept
    where no key is logged or none is better than another, unless it `is_required`: then its only key must be logged
    (ValueError that lists those that are) and have a direction (ValueError).
    """

    def __init__(self, file: str, keys: tuple[str, ...], mode: str | None = None, *, is_required: bool = False) -> None:
        self.file = file
        self.keys = keys
        self.mode = mode
        self.is_required = is_required
        self.monitor = keys[0] if is_required else ""
        """The key that decided last."""
        self.value: float | None = None
        self.record: dict[str, Any] = {}
        """The key, the epoch, counted from 1, and what validation logged there of classes and boxes."""

    def read(self, folder: Path) -> None:
        """Takes the value that the file has, unless it is another number's; damaged, with a warning, none."""
        try:
            content = read_checkpoint(str(folder / self.file))
        except ValueError as error:
            log.warning("%s; the best validation from here on takes its place", error)
            return
        if content.get("monitor") in self.keys:
            self.monitor, self.value = content["monitor"], content.get("best_value")
            self.record = content.get("record", {})

    def is_improved(self, logged: Mapping[str, Any], specs: Mapping[str, Spec], epoch: int) -> bool:
        """Whether what was logged is better than what is kept; it then is what is to be kept."""
        key = next((key for key in self.keys if key in logged), None)
        if key is None:
            if not self.is_required:
                return False
            raise ValueError(no_monitor(self.keys[0], {key for key in logged if key.startswith("val/")}))
        sign = self._sign(key, specs)
        if sign == 0 and self.is_required:
            raise ValueError(no_direction(key))
        value = float(logged[key])
        # Another key than before, where one has come to be logged, starts anew.
        before = self.value if key == self.monitor else None
        if sign == 0 or not math.isfinite(value) or (before is not None and sign * value >= sign * before):
            return False
        self.monitor, self.value = key, value
        self.record = {"by": key, "epoch": epoch} | {
            name: float(number)
            for name, number in logged.items()
            if name in specs and name.startswith("val/") and specs[name].headline is not None and not specs[name].arm
            and specs[name].kind != "count"
        } | {key: value}  # fmt: skip
        return True

    def _sign(self, key: str, specs: Mapping[str, Spec]) -> float:
        better = {"min": "lower", "max": "higher"}.get(self.mode or "") or (specs[key].better if key in specs else None)
        return {"lower": 1.0, "higher": -1.0}.get(better or "", 0.0)


def no_monitor(monitor: str, keys: set[str], why: str = "") -> str:
    """The error, with the few keys that are most alike first, and no more of the baselines' and the counts'."""
    plain = [key for key in keys if not re.search(r"/baseline/|_by_size/|/threshold$", key)]
    return (
        f"callback.checkpoint.monitor={monitor} is not logged by validation{why}. It logs "
        f"{nearest(monitor, keys, sorted(plain))}; null keeps no best.ckpt"
    )


def no_direction(monitor: str) -> str:
    """The error where nothing says which values of a number are the better ones."""
    return (
        f"nothing says whether callback.checkpoint.monitor={monitor} is better lower or higher: give "
        "callback.checkpoint.mode=min or max"
    )
