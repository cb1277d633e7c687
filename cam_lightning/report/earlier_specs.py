"""What the numbers of runs before 0.2 are, which kept no specs: the one place where a key is read for its meaning.

Since then every number says what it is (`contracts.Spec`). A number that is new is no business of this file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cam_lightning.contracts import Spec

_ARM = re.compile(r"(?:(train|val|test)/)?((?:baseline/[^/]+|wsol|components)/)?(.+)")
_RULES = {"selected": "threshold selected in validation", "oracle": "best threshold of this split (oracle)"}
_COUNTS = {
    "num_images": "images",
    "num_degenerate_maps": "maps that named no region",
    "num_skipped_images": "images skipped as unreadable",
}
_BOX = Spec("", family="localization error", has_baseline=True)
_CLASS = Spec("", family="classification error")
_PLAIN = {
    "localization_error/top1": _BOX._replace(title="localization error, top-1", headline=10, label="top-1"),
    "localization_error/top5": _BOX._replace(title="localization error, top-5", headline=11, label="top-5"),
    "gt_known_error": _BOX._replace(title="GT-known error", headline=20, label="GT-known"),
    "classification_error/top1": _CLASS._replace(title="classification error, top-1", headline=40, label="top-1"),
    "classification_error/top5": _CLASS._replace(title="classification error, top-5", headline=41, label="top-5"),
    "loss": Spec("loss", "number", family="loss"),
    "pixel_average_precision": Spec(
        "pixel average precision (PxAP)", better="higher", family="pixel average precision", label="PxAP"
    ),
}


def earlier_specs(keys: Iterable[str]) -> dict[str, Spec]:
    """The specs of those keys that such a run can have, in the order in which they stand in tables."""
    found = {key: spec for key in sorted(keys, key=_order) if (spec := _spec(key)) is not None}
    return dict(sorted(found.items(), key=lambda item: item[1].family == "loss"))


def _order(key: str) -> list[tuple[float, str]]:
    """By the numbers within keys, so that objects of `0_to_0.15` come before those of `0.15_to_0.3`."""
    key = key.replace("@selected", "@~1").replace("@oracle", "@~2")
    parts = re.split(r"(\d+(?:\.\d+)?)", key)
    return [(float(part), "") if number % 2 else (-1.0, part) for number, part in enumerate(parts)]


def _spec(key: str) -> Spec | None:
    found = _ARM.fullmatch(key)
    if found is None:
        return None
    prefix = key.removesuffix(found[3])
    spec = _of_name(found[3])
    if spec is None:
        return None
    return spec._replace(arm=(found[2] or "").rstrip("/"), of=f"{prefix}{spec.of}" if spec.of else "")


def _of_name(name: str) -> Spec | None:
    """Of a key without its split and its arm."""
    if name in _PLAIN:
        return _PLAIN[name]
    if name in _COUNTS:
        return Spec(_COUNTS[name], "count", better=None, headline=0 if name == "num_images" else None)
    if name.endswith("/threshold"):
        return Spec("threshold", "number", better=None, of=name.removesuffix("/threshold"), role="threshold")
    if name.endswith("/num_images"):
        return Spec("images", "count", better=None, of=name.removesuffix("/num_images"), role="num_images")
    of, _, rule = name.partition("@")
    if rule and of in _PLAIN:
        label = _RULES.get(rule, f"threshold {rule}")
        title = f"{_PLAIN[of].title}, {label}"
        return Spec(title, family=_PLAIN[of].family, of=of, role="variant", label=label)
    if found := re.fullmatch(r"gt_known_error_by_size/(.+)_to_(.+)", name):
        return Spec(
            f"GT-known error, objects of {found[1]} to {found[2]} of the image",
            family="GT-known error by the object's share of the image",
            has_baseline=True,
            label=f"{found[1]} to {found[2]}",
        )
    if found := re.fullmatch(r"max_box_accuracy(_v2)?(?:/iou_(.+))?", name):
        family = "MaxBoxAcc" + ("V2" if found[1] else "")
        title = family + (f", IoU {found[2]}" if found[2] else "")
        label = f"IoU {found[2]}" if found[2] else "mean" if found[1] else title
        return Spec(title, better="higher", family=family, label=label)
    return None
