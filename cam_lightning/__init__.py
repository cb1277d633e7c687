"""Class activation maps and weakly supervised object localization, in PyTorch Lightning and Hydra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cam_lightning.api import boxes, load, localize

__version__ = "0.1.0"
__all__ = ["boxes", "load", "localize"]


def __getattr__(name: str) -> Any:
    """`boxes`, `load` and `localize` bring torch with them: only when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cam_lightning import api

    return getattr(api, name)
