"""`python -m cam_lightning.score_submission`: the ILSVRC CLS-LOC devkit's evaluation of a submission file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cam_lightning.launch.entry_point import entry_point

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cam_lightning.contracts import Results
    from cam_lightning.run.directory import RunDirectory

NEEDED = ("predictions", "labels", "boxes")


def run(config: DictConfig, run: RunDirectory) -> None:
    """One evaluation, from its files to `results.json`."""
    missing = [name for name in NEEDED if config[name] is None]
    if missing:
        raise ValueError(f"score_submission needs {' '.join(f'{name}=FILE' for name in NEEDED)}; no {missing[0]} given")
    blacklist = None if config.blacklist is None else _path(config.blacklist)
    files = (_path(config.predictions), _path(config.labels), _path(config.boxes))
    results = score(*files, blacklist)
    run.write_json("results.json", results)
    print(table(results))


def score(predictions: Path, labels: Path, boxes: Path, blacklist: Path | None = None) -> Results:
    """Both errors for 1 to 5 guesses, as fractions, and what they were computed from.

    Raises OSError for a file that cannot be read, and ValueError for one that is not what it should be, or where
    predictions and labels have different numbers of rows.
    """
    from cam_lightning.dataset.format.clsloc_files import read_blacklist, read_boxes, read_labels, read_predictions
    from cam_lightning.functional.devkit import classification_errors, localization_errors

    # What the command names must exist before minutes go by in reading the rest.
    for path in filter(None, (predictions, labels, boxes, blacklist)):
        if not path.exists():
            raise FileNotFoundError(f"there is no {path}")
    truth_N = read_labels(labels)
    guesses = read_predictions(predictions)
    if len(guesses.label_NG) != len(truth_N):
        raise ValueError(
            f"{predictions} has {len(guesses.label_NG)} rows, {labels} has {len(truth_N)}: one for each image, "
            "in the same order"
        )
    blacklisted_N = None if blacklist is None else read_blacklist(blacklist, len(truth_N))
    errors = {
        "classification_error": classification_errors(guesses.label_NG, truth_N),
        "localization_error": localization_errors(guesses, truth_N, read_boxes(boxes, truth_N), blacklisted_N),
    }
    results: Results = {
        f"{name}/top{g}": float(error) for name, values in errors.items() for g, error in enumerate(values, start=1)
    }
    num_blacklisted = 0 if blacklisted_N is None else int(blacklisted_N.sum())
    results |= {"num_images": len(truth_N), "num_blacklisted": num_blacklisted}
    results["protocol/rule"] = "ILSVRC CLS-LOC devkit, eval_clsloc"
    files = {"predictions": predictions, "labels": labels, "boxes": boxes, "blacklist": blacklist or "none"}
    return results | {f"protocol/{name}": str(path) for name, path in files.items()}


def table(results: Results) -> str:
    """The errors as the devkit prints them, a line for each number of guesses."""
    lines = ["guesses  classification error  localization error"]
    for g in range(1, 6):
        classification, localization = (results[f"{name}_error/top{g}"] for name in ("classification", "localization"))
        lines.append(f"{g:<7}  {classification:<20.10f}  {localization:.10f}")
    lines.append(
        f"{results['num_images']:,} images; {results['num_blacklisted']:,} of them blacklisted for localization"
    )
    return "\n".join(lines)


def _path(value: object) -> Path:
    return Path(str(value)).expanduser()


main = entry_point("score_submission")

if __name__ == "__main__":
    main()
