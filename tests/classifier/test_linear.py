"""Linear classifiers: rows that score as scikit-learn predicts, a strength chosen on training images, many labels."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.svm import LinearSVC

from cam_lightning.classifier.linear_svm import LinearSvm
from cam_lightning.classifier.logistic_regression import LogisticRegression

BOTH = pytest.mark.parametrize("kind", [LinearSvm, LogisticRegression])


def blobs(num_classes: int, noise: float = 1.0, seed: int = 0, each: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Clouds around corners, in 7 dimensions of which most are noise."""
    random = np.random.default_rng(seed)
    label_N = np.repeat(np.arange(num_classes), each)
    centres = 3 * random.normal(size=(num_classes, 7))
    return (centres[label_N] + noise * random.normal(size=(len(label_N), 7))).astype(np.float32), label_N


@BOTH
@pytest.mark.parametrize("num_classes", [2, 4])
def test_rows_score_as_scikit_learn_predicts(kind: Any, num_classes: int) -> None:
    features, label = blobs(num_classes, noise=3.0)
    rows = kind(c=0.1)(features, label, num_classes)
    assert rows.weight_CK.shape == (num_classes, 7)
    assert rows.weight_CK.dtype == rows.bias_C.dtype == np.float32
    theirs = LinearSVC(C=0.1, random_state=0) if kind is LinearSvm else SklearnLogistic(C=0.1, max_iter=1000)
    theirs.fit(features.astype(np.float64), label)
    others, _ = blobs(num_classes, noise=5.0, seed=1)
    assert (rows.of(others).argmax(1) == theirs.predict(others)).all()
    assert len(set(rows.of(others).argmax(1))) == num_classes
    if num_classes == 2:
        difference = rows.of(others)[:, 1] - rows.of(others)[:, 0]
        assert difference == pytest.approx(theirs.decision_function(others), abs=1e-4)


@BOTH
def test_centred_rows_say_the_same_of_classes(kind: Any) -> None:
    features, label = blobs(4, noise=3.0)
    others, _ = blobs(4, noise=5.0, seed=1)
    plain = kind(c=0.1, centre=False)(features, label, 4)
    rows = kind(c=0.1)(features, label, 4)
    theirs = LinearSVC(C=0.1, random_state=0) if kind is LinearSvm else SklearnLogistic(C=0.1, max_iter=1000)
    theirs.fit(features.astype(np.float64), label)
    assert plain.weight_CK == pytest.approx(theirs.coef_, abs=1e-4)
    assert rows.weight_CK.sum(0) == pytest.approx(0, abs=1e-5)
    assert rows.bias_C.sum() == pytest.approx(0, abs=1e-5)
    for column in range(4):
        ours, before = rows.of(others), plain.of(others)
        differences = ours - ours[:, [column]], before - before[:, [column]]
        assert differences[0] == pytest.approx(differences[1], abs=1e-4)


def test_rows_of_several_labels_are_not_centred() -> None:
    features, label = blobs(4)
    target = np.stack([label < 2, label < 3], axis=1).astype(np.float32)
    rows, plain = (LinearSvm(c=1, centre=centre)(features, target, 2) for centre in (True, False))
    assert (rows.weight_CK == plain.weight_CK).all()
    assert np.abs(rows.weight_CK.sum(0)).max() > 0.1


def test_centred_maps_are_positive_where_the_class_is_though_all_others_are_against_it() -> None:
    """Many classes, large features: each class's part is at one of nine cells, and everywhere lies a strong rest."""
    random = np.random.default_rng(0)
    num_classes = 40
    label = np.repeat(np.arange(num_classes), 5)
    cells_NKc = np.full((len(label), num_classes + 1, 9), 0.0)
    cells_NKc[:, num_classes] = 45 + random.normal(size=(len(label), 9))
    place_N = random.integers(0, 9, len(label))
    cells_NKc[np.arange(len(label)), label, place_N] = 9
    features = cells_NKc.mean(2).astype(np.float32)
    for centre, expected in ((False, 0.0), (True, 1.0)):
        rows = LinearSvm(c=0.001, centre=centre)(features, label, num_classes)
        maps_Nc = np.einsum("nkc,nk->nc", cells_NKc, rows.weight_CK[label])
        assert (maps_Nc[np.arange(len(label)), place_N] > 0).mean() == expected
        if centre:
            assert (maps_Nc.argmax(1) == place_N).all()
        else:
            assert (maps_Nc.max(1) <= 0).all()


