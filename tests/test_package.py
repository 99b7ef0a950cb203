"""The rehearsal as a package, for teams without a clone of the template."""

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

BIN = Path(sys.executable).parent
UV = BIN / "uv"


def test_a_built_wheel_rehearses(deploying: Path, tmp_path: Path) -> None:
    build = [UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    rehearse = [UV, "tool", "run", "--quiet", "--from", wheel, "rehearse"]
    command = [*rehearse, ".", "--quick", "--approve", "--client", "stand-in"]
    # As from anywhere: neither this environment nor this clone is to be found.
    path = os.pathsep.join(folder for folder in os.get_exec_path() if folder != str(BIN))
    env = os.environ | {"PATH": path} | {"PYTHONPATH": "", "VIRTUAL_ENV": ""}
    result = subprocess.run(command, cwd=deploying, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search("Production has commit [0-9a-f]{8}, as approved.", result.stdout)
