"""Looks for a rehearsal's secrets in everything that it wrote, on disk and on the terminal."""

import base64
import contextlib
import io
import re
import subprocess
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rehearsal.play import Rehearsal

# Where programs are installed, by pip and by uv.
INSTALLED = re.compile(r"builds/[^/]+/(image|src/\.venv)/|repository/\.venv/")


class Search(NamedTuple):
    """Where secrets were found, by the names of texts, and in how many texts was looked."""

    places: list[str]
    texts: int


def forms(secret: str) -> set[str]:
    """A secret as a careless or a bad person writes it: encoded, backwards, in halves."""
    middle = len(secret) // 2
    plain = [secret, secret[::-1], secret[:middle], secret[middle:]]
    quoted = [urllib.parse.quote(secret), secret.encode().hex()]
    return {*plain, *quoted, *(in_base64(secret, offset) for offset in range(3))}


def in_base64(secret: str, offset: int) -> str:
    """What base64 makes of a secret behind so many other bytes, as far as these do not matter."""
    length = (offset + len(secret)) // 3 * 4
    return base64.b64encode(bytes(offset) + secret.encode()).decode()[4 * bool(offset) : length]


def search(texts: Iterable[tuple[str, bytes]], secrets: Iterable[str]) -> Search:
    """Looks for each form of each secret in texts, which have names."""
    wanted = [form.encode() for secret in secrets for form in forms(secret)]
    places, count = set(), 0
    for name, text in texts:
        count += 1
        if any(form in text for form in wanted):
            places.add(name)
    return Search(sorted(places), count)


def written(played: Rehearsal, terminal: str) -> Iterator[tuple[str, bytes]]:
    """Everything that a rehearsal leaves, by the name of its place."""
    yield "terminal", terminal.encode()
    for path in played.home.rglob("*"):
        name = path.relative_to(played.home).as_posix()
        if path.is_file() and not INSTALLED.match(name):
            yield from unpacked(name, path.read_bytes())
    folder = str(played.aws.codecommit.folder)
    objects = ["git", "--git-dir", folder, "cat-file", "--batch-all-objects", "--batch"]
    yield "git", subprocess.run(objects, capture_output=True, check=True).stdout
    s3 = played.aws.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            body = s3.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read()
            yield from unpacked(item["Key"], body)
    logs = played.aws.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]:
            yield "cloudwatch", event["message"].encode()


def unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and if it is an archive such as a wheel, what is in there."""
    yield name, content
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return
    # Of an archive that is damaged or encrypted, what can be read.
    with (
        contextlib.suppress(zipfile.BadZipFile, zlib.error, RuntimeError),
        zipfile.ZipFile(io.BytesIO(content)) as archive,
    ):
        for member in archive.namelist():
            yield from unpacked(f"{name}/{member}", archive.read(member))
