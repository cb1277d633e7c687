"""`predictions.json`: what was found in every photo, written as it is found, and complete or not there at all."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cam_lightning.run.file import json_text


class PredictionsJson:
    """Writes `{"protocol": …, "images": […], "unreadable": […], "num_images": …, "num_unreadable": …}`.

    One line per image goes to `predictions.partial.json` at once, so that memory does not grow with their number.
    On leaving the block the file is completed and renamed; after an error the partial one stays, for its lines.
    """

    def __init__(self, run_dir: Path, protocol: dict[str, Any]) -> None:
        self.path = run_dir / "predictions.json"
        self.partial = run_dir / "predictions.partial.json"
        self.protocol = protocol
        self.num_images = 0
        self.unreadable: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        # A file's name need not be valid text: its stray bytes become JSON escapes, which lead back to the file.
        self._file = self.partial.open("w", encoding="utf-8", errors="backslashreplace")
        self._file.write(f'{{"protocol": {json_text(self.protocol)},\n"images": [')
        return self

    def add(self, image: dict[str, Any]) -> None:
        self._file.write(f"{',' if self.num_images else ''}\n{json_text(image)}")
        self.num_images += 1

    def add_unreadable(self, path: str, error: str) -> None:
        self.unreadable.append({"path": path, "error": error})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            rows = ",\n".join(map(json_text, self.unreadable))
            counts = f'"num_images": {self.num_images}, "num_unreadable": {len(self.unreadable)}'
            self._file.write(f'\n],\n"unreadable": [\n{rows}\n],\n{counts}}}\n')
        self._file.close()
        if error is None:
            os.replace(self.partial, self.path)
