"""Questions about images, and ten people's answers: the JSON of VQA v1 and v2, v1's multiple choice too."""

from __future__ import annotations

from typing import NamedTuple

from cam_lightning.dataset.format.json_file import read_json, records

QUESTION = {"question_id": int, "image_id": int, "question": str}
CHOICES = {"multiple_choices": list}
ANNOTATION = {
    "question_id": int,
    "image_id": int,
    "answers": list,
    "multiple_choice_answer": str,
    "question_type": str,
    "answer_type": str,
}


class Question(NamedTuple):
    """One question and what is known of its answer."""

    question_id: int
    image_id: int
    text: str
    answer: str
    """That of most people."""
    answers: tuple[str, ...]
    """Everybody's."""
    answer_type: str
    """`yes/no`, `number` or `other`."""
    choices: tuple[str, ...] = ()
    """Of multiple choice: what one answers with one of; empty: any answer."""


def read_questions(
    questions: tuple[bytes, str], annotations: tuple[bytes, str], with_choices: bool = False
) -> list[Question]:
    """The questions of two files, each its bytes and its name in messages, in the order of the first.

    `with_choices` says that the first has `multiple_choices` for each question. Raises ValueError, naming the file and
    the question, for what is not as published: a question without answers, an answer without a question, one that is
    there twice, two images for one question.
    """
    answered = {}
    file = annotations[1]
    for entry in records(read_json(*annotations), "annotations", ANNOTATION, file):
        number = entry["question_id"]
        if number in answered:
            raise ValueError(f"{file}: question {number} is there twice")
        texts = [each.get("answer") if isinstance(each, dict) else None for each in entry["answers"]]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(
                f"{file}: question {number}: answers should be a list of objects with a text called answer"
            )
        answered[number] = entry | {"answers": tuple(texts)}
    found = {}
    fields = QUESTION | CHOICES if with_choices else QUESTION
    for entry in records(read_json(*questions), "questions", fields, questions[1]):
        number = entry["question_id"]
        choices = entry["multiple_choices"] if with_choices else []
        if with_choices and not (choices and all(isinstance(choice, str) for choice in choices)):
            raise ValueError(f"{questions[1]}: question {number}: multiple_choices should be a list of texts")
        if number in found:
            raise ValueError(f"{questions[1]}: question {number} is there twice")
        if number not in answered:
            raise ValueError(f"{questions[1]}: question {number} has no answers in {file}")
        known = answered[number]
        if known["image_id"] != entry["image_id"]:
            raise ValueError(
                f"question {number} is of image {entry['image_id']} in {questions[1]}, and of {known['image_id']} "
                f"in {file}"
            )
        found[number] = Question(
            number,
            entry["image_id"],
            entry["question"],
            known["multiple_choice_answer"],
            known["answers"],
            known["answer_type"],
            tuple(choices),
        )
    if len(answered) > len(found):
        number = next(number for number in answered if number not in found)
        raise ValueError(f"{file}: there is no question {number} in {questions[1]}")
    return list(found.values())
