"""Times of maps by a clock that moves only where something is made."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_network import ToyGap

from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.cam.gradient_map import LayerMap, OneLayerMap
from cam_lightning.contracts import Normalization
from cam_lightning.localization.localizer import Localizer
from cam_lightning.localization.map_times import MapTimes

FORWARD, HEAD = 1000, 40
"""Nanoseconds that the network's parts take."""


class Clock:
    """Stands still unless it is told what passes."""

    def __init__(self) -> None:
        self.now = 17

    def __call__(self) -> int:
        return self.now

    def pass_by(self, nanoseconds: int) -> None:
        self.now += nanoseconds


class Slow:
    """A map of its own, that shares nothing."""

    def __init__(self, clock: Clock, nanoseconds: int) -> None:
        self.clock, self.nanoseconds = clock, nanoseconds

    def __call__(self, network: Any, image_B3HW: Tensor, output: Any, classes_BT: Tensor) -> Tensor:
        self.clock.pass_by(self.nanoseconds * len(image_B3HW))
        return image_B3HW.mean(1, keepdim=True).expand(-1, classes_BT.shape[1], -1, -1)


class SlowLayer(OneLayerMap):
    """A map of the features and their gradients."""

    def __init__(self, clock: Clock, nanoseconds: int, batch_size: int = 8) -> None:
        super().__init__(batch_size=batch_size)
        self.clock, self.nanoseconds = clock, nanoseconds

    def of_layer(self, features_BKhw: Tensor, gradient_BTKhw: Tensor) -> Tensor:
        self.clock.pass_by(self.nanoseconds * len(features_BKhw))
        return (features_BKhw[:, None] * gradient_BTKhw).sum(2)


class Timed(ToyGap):
    """Its parts take the time that they say, per image."""

    normalization = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def __init__(self, clock: Clock) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()), 6, 8)
        self.clock = clock

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        self.clock.pass_by((FORWARD - HEAD) * len(x_B3HW))
        return super().forward_features(x_B3HW)

    def forward_head(self, features_BKhw: Tensor) -> Any:
        self.clock.pass_by(HEAD * len(features_BKhw))
        return super().forward_head(features_BKhw)


def a_pass(times: MapTimes, localizer: Localizer, sizes: list[int]) -> None:
    """Batches of so many images."""
    localizer.measure = times.measured
    for size in sizes:
        image = torch.randn(size, 3, 9, 14)
        times.begin(image.device)
        with torch.no_grad():
            output = localizer.network(image)
        times.forwarded()
        localizer.maps(image, output, torch.arange(size), torch.arange(size) % 8)
        times.update(size)


def world(clock: Clock) -> Localizer:
    cams: dict[str, Any] = {
        "": ClassActivationMap(),
        "one": SlowLayer(clock, 3),
        "slow": Slow(clock, 500),
        "two": SlowLayer(clock, 7, batch_size=2),
    }
    return Localizer(Timed(clock).eval(), cams, {"": Slow})  # type: ignore[dict-item]


def test_each_has_its_own_time_and_what_it_shares_and_the_pass_has_that_once() -> None:
    clock = Clock()
    localizer = world(clock)
    times = MapTimes(localizer.cams, clock)
    a_pass(times, localizer, [3, 5, 2])
    found = times.compute()
    expected = {
        "map_time": 0.0,
        "map_time/forwards": 0.0,
        "one/map_time": (3 + HEAD) / 1e6,
        "one/map_time/forwards": (3 + HEAD) / FORWARD,
        "one/map_time/shared": HEAD / 1e6,
        "slow/map_time": 500 / 1e6,
        "slow/map_time/forwards": 500 / FORWARD,
        "two/map_time": (7 + HEAD) / 1e6,
        "two/map_time/forwards": (7 + HEAD) / FORWARD,
        "two/map_time/shared": HEAD / 1e6,
        "pass_time/forward": FORWARD / 1e6,
        "pass_time/maps": (3 + 500 + 7 + HEAD) / 1e6,
    }
    assert found == pytest.approx(expected)
    assert list(found) == list(expected)
    specs = times.specs()
    assert found.keys() <= specs.keys()
    assert {specs[key].arm for key in found if key.startswith("two/")} == {"two"}
    assert specs["slow/map_time"].unit == specs["pass_time/forward"].unit == "ms"
    assert specs["map_time"].better == "lower"


