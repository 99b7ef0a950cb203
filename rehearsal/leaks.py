"""Looks for a rehearsal's secrets in everything that it wrote, on disk and on the terminal."""

import base64
import io
import re
import subprocess
import urllib.parse
import zipfile
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rehearsal.play import Rehearsal

# Where builds install programs.
INSTALLED = {"image", ".venv"}


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


def search(played: Rehearsal, secrets: Iterable[str], terminal: str) -> Search:
    """Looks for each form of each secret."""
    wanted = {form.encode() for secret in secrets for form in forms(secret)}
    pattern = re.compile(b"|".join(map(re.escape, sorted(wanted))))
    places, count = set(), 0
    for name, text in texts(played, terminal):
        count += 1
        if pattern.search(text):
            places.add(name)
    return Search(sorted(places), count)


def texts(played: Rehearsal, terminal: str) -> Iterator[tuple[str, bytes]]:
    """Everything that a rehearsal leaves, by the name of its place."""
    yield "terminal", terminal.encode()
    for path in played.home.rglob("*"):
        if path.is_file() and not INSTALLED.intersection(path.parts):
            yield path.relative_to(played.home).as_posix(), path.read_bytes()
    folder = str(played.aws.codecommit.folder)
    objects = ["git", "--git-dir", folder, "cat-file", "--batch-all-objects", "--batch"]
    yield "git", subprocess.run(objects, capture_output=True, check=True).stdout
    yield from stored(played)
    logs = played.aws.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]:
            yield "cloudwatch", event["message"].encode()


def stored(played: Rehearsal) -> Iterator[tuple[str, bytes]]:
    """What the buckets hold: archives, file by file."""
    s3 = played.aws.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            body = s3.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read()
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                for name in archive.namelist():
                    yield f"{item['Key']}/{name}", archive.read(name)
