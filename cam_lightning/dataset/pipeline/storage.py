"""Files of a dataset, wherever they lie: in a folder or inside a zip archive."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path


class Storage:
    """Reads files by their path below a root, which is a folder or a zip archive.

    A zip's single top folder is skipped, so that both look alike. Open archives are per process: a handle
    that workers share would have one file position for all of them.
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
        self.prefix = ""
        if self.is_zip:
            names = self._open().namelist()
            top = names[0].split("/")[0] + "/" if names else ""
            self.prefix = top if all(name.startswith(top) for name in names) else ""

    def names(self, folder: str) -> list[str]:
        """Names of the entries of a folder, sorted; empty where it does not exist."""
        if not self.is_zip:
            path = self.root / folder
            return sorted(os.listdir(path)) if path.is_dir() else []
        return self._tree().get(folder, [])

    def read(self, path: str) -> bytes:
        """The bytes of one file; raises FileNotFoundError or OSError with the file's full name."""
        try:
            if not self.is_zip:
                return (self.root / path).read_bytes()
            return self._open().read(self.prefix + path)
        except (KeyError, FileNotFoundError, IsADirectoryError) as error:
            raise FileNotFoundError(f"{self.describe(path)} does not exist") from error
        except (zipfile.BadZipFile, zlib.error) as error:
            raise OSError(f"{self.describe(path)} is damaged in the archive: {error}") from error

    def read_lines(self, path: str) -> list[str]:
        """The lines of a UTF-8 text file, without empty ones; raises ValueError where it is not one."""
        try:
            text = self.read(path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.describe(path)} is not UTF-8 text: {error}") from error
        return [line for line in text.splitlines() if line.strip()]

    def describe(self, path: str) -> str:
        """Where a file is, for messages."""
        return f"{self.root}!{self.prefix}{path}" if self.is_zip else str(self.root / path)

    def _open(self) -> zipfile.ZipFile:
        if self._archive is None or self._archive_pid != os.getpid():
            self._archive, self._archive_pid = zipfile.ZipFile(self.root), os.getpid()
        return self._archive

    def _tree(self) -> dict[str, list[str]]:
        if not hasattr(self, "_children"):
            children: dict[str, set[str]] = {}
            for name in self._open().namelist():
                parts = name[len(self.prefix) :].strip("/").split("/")
                for depth in range(len(parts)):
                    children.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
            self._children = {folder: sorted(names - {""}) for folder, names in children.items()}
        return self._children

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_archive": None, "_archive_pid": -1}
