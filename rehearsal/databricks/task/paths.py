"""Makes the workspace's paths work in Python code that runs on this machine."""

import builtins
import functools
import importlib.machinery
import io
import os
import re
import sys
import tokenize
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORKSPACE = re.compile(r"/+Workspace(?=/|$)")
PATH_PARAMETER = re.compile(r"\b(?:path|src|dst)\b")
PATH_NAMES = {"file", "path", "src", "dst"}


def map_workspace(files: Path) -> None:
    """Make open, os, what builds on them (pathlib, shutil), and import find /Workspace in `files`.

    C libraries, other programs and Spark's server do not: they see the host's paths.
    """
    mapping = _Mapping(files)
    for name, function in list(vars(os).items()):
        if count := _path_parameters(function):
            setattr(os, name, mapping.mapped(function, count))
    mapped_open: Any = mapping.mapped(open)
    io.open = builtins.open = mapped_open
    vars(tokenize)["_builtin_open"] = mapped_open  # traceback reads the source with it
    sys.path_hooks.insert(0, mapping.finder)


def _path_parameters(function: object) -> int:
    """How many paths a function of os takes, which come first; 0 if it is not to be mapped."""
    if not isinstance(function, types.BuiltinFunctionType) or function.__name__ == "fspath":
        return 0
    return len(PATH_PARAMETER.findall(getattr(function, "__text_signature__", None) or ""))


class _Mapping:
    """The workspace's paths, and the files of this machine that stand for them."""

    def __init__(self, files: Path) -> None:
        self.files = files

    def real(self, path: Any) -> Any:
        """This machine's path for one of the workspace's; anything else as it is."""
        text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
        if isinstance(text, str) and WORKSPACE.match(text):
            return str(self.files / text.lstrip("/"))
        return path

    def mapped(self, function: Callable[..., Any], count: int = 1) -> Callable[..., Any]:
        """A function whose first `count` arguments are paths, for the workspace's paths too."""

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            for name in named.keys() & PATH_NAMES:
                named[name] = self.real(named[name])
            return function(*map(self.real, arguments[:count]), *arguments[count:], **named)

        return call

    def finder(self, path: str) -> importlib.machinery.FileFinder:
        """Finds modules below /Workspace, for sys.path_hooks."""
        if self.real(path) == path:
            raise ImportError(path)
        loader = (importlib.machinery.SourceFileLoader, [".py"])
        return importlib.machinery.FileFinder(self.real(path), loader)