def test_what_alone_is_of_layers_shares_with_nobody() -> None:
    clock = Clock()
    cams: dict[str, Any] = {"": ClassActivationMap(), "one": SlowLayer(clock, 3)}
    localizer = Localizer(Timed(clock).eval(), cams, {"": Slow})  # type: ignore[dict-item]
    times = MapTimes(cams, clock)
    a_pass(times, localizer, [4, 4])
    found = times.compute()
    assert found["one/map_time"] == pytest.approx((3 + HEAD) / 1e6)
    assert "one/map_time/shared" not in found


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_the_first_batch_warms_and_counts_only_where_it_is_the_only_one() -> None:
    clock = Clock()
    localizer = world(clock)
    slow: Any = localizer.cams["slow"]
    times = MapTimes(localizer.cams, clock)
    slow.nanoseconds = 9000
    a_pass(times, localizer, [3])
    assert times.compute()["slow/map_time"] == pytest.approx(9000 / 1e6)
    assert times.count("num_images") == 3
    slow.nanoseconds = 500
    a_pass(times, localizer, [5, 2])
    assert times.compute()["slow/map_time"] == pytest.approx(500 / 1e6)
    assert times.count("num_images") == 7
    times.reset()
    assert times.compute() == {}
    a_pass(times, localizer, [4])
    assert times.compute()["slow/map_time"] == pytest.approx(500 / 1e6)


def test_ranks_add_up() -> None:
    """The mean over all images, whatever share of them a rank had."""
    clock = Clock()
    localizer = world(clock)
    slow: Any = localizer.cams["slow"]
    ranks = [MapTimes(localizer.cams, clock) for _ in range(2)]
    for rank, size, nanoseconds in zip(ranks, (2, 6), (100, 500), strict=True):
        slow.nanoseconds = nanoseconds
        a_pass(rank, localizer, [1, size])
    for name, reduce in ranks[0]._reductions.items():
        setattr(ranks[0], name, reduce(torch.stack([getattr(rank, name) for rank in ranks])))  # type: ignore[operator]
    assert ranks[0].compute()["slow/map_time"] == pytest.approx((2 * 100 + 6 * 500) / 8 / 1e6)


def test_a_device_that_computes_beside_the_program_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was queued within a measure passes while it is waited for, and is that one's."""
    clock, queue, places = Clock(), [], []

    def wait(place: torch.device) -> None:
        places.append(place.type)
        clock.pass_by(sum(queue))
        queue.clear()

    monkeypatch.setattr(torch.accelerator, "synchronize", wait)
    times = MapTimes({"": Slow(clock, 0), "slow": Slow(clock, 0)}, clock)
    queue.append(999)  # the transfer of the batch
    times.begin("cuda")
    queue.append(1000)
    times.forwarded()
    for name, nanoseconds in (("", 20), ("slow", 300)):
        with times.measured([name]):
            queue.append(nanoseconds)
    times.update(1)
    found = {key: value for key, value in times.compute().items() if not key.endswith("forwards")}
    assert found == pytest.approx(
        {"map_time": 20e-6, "slow/map_time": 300e-6, "pass_time/forward": 1e-3, "pass_time/maps": 320e-6}
    )
    assert set(places) == {"cuda"}


def test_a_processor_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda place: 1 / 0)
    clock = Clock()
    localizer = world(clock)
    times = MapTimes(localizer.cams, clock)
    a_pass(times, localizer, [2, 2])
    assert times.count("num_images") == 2


def test_maps_that_are_measured_are_those_that_are_not() -> None:
    clock = Clock()
    localizer = world(clock)
    localizer.cams["grad_cam"] = GradCam()
    assert sum(isinstance(cam, LayerMap) for cam in localizer.cams.values()) == 3
    image = torch.randn(3, 3, 9, 14)
    with torch.no_grad():
        output = localizer.network(image)
        plain = localizer.maps(image, output, torch.arange(3))
        localizer.measure = MapTimes(localizer.cams, clock).measured
        measured = localizer.maps(image, output, torch.arange(3))
    for name in localizer.cams:
        assert torch.equal(plain.map_BThw[name], measured.map_BThw[name])
