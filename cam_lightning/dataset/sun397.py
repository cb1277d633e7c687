"""SUN397: 397 scene categories, ten official splits of 50 training and 50 test images a class."""

from __future__ import annotations

from typing import Any

from cam_lightning.dataset.format.labelled import ListedPhotos, Photo
from cam_lightning.dataset.pipeline.option import whole
from cam_lightning.dataset.pipeline.storage import Storage


class Sun397(ListedPhotos):
    """Classes are those of `ClassName.txt`, in its order, without the letter that they begin with.

    `/a/apartment_building/outdoor` is `apartment_building/outdoor`: a class may have several parts, and a line of a
    list is a class and a file's name. `partition` chooses among `Training_01.txt` … `Training_10.txt` and
    `Testing_…`, which lie beside the images, or in `Partitions`, or in `partitions`.
    Source: Xiao et al. 2010.
    """

    SOURCE = "Fetch SUN397.tar.gz and Partitions.zip of Princeton's SUN database, and unpack both into one folder."
    DRAWN_BY = "partition"

    def __init__(self, partition: int = 1, partitions: str | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.partition = whole("dataset.partition", partition, 1, 10)
        self.partitions = partitions

    def display_name(self, class_name: str) -> str:
        return class_name.replace("_", " ")

    def listed(self, storage: Storage) -> tuple[list[str], dict[str, list[Photo]]]:
        top = self.top_of(storage, ["a"], ["SUN397"])
        lists, folder = self._lists(storage, top)
        names = [
            _class_of(line, lists, f"{folder}ClassName.txt") for line in lists.read_lines(f"{folder}ClassName.txt")
        ]
        parts = {}
        for part, stem in (("train", "Training"), ("test", "Testing")):
            file = f"{folder}{stem}_{self.partition:02d}.txt"
            parts[part] = [_photo(line, top, set(names), lists, file) for line in lists.read_lines(file)]
        return names, parts

    def _lists(self, storage: Storage, top: str) -> tuple[Storage, str]:
        """Where `ClassName.txt` and the lists of the partition are."""
        wanted = {"ClassName.txt", f"Training_{self.partition:02d}.txt", f"Testing_{self.partition:02d}.txt"}
        places = [(storage, folder) for folder in dict.fromkeys(("Partitions/", f"{top}Partitions/", "", top))]
        if self.partitions is not None:
            places = [(Storage(self.partitions), "")]
        for place, folder in places:
            if wanted <= set(place.names(folder.rstrip("/"))):
                return place, folder
        where = self.partitions or f"{storage.root}, or Partitions below it"
        raise FileNotFoundError(f"{', '.join(sorted(wanted))} are not in {where} (dataset.partitions). {self.SOURCE}")


def _class_of(line: str, storage: Storage, file: str) -> str:
    """`/a/abbey` → `abbey`."""
    path = line.strip()
    if not path.startswith("/") or path[2:3] != "/" or not path[3:].strip("/"):
        raise ValueError(f"{storage.describe(file)}: expected lines such as /a/abbey, got {line!r}")
    return path[3:]


def _photo(line: str, top: str, names: set[str], storage: Storage, file: str) -> Photo:
    """`/a/abbey/sun_aqswjsnjlrfzzhiz.jpg` → its path and class."""
    name, _, image = _class_of(line, storage, file).rpartition("/")
    if name not in names or not image:
        raise ValueError(f"{storage.describe(file)}: {line!r} is of no class of ClassName.txt")
    return Photo(f"{top}{line.strip()[1:]}", name)