@BOTH
def test_the_strength_is_the_best_of_held_out_parts(kind: Any) -> None:
    features, label = blobs(4, noise=6.0)
    classifier = kind(cs=[1e-7, 0.01, 1.0], folds=4, seed=3)
    rows = classifier(features, label, 4)
    assert list(rows.scores) == [1e-7, 0.01, 1.0]
    assert rows.scores[rows.c] == max(rows.scores.values())
    # By hand: the same parts, one strength.
    from sklearn.model_selection import StratifiedKFold

    hits = []
    for kept, held in StratifiedKFold(4, shuffle=True, random_state=3).split(features, label):
        one = kind(c=0.01, seed=3)(features[kept], label[kept], 4)
        hits.append(float((one.of(features[held]).argmax(1) == label[held]).mean()))
    assert rows.scores[0.01] == pytest.approx(np.mean(hits), abs=0.013)
    again = kind(cs=[1e-7, 0.01, 1.0], folds=4, seed=3)(features, label, 4)
    assert (again.weight_CK == rows.weight_CK).all()


def test_says_that_a_better_strength_may_lie_beyond(caplog: pytest.LogCaptureFixture) -> None:
    features, label = blobs(3)
    with caplog.at_level(logging.WARNING):
        LinearSvm(cs=[1e-9, 1e-8])(features, label, 3)
    assert "at the end of classifier.cs" in caplog.text


@BOTH
def test_several_labels_each_by_the_images_of_which_it_is_known(kind: Any) -> None:
    features, label = blobs(4)
    target = np.zeros((len(label), 2), np.float32)
    target[:, 0] = label < 2
    target[:, 1] = label == 3
    target[label == 0, 1] = np.nan
    # What is not known is far off, and would pull the second row.
    rows = kind(c=1.0)(features, target, 2)
    known = label != 0
    theirs = LinearSVC(C=1.0, random_state=0) if kind is LinearSvm else SklearnLogistic(C=1.0, max_iter=1000)
    theirs.fit(features[known].astype(np.float64), label[known] == 3)
    scores = rows.of(features)[:, 1]
    assert scores == pytest.approx(theirs.decision_function(features), abs=1e-4)
    if kind is LogisticRegression:
        probabilities = theirs.predict_proba(features)[:, 1]
        assert 1 / (1 + np.exp(-scores)) == pytest.approx(probabilities, abs=1e-4)
    assert rows.weight_CK[0] != pytest.approx(rows.weight_CK[1])
    chosen = kind(cs=[0.01, 1.0])(features, target, 2)
    assert chosen.scores[chosen.c] > 0.9


def test_what_cannot_be_learned_is_said() -> None:
    features, label = blobs(3, each=2)
    with pytest.raises(ValueError, match="a class has 2 training images, and C is chosen by 3-fold"):
        LinearSvm()(features, label, 3)
    with pytest.raises(ValueError, match="label 1 holds of none of the 6 training images"):
        LinearSvm(c=1)(features, np.array([[1, 0], [0, 0]] * 3, np.float32), 2)
    with pytest.raises(ValueError, match="not finite"):
        LinearSvm(c=1)(np.full((2, 7), np.nan, np.float32), np.array([0, 1]), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c": 0}, "classifier.c is above 0"),
        ({"cs": [1, -1]}, "classifier.cs is above 0"),
        ({"cs": []}, "leaves nothing to choose from"),
        ({"folds": 1}, "classifier.folds is a whole number of at least 2"),
        ({"max_iter": 0.5}, "classifier.max_iter is a whole number"),
    ],
)
def test_options_have_bounds(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearSvm(**options)


def test_says_that_it_has_not_converged(caplog: pytest.LogCaptureFixture) -> None:
    features, label = blobs(4, noise=9.0)
    with caplog.at_level(logging.WARNING):
        LogisticRegression(c=100, max_iter=1)(features, label, 4)
    assert "has not converged in classifier.max_iter=1 steps" in caplog.text
