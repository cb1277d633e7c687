"""Questions and answers in the official files of VQA."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Asked(NamedTuple):
    image_id: int
    question: str
    answers: list[str]
    answer_type: str = "other"
    choices: list[str] | None = None
    """Where all have some, there is a file of v1's multiple choice too."""


def write_part(root: Path, part: str, asked: Sequence[Asked]) -> None:
    """`train2014` or `val2014`: both files; answers in another order than questions."""
    ids = [10 * each.image_id + n for n, each in enumerate(asked)]
    questions = [
        {"question_id": i, "image_id": each.image_id, "question": each.question}
        for i, each in zip(ids, asked, strict=True)
    ]
    annotations = [
        {
            "question_id": i,
            "image_id": each.image_id,
            "question_type": "what",
            "answer_type": each.answer_type,
            "multiple_choice_answer": max(sorted(each.answers), key=each.answers.count),
            "answers": [
                {"answer": text, "answer_confidence": "yes", "answer_id": n} for n, text in enumerate(each.answers, 1)
            ],
        }
        for i, each in zip(ids, asked, strict=True)
    ]
    if all(each.choices is not None for each in asked):
        chosen = [
            question | {"multiple_choices": each.choices} for question, each in zip(questions, asked, strict=True)
        ]
        root.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"info": {}, "task_type": "Multiple-Choice", "questions": chosen})
        (root / f"MultipleChoice_mscoco_{part}_questions.json").write_text(text)
    root.mkdir(parents=True, exist_ok=True)
    head = {"info": {}, "data_type": "mscoco", "data_subtype": part}
    text = json.dumps(head | {"task_type": "Open-Ended", "questions": questions})
    (root / f"v2_OpenEnded_mscoco_{part}_questions.json").write_text(text)
    (root / f"v2_mscoco_{part}_annotations.json").write_text(json.dumps(head | {"annotations": annotations[::-1]}))
