"""How a tool ends: a clear message and an exit status, never a Python traceback.

    model.mlir:7:3: error: 'tfc.transpose' (C1): expected a permutation of [0, 1], got [0, 0]

Exit status 1: the user can mend it. 2: the command line is wrong. 3: a bug in tfc; the
message says so and where the file is that shows it.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

USER, USAGE, BUG = 1, 2, 3


def guarded(tool: str, body: Callable[[], int]) -> int:
    """Run ``body``; report what it raises on stderr and give the exit status."""
    try:
        return body()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        _forget_stdout()
        return 0
    except Exception as error:
        status, message = explain(error, tool)
        sys.stderr.write(message + "\n")
        return status


class Parser(argparse.ArgumentParser):
    """Words its errors as the rest of the tool does, without the whole usage in front."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"error: {message}\nhelp: {self.prog} --help lists all arguments\n")
        raise SystemExit(USAGE)


def parse_arguments(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> argparse.Namespace:
    """The options; one that is unknown is an error that names the nearest.

    Raises:
        SystemExit: after ``--help``, and after an error, which has been printed.
    """
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        names = parser._option_string_actions  # pyright: ignore[reportPrivateUsage] # no other list
        known = list(names)
        name = unknown[0].split("=")[0]
        close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"{parser.prog} --help lists all"
        sys.stderr.write(f"error: unknown argument {unknown[0]!r}\nhelp: {hint}\n")
        raise SystemExit(USAGE)
    return options


def explain(error: Exception, tool: str) -> tuple[int, str]:
    """The exit status and the words for ``error``."""
    from xdsl.utils.exceptions import VerifyException

    from tfc.errors import OptionError, TfcError

    if isinstance(error, OptionError):
        return USAGE, str(error)
    if isinstance(error, TfcError):
        return USER, str(error)
    if isinstance(error, VerifyException):
        return USER, f"error: {error}"
    if isinstance(error, OSError) and error.filename is not None:
        return USER, f"{error.filename}: error: {(error.strerror or str(error)).lower()}"
    if isinstance(error, UnicodeDecodeError):
        return USER, "error: expected a text file in UTF-8, got other bytes"
    return BUG, _bug(error, tool)


def _bug(error: Exception, tool: str) -> str:
    """Words for a bug in tfc; the traceback goes to a file."""
    handle, name = tempfile.mkstemp(prefix=f"{tool}-", suffix=".txt")
    with os.fdopen(handle, "w") as file:
        file.write(" ".join(sys.argv) + "\n" + "".join(traceback.format_exception(error)))
    kind = type(error).__name__
    first = (str(error).splitlines() or [""])[0]
    return (
        f"{tool}: internal error: this is a bug in tfc: {kind}: {first}\n"
        f"note: the details are in {name}"
    )


def _forget_stdout() -> None:
    # Python flushes stdout when it exits, and would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def write_output(path: str | None, data: str | bytes) -> None:
    """Write to ``path`` as a whole or not at all; to stdout where it is None or ``-``."""
    if path is None or path == "-":
        _print(data)
        return
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, path) from None


def _print(data: str | bytes) -> None:
    try:
        if isinstance(data, bytes):
            sys.stdout.buffer.write(data)
        else:
            sys.stdout.write(data)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk behind a redirection
        _forget_stdout()
        raise OSError(error.errno, error.strerror, "<stdout>") from None
