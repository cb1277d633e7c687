"""A plugin of pytest: after every test, `check_data` and a run are given each tree that the test made, and must agree.

What the check calls wrong, a run refuses, as it reads the splits or where it meets the image; what a run reads, the
check finds nothing wrong with. `test_agreement.py` runs the tests of this room with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.shapes import Shapes
from cam_lightning.dataset.tool.check import check

CHECK_ALONE = {"copy", "in two splits"}
"""What only a look at every file tells, and published datasets have: the check names it, training goes on."""
MOST = 6
"""Of a test that reads its trees again and again, the last ones: they are as it left them."""


class Asked(NamedTuple):
    """A dataset as a test asked for it."""

    kind: type[LocalizationDataModule]
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def made(self, on_bad_image: str) -> LocalizationDataModule:
        """The same dataset again, read from what is there now."""
        return self.kind(*self.arguments, **self.options | {"on_bad_image": on_bad_image, "num_workers": 0})


_asked: list[Asked] = []
_found: Counter[str] = Counter()


def _remembered(kind: type[LocalizationDataModule], *arguments: Any, **options: Any) -> LocalizationDataModule:
    # What is made here draws or is an example of a test's own: there is no tree.
    if kind.__module__.startswith("cam_lightning.dataset.") and kind is not Shapes:
        _asked.append(Asked(kind, arguments, options))
    return object.__new__(kind)


LocalizationDataModule.__new__ = _remembered  # type: ignore[method-assign, assignment]


@pytest.fixture(autouse=True)
def check_and_run_agree() -> Iterator[None]:
    """Asks both, when the test is over."""
    _asked.clear()
    yield
    different = {repr(asked): asked for asked in _asked}
    for asked in list(different.values())[-MOST:]:
        wrong, refused = what_is_wrong(asked), why_refused(asked)
        name = asked.kind.__name__
        _found[f"{name} {'refused' if refused else 'read'}"] += 1
        assert bool(wrong) == bool(refused), (
            f"{asked}\n  the check: {wrong or 'nothing'}\n  a run: {refused or 'reads'}"
        )


def what_is_wrong(asked: Asked) -> list[str]:
    """What `check_data` calls wrong; in a published dataset no more than `CHECK_ALONE` is both wrong and read."""
    try:
        report = check(asked.made("skip"), True, lambda things, *_: things)
    except (ValueError, OSError) as error:
        return [str(error)]
    return [f"{finding.kind}: {finding.what}" for finding in report.wrong if finding.kind not in CHECK_ALONE]


def why_refused(asked: Asked) -> str:
    """Why a run does not go on with it; empty where it reads every image."""
    try:
        data = asked.made("error")
        data.setup()
        for examples in data.examples.values():
            for index in range(len(examples)):
                examples.split.read(index)
    except (ValueError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for each dataset, for whoever asks how many trees were looked at."""
    for name, count in sorted(_found.items()):
        terminalreporter.write_line(f"agree: {name} {count}")
