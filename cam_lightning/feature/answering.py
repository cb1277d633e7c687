"""Answers to questions about images by a linear classifier: a bag of words beside the image's pooled features.

The model of Zhou et al. 2015, Simple Baseline for Visual Question Answering (zhoubolei/VQAbaseline), which section 4.2
of the paper draws maps of.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.dataset.format.vqa import Question
from cam_lightning.functional.cam import class_activation_map
from cam_lightning.run.progress import bar

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


class Recipe(NamedTuple):
    """How the classifier is fitted: the authors' figures."""

    embedding: int = 1024
    """Dimensions that words are embedded in."""
    min_words: int = 6
    """How often a word has to be asked to count."""
    min_answers: int = 3
    """How often an answer has to be given to be one."""
    word_rate: float = 0.8
    """Learning rate of the embedding."""
    rate: float = 0.01
    """That of the linear layer."""
    clip_norm: float = 20.0
    """The gradient of either is shortened to this length. The authors clip too; this number is ours."""
    epochs: int = 100
    batch_size: int = 100
    seed: int = 0


class Vocabulary(NamedTuple):
    """What a model knows: the words of questions, and the answers that it chooses from, the most frequent first."""

    words: list[str]
    answers: list[str]

    def bag(self, texts: Sequence[str]) -> Tensor:
        """float32 (N, W): how often each text has each word; unknown ones do not count."""
        place = {word: number for number, word in enumerate(self.words)}
        bag_NW = torch.zeros(len(texts), len(self.words))
        for row, text in enumerate(texts):
            for word in words_of(text):
                if word in place:
                    bag_NW[row, place[word]] += 1
        return bag_NW


def words_of(text: str) -> list[str]:
    """The words of a question, in lower case."""
    return _WORD.findall(text.lower())


def vocabulary(questions: Sequence[Question], recipe: Recipe) -> Vocabulary:
    """Of training questions; raises ValueError where no word, or fewer than two answers, are frequent enough."""
    words = Counter(word for question in questions for word in words_of(question.text))
    answers = Counter(question.answer for question in questions)
    kept_words = sorted((w for w, n in words.items() if n >= recipe.min_words), key=lambda w: (-words[w], w))
    kept_answers = sorted((a for a, n in answers.items() if n >= recipe.min_answers), key=lambda a: (-answers[a], a))
    if not kept_words or len(kept_answers) < 2:
        raise ValueError(
            f"{len(questions):,} training questions have {len(kept_words)} words that are asked {recipe.min_words} "
            f"times (min_words), and {len(kept_answers)} answers that are given {recipe.min_answers} (min_answers)"
        )
    return Vocabulary(kept_words, kept_answers)


