"""SUN Attribute from its Matlab files: votes that say yes, no, or neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from labelled_tree import cells, draw_all, heights

from cam_lightning.dataset.pipeline.split import ImageSplit
from cam_lightning.dataset.sun_attribute import SunAttribute
from cam_lightning.dataset.tool.check import check

NAMES = ["sailing/ boating", "trees", "natural light"]
PATHS = [f"{letter}/{name}/sun_{number:016d}.jpg" for letter, name in (("a", "abbey"), ("b", "bar/indoor"))
         for number in range(8)]  # fmt: skip


@pytest.fixture
def votes() -> np.ndarray:
    random = np.random.default_rng(0)
    votes = random.integers(0, 4, (len(PATHS), 3)) / 3
    votes[:, :] = np.where(votes.max(axis=1, keepdims=True) == 0, [1, 0, 0], votes)
    return votes


@pytest.fixture
def root(tmp_path: Path, votes: np.ndarray) -> Path:
    root = tmp_path / "SUNAttributeDB"
    draw_all(root / "images", PATHS)
    scipy.io.savemat(root / "images.mat", {"images": cells(PATHS)})
    scipy.io.savemat(root / "attributes.mat", {"attributes": cells(NAMES)})
    scipy.io.savemat(root / "attributeLabels_continuous.mat", {"labels_cv": votes})
    return root


def data(root: Path, **options: Any) -> SunAttribute:
    return SunAttribute(root=str(root), num_workers=0, **{"test_fraction": 0.4, **options})


def targets(*splits: ImageSplit | None) -> dict[str, list[float]]:
    """Path → what holds of it."""
    found = {}
    for split in splits:
        assert split is not None
        assert split.target_NC is not None
        found |= {path: row.tolist() for path, row in zip(split.ids, split.target_NC, strict=True)}
    return found


@pytest.mark.parametrize("undecided", ["drop", "negative"])
@pytest.mark.parametrize("centre", [1.0, 0.5])
def test_two_of_three_votes_say_yes_and_one_is_undecided(
    root: Path, votes: np.ndarray, undecided: str, centre: float
) -> None:
    names, train, test, _ = data(root, undecided=undecided, centre=centre).read_splits()
    assert names == NAMES
    assert train is not None
    found = targets(train, test)
    assert len(found) == len(PATHS)
    between = np.nan if undecided == "drop" else 0.0
    for path, row in zip(PATHS, votes, strict=True):
        expected = [{0: 0.0, 1: between, 2: 1.0, 3: 1.0}[round(3 * vote)] for vote in row]
        np.testing.assert_array_equal(found[f"images/{path}"], expected)
    strongest = {f"images/{path}": int(row.argmax()) for path, row in zip(PATHS, votes, strict=True)}
    assert {path: int(label) for path, label in zip(test.ids, test.label_N, strict=True)}.items() <= strongest.items()
    if centre == 1:
        assert heights(test) == [20 + PATHS.index(path.removeprefix("images/")) for path in test.ids]


def test_the_split_is_drawn_and_every_label_counts(root: Path) -> None:
    draws = [data(root, split_seed=seed) for seed in (0, 1)]
    assert len({tuple(each.read_splits().test.ids) for each in draws}) == 2
    draws[0].setup()
    report = check(draws[0], True, lambda things, *_: things)
    assert [finding for finding in report.wrong if finding.kind == "empty class"] == []
    for name, split in draws[0].read_splits().parts().items():
        counts = {c: int(np.nansum(split.target_NC[:, n])) for n, c in enumerate(draws[0].class_names)}
        assert report.splits[name].num_per_class == counts
    assert SunAttribute.DRAWN_BY == "split_seed"


def test_files_and_images_may_lie_apart(root: Path, tmp_path: Path) -> None:
    (root / "images").rename(tmp_path / "photos")
    apart = data(root, images=str(tmp_path / "photos"), attributes=str(root))
    assert {*apart.read_splits().test.ids} <= {*PATHS}


def test_classes_cannot_choose_among_several_labels(root: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset.classes chooses among images of one label each"):
        data(root, classes=2).setup()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("images.mat", b"no matlab", "images.mat is damaged or no Matlab file"),
        ("images.mat", b"", "images.mat is damaged or no Matlab file"),
        ("images.mat", {"photos": cells(PATHS)}, "images.mat has no images; it holds photos"),
        ("images.mat", {"images": np.zeros((4, 1))}, "expected a column of texts, a cell each"),
        ("images.mat", {"images": cells([*PATHS[:-1], "c/gone/sun_x.jpg"])}, "sun_x.jpg does not exist"),
        ("attributes.mat", {"attributes": cells(NAMES[:2])}, r"labels_cv is \(16, 3\) of float64; expected numbers of"),
        ("attributeLabels_continuous.mat", {"labels_cv": np.full((16, 3), 2.0)}, "shares of votes, from 0 to 1"),
        ("attributeLabels_continuous.mat", {"labels_cv": np.full((16, 3), np.nan)}, "shares of votes, from 0 to 1"),
    ],
)
def test_broken_files_are_one_line(root: Path, file: str, content: Any, message: str) -> None:
    if isinstance(content, bytes):
        (root / file).write_bytes(content)
    else:
        scipy.io.savemat(root / file, content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        data(root).read_splits()
    assert "\n" not in str(caught.value)


def test_options_have_bounds(root: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset.undecided is one of drop, negative"):
        data(root, undecided="maybe")
    with pytest.raises(ValueError, match=r"dataset.positive lies above 0"):
        data(root, positive=0)
    with pytest.raises(FileNotFoundError, match=r"expected images.mat, attributes.mat, attributeLabels_continuous.mat"):
        data(root / "images").read_splits()
