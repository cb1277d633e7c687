from __future__ import annotations

from cam_lightning.run.choice import SHOWN, nearest

NAMES = ["loss", *(f"baseline/{i}" for i in range(20)), "test/gt_known_error", "val/gt_known_error"]


def test_the_names_most_alike_come_first_and_the_rest_is_counted() -> None:
    said = nearest("test/gt_known_eror", NAMES)
    assert said.startswith("test/gt_known_error, val/gt_known_error, baseline/0, baseline/1, ")
    assert said.endswith(f" (and {len(NAMES) - SHOWN} more)")
    assert said.count(", ") == SHOWN - 1


def test_what_matters_comes_before_the_alphabet() -> None:
    assert nearest("nothing like it", NAMES, first=["loss"]).startswith("loss, baseline/0, ")


def test_few_names_are_all_said() -> None:
    assert nearest("x", ["b", "a", "b"]) == "a, b"
    assert nearest("x", []) == ""