class AnswerModel(nn.Module):
    """Scores of answers: a linear layer on embedded words and image features, set side by side."""

    def __init__(self, num_words: int, num_units: int, num_answers: int, embedding: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(num_words, embedding, bias=False)
        self.output = nn.Linear(embedding + num_units, num_answers)
        self.num_units = num_units

    def forward(self, bag_BW: Tensor, features_BK: Tensor) -> Tensor:
        return self.output(torch.cat([self.embedding(bag_BW), features_BK], 1))

    @property
    def image_rows_AK(self) -> Tensor:
        """What each answer's score makes of the image's units: the weights of its class activation map."""
        return self.output.weight[:, -self.num_units :].detach()

    def parts(self, bag_BW: Tensor, features_BK: Tensor) -> tuple[Tensor, Tensor]:
        """The scores (B, A) by the words and by the image, whose sum and the bias is the score."""
        embedded_BE = self.embedding(bag_BW)
        word_rows_AE = self.output.weight[:, : -self.num_units]
        return embedded_BE @ word_rows_AE.T, features_BK @ self.image_rows_AK.T


def fit_answers(
    questions: Sequence[Question], features_NK: np.ndarray, known: Vocabulary, recipe: Recipe
) -> AnswerModel:
    """Fits a model to questions, each with the features of its image; those whose answer is unknown are left out.

    Cross-entropy by SGD, its order drawn with the seed. Raises FloatingPointError where it does not stay finite.
    """
    place = {answer: number for number, answer in enumerate(known.answers)}
    kept = [row for row, question in enumerate(questions) if question.answer in place]
    label_N = torch.tensor([place[questions[row].answer] for row in kept])
    texts = [questions[row].text for row in kept]
    image_NK = torch.from_numpy(features_NK[kept])
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = AnswerModel(len(known.words), image_NK.shape[1], len(known.answers), recipe.embedding)
    groups = (("embedding", recipe.word_rate), ("output", recipe.rate))
    optimizer = torch.optim.SGD([{"params": model.get_submodule(n).parameters(), "lr": rate} for n, rate in groups])
    for epoch in bar(range(recipe.epochs), "fitting answers", recipe.epochs):
        for rows in torch.randperm(len(kept), generator=generator).split(recipe.batch_size):
            optimizer.zero_grad()
            bag_BW = known.bag([texts[row] for row in rows.tolist()])
            loss = F.cross_entropy(model(bag_BW, image_NK[rows]), label_N[rows])
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss.item()} in epoch {epoch}: lower rate or word_rate")
            loss.backward()
            for name, _ in groups:
                nn.utils.clip_grad_norm_(model.get_submodule(name).parameters(), recipe.clip_norm)
            optimizer.step()
    return model.eval()


class Answered(NamedTuple):
    """What a model says of questions."""

    answer_N: list[int]
    """Places in the vocabulary."""
    word_score_N: list[float]
    """Of the answer: its part by the words."""
    image_score_N: list[float]
    """And by the image."""
    probability_N: list[float]


@torch.no_grad()
def answered(
    model: AnswerModel, questions: Sequence[Question], features_NK: np.ndarray, known: Vocabulary, at_once: int = 1000
) -> Answered:
    """The best answer to each question, and what of its score comes of the words and what of the image.

    Of a question with choices it is the best of those that are known, and where none is, the best of all.
    """
    place = {answer: number for number, answer in enumerate(known.answers)}
    found = Answered([], [], [], [])
    for first in range(0, len(questions), at_once):
        chunk = slice(first, first + at_once)
        bag_BW = known.bag([question.text for question in questions[chunk]])
        word_BA, image_BA = model.parts(bag_BW, torch.from_numpy(features_NK[chunk]))
        score_BA = word_BA + image_BA + model.output.bias
        allowed_BA = torch.ones_like(score_BA, dtype=torch.bool)
        for row, question in enumerate(questions[chunk]):
            chosen = [place[choice] for choice in question.choices if choice in place]
            if chosen:
                allowed_BA[row] = False
                allowed_BA[row, chosen] = True
        best_B1 = score_BA.where(allowed_BA, -torch.inf).argmax(1, keepdim=True)
        found.answer_N.extend(best_B1[:, 0].tolist())
        found.word_score_N.extend(word_BA.gather(1, best_B1)[:, 0].tolist())
        found.image_score_N.extend(image_BA.gather(1, best_B1)[:, 0].tolist())
        found.probability_N.extend(score_BA.softmax(1).gather(1, best_B1)[:, 0].tolist())
    return found


def answer_map(model: AnswerModel, features_Khw: Tensor, answer: int, normalise: bool) -> Tensor:
    """The raw map (h, w) of an answer on one image: its image part's rows; its mean is that part of the score.

    With `normalise` pooled features have length 1 for the model, and so the map is divided by their length too.
    """
    map_hw = class_activation_map(features_Khw[None], model.image_rows_AK[answer][None, None])[0, 0]
    length = features_Khw.mean((1, 2)).norm().clamp_min(1e-12) if normalise else 1.0
    return map_hw / length
