"""Writing checkpoints: whole or not at all, and never in place of the last good one before they are."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO


class WholeCheckpoints(TorchCheckpointIO):
    """What a Trainer saves with.

    `storage_options` may say `keep_as`, the name that the file which is replaced is kept under. Raises OSError,
    with the file that is still good, where the disk is full.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        target = Path(path)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.part")
        try:
            with temporary.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                # Else a machine that loses power may have the new name and not yet the new content.
                os.fsync(file.fileno())
        except OSError as error:
            temporary.unlink(missing_ok=True)
            kept = f"{target} still holds the one before" if target.is_file() else "none had been written before"
            raise OSError(
                error.errno,
                f"the checkpoint could not be written ({error.strerror}); {kept}. Make room, and go on with resume=RUN",
                str(target),
            ) from error
        if storage_options is not None and target.exists():
            os.replace(target, target.with_name(storage_options["keep_as"]))
        os.replace(temporary, target)
