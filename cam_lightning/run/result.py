"""The results of a run: what its last evaluation logged, as plain numbers, and how they were made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from cam_lightning.contracts import Results, Spec

log = logging.getLogger(__name__)


def collect_results(trainer: Any, method: Any, config: Mapping[str, Any], **further: Any) -> Results:
    """Everything logged by the last evaluation, with its `specs`, and how it was made, with `further`, in `protocol/`.

    `config` is the run's configuration, plain. To be called on every rank, since skipped images are gathered from all
    of them.
    """
    results: Results = {}
    for key, value in sorted(trainer.callback_metrics.items()):
        is_count = key in method.specs and method.specs[key].kind == "count"
        results[key] = round(value.item()) if is_count else value.item()
    specs = dict(method.specs)
    described = [callback for callback in trainer.callbacks if hasattr(callback, "protocol")]
    for callback in described:
        results |= {f"protocol/{key}": value for key, value in callback.protocol().items()}
    if described:
        for group in ("metric", "evaluator"):
            results |= _options(group, config.get(group) or {})
    for split, ids in trainer.datamodule.skipped.ids().items():
        if ids:
            log.warning("%d images of the %s split could not be read: %s", len(ids), split, ", ".join(ids))
        key = f"{split}/num_skipped_images"
        results |= {key: len(ids), f"protocol/skipped_images/{split}": ids}
        specs[key] = Spec("images skipped as unreadable", "count", better=None)
    precision = "float32" if method.evaluation_precision == "float32" else str(trainer.precision)
    results |= {
        "protocol/evaluation_precision": precision,
        "protocol/input_size": list(trainer.datamodule.input_size),
        "protocol/seed": config["seed"],
    }
    results |= {f"protocol/{key}": value for key, value in further.items()}
    # In the order in which the numbers were made, which is that of tables.
    return results | {"specs": {key: spec._asdict() for key, spec in specs.items() if key in results}}


def require_every_image(results: Results, split: str, data: Any, config: Mapping[str, Any]) -> None:
    """Raises RuntimeError where not every image of a split was counted exactly once, or skipped as unreadable."""
    trainer = config["trainer"]
    if trainer["fast_dev_run"] or trainer[f"limit_{split}_batches"] is not None:
        return
    counted, expected = results[f"{split}/num_images"], len(data.examples[split])
    skipped = results.get(f"{split}/num_skipped_images", 0)
    if counted + skipped != expected:
        raise RuntimeError(f"{counted} images were counted and {skipped} skipped, but the {split} split has {expected}")


def _options(group: str, parts: Mapping[str, Any]) -> Results:
    """Every option that a number depends on, of the parts of a group; a part within one is described elsewhere."""
    results: Results = {}
    for name, options in parts.items():
        results[f"{group}/{name}"] = options["_target_"]
        results |= {
            f"{group}/{name}/{key}": value
            for key, value in options.items()
            if not key.startswith("_") and not isinstance(value, dict)
        }
    return {f"protocol/{key}": value for key, value in results.items()}
