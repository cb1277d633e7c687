"""What each of several maps takes in one pass, and what of it they share: wall-clock, kept apart from results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from cam_lightning.cam.gradient_map import sharing_maps
from cam_lightning.contracts import ActivationMap, Spec
from cam_lightning.metric.counter import CounterMetric

RULE = (
    "wall-clock per image on one device, beside all else that it does, without each device's first batch where it has "
    "more; what maps share, a forward and backward of layers, is counted for each of them"
)

_FAMILY = "time of the map"
_SPECS = {
    "map_time": Spec("time of the map, per image", "number", "lower", _FAMILY, unit="ms", label="per image"),
    "map_time/forwards": Spec("time of the map, in forwards", "number", "lower", _FAMILY, label="in forwards"),
    "map_time/shared": Spec(
        "time of the map, of that shared with others", "number", None, _FAMILY, unit="ms", label="of that shared"
    ),
}
_OF_THE_PASS = {
    "pass_time/forward": Spec("time of a forward, per image", "number", None, unit="ms"),
    "pass_time/maps": Spec("time of all maps together, per image", "number", None, unit="ms"),
}


class MapTimes(CounterMetric):
    """Nanoseconds that a pass spends on its forward, on what maps share, and on each map, over batches and ranks.

    Of every batch: `begin` before the network sees it, `forwarded` behind it, `measured` around the making of maps
    (a `gradient_map.Measure`), then `update`. A device that computes beside the program is waited for at each of
    these, so that what it still does is counted for what asked for it; maps are then no longer queued one behind the
    other, which costs the gap of a launch for each of them. The first batch warms, and counts only where it is the
    only one.

    A map's time is what it would take alone, at most: its own, and all of the forward and backward of layers that it
    shares. So the times of maps add up to more than that of all together, which is told beside them.
    """

    in_own_M: Tensor

    def __init__(self, cams: Mapping[str, ActivationMap], clock: Callable[[], int] = time.perf_counter_ns) -> None:
        super().__init__(in_forward=(), in_shared=(), in_own_M=(len(cams),), num_images=())
        sharing = sharing_maps(cams)
        self.shares = {name: len(sharing) > 1 and name in sharing for name in cams}
        """By the map's name, whether there is another that it shares with."""
        self._clock = clock
        self._place = torch.device("cpu")
        self._since = 0
        self._spent: dict[str, int] = {}

    def begin(self, device: torch.device | str) -> None:
        """A batch lies on this device, and the network is about to see it."""
        self._place = torch.device(device)
        self._spent = {}
        self._since = self._now()

    def forwarded(self) -> None:
        """The network has seen it."""
        self._spent["forward"] = self._now() - self._since

    @contextmanager
    def measured(self, names: Sequence[str]) -> Iterator[None]:
        """What is done within is done for the maps of these names."""
        what = "shared" if len(names) > 1 else f"own/{names[0]}"
        since = self._now()
        yield
        self._spent[what] = self._spent.get(what, 0) + self._now() - since

    def update(self, num_images: int) -> None:
        """Counts the batch that was measured since `begin`."""
        if self.update_count == 2:
            for name, counter in self.counters().items():
                setattr(self, name, torch.zeros_like(counter))
        self.add("in_forward", self._spent.get("forward", 0))
        self.add("in_shared", self._spent.get("shared", 0))
        self.add("in_own_M", torch.tensor([self._spent.get(f"own/{name}", 0) for name in self.shares]))
        self.add("num_images", num_images)

    def compute(self) -> dict[str, float]:
        """By keys below the split's name: milliseconds per image, and forwards; none where no image was seen."""
        images = self.count("num_images")
        if images == 0:
            return {}
        forward, shared = self.count("in_forward"), self.count("in_shared")
        own = dict(zip(self.shares, self.in_own_M.tolist(), strict=True))
        values: dict[str, float] = {}
        for name, nanoseconds in own.items():
            prefix = f"{name}/" if name else ""
            whole = nanoseconds + (shared if self.shares[name] else 0)
            values[f"{prefix}map_time"] = _milliseconds(whole, images)
            if forward > 0:
                values[f"{prefix}map_time/forwards"] = whole / forward
            if self.shares[name]:
                values[f"{prefix}map_time/shared"] = _milliseconds(shared, images)
        values["pass_time/forward"] = _milliseconds(forward, images)
        values["pass_time/maps"] = _milliseconds(sum(own.values()) + shared, images)
        return values

    def specs(self) -> dict[str, Spec]:
        of_maps = {
            f"{name}/{key}" if name else key: spec._replace(arm=name)
            for name in self.shares
            for key, spec in _SPECS.items()
        }
        return of_maps | _OF_THE_PASS

    def told(self, split: str) -> dict[str, Any]:
        """As results are told, with `specs`; to be called on every rank, since they are summed over all."""
        values, specs = self.compute(), self.specs()
        return {
            **{f"{split}/{key}": value for key, value in values.items()},
            "protocol/times": RULE,
            "specs": {f"{split}/{key}": specs[key]._asdict() for key in values},
        }

    def _now(self) -> int:
        if self._place.type != "cpu":
            torch.accelerator.synchronize(self._place)
        return self._clock()


def _milliseconds(nanoseconds: int, images: int) -> float:
    return nanoseconds / images / 1e6
