"""Compares the files of two commits, and of two wheels, by all that is in them."""

import hashlib
import re
import stat
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile, ZipInfo

from texts import cut, quoted

MOST_LINES = 100  # about new files of a folder, or the wheel's description
LONGEST = 200  # characters of a line, or of a link's target
# What decides about production comes first, and all of it is shown.
DECIDING = (
    r"cicd/",
    r"ops/",
    r"(GNUm|M|m)akefile$",
    r"(databricks|bundle)\.ya?ml$",
    r"resources/",
    r"accepted_differences\.yml$",
    r"\.databricks/",  # may hold values of variables
    r"pyproject\.toml$",
    r"uv\.lock$",
    r"(?s:.)*\.ya?ml$",  # the bundle may include it
    r"[^/]*\.(dist-info|data)/",  # of a wheel: what it needs, and its entry points
    r"(?s:.)*\.pth$",  # Python runs it when it starts
)
WHEEL_NAME = re.compile(r"[\w.]+-[\w.+!]+(?:-[\w.]+){3,4}\.whl", re.ASCII)
METADATA, RECORD = ".dist-info/METADATA", ".dist-info/RECORD"


class Content(NamedTuple):
    """What tells a file from another one."""

    kind: str  # file, executable or link
    digest: str
    target: str = ""  # of a link

    def text(self, name: str) -> str:
        """Returns its name, and what is unusual about it."""
        if self.kind == "link":
            return f"{quoted(name)} (link to {quoted(self.target)})"
        return f"{quoted(name)} (executable)" if self.kind == "executable" else quoted(name)


Files = dict[str, Content]

# ---- What is in an archive -----------------------------------------------------------------------


def content(archive: ZipFile, item: ZipInfo) -> Content:
    """Returns what an archive has as a file."""
    mode = item.external_attr >> 16
    digest = hashlib.sha256()
    with archive.open(item) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if stat.S_ISLNK(mode):
        target = archive.read(item)[:LONGEST].decode(errors="backslashreplace")
        return Content("link", digest.hexdigest(), target)
    return Content("executable" if mode & 0o111 else "file", digest.hexdigest())


def files_of(archive: ZipFile) -> Files:
    """Returns the files of an archive by name. A name that is there twice shows as such."""
    files: Files = {}
    for item in archive.infolist():
        if not item.is_dir():
            name, number = item.filename, 1
            while name in files:
                number += 1
                name = f"{item.filename} (again: {number})"
            files[name] = content(archive, item)
    return files


class Wheel:
    """A wheel, without what changes with its version alone.

    That is one line of METADATA, and RECORD, which holds the checksums of the other files.

    files: its files, by names that do not contain its version.
    metadata: the lines of METADATA.
    """

    def __init__(self, path: Path) -> None:
        name, version = path.name.split("-")[:2]
        own = f"{name}-{version}"
        with ZipFile(path) as archive:
            every = files_of(archive)
            self.metadata = metadata_of(archive, own + METADATA, version)
        if own + METADATA in every:
            text = "\n".join(self.metadata).encode()
            every[own + METADATA] = Content("file", hashlib.sha256(text).hexdigest())
        every.pop(own + RECORD, None)
        self.files = {without(own, file, every): content for file, content in every.items()}


def without(own: str, file: str, every: Files) -> str:
    """Returns a name without the wheel's version; all of it if another file has the short one."""
    short = re.sub(rf"\A{re.escape(own)}(?=\.(?:dist-info|data)/)", "", file)
    return file if short in every else short


def metadata_of(archive: ZipFile, name: str, version: str) -> list[str]:
    """Returns the lines of a wheel's METADATA without its own version."""
    if name not in archive.namelist():
        return []
    lines = archive.read(name).decode(errors="backslashreplace").split("\n")
    own = f"Version: {version}"
    at = lines.index(own) if own in lines else len(lines)
    return lines[:at] + lines[at + 1 :]


# ---- What differs --------------------------------------------------------------------------------


def difference(name: str, old: Files, new: Files) -> str:
    """Returns what happened to a file."""
    if name not in old:
        return f"- added {new[name].text(name)}"
    if name not in new:
        return f"- removed {quoted(name)}"
    if (old[name].kind, new[name].kind) == ("executable", "file"):
        return f"- changed {quoted(name)} (no longer executable)"
    return f"- changed {new[name].text(name)}"


def part_of(name: str) -> int:
    """Returns which part of the list a file belongs to."""
    deciding = (number for number, form in enumerate(DECIDING) if re.match(form, name))
    return next(deciding, len(DECIDING))


def folder_of(name: str) -> str:
    """Returns the folder that a file is in."""
    return quoted(f"{name.rpartition('/')[0] or '.'}/")


def differences(old: Files, new: Files) -> list[str]:
    """Returns a line for each file that was added, changed or removed.

    Of a folder's new files that decide nothing, the first are named and the others counted: they
    push off nothing else.
    """
    changed = sorted(name for name in old | new if old.get(name) != new.get(name))
    parts = {name: part_of(name) for name in changed}
    new_only = [name for name in changed if name not in old and parts[name] == len(DECIDING)]
    others = sorted(parts.keys() - set(new_only), key=lambda name: (parts[name], name))
    lines = [difference(name, old, new) for name in others]
    for folder, names in groupby(sorted(new_only, key=folder_of), folder_of):
        added = [difference(name, old, new) for name in names]
        lines += cut(added, MOST_LINES, f"files in {folder}")
    return lines or ["- nothing"]


def head_and_body(metadata: list[str]) -> tuple[list[str], list[str]]:
    """Returns the fields of METADATA, and the description below them."""
    at = metadata.index("") if "" in metadata else len(metadata)
    return metadata[:at], metadata[at:]


def line_text(line: str) -> str:
    """Returns a line of METADATA, and how long it is if it is cut."""
    cut_off = f" (the first {LONGEST} of {len(line)} characters)" if len(line) > LONGEST else ""
    return quoted(line[:LONGEST]) + cut_off


def line_differences(old: list[str], new: list[str]) -> list[str]:
    """Returns the lines that only one of two texts has."""
    return [
        f"  - METADATA {sign} {line_text(line)}"
        for sign, own, other in (("-", old, set(new)), ("+", new, set(old)))
        for line in own
        if line not in other
    ]


def wheel_differences(old: Wheel, new: Wheel) -> list[str]:
    """Returns a line for each file of a wheel that differs, and for each line of its METADATA."""
    pairs = zip(head_and_body(old.metadata), head_and_body(new.metadata), strict=True)
    head, body = (line_differences(*pair) for pair in pairs)
    return differences(old.files, new.files) + head + cut(body, MOST_LINES, "lines of METADATA")
