"""What answers to visual questions are worth: their accuracy as the challenge counts it, and its file of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cam_lightning.contracts import Results, Spec
from cam_lightning.dataset.format.vqa import Question
from cam_lightning.feature.answering import Answered, Vocabulary
from cam_lightning.functional.vqa_accuracy import vqa_accuracy

KEY = "test/vqa_accuracy"


def result_file(questions: Sequence[Question], found: Answered, known: Vocabulary) -> list[dict[str, Any]]:
    """What the challenge's server and its evaluation read."""
    return [
        {"answer": known.answers[answer], "question_id": question.question_id}
        for question, answer in zip(questions, found.answer_N, strict=True)
    ]


def answer_results(train: Sequence[Question], test: Sequence[Question], found: Answered, known: Vocabulary) -> Results:
    """Flat results of test questions: all, by the type of answer, and beside them one answer to everything."""
    most_common = Counter(question.answer for question in train).most_common(1)[0][0]
    given = [known.answers[answer] for answer in found.answer_N]
    accuracy_N = [vqa_accuracy(answer, question.answers) for answer, question in zip(given, test, strict=True)]
    blind_N = [vqa_accuracy(most_common, question.answers) for question in test]
    overall = Spec("VQA accuracy", better="higher", family="VQA accuracy", headline=10, label="all questions")
    results: Results = {KEY: _mean(accuracy_N), f"{KEY}@most_common_answer": _mean(blind_N)}
    specs = {
        KEY: overall,
        f"{KEY}@most_common_answer": overall._replace(
            title=f"VQA accuracy of {most_common!r} to every question",
            of=KEY,
            role="variant",
            label="one answer",
            headline=11,
        ),
        "test/num_questions": Spec("questions", "count", better=None, headline=0),
    }
    for kind in sorted({question.answer_type for question in test}):
        key = f"{KEY}/{kind.replace('/', '_').replace(' ', '_')}"
        results[key] = _mean([a for a, question in zip(accuracy_N, test, strict=True) if question.answer_type == kind])
        specs[key] = overall._replace(title=f"VQA accuracy, answer type {kind}", label=kind, headline=None)
    if any(question.choices for question in test):
        unknown = [not set(question.choices) & set(known.answers) for question in test]
        results["test/num_questions_without_known_choice"] = sum(unknown)
        specs["test/num_questions_without_known_choice"] = Spec(
            "questions of which no choice is a known answer", "count", of="test/num_questions", role="part"
        )
    return {
        **results,
        "test/num_questions": len(test),
        "protocol/num_train_questions": len(train),
        "protocol/num_words": len(known.words),
        "protocol/num_answers": len(known.answers),
        "specs": {key: spec._asdict() for key, spec in specs.items()},
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
