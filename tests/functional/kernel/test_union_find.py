"""The forest of components against sets that are joined in a plain loop."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_lightning.functional.kernel.union_find import index, root


@settings(max_examples=60, deadline=None)
@given(joins=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=30))
def test_labels_of_one_component_have_one_root(joins: list[tuple[int, int]]) -> None:
    parent = np.arange(13, dtype=np.uint32)
    component = {label: {label} for label in range(1, 13)}
    for a, b in joins:
        kept, gone = root(parent, index(a)), root(parent, index(b))
        parent[gone] = kept
        joined = component[a] | component[b]
        for label in joined:
            component[label] = joined
        for label in range(1, 13):
            assert root(parent, index(label)) in component[label]
            assert len({root(parent, index(other)) for other in component[label]}) == 1


def test_looking_up_shortens_the_way() -> None:
    """Every label on it is led to its parent's parent."""
    parent = np.array([0, 1, 1, 2, 3, 4, 5, 6, 7], np.uint32)
    assert root(parent, index(8)) == 1
    assert parent.tolist() == [0, 1, 1, 1, 2, 3, 4, 5, 6]
