"""Visual question answering: the images of VQA v1 or v2, and the questions about them."""

from __future__ import annotations

import re
from typing import Any

from cam_lightning.dataset.format.labelled import LabelledPhotos
from cam_lightning.dataset.format.vqa import Question, read_questions
from cam_lightning.dataset.pipeline.image_file import is_image
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row
from cam_lightning.dataset.pipeline.split import Splits
from cam_lightning.dataset.pipeline.storage import Storage

PARTS = {"train": "train2014", "test": "val2014"}
TASKS = {"open_ended": "OpenEnded", "multiple_choice": "MultipleChoice"}
"""What each is called in the names of its files."""
_IMAGE_ID = re.compile(r"(?:.*_)?(\d{12})\.[A-Za-z]+")


class Vqa(LabelledPhotos):
    """`train2014/` and `val2014/` of COCO, and four JSON files of VQA, in any folder below the root or beside them.

    The questions of `train2014` train, those of `val2014` test. Every image is of the one class `image`: what is
    asked of it is in `questions`, by split, each with the position of its image in `positions`. With
    `task=multiple_choice`, which v1 alone has, each question comes with the answers to choose from. Source: Antol et
    al. 2015, Goyal et al. 2017.
    """

    SOURCE = (
        "Fetch COCO's train2014.zip and val2014.zip, and the questions and annotations of VQA v1 or v2 for both, into "
        "one folder."
    )

    def __init__(self, questions: str | None = None, task: str = "open_ended", **common: Any) -> None:
        super().__init__(**common)
        if task not in TASKS:
            raise ValueError(f"dataset.task is one of {', '.join(TASKS)}; got {task!r}")
        self.task = task
        if self.classes is not None or self.images_per_class is not None:
            raise ValueError("dataset.classes and dataset.images_per_class would leave questions without their images")
        self.questions_folder = questions
        self.questions: dict[str, list[Question]] = {}
        self.positions: dict[str, list[int]] = {}

    def read_splits(self) -> Splits:
        storage = Storage(self.root)
        lists = storage if self.questions_folder is None else Storage(self.questions_folder)
        splits = [self._images(storage, lists, part) for part in PARTS]
        return Splits(["image"], *splits)

    def held_out(self, split: Any, fraction: float, seed: int) -> tuple[Any, Any]:
        """Nothing: what is trained is no network, and all training images are read."""
        return split, split

    def _images(self, storage: Storage, lists: Storage, part: str) -> Any:
        """The images that are asked about, in the order of their ids."""
        coco = PARTS[part]
        endings = (f"{TASKS[self.task]}_mscoco_{coco}_questions.json", f"mscoco_{coco}_annotations.json")
        files = [_json(lists, ending, self.SOURCE) for ending in endings]
        texts, answers = ((lists.read(file), lists.describe(file)) for file in files)
        self.questions[part] = questions = read_questions(texts, answers, self.task == "multiple_choice")
        path_of = {}
        for folder in (f"{coco}/", f"images/{coco}/"):
            for name in storage.names(folder.rstrip("/")):
                match = _IMAGE_ID.fullmatch(name)
                if match is not None and is_image(name):
                    path_of[int(match[1])] = f"{folder}{name}"
        wanted = sorted({question.image_id for question in questions})
        missing = [number for number in wanted if number not in path_of]
        if missing:
            raise FileNotFoundError(
                f"{storage.describe(coco)}: there is no image COCO_{coco}_{missing[0]:012d}.jpg, and a question is "
                f"of it ({len(missing):,} of {len(wanted):,} images are missing). {self.SOURCE}"
            )
        position = {number: place for place, number in enumerate(wanted)}
        self.positions[part] = [position[question.image_id] for question in questions]
        return self.seen(IndexedSplit(storage, Index.pack(Row(path_of[number], 0) for number in wanted)))


def _json(storage: Storage, ending: str, source: str) -> str:
    """The one file of an ending: `v2_mscoco_train2014_annotations.json`, beside the images or in a folder."""
    folders = ["", *(f"{name}/" for name in storage.names("") if name not in PARTS.values())]
    found = [f"{top}{name}" for top in folders for name in storage.names(top.rstrip("/")) if name.endswith(ending)]
    if len(found) != 1:
        example = ending if ending.startswith("MultipleChoice") else f"v2_{ending}"
        has = f"both {found[0]} and {found[1]}: keep one" if found else "none"
        error = ValueError if found else FileNotFoundError
        raise error(f"{storage.root}: expected one file such as {example}, there is {has}. {source}")
    return found[0]
