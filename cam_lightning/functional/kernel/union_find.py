"""The forest in which every kernel keeps its components: `parent` leads from each label to its component's root.

Labels begin at 1; 0 is nobody. A new label is its own parent, and a component joins another when its root's parent
becomes the other's root: which of two stays root is for the caller to say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint64

index: Any = uint64
"""Numba looks for negative indices, which count from the end, only where an index can be negative."""


@njit(nogil=True, cache=True, error_model="numpy")
def root(parent: np.ndarray, label: int) -> int:
    """The root of a label, an `index`; halves the way for the next that asks."""
    above = index(parent[label])
    while above != label:
        parent[label] = parent[above]
        label = above
        above = index(parent[label])
    return label
