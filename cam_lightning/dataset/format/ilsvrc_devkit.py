"""ILSVRC's development kit: its class ids are in an order of their own, and leave this file as WordNet ids only."""

from __future__ import annotations

from pathlib import Path

from cam_lightning.dataset.format.clsloc_files import read_blacklist, read_class_ids, read_labels
from cam_lightning.dataset.pipeline.index_cache import Stamps

TRUTH = "*validation_ground_truth.txt"
BLACKLIST = "*validation_blacklist.txt"


class Devkit:
    """The folder `data` of a development kit, of any year from 2012 on.

    It holds a ground-truth file (line i is the class id of validation image i) and says which WordNet id each
    class id is: in `map_clsloc.txt`, or in `meta.mat` where there is no such file. Raises FileNotFoundError where
    one of the two is missing.
    """

    def __init__(self, folder: Path, seen: Stamps) -> None:
        self.folder = folder / "data" if (folder / "data").is_dir() else folder
        self.seen = seen
        seen.note(self.folder)
        truths = sorted(path for path in self.folder.glob(TRUTH) if "det" not in path.name)
        if len(truths) != 1:
            found = ", ".join(path.name for path in truths) or "none"
            raise FileNotFoundError(f"{self.folder} must hold one file {TRUTH}; found {found}")
        self.truth = truths[0]

    def validation_classes(self) -> list[str]:
        """The WordNet id of each validation image: the image numbered i is at i - 1."""
        ids = self._wordnet_ids()
        labels = read_labels(self.seen.note(self.truth)).tolist()
        unknown = sorted({label for label in labels if label not in ids})
        if unknown:
            raise ValueError(f"{self.truth} has the class {unknown[0]}, which the kit gives no WordNet id")
        return [ids[label] for label in labels]

    def blacklist(self, num_images: int) -> set[int]:
        """Numbers of the validation images whose boxes the organisers found to be bad."""
        paths = sorted(self.folder.glob(BLACKLIST))
        if len(paths) != 1:
            raise FileNotFoundError(f"{self.folder} must hold one file {BLACKLIST} for dataset.blacklist=true")
        return blacklisted(self.seen.note(paths[0]), num_images)

    def _wordnet_ids(self) -> dict[int, str]:
        text, matlab = self.folder / "map_clsloc.txt", self.folder / "meta.mat"
        if text.is_file():
            return {number: wnid for wnid, number in read_class_ids(self.seen.note(text)).items()}
        if matlab.is_file():
            return _read_meta(self.seen.note(matlab))
        raise FileNotFoundError(f"{self.folder} must hold map_clsloc.txt or meta.mat, which name the classes")


def blacklisted(path: Path, num_images: int) -> set[int]:
    """The image numbers that a file lists, one in each line."""
    return {i + 1 for i in read_blacklist(path, num_images).nonzero()[0].tolist()}


def _read_meta(path: Path) -> dict[int, str]:
    """Class id → WordNet id of the classes that have images (the leaves: other synsets have higher ids)."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(f"{path} is a Matlab file: `pip install scipy`, or give a kit with map_clsloc.txt") from error
    try:
        synsets = loadmat(str(path), squeeze_me=True)["synsets"]
        rows = [(int(s["ILSVRC2012_ID"]), str(s["WNID"])) for s in synsets if int(s["num_children"]) == 0]
    except (ValueError, KeyError, TypeError, IndexError, NotImplementedError) as error:
        raise ValueError(f"{path} is not the kit's meta.mat: it has no readable `synsets` ({error})") from error
    if len(dict(rows)) != len(rows):
        raise ValueError(f"{path} gives one class id to two classes")
    return dict(rows)
