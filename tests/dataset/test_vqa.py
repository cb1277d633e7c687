"""VQA's files: every question with its image and its ten answers, and what broken ones get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from labelled_tree import draw_all
from vqa_tree import Asked, write_part

from cam_lightning.dataset.vqa import Vqa

TRAIN = [
    Asked(42, "What is it?", ["net"] * 10),
    Asked(7, "How many?", ["2"] * 6 + ["3"] * 4, "number"),
    Asked(42, "Is it?", ["yes"] * 10, "yes/no"),
]
TEST = [Asked(9, "What is it?", ["web"] * 10)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "it's vqa"
    draw_all(root / "train2014", [f"COCO_train2014_{n:012d}.jpg" for n in (7, 8, 42)])
    draw_all(root / "val2014", [f"COCO_val2014_{n:012d}.jpg" for n in (9,)])
    write_part(root, "train2014", TRAIN)
    write_part(root / "questions", "val2014", TEST)
    return root


def data(root: Path, **options: Any) -> Vqa:
    return Vqa(root=str(root), num_workers=0, **options)


def test_questions_know_their_images(root: Path) -> None:
    vqa = data(root)
    vqa.setup()
    assert [question.text for question in vqa.questions["train"]] == [asked.question for asked in TRAIN]
    assert [question.answers for question in vqa.questions["train"]] == [tuple(asked.answers) for asked in TRAIN]
    assert [question.answer for question in vqa.questions["train"]] == ["net", "2", "yes"]
    assert vqa.questions["test"][0].answer_type == "other"
    ids = vqa.examples["train"].ids
    assert [ids[position] for position in vqa.positions["train"]] == [
        f"train2014/COCO_train2014_{asked.image_id:012d}.jpg" for asked in TRAIN
    ]
    assert len(ids) == 2
    assert [*vqa.examples["test"].ids] == ["val2014/COCO_val2014_000000000009.jpg"]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("annotations", lambda content: "{", "is not JSON"),
        ("annotations", lambda content: {"questions": []}, "expected an object with a list called annotations"),
        (
            "annotations",
            lambda content: content["annotations"][0].pop("answers"),
            "answers is null, where answers should",
        ),
        (
            "annotations",
            lambda content: content["annotations"][0].update(answers=[]),
            "answers should be a list of objects",
        ),
        ("annotations", lambda content: content["annotations"][0].update(answers=["x"]), "with a text called answer"),
        ("annotations", lambda content: content["annotations"].append(content["annotations"][0]), "is there twice"),
        ("annotations", lambda content: content["annotations"].pop(), "question 420 has no answers in"),
        ("annotations", lambda content: content["annotations"][0].update(image_id=7), "question 422 is of image 42 in"),
        (
            "questions",
            lambda content: content["questions"].append(content["questions"][0]),
            "question 420 is there twice",
        ),
        ("questions", lambda content: content["questions"].pop(0), "there is no question 420 in"),
        (
            "questions",
            lambda content: content["questions"][0].update(question=3),
            "question is 3, where question should be",
        ),
        ("questions", lambda content: content["questions"][0].update(question_id="x"), 'question_id is "x", where'),
        ("questions", lambda content: content["questions"].clear(), "the list questions is empty"),
    ],
)
def test_broken_files_are_one_line(root: Path, file: str, change: Any, message: str) -> None:
    name = "v2_OpenEnded_mscoco_train2014_questions" if file == "questions" else "v2_mscoco_train2014_annotations"
    path = root / f"{name}.json"
    content = json.loads(path.read_text())
    changed = change(content)
    if file == "annotations" and message.startswith(("is not JSON", "expected an object")):
        path.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    else:
        path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"\.json") as caught:
        data(root).read_splits()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_said(root: Path) -> None:
    with pytest.raises(ValueError, match="would leave questions without their images"):
        data(root, images_per_class=3)
    (root / "train2014" / "COCO_train2014_000000000007.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no image COCO_train2014_000000000007.jpg.*1 of 2 images"):
        data(root).read_splits()
    write_part(root / "again", "val2014", TEST)
    draw_all(root / "train2014", ["COCO_train2014_000000000007.jpg"])
    with pytest.raises(ValueError, match=r"there is both again/v2_OpenEnded.* and questions/v2_OpenEnded.*keep one"):
        data(root).read_splits()
    for path in root.rglob("*val2014_questions.json"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"such as v2_OpenEnded_mscoco_val2014_questions.json, there is none"):
        data(root).read_splits()


def test_multiple_choice_has_its_own_questions(root: Path) -> None:
    choices = [["net", "web"], ["2", "3", "three"], ["yes", "no"]]
    write_part(root, "train2014", [asked._replace(choices=each) for asked, each in zip(TRAIN, choices, strict=True)])
    with pytest.raises(FileNotFoundError, match=r"one file such as MultipleChoice_mscoco_val2014_questions.json"):
        data(root, task="multiple_choice").read_splits()
    write_part(root / "questions", "val2014", [TEST[0]._replace(choices=["web", "net"])])
    vqa = data(root, task="multiple_choice")
    vqa.setup()
    assert [list(question.choices) for question in vqa.questions["train"]] == choices
    assert vqa.questions["test"][0].choices == ("web", "net")
    plain = data(root)
    plain.setup()
    assert {question.choices for question in plain.questions["train"]} == {()}
    with pytest.raises(ValueError, match=r"dataset.task is one of open_ended, multiple_choice; got 'choice'"):
        data(root, task="choice")
    path = root / "MultipleChoice_mscoco_train2014_questions.json"
    for broken, message in (
        (None, "multiple_choices is null, where multiple_choices should be a list"),
        ([], "question 420: multiple_choices should be a list of texts"),
        (["net", 3], "question 420: multiple_choices should be a list of texts"),
    ):
        content = json.loads(path.read_text())
        content["questions"][0]["multiple_choices"] = broken
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=r"MultipleChoice_mscoco_train2014_questions\.json") as caught:
            data(root, task="multiple_choice").read_splits()
        assert message in str(caught.value)
