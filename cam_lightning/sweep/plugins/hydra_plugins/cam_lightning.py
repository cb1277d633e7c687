"""Our sweepers where Hydra looks for plugins, and for nothing else: in the namespace package `hydra_plugins`."""

from __future__ import annotations

from cam_lightning.sweep import optuna_sweeper, sweeper


class GridSweeper(sweeper.GridSweeper):
    """`hydra/sweeper=grid`."""


class OptunaSweeper(optuna_sweeper.OptunaSweeper):
    """`hydra/sweeper=optuna`."""
