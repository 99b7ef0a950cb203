"""The resolved bundle: what leads out of the repository only once variables have values."""

import json
import sys
from pathlib import Path

import pytest

from steps import load

ROOT = "/Workspace/Users/x/.bundle/b/prod"


def check(tmp_path: Path, monkeypatch, bundle: dict) -> None:
    """Runs the step on a bundle as `databricks bundle validate -o json` prints it."""
    file = tmp_path / "resolved.json"
    file.write_text(json.dumps({"workspace": {"root_path": ROOT}} | bundle))
    monkeypatch.setattr(sys, "argv", ["resolved.py", str(file)])
    load("resolved").main()


OUTSIDE = [
    {"libraries": [{"jar": "../../../../proc/self/environ"}]},
    {"sync": {"paths": ["src", "a/../../b"]}},
    {"resources": {"jobs": {"../x": {}}}},
    {"windows": "..\\x"},
]


@pytest.mark.parametrize("bundle", OUTSIDE)
def test_a_path_that_leads_outside_is_refused(tmp_path: Path, monkeypatch, bundle) -> None:
    with pytest.raises(SystemExit, match=r"leads out of the repository; name a path in it"):
        check(tmp_path, monkeypatch, bundle)


FOLDERS = ["/Workspace/Shared/everybody", f"{ROOT}-2", "${var.x}"]


@pytest.mark.parametrize("name", ["artifact_path", "file_path", "resource_path", "state_path"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_that_is_not_the_targets_is_refused(tmp_path, monkeypatch, name, folder) -> None:
    with pytest.raises(SystemExit, match=f"workspace.{name} is .* not below root_path"):
        check(tmp_path, monkeypatch, {"workspace": {"root_path": ROOT, name: folder}})


@pytest.mark.parametrize("text", ["a..b", "...", "/Workspace/x..", f"{ROOT}/files/a.py"])
def test_what_only_looks_so_is_accepted(tmp_path: Path, monkeypatch, text: str) -> None:
    workspace = {"root_path": ROOT, "file_path": f"{ROOT}/files"}
    check(tmp_path, monkeypatch, {"workspace": workspace, "description": text})
