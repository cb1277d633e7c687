"""What the linear classifiers share: one label or several per image, and a strength chosen by cross-validation."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cam_lightning.functional.average_precision import average_precision

log = logging.getLogger(__name__)


class Rows(NamedTuple):
    """A linear classifier of C classes: the scores of features are `features_NK @ weight_CK.T + bias_C`."""

    weight_CK: np.ndarray
    """float32."""
    bias_C: np.ndarray
    """float32."""
    c: float
    """The strength that it was fitted with."""
    scores: dict[float, float]
    """What cross-validation gave each strength: accuracy, of several labels the mean average precision; or nothing."""

    def centred(self) -> Rows:
        """The same classifier with rows and biases that sum to zero over the classes."""
        weight_CK, bias_C = self.weight_CK.astype(np.float64), self.bias_C.astype(np.float64)
        weight_CK, bias_C = weight_CK - weight_CK.mean(0), bias_C - bias_C.mean()
        return self._replace(weight_CK=weight_CK.astype(np.float32), bias_C=bias_C.astype(np.float32))

    def of(self, features_NK: np.ndarray) -> np.ndarray:
        """float32 (N, C): the scores of features."""
        return features_NK.astype(np.float32) @ self.weight_CK.T + self.bias_C


class LinearClassifier:
    """Fits rows to features of a frozen network.

    `c` is the weight of the errors beside that of the rows' length, scikit-learn's C; None chooses the one of `cs`
    that is best on average over `folds` parts of the training images, drawn with `seed`, of equal ones the smallest.
    A subclass says which estimator of scikit-learn's fits.

    `centre` takes the mean of all rows from each, where an image has one label. What they share shifts all scores of an
    image alike: no ranking and no softmax changes, but class activation maps do. A one-vs-rest machine of many classes
    scores nearly every image −1; a bias that is kept small cannot hold that, so all rows do, and their maps sink as a
    whole, below zero even at the object (CUB-200-2011, 400 test photos: boxes of 3.8 % hit, of centred rows 26.8 %).
    Rows of a softmax sum to zero by themselves. Rows of several labels answer questions of their own, and stay.
    """

    def __init__(
        self,
        c: float | None = None,
        cs: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
        folds: int = 3,
        max_iter: int = 1000,
        seed: int = 0,
        centre: bool = True,
    ) -> None:
        for option, values in (("c", [] if c is None else [c]), ("cs", list(cs))):
            if not all(isinstance(value, int | float) and 0 < value < math.inf for value in values):
                raise ValueError(f"classifier.{option} is above 0; got {values}")
        for option, number, least in (("folds", folds, 2), ("max_iter", max_iter, 1), ("seed", seed, 0)):
            if not isinstance(number, int) or isinstance(number, bool) or number < least:
                raise ValueError(f"classifier.{option} is a whole number of at least {least}; got {number!r}")
        if c is None and not cs:
            raise ValueError("classifier.cs=[] leaves nothing to choose from; give classifier.c")
        self.c = c
        self.cs = sorted(map(float, cs))
        self.folds = folds
        self.max_iter = max_iter
        self.seed = seed
        self.centre = centre

    def estimator(self, c: float) -> Any:
        """What scikit-learn fits; of two classes its one row says how much the second is meant."""
        raise NotImplementedError

    def __call__(self, features_NK: np.ndarray, target: np.ndarray, num_classes: int) -> Rows:
        """Rows for `target`: int64 labels (N,), each class at least once; or float32 (N, C) with 1, 0, and NaN.

        Raises ValueError for features that are not finite, and where there are too few images to choose C.
        """
        if not np.isfinite(features_NK).all():
            raise ValueError("features are not finite numbers")
        # liblinear and L-BFGS count in float64: converted once, not in every fit.
        features_NK = features_NK.astype(np.float64)
        scores = {} if self.c is not None else self._cross_validated(features_NK, target, num_classes)
        c = float(self.c) if self.c is not None else max(self.cs, key=lambda each: (scores[each], -each))
        if scores:
            told = ", ".join(f"{each:g}: {100 * score:.2f} %" for each, score in scores.items())
            log.info("C=%g, by %d-fold cross-validation on the training images (%s)", c, self.folds, told)
            if len(self.cs) > 1 and c in (self.cs[0], self.cs[-1]):
                log.warning("C=%g is at the end of classifier.cs: a better one may lie beyond", c)
        weight_CK, bias_C = self._fit(features_NK, target, num_classes, c)
        rows = Rows(weight_CK.astype(np.float32), bias_C.astype(np.float32), c, scores)
        return rows.centred() if self.centre and target.ndim == 1 else rows

    def _fit(
        self, features_NK: np.ndarray, target: np.ndarray, num_classes: int, c: float
    ) -> tuple[np.ndarray, np.ndarray]:
        if target.ndim == 1:
            return self._fitted(features_NK, target, c)
        rows = []
        for column in range(num_classes):
            known_N = ~np.isnan(target[:, column])
            holds_N = target[known_N, column].astype(np.int64)
            if len(np.unique(holds_N)) < 2:
                raise ValueError(
                    f"label {column} holds of {'all' if holds_N.any() else 'none'} of the {len(holds_N):,} training "
                    "images of which it is known: nothing can be learned of it"
                )
            weight_2K, bias_2 = self._fitted(features_NK[known_N], holds_N, c)
            # All of the one row that scikit-learn has for a yes or no: its score, by a sigmoid, answers for this label.
            rows.append((weight_2K[1] - weight_2K[0], bias_2[1] - bias_2[0]))
        weights, biases = zip(*rows, strict=True)
        return np.stack(weights), np.array(biases)

    def _fitted(self, features_NK: np.ndarray, label_N: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
        """Float64 (C, K) and (C,) of labels 0 … C − 1."""
        from sklearn.exceptions import ConvergenceWarning

        estimator = self.estimator(c)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            estimator.fit(features_NK, label_N)
        if any(issubclass(each.category, ConvergenceWarning) for each in caught):
            log.warning("C=%g has not converged in classifier.max_iter=%d steps", c, self.max_iter)
        weight_CK, bias_C = np.asarray(estimator.coef_), np.asarray(estimator.intercept_).reshape(-1)
        if len(weight_CK) == 1:
            # Two classes share one row; each gets half of it, so that their difference is the row.
            weight_CK, bias_C = np.concatenate([-weight_CK, weight_CK]) / 2, np.concatenate([-bias_C, bias_C]) / 2
        return weight_CK, bias_C

    def _cross_validated(self, features_NK: np.ndarray, target: np.ndarray, num_classes: int) -> dict[float, float]:
        parts = list(self._parts(target))
        scores = {}
        for c in self.cs:
            found = []
            for kept, held in parts:
                weight_CK, bias_C = self._fit(features_NK[kept], target[kept], num_classes, c)
                found.append(_score(features_NK[held] @ weight_CK.T + bias_C, target[held]))
            scores[c] = float(np.mean(found))
        return scores

    def _parts(self, target: np.ndarray) -> Any:
        from sklearn.model_selection import KFold, StratifiedKFold

        if target.ndim == 2:
            return KFold(self.folds, shuffle=True, random_state=self.seed).split(target)
        fewest = int(np.bincount(target).min())
        if fewest < self.folds:
            raise ValueError(
                f"a class has {fewest} training image{'s' * (fewest != 1)}, and C is chosen by {self.folds}-fold "
                "cross-validation: give classifier.c, or fewer classifier.folds"
            )
        return StratifiedKFold(self.folds, shuffle=True, random_state=self.seed).split(target, target)


def _score(scores_NC: np.ndarray, target: np.ndarray) -> float:
    if target.ndim == 1:
        return float((scores_NC.argmax(1) == target).mean())
    each = [average_precision(scores_NC[:, column], target[:, column]) for column in range(target.shape[1])]
    return float(np.nanmean(each))
