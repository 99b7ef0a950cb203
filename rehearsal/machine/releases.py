"""The place of the Databricks client's releases, on loopback: serves a program as each of them."""

import hashlib
import io
import re
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from rehearsal.machine.network import Answer

RELEASES = "https://github.com/databricks/cli/releases/download"  # unless tools.env says otherwise
PLATFORMS = ("linux_amd64", "linux_arm64")


def releases_host(repository: Path) -> str:
    """The host from which a repository downloads the client."""
    tools = repository / "cicd/tools.env"
    text = tools.read_text(encoding="utf-8") if tools.is_file() else ""
    match = re.search(r"(?m)^DATABRICKS_CLI_BASE_URL=(\S+)", text)
    return str(urlsplit(match[1] if match else RELEASES).hostname)


def releases(client: str) -> Answer:
    """Serves a client, a program's text, as every release's archive, with a fitting SHA256SUMS."""
    content = archive(client)
    checksum = hashlib.sha256(content).hexdigest()

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        name = urlsplit(path).path.rpartition("/")[2]
        if name.endswith(".zip"):
            return 200, content
        if name.endswith("_SHA256SUMS"):
            stem = name.removesuffix("_SHA256SUMS")
            lines = [f"{checksum}  {stem}_{platform}.zip\n" for platform in PLATFORMS]
            return 200, "".join(lines).encode()
        return 404, b"no such release"

    return answer


def archive(client: str) -> bytes:
    """A zip with a program, `databricks`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        entry = zipfile.ZipInfo("databricks")
        entry.external_attr = 0o100755 << 16
        packed.writestr(entry, client)
    return content.getvalue()
