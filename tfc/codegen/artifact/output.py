"""Write a file as a whole or not at all.

    with replacing("model.so", executable=True) as file:
        file.write(...)

The bytes go to a new file beside the target, which takes the target's name once all is written.
Whatever goes wrong before that (an error of the compiler, a full disk, Ctrl-C) leaves the target
as it was.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from tfc.errors import ArtifactError

_serial = itertools.count()


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, executable: bool = False) -> Generator[BinaryIO]:
    """A file to write that becomes ``path`` at the end of the block.

    A target that exists and is no regular file (``/dev/stdout``, a pipe) is written directly.

    Raises:
        ArtifactError: the folder is missing or the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    with _clear_errors(path):
        check_writable(path)
        if _is_special(target):
            with target.open("wb") as file:
                yield file
            return
        partial = target.with_name(f".{target.name[:200]}.{os.getpid()}.{next(_serial)}.partial")
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
        try:
            with open(os.open(partial, flags, 0o777 if executable else 0o666), "w+b") as file:
                yield file
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise `ArtifactError` where ``path`` cannot be written: before hours of work, not after."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise ArtifactError(f"cannot write {os.fspath(path)!r}: it is a directory")
    if not target.parent.is_dir():
        raise ArtifactError(
            f"cannot write {os.fspath(path)!r}: there is no folder {str(target.parent)!r}"
        )
    place = target if _is_special(target) else target.parent
    if not os.access(place, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise ArtifactError(f"cannot write {os.fspath(path)!r}: permission denied")


def _is_special(target: Path) -> bool:
    return target.exists() and not stat.S_ISREG(target.stat().st_mode)


@contextlib.contextmanager
def _clear_errors(path: str | os.PathLike[str]) -> Generator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(f"cannot write {os.fspath(path)!r}: {reason.lower()}") from error
