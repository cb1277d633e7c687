"""What every section of a run's page is made from."""

from __future__ import annotations

from functools import cached_property

from cam_lightning.report.run_record import RunRecord, read_predictions
from cam_lightning.report.split_results import SplitResults
from cam_lightning.run.prediction_table import Prediction


class RunPage:
    """One run, and the split that its page is about: the test's, or the last validation's where that is all."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.split = record.shown_split()

    @cached_property
    def results(self) -> SplitResults:
        return self.record.split_results(self.split)

    @cached_property
    def predictions(self) -> list[Prediction]:
        """Raises ValueError where the table is damaged."""
        return read_predictions(self.record.path, self.split)
