"""Our sweepers where Hydra looks for plugins, and for nothing else: in the namespace package `hydra_plugins`."""

from __future__ import annotations

from cam_lightning import sweep, sweep_optuna


class GridSweeper(sweep.GridSweeper):
    """`hydra/sweeper=grid`."""


class OptunaSweeper(sweep_optuna.OptunaSweeper):
    """`hydra/sweeper=optuna`."""
