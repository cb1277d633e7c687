"""What earlier versions stored, as this one reads it."""

from __future__ import annotations

from typing import Any

import pytest

from cam_lightning.run.earlier import upgraded_config


@pytest.mark.parametrize(
    ("monitor", "mode", "read"),
    [
        ("val/classification_error/top1", "min", None),
        ("val/classification_error/top1", "max", "max"),
        ("val/max_box_accuracy", "min", "min"),
        (None, "min", "min"),
    ],
)
def test_a_direction_is_left_to_the_number_where_that_says_the_same(
    monitor: str | None, mode: str, read: str | None
) -> None:
    config: dict[str, Any] = {"callback": {"checkpoint": {"monitor": monitor, "mode": mode}}}
    assert upgraded_config(config)["callback"]["checkpoint"]["mode"] == read
    assert config["callback"]["checkpoint"]["mode"] == mode, "what is read is not changed"


def test_a_rate_in_epochs_goes_on_as_it_began() -> None:
    schedule = {"_target_": "cam_lightning.method.schedule.step_epochs", "every": 15}
    config = {"method": {"schedule": schedule}, "trainer": {"max_steps": 1000}}
    assert upgraded_config(config)["method"]["schedule"] == {**schedule, "max_steps": -1}
    new = {"method": {"schedule": {**schedule, "max_steps": 1000}}}
    assert upgraded_config(new) == new
