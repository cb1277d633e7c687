"""VQA accuracy: cases worked out by hand, and a slow rule written another way."""

from __future__ import annotations

import itertools
import random

import pytest

from cam_lightning.functional.vqa_accuracy import CONTRACTIONS, cleaned_up, vqa_accuracy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat", "cat"),
        ("a an the", ""),
        ("Two dogs", "2 dogs"),
        ("none", "0"),
        ("ten.", "10"),
        ("1,000", "1000"),  # a comma within a number: every sign goes without a space
        ("1,000/day", "1000day"),
        ("red/white", "red white"),
        ("red / white", "red white"),
        ("red, white", "red white"),
        ("black-and-white", "black and white"),
        ("t - shirt", "t shirt"),
        ("3.5", "3.5"),
        ("p.m.", "pm"),
        ("dont", "don't"),
        ("Couldnt've", "couldn't've"),
        ("couldntve", "couldntve"),  # both missing is not mended
        ("lets", "lets"),
        ("somebody'd", "somebodyd"),
        ("yes!", "yes"),
        ("what?now", "what now"),
    ],
)
def test_clean_up_by_hand(text: str, expected: str) -> None:
    assert cleaned_up(text) == expected


def test_contractions_are_misspelt_in_one_place() -> None:
    assert CONTRACTIONS["arent"] == "aren't"
    assert {spelt for spelt, word in CONTRACTIONS.items() if word == "y'all'd've"} == {
        "yall'd've", "y'alld've", "y'all'dve"
    }  # fmt: skip
    assert CONTRACTIONS["'ows'at"] == "'ow's'at"
    assert len(CONTRACTIONS) == 114


@pytest.mark.parametrize(
    ("answer", "truths", "expected"),
    [
        ("net", ["net"] * 10, 1.0),
        ("Net", ["net"] * 10, 0.0),  # all agree, so nothing is cleaned up
        ("net.", ["net."] * 10, 1.0),
        ("Net", ["net"] * 9 + ["web"], 1.0),
        ("net", ["the net"] * 3 + ["web"] * 7, (3 * 2 / 3 + 7 * 1) / 10),
        ("net", ["net"] * 2 + ["web"] * 8, (2 * 1 / 3 + 8 * 2 / 3) / 10),
        ("net", ["net"] + ["web"] * 9, 9 * (1 / 3) / 10),
        ("2", ["two"] * 4 + ["2"] * 3 + ["3"] * 3, 1.0),
        (" net\n", ["net"] * 10, 1.0),
        ("web", ["net"] * 10, 0.0),
    ],
)
def test_accuracy_by_hand(answer: str, truths: list[str], expected: float) -> None:
    assert vqa_accuracy(answer, truths) == pytest.approx(expected, abs=1e-12)


def slow(answer: str, truths: list[str]) -> float:
    """All subsets of all people but one, as the challenge describes it; clean-up only where they differ."""
    if any(truth.strip() != truths[0].strip() for truth in truths):
        answer, truths = cleaned_up(answer.strip()), [cleaned_up(truth.strip()) for truth in truths]
    shares = []
    for nine in itertools.combinations(range(len(truths)), len(truths) - 1):
        agreeing = len([1 for person in nine if truths[person].strip() == answer.strip()])
        shares.append({0: 0.0, 1: 1 / 3, 2: 2 / 3}.get(agreeing, 1.0))
    return sum(shares) / len(shares)


def test_any_answers_against_the_slow_rule() -> None:
    generator = random.Random(0)
    texts = ["yes", "Yes.", "no", "the no", "two", "2", "a red/blue", "red blue", "dont", "don't"]
    partial = 0
    for _ in range(500):
        few = generator.sample(texts, generator.randint(1, 4))
        truths = [generator.choice(few) for _ in range(10)]
        answer = generator.choice(texts)
        found = vqa_accuracy(answer, truths)
        assert found == pytest.approx(slow(answer, truths), abs=1e-12)
        partial += 0 < found < 1
    assert partial > 20


def test_nobody_answered() -> None:
    with pytest.raises(ValueError, match="nobody answered"):
        vqa_accuracy("x", [])
