"""`make demo`: bakes the default answers into demo/, checks them, and plays their pipeline."""

import shutil
import subprocess
import sys
from pathlib import Path

from cookiecutter.main import cookiecutter
from rich.console import Console
from rich.table import Table

from conftest import CHECK, ROOT

DEMO = ROOT / "demo"
PARTS = {
    "README.md Makefile": "seven steps to production; every operation",
    "databricks.yml resources": "the bundle: development, qa and prod",
    "src": "wheel, declarative pipeline, notebook",
    "tests": "unit tests on Spark, nutter fixtures",
    "cicd": "what AWS runs: stack, buildspecs, pinned versions",
    "ops": "what people run: status, approve, rollback, check",
    "docs": "operations, security, the picture",
}


def lines(path: Path) -> int:
    """How many lines the files at a path have."""
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def main() -> int:
    """Prints what happens; the exit code is that of the check or of the rehearsal."""
    console = Console(highlight=False)
    if DEMO.exists() and not (DEMO / "my-data-project/databricks.yml").exists():
        console.print(f"{DEMO} is not a demo; move it away first")
        return 1
    shutil.rmtree(DEMO, ignore_errors=True)
    console.print("[bold]Baking[/] the default answers into demo/ ...")
    root = Path(cookiecutter(str(ROOT), no_input=True, output_dir=str(DEMO), default_config=True))
    table = Table("files", "content", "lines", box=None, pad_edge=False, header_style="dim")
    table.columns[2].justify = "right"
    for part, what in PARTS.items():
        table.add_row(part, what, str(sum(lines(root / name) for name in part.split())))
    console.print(table)
    console.print(f"\n[bold]Checking[/] {root.relative_to(ROOT)} once more, with its own check:")
    check = subprocess.run([*CHECK, "--strict"], cwd=root)
    if check.returncode:
        return check.returncode
    console.print("\n[bold]Rehearsing[/] what a push would start, on this machine alone:")
    play = [sys.executable, "-m", "rehearsal", root, "--approve", "--client", "stand-in"]
    return subprocess.run(play, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
