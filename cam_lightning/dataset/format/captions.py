"""Images with captions: the JSON of COCO, and the token file of Flickr8k."""

from __future__ import annotations

import logging
import re

from cam_lightning.dataset.format.json_file import read_json, records
from cam_lightning.dataset.pipeline.image_file import is_image

log = logging.getLogger(__name__)

_TOKEN = re.compile(r"(?P<name>[^\t]+)#\d+\t(?P<caption>.*)")


def read_captions(data: bytes, file: str) -> dict[str, list[str]]:
    """Every image's file name with its captions, in the file's order; JSON is COCO's, anything else Flickr8k's.

    Raises ValueError, naming the file and what is wrong with it.
    """
    return _coco(data, file) if file.lower().endswith(".json") else _tokens(data, file)


def _coco(data: bytes, file: str) -> dict[str, list[str]]:
    """`images` with `id` and `file_name`, `annotations` with `image_id` and `caption`. An image may have no caption."""
    content = read_json(data, file)
    name_of: dict[int, str] = {}
    captions: dict[str, list[str]] = {}
    for image in records(content, "images", {"id": int, "file_name": str}, file):
        if image["id"] in name_of or image["file_name"] in captions:
            raise ValueError(f"{file}: the image {image['id']}, {image['file_name']}, is there twice")
        name_of[image["id"]] = image["file_name"]
        captions[image["file_name"]] = []
    for annotation in records(content, "annotations", {"image_id": int, "caption": str}, file):
        if annotation["image_id"] not in name_of:
            raise ValueError(f"{file}: a caption is of image {annotation['image_id']}, which is not among its images")
        captions[name_of[annotation["image_id"]]].append(annotation["caption"])
    return captions


def _tokens(data: bytes, file: str) -> dict[str, list[str]]:
    """Lines `name.jpg#0<TAB>caption`.

    The published file has captions of `2258277193_586949ec62.jpg.1`, which no image is called: such are left out.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text: {error}") from error
    captions: dict[str, list[str]] = {}
    left_out = set()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        match = _TOKEN.fullmatch(line.rstrip("\r"))
        if match is None:
            raise ValueError(
                f"{file}, line {number}: expected name.jpg#0, a tab and a caption; got {line.strip()!r:.80}"
            )
        if is_image(match["name"]):
            captions.setdefault(match["name"], []).append(match["caption"])
        else:
            left_out.add(match["name"])
    if not captions:
        raise ValueError(f"{file} holds no caption of an image")
    if left_out:
        log.warning("%s: captions of %s are left out: that is no image's name", file, ", ".join(sorted(left_out)[:5]))
    return captions
