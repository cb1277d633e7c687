"""The numbers of one split, laid out by what each is and whose it is, as their specs say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cam_lightning.contracts import Spec
from cam_lightning.report.number import said

SPLITS = ("train", "val", "test")

Numbers = Mapping[str, float | None]
"""By key; None where the results hold null, since it was no finite number."""


class Entry(NamedTuple):
    """One number."""

    key: str
    name: str
    """The key without its split and its arm: the same for the run and for all that stands beside it."""
    spec: Spec
    value: float | None


class SplitResults:
    """Rows are names or arms, whichever way a table is turned; the split is "" for results without splits."""

    def __init__(self, numbers: Numbers, specs: Mapping[str, Spec], split: str) -> None:
        self.split = split
        of_split = [key for key in in_order(numbers, specs) if split_of(key) == split]
        entries = [Entry(key, name_of(key, specs), spec_of(key, specs), numbers[key]) for key in of_split]
        self._keys = {entry.key for entry in entries}
        self._by_place = {(entry.spec.arm, entry.name): entry for entry in entries}
        self._asides = {
            (e.spec.of, e.spec.role): e.value for e in entries if e.spec.role in ("threshold", "num_images")
        }
        shown = [entry for entry in entries if entry.spec.role in ("", "variant")]
        self._parts = [entry for entry in entries if entry.spec.role == "part"]
        self.arms = list(dict.fromkeys(["", *(entry.spec.arm for entry in shown)]))
        """The run's own, "", and then the others in the order in which they were made."""
        counts = [entry for entry in shown if entry.spec.kind == "count"]
        shared = {entry.name for entry in counts if entry.spec.arm}
        self.counts = [entry for entry in counts if not entry.spec.arm and entry.name not in shared]
        """What was counted for the run alone: how many images, how many maps."""
        self.names = list(dict.fromkeys(e.name for e in shown if e.spec.kind != "count" or e.name in shared))
        """Everything else that stands for itself or is a variant: headlines first, variants behind what they vary."""

    def entry(self, name: str, arm: str = "") -> Entry | None:
        """None where that arm has no such number."""
        return self._by_place.get((arm, name))

    def spec(self, name: str) -> Spec:
        """What a name is, by the first arm that has it."""
        return next(entry.spec for arm in self.arms if (entry := self.entry(name, arm)) is not None)

    def varies(self, name: str) -> str:
        """What sets a variant apart from the row that it stands below; empty where there is no such row."""
        entries = [entry for arm in self.arms if (entry := self.entry(name, arm)) is not None]
        below = any(entry.spec.role == "variant" and entry.spec.of in self._keys for entry in entries)
        return entries[0].spec.label if below else ""

    def cell(self, name: str, arm: str = "") -> str:
        """As text, with the threshold that it was reached at; empty where that arm has no such number."""
        entry = self.entry(name, arm)
        if entry is None:
            return ""
        threshold = self._asides.get((entry.key, "threshold"))
        return said(entry.spec, entry.value) + (f" at {threshold:g}" if threshold is not None else "")

    def num_images(self, name: str) -> float | None:
        """How many images the number is of, where it says so."""
        entry = self.entry(name)
        return None if entry is None else self._asides.get((entry.key, "num_images"))

    def variant(self, name: str, label: str, arm: str = "") -> str | None:
        """The name of that variant of a number, of this arm; None where there is none."""
        entry = self.entry(name, arm)
        return next((n for n in self.names if entry and self._varies(n, entry.key, arm, label)), None)

    def variants(self, names: list[str], arm: str = "") -> list[str]:
        """The labels of every variant of some numbers, in order."""
        keys = {entry.key for name in names if (entry := self.entry(name, arm)) is not None}
        found = [e.spec for n in self.names if (e := self.entry(n, arm)) is not None and e.spec.role == "variant"]
        return list(dict.fromkeys(spec.label for spec in found if spec.of in keys))

    def _varies(self, name: str, of: str, arm: str, label: str) -> bool:
        entry = self.entry(name, arm)
        return entry is not None and (entry.spec.role, entry.spec.of, entry.spec.label) == ("variant", of, label)

    def counted(self) -> str:
        """`1,000 images (996 with boxes), 8 maps that named no region`; what nothing was counted of is left out.

        Of what was counted, how many were of a kind is said also where none was.
        """
        return ", ".join(_number_of(entry) + self._among(entry) for entry in self.counts if entry.value)

    def _among(self, whole: Entry) -> str:
        parts = [_number_of(part) for part in self._parts if part.spec.of == whole.key and part.value is not None]
        return f" ({', '.join(parts)})" if parts else ""


def _number_of(entry: Entry) -> str:
    return f"{entry.value:,.0f} {entry.spec.title}"


def in_order(keys: Mapping[str, object], specs: Mapping[str, Spec]) -> list[str]:
    """Headlines by their place, then the others in the order in which they were made.

    What says something more of another number follows that one.
    """
    made = {key: number for number, key in enumerate([*specs, *(key for key in keys if key not in specs)])}

    def rank(key: str) -> tuple[tuple[bool, int, int], tuple[int, ...]]:
        below: list[int] = []
        while (spec := spec_of(key, specs)).of in made and len(below) < len(made):
            below.insert(0, made[key])
            key = spec.of
        return ((spec.headline is None, spec.headline or 0, made[key]), tuple(below))

    return sorted(keys, key=rank)


def spec_of(key: str, specs: Mapping[str, Spec]) -> Spec:
    """What a number is; of one that nobody says anything about, as a user's own callback may log, only its key."""
    return specs.get(key) or Spec(name_of(key, specs), "number", better=None)


def split_of(key: str) -> str:
    """The split that a key begins with; empty where there is none."""
    head = key.partition("/")[0]
    return head if head in SPLITS else ""


def name_of(key: str, specs: Mapping[str, Spec]) -> str:
    """A key without its split and its arm."""
    split = split_of(key)
    name = key.removeprefix(f"{split}/") if split else key
    return name.removeprefix(f"{specs[key].arm}/") if key in specs and specs[key].arm else name


def arm_in_words(arm: str) -> str:
    """`baseline: centre box`; another arm by its own name, which is that of its configuration."""
    kind, _, name = arm.partition("/")
    return f"baseline: {name.replace('_', ' ')}" if kind == "baseline" else arm
