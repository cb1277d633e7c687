from __future__ import annotations

import itertools

import pytest

from cam_lightning.run.spreadsheet import original_text, safe_cell


@pytest.mark.parametrize("text", ["=1+1", "-1+1", "+x", "-cat", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''@x"])
def test_what_a_spreadsheet_would_compute_is_text(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "cat", "it's", "'cat'", "a=b", "n01440764", " =1", "'", "-1", "+2.5e-3"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert safe_cell(text) == text
    assert original_text(text) == text, "also in a table of an earlier version"


def test_every_text_comes_back() -> None:
    texts = ["".join(letters) for length in range(5) for letters in itertools.product("'=-1\t ", repeat=length)]
    assert [original_text(safe_cell(text)) for text in texts] == texts
    assert len({safe_cell(text) for text in texts}) == len(texts), "no two become one"
