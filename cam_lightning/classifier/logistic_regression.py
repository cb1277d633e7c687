"""Logistic regression: the scores are logits, so that softmax of them are probabilities."""

from __future__ import annotations

from typing import Any

from cam_lightning.classifier.linear import LinearClassifier


class LogisticRegression(LinearClassifier):
    """Softmax over all classes, of several labels a logistic function each: scikit-learn's, by L-BFGS."""

    def estimator(self, c: float) -> Any:
        from sklearn.linear_model import LogisticRegression as Estimator

        return Estimator(C=c, max_iter=self.max_iter, random_state=self.seed)
