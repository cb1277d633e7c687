"""The paper's classifier: a linear support vector machine for each class against all others."""

from __future__ import annotations

from typing import Any

from cam_lightning.classifier.linear import LinearClassifier


class LinearSvm(LinearClassifier):
    """One-vs-rest, squared hinge, squared length of the rows: scikit-learn's LinearSVC, which is liblinear.

    Its bias counts as one more weight, of a feature that is 1 everywhere.
    """

    def estimator(self, c: float) -> Any:
        from sklearn.svm import LinearSVC

        return LinearSVC(C=c, max_iter=self.max_iter, random_state=self.seed)
