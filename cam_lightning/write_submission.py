"""`python -m cam_lightning.write_submission`: the ILSVRC CLS-LOC submission file of a run's predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.run.directory import RunDirectory

NEEDED = ("predictions", "classes")
COLUMNS = ("id", "class_ids", "ranks", "boxes")
"""Of predictions.csv: `class_ids` (WordNet ids) of the ranked classes, `ranks` of the classes of the `boxes`."""


def run(config: DictConfig, run: RunDirectory) -> None:
    """One file, `submission.txt` in the run's directory."""
    missing = [name for name in NEEDED if config[name] is None]
    if missing:
        raise ValueError(f"write_submission needs {' '.join(f'{name}=FILE' for name in NEEDED)}; no {missing[0]} given")
    predictions, classes = (Path(str(config[name])).expanduser() for name in NEEDED)
    num_images = convert(predictions, classes, run.path / "submission.txt")
    print(f"{num_images:,} images: {run.path / 'submission.txt'}")


def convert(predictions: Path, classes: Path, target: Path) -> int:
    """Writes the submission of a `predictions.csv`, and returns its number of images.

    A submission has no names: line n is image n, the number that ends the image's id, and classes go by the devkit's
    ids, which are not in the order of the WordNet ids. Raises OSError for a file that cannot be read, and ValueError
    where the ids do not end in 1..N, or a class is not in `classes`.
    """
    from cam_lightning.dataset.format.clsloc_files import image_number, read_class_ids, write_predictions
    from cam_lightning.run.prediction_table import read_predictions

    class_ids = read_class_ids(classes)
    labels: dict[int, list[int]] = {}
    boxes: dict[int, list[list[float]]] = {}
    for row in read_predictions(predictions, COLUMNS):
        number = image_number(row.id)
        if number is None or number in labels:
            raise ValueError(f"{predictions}: {row.id!r} does not end in a number of its own")
        guessed = [row.class_ids[rank] for rank in row.ranks]
        unknown = [name for name in guessed if name not in class_ids]
        if unknown:
            raise ValueError(f"{classes} has no class {unknown[0]!r}, which {row.id} is given")
        labels[number] = [class_ids[name] for name in guessed]
        boxes[number] = [list(box) for box in row.boxes]
    numbers = range(1, len(labels) + 1)
    absent_numbers = [number for number in numbers if number not in labels]
    if absent_numbers:
        raise ValueError(f"{predictions} has {len(labels)} images, but none with the number {absent_numbers[0]}")
    write_predictions(target, [labels[number] for number in numbers], [boxes[number] for number in numbers])
    return len(labels)


main = entry_point("write_submission")

if __name__ == "__main__":
    main()
