"""Pins another Databricks CLI: pin_cli.py VERSION.

Reads the release's SHA256SUMS and writes version and checksum wherever this repository has them.
"""

import re
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / "cicd" / "tools.env"


def published_checksum(base_url: str, version: str) -> str:
    """The SHA-256 that the release publishes for the builds' archive. Exits where it has none."""
    url = f"{base_url}/v{version}/databricks_cli_{version}_SHA256SUMS"
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            lines = response.read().decode().splitlines()
    except (OSError, ValueError) as error:
        sys.exit(f"pin_cli.py: cannot read {url}: {error}. Is there such a release?")
    archive = f"databricks_cli_{version}_linux_amd64.zip"
    for line in lines:
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line)
        if match and match[2] == archive:
            return match[1]
    sys.exit(f"pin_cli.py: {url} names no {archive}")


def replaced(path: Path, pattern: str, value: str) -> str:
    """The file's text with the pattern's one group set to `value`. Exits unless it occurs once."""
    text = path.read_text(encoding="utf-8")
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if len(found) != 1:
        sys.exit(f"pin_cli.py: {path}: {pattern!r} must occur once; nothing is changed")
    start, end = found[0].span(1)
    return text[:start] + value + text[end:]


def main() -> None:
    """Changes all files or none."""
    if len(sys.argv) != 2 or not re.fullmatch(r"\d+\.\d+\.\d+", sys.argv[1]):
        sys.exit("pin_cli.py: which version? make pin-cli VERSION=1.22.1")
    version = sys.argv[1]
    base_url = re.search(r"^DATABRICKS_CLI_BASE_URL=(.+)$", TOOLS.read_text(), re.MULTILINE)[1]
    checksum = published_checksum(base_url, version)
    major = int(version.split(".")[0]) + 1
    tools = replaced(TOOLS, r"^DATABRICKS_CLI_VERSION=(.*)$", version)
    bundle, project = ROOT / "databricks.yml", ROOT / "pyproject.toml"
    admitted = f'">= {version}, < {major}.0.0"'
    pin = f"DATABRICKS_CLI_SHA256={checksum}"
    changes = {
        bundle: replaced(bundle, r"^ +databricks_cli_version: (.*)$", admitted),
        project: replaced(project, r'"databricks-bundles==([0-9.]+)"', version),
        TOOLS: re.sub(r"^DATABRICKS_CLI_SHA256=.*$", pin, tools, flags=re.MULTILINE),
    }
    for path, text in changes.items():
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: Databricks CLI {version}")
    print(f"SHA-256 {checksum}. Next: make check, commit (uv.lock too), make push.")


if __name__ == "__main__":
    main()
