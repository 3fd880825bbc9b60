"""A folder that all machines see: of a file system that they share, or in a bucket."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from t2igan.runtime import paths
from t2igan.runtime.buckets import transfer


class Place:
    """Files by name. What is written under a name is there whole or not at all.

    Attributes:
      root: of the folder, a path or a URL.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def read(self, name: str) -> bytes | None:
        """Returns what is in a small file, or None where there is none."""
        return paths.read_bytes(paths.join(self.root, name))

    def write(self, name: str, data: bytes) -> None:
        """Writes a small file."""
        paths.write_bytes(paths.join(self.root, name), data)

    def put(self, folder: Path, names: Sequence[str], below: str = "") -> None:
        """Moves files of this machine to the place, in order.

        Args:
          folder: that has them.
          names: of the files, kept.
          below: folder of the place.
        """
        root = paths.join(self.root, below) if below else self.root
        for name in names:
            if paths.is_url(root):
                transfer.upload(folder, [name], root)
                continue
            Path(root).mkdir(parents=True, exist_ok=True)
            # Two attempts at one piece of work may end at once; a killed one leaves nothing in a
            # folder whose files are all taken for the data set's.
            handle, partial = tempfile.mkstemp(prefix=".partial-", dir=Path(root).parent)
            os.close(handle)
            shutil.copyfile(folder / name, partial)
            os.chmod(partial, 0o644)
            os.replace(partial, Path(root) / name)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """Yields a file on this machine: itself, or a copy that goes away with the block."""
        with copied(paths.join(self.root, name)) as path:
            yield path

    def names(self) -> list[str]:
        """Returns the names of all files."""
        if paths.is_url(self.root):
            return list(transfer.list_files(self.root))
        return [str(p.relative_to(self.root)) for p in Path(self.root).rglob("*") if p.is_file()]

    def remove(self) -> None:
        """Removes all files."""
        if paths.is_url(self.root):
            transfer.remove(self.root, self.names())
        else:
            shutil.rmtree(self.root, ignore_errors=True)


@contextlib.contextmanager
def copied(path: str) -> Iterator[Path]:
    """Yields a file on this machine: itself, or a copy of a URL's that goes away with the block.

    Raises:
      UserError: the bucket cannot be read.
      FileNotFoundError: a URL's file is not there.
    """
    if not paths.is_url(path):
        yield Path(path)
        return
    with paths.scratch_folder() as folder:
        there = transfer.list_files(path)
        if "" not in there:
            raise FileNotFoundError(path)
        transfer.download(path, {"": there[""][0]}, folder)
        yield folder / path.rpartition("/")[2]
