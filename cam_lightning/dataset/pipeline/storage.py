"""Files of a dataset, wherever they lie: in a folder or inside a zip archive."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from cam_lightning.dataset.pipeline.walk import is_companion


class Storage:
    """Reads files by their path below a root, which is a folder or a zip archive.

    A zip's single top folder is skipped, so that both look alike; what systems keep in either (`__MACOSX`, `@eaDir`,
    `Thumbs.db`, hidden files) is not listed. Names in a zip may begin with `./`, or have backslashes. Open archives
    are per process: a handle that workers share would have one file position for all of them.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(str(root)).expanduser().absolute()
        if not self.root.exists():
            raise FileNotFoundError(f"dataset.root={self.root} does not exist")
        self.is_zip = self.root.is_file()
        if self.is_zip and not zipfile.is_zipfile(self.root):
            raise ValueError(f"dataset.root={self.root} is neither a folder nor a zip archive")
        self._archive: zipfile.ZipFile | None = None
        self._archive_pid = -1
        self._stored_as: dict[str, str] = {}
        self.prefix = ""
        if self.is_zip:
            tops = {name.split("/")[0] + "/" * ("/" in name) for name in self._names()}
            self.prefix = tops.pop() if len(tops) == 1 and next(iter(tops)).endswith("/") else ""

    def names(self, folder: str) -> list[str]:
        """Names of the entries of a folder, sorted; empty where it does not exist."""
        if not self.is_zip:
            path = self.root / folder
            return sorted(name for name in os.listdir(path) if not is_companion(name)) if path.is_dir() else []
        return self._tree().get(folder, [])

    def read(self, path: str) -> bytes:
        """The bytes of one file; raises FileNotFoundError or OSError with the file's full name."""
        try:
            if not self.is_zip:
                return (self.root / path).read_bytes()
            return self._open().read(self._stored_as.get(self.prefix + path, self.prefix + path))
        except RuntimeError as error:
            # What zipfile raises where a file is encrypted.
            raise OSError(f"{self.describe(path)} cannot be unpacked: {error}") from error
        except (KeyError, FileNotFoundError, IsADirectoryError) as error:
            raise FileNotFoundError(f"{self.describe(path)} does not exist") from error
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
            raise OSError(f"{self.describe(path)} is damaged in the archive: {error}") from error

    def read_lines(self, path: str) -> list[str]:
        """The lines of a UTF-8 text file, without empty ones; raises ValueError where it is not one."""
        try:
            text = self.read(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.describe(path)} is not UTF-8 text: {error}") from error
        return [line for line in text.splitlines() if line.strip()]

    def describe(self, path: str) -> str:
        """Where a file is, for messages."""
        return f"{self.root}!{self.prefix}{path}" if self.is_zip else str(self.root / path)

    def _open(self) -> zipfile.ZipFile:
        if self._archive is None or self._archive_pid != os.getpid():
            try:
                self._archive, self._archive_pid = zipfile.ZipFile(self.root), os.getpid()
            except (zipfile.BadZipFile, NotImplementedError) as error:
                raise ValueError(f"dataset.root={self.root} is no zip archive that can be read: {error}") from error
        return self._archive

    def _names(self) -> Iterator[str]:
        """What the archive holds, with `/` between folders; companions, and all in them, left out."""
        for stored in self._open().namelist():
            name = stored.replace("\\", "/").removeprefix("./")
            if name != stored:
                self._stored_as[name] = stored
            if name and not any(map(is_companion, name.rstrip("/").split("/"))):
                yield name

    def _tree(self) -> dict[str, list[str]]:
        if not hasattr(self, "_children"):
            children: dict[str, set[str]] = {}
            for name in self._names():
                parts = name[len(self.prefix) :].strip("/").split("/")
                for depth in range(len(parts)):
                    children.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
            self._children = {folder: sorted(names - {""}) for folder, names in children.items()}
        return self._children

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_archive": None, "_archive_pid": -1}
