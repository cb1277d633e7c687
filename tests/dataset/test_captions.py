"""A concept from captions: which images hold a phrase, which others are drawn, and what broken files get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_tree import draw_all, heights, labelled

from cam_lightning.dataset.captions import Captions, phrase_in

CAPTIONS = {
    "COCO_train2014_000000000001.jpg": ["A Lake at night.", "Water."],
    "COCO_train2014_000000000002.jpg": ["Snowflakes on a window", "flakes"],
    "COCO_train2014_000000000003.jpg": ["A boat on the lake", "the lake, again"],
    "COCO_train2014_000000000004.jpg": ["lakes and hills", "hills"],
    "COCO_train2014_000000000005.jpg": ["A dog", "A dog and a\nmirror"],
    "COCO_train2014_000000000006.jpg": ["A cat"],
    "COCO_train2014_000000000007.jpg": [],
}
TEST_CAPTIONS = {
    "COCO_val2014_000000000101.jpg": ["A mirror in  lake", "A lake"],
    "COCO_val2014_000000000102.jpg": ["A cow"],
    "COCO_val2014_000000000103.jpg": ["A hen"],
}


def coco(captions: dict[str, list[str]]) -> dict[str, Any]:
    """As the published files are: images and captions in no common order."""
    images = [{"id": int(name[-16:-4]), "file_name": name, "height": 30} for name in reversed(captions)]
    pairs = [(int(name[-16:-4]), caption) for name, its in captions.items() for caption in its]
    return {"info": {}, "images": images, "annotations": [
        {"image_id": number, "id": n, "caption": caption} for n, (number, caption) in enumerate(pairs)
    ]}  # fmt: skip


def tokens(captions: dict[str, list[str]]) -> str:
    return "".join(f"{name}#{n}\t{caption}\n" for name, its in captions.items() for n, caption in enumerate(its))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "it's coco"
    (root / "annotations").mkdir(parents=True)
    for part, captions in (("train2014", CAPTIONS), ("val2014", TEST_CAPTIONS)):
        draw_all(root / part, captions)
        (root / "annotations" / f"captions_{part}.json").write_text(json.dumps(coco(captions)))
    return root


@pytest.fixture
def flickr(tmp_path: Path) -> Path:
    root = tmp_path / "flickr8k"
    names = {f"{n}_a.jpg": [f"a {'lake' if n % 6 == 0 else 'hill'} with {n} trees"] for n in range(36)}
    draw_all(root / "Flicker8k_Dataset", names)
    text = tokens(names | {"2258277193_586949ec62.jpg.1": ["A lake"]})
    (root / "Flickr8k.token.txt").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    return root


def data(root: Path, phrase: Any = "lake", **options: Any) -> Captions:
    return Captions(root=str(root), phrase=phrase, num_workers=0, **options)


@pytest.mark.parametrize(
    ("phrase", "caption", "expected"),
    [
        ("lake", "A LAKE.", True),
        ("lake", "lakes", False),
        ("lake", "snowflake", False),
        ("lake", "lake-side", True),
        ("mirror in lake", "the Mirror  in\tlake", True),
        ("mirror in lake", "mirror in a lake", False),
        ("a.b", "axb", False),
        ("café", "Un CAFÉ noir", True),
        ("10%", "about 10% off", True),
    ],
)
def test_a_phrase_is_whole_words_in_any_case(phrase: str, caption: str, expected: bool) -> None:
    assert phrase_in(phrase, caption) is expected


def test_coco_as_published(root: Path) -> None:
    names, train, test, _ = data(root, negatives=10).read_splits()
    assert names == ["no lake", "lake"]
    assert train is not None
    present = {"1", "3"}
    # The seventh has no caption: nothing is known of it.
    expected = {f"train2014/{name}": names[name[-5] in present] for name in CAPTIONS if name[-5] != "7"}
    assert labelled(train, names) == expected
    assert labelled(test, names) == {f"val2014/{n}": names[n[-5] == "1"] for n in TEST_CAPTIONS}
    height_of = {f"train2014/{name}": 20 + number for number, name in enumerate(CAPTIONS)}
    assert heights(train) == [height_of[path] for path in train.ids]


def test_several_phrases_and_several_captions(root: Path) -> None:
    names, train, _, _ = data(root, ["mirror in lake", "lake", "dog"], negatives=10, min_captions=2).read_splits()
    assert names[1] == "mirror in lake or lake or dog"
    assert train is not None
    found = labelled(train, names)
    assert {path[-5] for path, name in found.items() if name == names[1]} == {"3", "5"}
    # Of the first one caption of two says it: neither positive nor negative.
    assert {path[-5] for path, name in found.items() if name == names[0]} == {"2", "4", "6"}


@pytest.mark.parametrize("per_positive", [0.5, 1.0, 2.0])
def test_negatives_are_drawn_by_the_seed_alone(flickr: Path, per_positive: float) -> None:
    draws = []
    for seed in (0, 0, 1):
        _names, train, test, _ = data(flickr, negatives=per_positive, split_seed=seed).read_splits()
        assert train is not None
        for split in (train, test):
            positives = int(split.label_N.sum())
            assert len(split) - positives == min(max(1, round(per_positive * positives)), 30)
            assert all((int(path.split("/")[1].split("_")[0]) % 6 == 0) == label for path, label in
                       zip(split.ids, split.label_N, strict=True))  # fmt: skip
        assert not {*train.ids} & {*test.ids}
        assert sum(int(split.label_N.sum()) for split in (train, test)) == 6
        draws.append(([*train.ids], [*test.ids]))
    assert draws[0] == draws[1] != draws[2]
    assert Captions.DRAWN_BY == "split_seed"


def test_flickr_s_own_list_of_test_images(flickr: Path, tmp_path: Path) -> None:
    listed = [f"{n}_a.jpg" for n in range(10)]
    (tmp_path / "Flickr_8k.testImages.txt").write_text("\n".join([*listed, "gone.jpg"]))
    _, train, test, _ = data(flickr, negatives=9, test_images=tmp_path / "Flickr_8k.testImages.txt").read_splits()
    assert train is not None
    assert {path.split("/")[1] for path in test.ids} == {*listed}
    assert len(train) == 26
    (tmp_path / "none.txt").write_text("gone.jpg\n")
    with pytest.raises(ValueError, match=r"none.txt names no image that has captions"):
        data(flickr, test_images=tmp_path / "none.txt").read_splits()


def test_captions_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    (root / "annotations").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"expected annotations/captions_train2014.json and .*dataset.captions"):
        data(root).read_splits()
    files = {f"{key}captions": str(tmp_path / "elsewhere" / f"captions_{part}2014.json")
             for key, part in (("", "train"), ("test_", "val"))}  # fmt: skip
    assert len(data(root, **files).read_splits().test) == 2
    alone = data(root, captions=files["captions"], test_fraction=0.5).read_splits()
    assert {path.split("/")[0] for path in alone.test.ids} == {"train2014"}


BROKEN = [
    ("{", "is not JSON"),
    ("[" * 100_000, "its lists lie too deep in each other"),
    ("[]", "expected an object with a list called images; it is no object"),
    ({"annotations": []}, "expected an object with a list called images; it has annotations"),
    ({"images": [], "annotations": []}, "the list images is empty"),
    ({"images": [7]}, "entry 1 of images: 7, where id should be a whole number"),
    ({"images": [{"id": "1", "file_name": "a.jpg"}]}, 'id is "1", where id should be a whole number'),
    ({"images": [{"id": 1}]}, "entry 1 of images: file_name is null, where file_name should be a text"),
    ({"images": [{"id": 1, "file_name": "a.jpg"}] * 2}, "the image 1, a.jpg, is there twice"),
    ({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2, "caption": "x"}]},
     "a caption is of image 2, which is not among its images"),
    ({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": None}]},
     "caption is null, where caption should be a text"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_broken_json_is_one_line(root: Path, content: Any, message: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (root / "annotations" / "captions_val2014.json").write_text(text)
    with pytest.raises(ValueError, match=r"captions_val2014\.json") as caught:
        data(root).read_splits()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no caption of an image"),
        (b"a.jpg a dog\n", "line 1: expected name.jpg#0, a tab and a caption; got 'a.jpg a dog'"),
        (b"0_a.jpg#0\tA dog\n\n0_a.jpg\tA cat\n", "line 3: expected name.jpg#0"),
        (b"0_a.jpg#0\t\xff\xfe\n", "is not UTF-8 text"),
    ],
)
def test_broken_tokens_are_one_line(flickr: Path, content: bytes, message: str) -> None:
    (flickr / "Flickr8k.token.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"Flickr8k\.token\.txt") as caught:
        data(flickr).read_splits()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_that_are_not_there(root: Path) -> None:
    (root / "train2014" / "COCO_train2014_000000000003.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"0003.jpg does not exist, though .*captions_train2014.json"):
        data(root).read_splits()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phrase": None}, "dataset.phrase says what is looked for"),
        ({"phrase": " "}, "dataset.phrase is words, or a list of such; got ' '"),
        ({"phrase": 3}, "dataset.phrase is words, or a list of such; got 3"),
        ({"phrase": []}, "dataset.phrase is words, or a list of such"),
        ({"phrase": "zebra"}, "dataset.phrase=zebra: none of the 6 training images has a caption with it"),
        ({"phrase": "lake", "min_captions": 3}, "none of the 4 training images has 3 captions with it"),
        ({"phrase": ["a", "water", "flakes", "lakes", "the"]}, "all of the 6 training images have it"),
        ({"negatives": 0}, "dataset.negatives, how many for each positive, is a number above 0; got 0"),
        ({"min_captions": 0}, "dataset.min_captions is a whole number of at least 1"),
        ({"test_fraction": 1}, "dataset.test_fraction lies between 0 and 1"),
        ({"test_captions": "x.json"}, "dataset.test_captions needs dataset.captions beside it"),
        ({"captions": "/nowhere/x.json"}, "/nowhere does not exist"),
    ],
)
def test_what_cannot_be_is_said(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        data(root, **options).read_splits()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_drawn_ones_are_no_more_than_there_are(root: Path) -> None:
    _, train, test, _ = data(root, negatives=1).read_splits()
    assert train is not None
    assert np.bincount(train.label_N).tolist() == [2, 2]
    assert np.bincount(test.label_N).tolist() == [1, 1]
