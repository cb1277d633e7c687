"""What a configuration may have built: a checkpoint, a run or a yaml of someone else is data, never code.

A `_target_` is code that runs when it is built. Trusted are
- what a yaml of our own `conf/` names: the yaml is the registry, so a new part is trusted with its yaml;
- the classes of a few libraries that parts are made of (`LIBRARIES`);
- the packages that the user's own command line names with `trust=[my_package]`, or its Python with `trust=`.
A name is checked before anything is imported, and what it leads to must be defined there: `torch.optim.adam.cast` is
typing's.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from cam_lightning.run.place import CONF

LIBRARIES = ("torch.optim", "lightning.pytorch.callbacks", "lightning.pytorch.loggers")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def located(target: Any, trust: Sequence[str] = (), where: str = "_target_") -> Callable[..., Any]:
    """What a dotted name stands for, where it is trusted; `where` is the option that has it.

    Raises ValueError for a name that is not trusted, not a name, or leads to what is defined elsewhere, and
    ImportError for one that leads nowhere.
    """
    if not isinstance(target, str) or not _NAME.fullmatch(target):
        raise ValueError(f"{where}={target!r} is no dotted name of a class or function")
    package = target.partition(".")[0]
    is_library = any(target.startswith(f"{library}.") for library in LIBRARIES)
    is_users = any(target.startswith(f"{name}.") for name in trust)
    if target not in registry() and not is_library and not is_users:
        raise ValueError(
            f"{where}={target} is not trusted, and was not run: built is only what cam_lightning's own conf/ names, "
            f"and {', '.join(f'{library}.*' for library in LIBRARIES)}. If you know and trust the package, say so: "
            f"trust=[{package}]"
        )
    found = _found(target, where)
    home = str(getattr(found, "__module__", ""))
    homes = [*trust, package] if not is_library or is_users else [package]
    if not callable(found) or (is_library and not is_users and not isinstance(found, type)):
        raise ValueError(f"{where}={target} is nothing that can be built")
    if not any(home == name or home.startswith(f"{name}.") for name in homes):
        raise ValueError(f"{where}={target} is not trusted, and was not run: it is defined in {home or 'no module'}")
    return found


@cache
def registry() -> frozenset[str]:
    """Every target that a yaml of our configuration names, Hydra's own apart."""
    # Below our configuration: where it lies, a folder may be called anything.
    ours = (path for path in CONF.rglob("*.yaml") if path.relative_to(CONF).parts[0] != "hydra")
    texts = (path.read_text(encoding="utf-8") for path in ours)
    return frozenset(name for text in texts for name in re.findall(r"^\s*_target_:\s*([\w.]+)", text, re.MULTILINE))


def require_plain(node: Any, where: str) -> None:
    """Raises ValueError where something stored holds an interpolation: what is stored is resolved, and is not run."""
    for key, value in _leaves(node):
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"{where} holds an interpolation at {key}: {value!r}. What a run stores is resolved")


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _leaves(value, f"{prefix}[{number}]")
    else:
        yield prefix, node


def _found(target: str, where: str) -> Any:
    """The object behind a name: the longest part of it that is a module, then attributes of classes."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            # Of a module that is there and misses another one, that is what there is to say.
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise
            continue
        for depth, part in enumerate(parts[length:]):
            if depth and not isinstance(found, type):
                break
            found = getattr(found, part, None)
        else:
            if found is not None:
                return found
        break
    raise ImportError(f"{where}={target}: there is no such class or function")
