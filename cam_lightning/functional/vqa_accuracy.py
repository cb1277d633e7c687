"""The accuracy of answers to visual questions, as the VQA challenge counts it: ten people answer each question.

Source: Antol et al. 2015, and the organisers' evaluation (GT-Vision-Lab/VQA, vqaEval.py), whose clean-up of texts is
followed step by step, quirks included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

PUNCTUATION = tuple(';/[]"{}()=+\\_-><@`,?!')
ARTICLES = ("a", "an", "the")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
_PERIOD = re.compile(r"\.(?!\d)")
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
MOST_PERIODS = 32
"""More are left as they are: there a flag of `re` stands where the number of replacements belongs."""


def _spellings(word: str) -> list[str]:
    """How a contraction is misspelt: of one apostrophe without it, of several without any one of them."""
    places = [place for place, letter in enumerate(word) if letter == "'"]
    return [word[:place] + word[place + 1 :] for place in places]


# `somebody'd` is the organisers' own: there alone the apostrophe is taken away.
CONTRACTIONS = {spelt: word for word in _CONTRACTED.split() for spelt in _spellings(word)} | {"somebody'd": "somebodyd"}
"""Misspelt → as it should be."""


def vqa_accuracy(answer: str, truths: Sequence[str]) -> float:
    """How right an answer is, from 0 to 1, by the answers of several people.

    The mean over these people of min(1, matches / 3), where matches are those of the others who gave this answer. Only
    where people differ are all answers, and this one, cleaned up first; where all gave one it is to be that, to the
    letter. Raises ValueError where nobody answered.
    """
    if not truths:
        raise ValueError("nobody answered this question, so no answer can be scored")
    answer, truths = _one_line(answer), [_one_line(truth) for truth in truths]
    if len(set(truths)) > 1:
        answer, truths = cleaned_up(answer), [cleaned_up(truth) for truth in truths]
    matches = sum(truth == answer for truth in truths)
    return sum(min(1.0, (matches - (truth == answer)) / 3) for truth in truths) / len(truths)


def cleaned_up(text: str) -> str:
    """Without punctuation and articles, in lower case, numbers to ten as digits, contractions with their apostrophe."""
    words = [NUMBERS.get(word, word) for word in _without_punctuation(text).lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def _without_punctuation(text: str) -> str:
    """Each sign is taken away where one of it is beside a space, or the text has a comma within a number; else a space.

    Then the periods that no digit follows.
    """
    has_comma_in_number = _COMMA_IN_NUMBER.search(text) is not None
    cleaned = text
    for sign in PUNCTUATION:
        is_apart = f"{sign} " in text or f" {sign}" in text or has_comma_in_number
        cleaned = cleaned.replace(sign, "" if is_apart else " ")
    return _PERIOD.sub("", cleaned, count=MOST_PERIODS)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()
