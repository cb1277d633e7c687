"""`python -m cam_lightning.vqa` on drawn scenes: what is left of the stripes, and where the answer comes from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
from pattern_world import background, draw_object, pattern_backbone, pattern_network
from PIL import Image

from cam_lightning.dataset.format.vqa import Question
from cam_lightning.dataset.vqa import Vqa
from cam_lightning.feature.answering import Recipe, answer_map, answered, fit_answers, vocabulary, words_of
from cam_lightning.feature.reader import FeatureReader
from cam_lightning.functional.vqa_accuracy import vqa_accuracy
from cam_lightning.report.answer_page import map_of
from cam_lightning.report.answer_results import answer_results
from tests.dataset.vqa_tree import Asked, write_part

SIZE = (64, 100)
BRIGHTNESS = 0.05
"""Else all that is seen of a scene is how bright it is."""
COLOURS = ("red", "green", "blue")
LEFT, COUNTS = ["green", "nothing", "red", "blue"], ["1", "2", "red"]
RECIPE = {"embedding": 8, "word_rate": 0.5, "rate": 1.0, "epochs": 60, "batch_size": 20}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, list[int]]]:
    """A striped square on the right, one of a colour to the left of it; two questions each."""
    root = tmp_path_factory.mktemp("it's a = world")
    random = np.random.default_rng(0)
    box_of = {}
    for part, first, count in (("train2014", 1, 45), ("val2014", 101, 12)):
        (root / part).mkdir()
        asked = []
        for number in range(first, first + count):
            image_HW3 = background(random, *SIZE)
            colour = COLOURS[number % 3]
            box_of[number] = draw_object(image_HW3, int(random.integers(2, 22)), int(random.integers(2, 38)), colour)
            draw_object(image_HW3, int(random.integers(52, 72)), int(random.integers(2, 38)), "grey", "upright")
            Image.fromarray(image_HW3).save(root / part / f"COCO_{part}_{number:012d}.png")
            asked.append(Asked(number, "What is left of the stripes?", [colour] * 9 + ["square"], "other", LEFT))
            asked.append(Asked(number, "How many squares are there?", ["2"] * 8 + ["two"] * 2, "number", COUNTS))
        write_part(root, part, asked)
    return root, box_of


@pytest.mark.parametrize("task", ["open_ended", "multiple_choice"])
def test_the_command(world: Any, tmp_path: Path, task: str) -> None:
    root, _ = world
    given = {
        "dataset.task": task,
        "dataset.root": root,
        "dataset.image_size": "[64,100]",
        "features": tmp_path / "features",
        "normalise": "true",
        "backbone.brightness": BRIGHTNESS,
        "num_shown": 6,
        "device": "cpu",
        "run_dir": tmp_path / "run",
        **{f"answers.{key}": value for key, value in RECIPE.items()},
    }
    answer = commands.run("vqa", *pattern_backbone(tmp_path), *(f"{k}={v}" for k, v in given.items()), cwd=tmp_path)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test/vqa_accuracy"] == 1
    assert results["test/vqa_accuracy/other"] == results["test/vqa_accuracy/number"] == 1
    # One answer to everything, `2`: right of the numbers alone.
    assert results["test/vqa_accuracy@most_common_answer"] == 0.5
    assert results["test/num_questions"] == 24
    assert results["protocol/task"] == task
    assert results.get("test/num_questions_without_known_choice") == (0 if task == "multiple_choice" else None)
    assert results["specs"]["test/vqa_accuracy"]["better"] == "higher"
    assert "VQA accuracy" in answer.stdout
    content = json.loads((tmp_path / "run" / "vqa_results.json").read_text())
    truths = json.loads((root / "v2_mscoco_val2014_annotations.json").read_text())["annotations"]
    answers_of = {each["question_id"]: [a["answer"] for a in each["answers"]] for each in truths}
    assert {each["question_id"] for each in content} == {*answers_of}
    assert all(each.keys() == {"answer", "question_id"} for each in content)
    assert np.mean([vqa_accuracy(each["answer"], answers_of[each["question_id"]]) for each in content]) == 1
    text = (tmp_path / "run" / "answers.html").read_text(encoding="utf-8")
    assert len(re.findall(r'src="data:image/webp;base64,', text)) == 6
    assert "What is left of the stripes?" in text
    assert not re.search(r'(src|href)="http', text)


@pytest.mark.parametrize("normalise", [True, False])
def test_the_map_of_an_answer_is_on_what_it_names(world: Any, tmp_path: Path, normalise: bool) -> None:
    root, box_of = world
    data = Vqa(root=str(root), image_size=SIZE, num_workers=0)
    data.setup()
    network = pattern_network(1, brightness=BRIGHTNESS).eval()
    reader = FeatureReader(network, SIZE, tmp_path, "patterns")
    features = {}
    for part in ("train", "test"):
        features_NK = reader.read(data.examples[part].split, data.batches_of, part)
        length = np.linalg.norm(features_NK, axis=1, keepdims=True) if normalise else 0.05
        features[part] = (features_NK / length)[data.positions[part]].astype(np.float32)
    recipe = Recipe(**RECIPE)  # type: ignore[arg-type]
    known = vocabulary(data.questions["train"], recipe)
    assert {*known.answers} == {*COLOURS, "2"}
    model = fit_answers(data.questions["train"], features["train"], known, recipe)
    found = answered(model, data.questions["test"], features["test"], known, at_once=5)
    seen = 0
    for number, question in enumerate(data.questions["test"]):
        assert known.answers[found.answer_N[number]] == question.answer
        map_hw = map_of(network, model, data, data.positions["test"][number], found.answer_N[number], normalise)
        if normalise:
            assert map_hw.mean() == pytest.approx(found.image_score_N[number], rel=1e-3, abs=1e-4)
        if question.answer in COLOURS:
            row, column = np.unravel_index(int(map_hw.argmax()), map_hw.shape)
            x0, y0, x1, y1 = box_of[question.image_id]
            assert x0 <= 4 * column + 2 < x1
            assert y0 <= 4 * row + 2 < y1
            seen += 1
    assert seen == 12


def test_scores_are_words_image_and_bias() -> None:
    questions = [Question(n, n, f"what is {'it' if n % 2 else 'that'}", "ab"[n % 2], ("a",), "other") for n in range(8)]
    recipe = Recipe(embedding=4, min_words=2, min_answers=2, epochs=2, batch_size=3)
    known = vocabulary(questions, recipe)
    assert known.words == ["is", "what", "it", "that"]
    assert known.answers == ["a", "b"]
    assert known.bag(["What is what?", "nothing"]).tolist() == [[1, 2, 0, 0], [0, 0, 0, 0]]
    features_NK = np.random.default_rng(0).random((8, 5), dtype=np.float32)
    model, again = (fit_answers(questions, features_NK, known, recipe) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    bag_BW, image_BK = known.bag([q.text for q in questions]), torch.from_numpy(features_NK)
    with torch.no_grad():
        words, image = model.parts(bag_BW, image_BK)
        torch.testing.assert_close(words + image + model.output.bias, model(bag_BW, image_BK))
    map_hw = answer_map(model, image_BK[0][:, None, None].expand(5, 2, 3), 1, normalise=False)
    torch.testing.assert_close(map_hw, image[0, 1].expand(2, 3))


def test_an_answer_is_the_best_of_the_choices() -> None:
    plain = [Question(n, n, "what is it", "abc"[n % 3], ("abc"[n % 3],) * 10, "other") for n in range(9)]
    recipe = Recipe(embedding=4, min_words=2, min_answers=2, epochs=2, batch_size=3)
    known = vocabulary(plain, recipe)
    features_NK = np.random.default_rng(0).random((9, 5), dtype=np.float32)
    model = fit_answers(plain, features_NK, known, recipe)
    all_choices = [("a",), ("z", "b", "a"), ("c", "b"), ("z",), ("b", "c", "a"), ("a", "c"), ("b",), ("c",), ("y", "x")]
    asked = [question._replace(choices=choices) for question, choices in zip(plain, all_choices, strict=True)]
    found = answered(model, asked, features_NK, known, at_once=4)
    scores_NA = model(known.bag([q.text for q in asked]), torch.from_numpy(features_NK)).detach().numpy()
    for row, choices in enumerate(all_choices):
        candidates = [answer for answer in known.answers if answer in choices] or known.answers
        best = max(candidates, key=lambda answer: scores_NA[row, known.answers.index(answer)])
        assert known.answers[found.answer_N[row]] == best
    assert found.answer_N != answered(model, plain, features_NK, known).answer_N
    results = answer_results(plain, asked, found, known)
    assert results["test/num_questions_without_known_choice"] == 2
    assert "test/num_questions_without_known_choice" not in answer_results(plain, plain, found, known)


def test_words() -> None:
    assert words_of("What's left of the red-brick wall, No. 2?") == [
        "what's",
        "left",
        "of",
        "the",
        "red",
        "brick",
        "wall",
        "no",
        "2",
    ]


def test_what_cannot_be_is_said(world: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"0 words that are asked 6 times .* 0 answers that are given 3 "):
        vocabulary([Question(1, 1, "what", "a", ("a",), "other")], Recipe())
    given = ["dataset=shapes", "dataset.num_train=20", "dataset.num_test=20", f"run_dir={tmp_path / 'run'}"]
    done = commands.run("vqa", *pattern_backbone(tmp_path), *given, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "vqa needs data with questions: dataset=vqa" in done.stderr
