"""Compiles functions to machine code, and keeps the code for the next process.

numba compiles a function when it is first called, which for all of them together takes some
seconds; what it made is kept beside the source or, where that cannot be written, in the user's
cache folder. The folder's name follows from the sources of the function's package and of what it
takes constants from, so code of another release is never used.
"""

import ast
import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")

_ROOT = Path(__file__).parents[2]


@cache
def _folder(package: Path) -> str:
    """Where compiled code of a package is kept; empty if nowhere: each process compiles anew."""
    own_files = sorted(package.glob("*.py"))
    files = {Path(__file__), *own_files, *(i for path in own_files for i in _imported(path))}
    sources = b"".join(path.read_bytes() for path in sorted(files))
    name = f"native-{hashlib.sha256(sources).hexdigest()[:16]}"
    own = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    for base in (package / "__pycache__", Path(own) / "tocsin"):
        folder = base / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return str(folder)
        except OSError:
            continue
    return ""


def _imported(path: Path) -> list[Path]:
    """The files of this product that one of its files imports from."""
    modules = [
        node.module
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    found = [_ROOT.joinpath(*module.split(".")).with_suffix(".py") for module in modules]
    return [file for file in found if file.is_file()]


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as machine code, which runs without holding up other threads.

    It may make no arrays, since it does not count references to them: counting those of a table at
    each call costs more than a look-up.
    """
    return _made(function, inline=False)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """The same for a part of others, in which it is put: a table is too much to hand over."""
    return _made(function, inline=True)


def _made(function: Callable[P, R], *, inline: bool) -> Callable[P, R]:
    numba.config.CACHE_DIR = _folder(Path(function.__code__.co_filename).parent)
    made: Callable[P, R] = numba.njit(
        cache=bool(numba.config.CACHE_DIR),
        nogil=True,
        error_model="numpy",
        forceinline=inline,
        _nrt=False,
    )(function)
    return made
