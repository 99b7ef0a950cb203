"""The package indexes that this machine's pip and uv, and a repository, are configured to use."""

import configparser
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rehearsal.machine.caches import UV

VARIABLES = re.compile(r"(PIP|UV)_(\w+_)?(INDEX(_URL)?|FIND_LINKS|INSTALL_MIRROR)")
PIP_SETTINGS = ("index-url", "extra-index-url", "find-links")
UV_SETTINGS = (
    *("index", *PIP_SETTINGS),
    *("python-install-mirror", "pypy-install-mirror"),
)
DEFAULT = re.compile(r"\(by default: <(https://[^>]+)>\)")
URL = re.compile(r"""https?://[^\s,;"'<>\]]+""")


def index_urls(repository: Path) -> list[str]:
    """The addresses of all indexes: of the environment, of the files of pip and uv, the default."""
    variables = [value for name, value in os.environ.items() if VARIABLES.fullmatch(name)]
    settings = [*variables, *of_pip(), *of_uv(repository), default()]
    return sorted({url for text in settings for url in URL.findall(text)})


def host(url: str) -> str:
    """The host of an address."""
    return str(urlsplit(url).hostname)


def default() -> str:
    """The index that uv uses if nothing is configured, as its own help names it; pip has the same.

    Raises RuntimeError if uv does not name it.
    """
    command = [str(UV), "pip", "install", "--help", "--color", "never"]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    match = DEFAULT.search(" ".join(shown.split()))
    if not match:
        raise RuntimeError(f"{' '.join(command)} names no default index")
    return match[1]


def of_pip() -> Iterator[str]:
    """What pip's files say of indexes. https://pip.pypa.io/en/stable/topics/configuration/"""
    for file in pip_files():
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeError):
            continue  # pip itself says what is wrong with it
        for section in parser.sections():
            yield from (parser[section].get(name, "") for name in PIP_SETTINGS)


def pip_files() -> list[Path]:
    """Where pip looks for its configuration."""
    home, prefix = Path("~").expanduser(), Path(sys.prefix)
    user = os.environ.get("XDG_CONFIG_HOME", home / ".config")
    named = os.environ.get("PIP_CONFIG_FILE", os.devnull)
    system = [Path(folder, "pip/pip.conf") for folder in system_folders()]
    mac = [Path(place, "Library/Application Support/pip/pip.conf") for place in ("/", home)]
    own = [Path(user, "pip/pip.conf"), home / ".pip/pip.conf", prefix / "pip.conf", Path(named)]
    return [Path("/etc/pip.conf"), *system, *mac, *own]


def system_folders() -> list[str]:
    """The folders of all users' configuration, as XDG names them."""
    return os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)


def of_uv(repository: Path) -> Iterator[str]:
    """What uv's files say of indexes. https://docs.astral.sh/uv/concepts/configuration-files/"""
    user = os.environ.get("XDG_CONFIG_HOME", Path("~/.config").expanduser())
    named = os.environ.get("UV_CONFIG_FILE", os.devnull)
    system = [Path(folder, "uv/uv.toml") for folder in (*system_folders(), "/etc")]
    for file in [*system, Path(user, "uv/uv.toml"), Path(named), repository / "uv.toml"]:
        yield indexes_in(read(file))
    yield indexes_in(read(repository / "pyproject.toml").get("tool", {}).get("uv", {}))


def read(file: Path) -> dict[str, Any]:
    """A TOML file; empty if it is not there or is damaged: uv itself says that."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def indexes_in(settings: dict[str, Any]) -> str:
    """The settings of uv that name indexes, in a text."""
    tables = [settings, settings.get("pip", {})]
    return json.dumps([table.get(name) for table in tables for name in UV_SETTINGS])
