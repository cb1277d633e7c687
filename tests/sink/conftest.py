"""The small world in which every number is exact."""

from __future__ import annotations

from toy_world import data, method, overlap, trainer

__all__ = ["data", "method", "overlap", "trainer"]
