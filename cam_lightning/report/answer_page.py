"""`answers.html`: some questions with their answers, and where in the image each answer comes from."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from cam_lightning.dataset.pipeline.split import Subset
from cam_lightning.feature.answering import Answered, AnswerModel, Vocabulary, answer_map
from cam_lightning.functional.network_input import full_float32, normalised
from cam_lightning.functional.overlay import heat_map
from cam_lightning.functional.vqa_accuracy import vqa_accuracy
from cam_lightning.report.html import TEMPLATES
from cam_lightning.run.file import write_text

SIDE = 320
"""Of a picture on the page, in pixels: its longer side."""


class Shown(NamedTuple):
    """One question."""

    id: str
    question: str
    answer: str
    truth: str
    accuracy: float
    probability: float
    words: float
    """The answer's score by the words of the question."""
    image: float
    """And by the image: the mean of its map."""
    uri: str
    """The map over the image, as a data URI."""


def write_answers(
    run_dir: Path,
    network: Any,
    model: AnswerModel,
    data: Any,
    found: Answered,
    known: Vocabulary,
    num_shown: int,
    normalise: bool,
) -> Path:
    """Writes the page of `num_shown` test questions, evenly taken; returns its path."""
    questions = data.questions["test"]
    chosen = np.unique(np.linspace(0, len(questions) - 1, min(num_shown, len(questions))).astype(int)).tolist()
    shown = [_shown(network, model, data, found, known, number, normalise) for number in chosen]
    page = run_dir / "answers.html"
    text = TEMPLATES.get_template("answers.html.j2").render(run_dir=run_dir, shown=shown, num_questions=len(questions))
    write_text(page, text)
    return page


@torch.no_grad()
def map_of(network: Any, model: AnswerModel, data: Any, image: int, answer: int, normalise: bool) -> np.ndarray:
    """The raw map (h, w) of an answer on a test image, by its position."""
    (batch,) = data.batches_of(Subset(data.examples["test"].split, np.array([image])))
    device = next(network.parameters()).device
    with full_float32(device.type):
        image_13HW = normalised(batch.image_B3HW.to(device), *network.normalization)
        features_Khw = network.forward_features(image_13HW)[0].float().cpu()
    return answer_map(model, features_Khw, answer, normalise).numpy()


def _shown(
    network: Any, model: AnswerModel, data: Any, found: Answered, known: Vocabulary, number: int, normalise: bool
) -> Shown:
    question, image = data.questions["test"][number], data.positions["test"][number]
    answer = found.answer_N[number]
    map_hw = map_of(network, model, data, image, answer, normalise)
    picture = Image.fromarray(heat_map(data.examples["test"].original(image), map_hw))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=75)
    return Shown(
        data.examples["test"].ids[image],
        question.text,
        known.answers[answer],
        question.answer,
        vqa_accuracy(known.answers[answer], question.answers),
        found.probability_N[number],
        found.word_score_N[number],
        found.image_score_N[number],
        f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}",
    )
