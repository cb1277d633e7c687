"""The file of a text head: embeddings of the classes' prompts and of a background, made by CLIP's text tower."""

from __future__ import annotations

import json
import math
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cam_lightning.run.tensor_file import SAFETENSORS, read_tensor_file

CONTENT = "text_CK (a row per class), names, and where wanted background_BK and logit_scale"
_KNOWN = ("text_CK", "names", "background_BK", "logit_scale")
_CLIP_LOG_SCALE = math.log(100.0)
"""Where CLIP's training stops its own (Radford et al. 2021, section 2.5)."""
_LARGEST_LOG_SCALE = 10.0


class TextRows(NamedTuple):
    """Rows of unit length, float32, on the CPU."""

    names: list[str]
    """Of the classes, as the dataset calls them."""
    text_CK: Tensor
    background_RK: Tensor
    """Rows of what is no class; none: (0, K)."""
    scale: float
    """What cosines are multiplied by."""


def read_text_rows(file: str) -> TextRows:
    """The rows of a file `.npz`, `.safetensors` or of `torch.save`, each brought to unit length.

    It holds `text_CK`, floating; `names`, the C classes' names (in the metadata of a file of safetensors, as JSON); and
    where wanted `background_BK`, and `logit_scale`, the natural logarithm of the scale as CLIP's files have it (without
    it the scale is 100). Raises FileNotFoundError for a missing file and ValueError, one line that begins with
    `backbone.text`, for another content: a key too many, shapes that do not fit, names that are no text or come twice,
    a row that is zero or not finite, a scale that is no logarithm.
    """
    path = Path(file).expanduser()
    said = f"backbone.text={file}"
    if not path.is_file():
        raise FileNotFoundError(f"{said}: there is no such file; it holds {CONTENT}")
    content = _content(path, said)
    unknown = sorted(set(map(str, content)) - set(_KNOWN))
    missing = [key for key in ("text_CK", "names") if key not in content]
    if unknown or missing:
        wrong = f"has no {' and no '.join(missing)}" if missing else f"has {', '.join(unknown)}, which nothing reads"
        raise ValueError(f"{said} {wrong}: it holds {CONTENT}")
    names = _names(content["names"], said)
    text_CK = _unit_rows(content["text_CK"], names, "text_CK", said)
    if len(text_CK) != len(names) or not names:
        raise ValueError(f"{said} has {len(text_CK)} rows in text_CK and {len(names)} names: one name per row")
    background_RK = text_CK[:0]
    if "background_BK" in content:
        background_RK = _unit_rows(content["background_BK"], None, "background_BK", said)
        if background_RK.shape[1] != text_CK.shape[1]:
            raise ValueError(
                f"{said} has rows of {text_CK.shape[1]} values in text_CK and of {background_RK.shape[1]} in "
                "background_BK: both are of one text tower"
            )
    return TextRows(names, text_CK, background_RK, _scale(content.get("logit_scale", _CLIP_LOG_SCALE), said))


def _content(path: Path, said: str) -> Mapping[Any, Any]:
    if path.suffix.lower() == ".npz":
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            reason = str(error).splitlines()[0] if str(error) else "it ends too early"
            raise ValueError(
                f"{said} is damaged, or holds other than arrays of numbers and of text: {reason}"
            ) from error
    content = read_tensor_file(path, "backbone.text")
    if not isinstance(content, Mapping):
        raise ValueError(f"{said} is {type(content).__name__}: it holds {CONTENT}")
    return {**content, **_names_in_metadata(path)} if path.suffix.lower() == SAFETENSORS else content


def _names_in_metadata(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get("names")
    try:
        return {} if text is None else {"names": json.loads(text)}
    except json.JSONDecodeError:
        return {"names": text}


def _names(given: Any, said: str) -> list[str]:
    names = given.tolist() if isinstance(given, np.ndarray) else given
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{said}: names is a list of text, one name per class; got {given!r:.80}".replace("\n", " "))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{said} names a class twice: {', '.join(twice[:8])}")
    return list(names)


def _unit_rows(given: Any, names: list[str] | None, key: str, said: str) -> Tensor:
    try:
        rows_NK = torch.as_tensor(given, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{said}: {key} is an array of numbers; got {type(given).__name__}") from error
    if rows_NK.ndim != 2 or not rows_NK.shape[1] or not rows_NK.is_floating_point():
        raise ValueError(
            f"{said}: {key} has a row of floating numbers per prompt; got {tuple(rows_NK.shape)} of {rows_NK.dtype}"
        )
    # Divided in float64: rows of half precision may be of any length.
    rows_NK = rows_NK.double()
    norm_N1 = rows_NK.norm(dim=1, keepdim=True)
    useless = (~norm_N1.isfinite() | (norm_N1 == 0)).flatten().nonzero().flatten().tolist()
    if useless:
        row = useless[0]
        whose = f" ({names[row]})" if names is not None and row < len(names) else ""
        raise ValueError(f"{said}: row {row}{whose} of {key} is zero or not finite, so it has no direction")
    return (rows_NK / norm_N1).float()


def _scale(given: Any, said: str) -> float:
    value = torch.as_tensor(given, device="cpu")
    log_scale = float(value) if value.numel() == 1 and not value.is_complex() else math.nan
    if not abs(log_scale) <= _LARGEST_LOG_SCALE:
        raise ValueError(
            f"{said}: logit_scale is the natural logarithm of the scale, one number as in CLIP's files, such as "
            f"{_CLIP_LOG_SCALE:.4f} for 100; got {value.flatten()[:3].tolist()}"
        )
    return math.exp(log_scale)
