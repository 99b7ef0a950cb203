"""cicd/steps/install_cli.sh: nothing is run or installed before its checksum is right."""

import hashlib
import io
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import trustme

from loopback import Answer, Request, serve
from steps import STEPS

VERSION = "1.22.1"
NONE: Mapping[str, str] = MappingProxyType({})
ARCHIVE = f"databricks_cli_{VERSION}_linux_amd64.zip"
SUMS = f"databricks_cli_{VERSION}_SHA256SUMS"


def archive(says: str) -> bytes:
    """A release's archive whose `databricks` leaves a trace when it runs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive_file:
        entry = zipfile.ZipInfo("databricks")
        entry.external_attr = 0o755 << 16
        archive_file.writestr(entry, f'#!/bin/sh\ntouch "$0.ran"\necho "{says}"\n')
    return buffer.getvalue()


GOOD = archive("Databricks CLI v1.22.1")
CHECKSUM = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture
def install(tmp_path: Path):
    """Runs the script against a release of `files`; returns its result and the bin directory."""
    shutil.copytree(STEPS, tmp_path / "cicd/steps")
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()

    def run(
        files: dict[str, bytes], pin: str = "", redirects: Mapping[str, str] = NONE, base: str = ""
    ) -> tuple[subprocess.CompletedProcess, Path]:
        def answer(request: Request) -> Answer:
            if request.path in redirects:
                return Answer(302, b"", (("Location", redirects[request.path]),))
            file = files.get(request.path.removeprefix(f"/v{VERSION}/"))
            return Answer(404, b"") if file is None else Answer(200, file)

        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        with serve(answer, authority) as (url, _):
            tools = (STEPS.parent / "tools.env").read_text().splitlines()
            lines = [line for line in tools if not line.startswith(("DATABRICKS_CLI_", "JOB="))]
            lines += [
                f"DATABRICKS_CLI_VERSION={VERSION}",
                f"DATABRICKS_CLI_SHA256={pin}",
                f"DATABRICKS_CLI_BASE_URL={base or url}",
            ]
            (tmp_path / "cicd/tools.env").write_text("\n".join(lines) + "\n")
            result = subprocess.run(
                ["bash", "cicd/steps/install_cli.sh"],
                cwd=tmp_path,
                env={"PATH": "/usr/bin:/bin", "BIN_DIR": str(bin_dir), "CURL_CA_BUNDLE": "ca.pem"},
                capture_output=True,
                text=True,
                timeout=60,
            )
        return result, bin_dir

    return run


@pytest.mark.parametrize("pin", ["", CHECKSUM], ids=["no pin", "pinned"])
@pytest.mark.parametrize("mark", [" ", "*"], ids=["text mode", "binary mode"])
def test_a_release_whose_checksum_is_right_is_installed(install, pin: str, mark: str) -> None:
    sums = f"{'0' * 64}  {ARCHIVE.replace('amd64', 'arm64')}\n{CHECKSUM} {mark}{ARCHIVE}\n"
    result, bin_dir = install({ARCHIVE: GOOD, SUMS: sums.encode()}, pin)
    assert (result.returncode, result.stdout) == (0, "Databricks CLI v1.22.1\n"), result.stderr
    assert (bin_dir / "databricks.ran").exists()


EVIL = archive("tampered")
EVIL_CHECKSUM = hashlib.sha256(EVIL).hexdigest()
SUMS_OF_GOOD = f"{CHECKSUM}  {ARCHIVE}\n".encode()


@pytest.mark.parametrize(
    ("files", "pin", "message"),
    [
        ({ARCHIVE: EVIL, SUMS: SUMS_OF_GOOD}, "", f"SHA256SUMS says '{CHECKSUM}'"),
        ({ARCHIVE: GOOD, SUMS: b""}, "", "SHA256SUMS says 'nothing'"),
        ({ARCHIVE: GOOD, SUMS: SUMS_OF_GOOD}, "0" * 64, f"tools.env pins {'0' * 64}"),
        (
            # Whoever can change the archive can change the list beside it; the pin still holds.
            {ARCHIVE: EVIL, SUMS: f"{EVIL_CHECKSUM}  {ARCHIVE}\n".encode()},
            CHECKSUM,
            f"tools.env pins {CHECKSUM}",
        ),
        ({SUMS: SUMS_OF_GOOD}, "", f"v{VERSION}/{ARCHIVE}. Is there such a release"),
        ({ARCHIVE: GOOD}, "", f"v{VERSION}/{SUMS}. Is there such a release"),
    ],
    ids=["archive tampered", "not listed", "other pin", "both tampered", "no archive", "no sums"],
)
def test_any_other_release_stops_the_build_before_it_is_run(install, files, pin, message) -> None:
    result, bin_dir = install(files, pin)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("install_cli.sh: ")
    assert message in result.stderr
    assert list(bin_dir.iterdir()) == []


def answer_in_the_open(request: Request) -> Answer:
    """A release on a host without TLS, where anybody on the way can change it."""
    return Answer(200, GOOD if request.path.endswith(".zip") else SUMS_OF_GOOD)


def test_a_redirect_to_http_is_not_followed(install) -> None:
    with serve(answer_in_the_open) as (url, seen):
        redirects = {f"/v{VERSION}/{name}": f"{url}/v{VERSION}/{name}" for name in (SUMS, ARCHIVE)}
        result, bin_dir = install({}, redirects=redirects)
    assert result.returncode == 1 and "cannot download https://" in result.stderr
    assert (seen, [*bin_dir.iterdir()]) == ([], [])


def test_http_is_not_used(install) -> None:
    with serve(answer_in_the_open) as (url, seen):
        result, bin_dir = install({}, base=url)
    assert result.returncode == 1 and "cannot download http://" in result.stderr
    assert (seen, [*bin_dir.iterdir()]) == ([], [])
