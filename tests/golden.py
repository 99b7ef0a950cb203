"""The golden files: the default rendering as a tree, every other variant as its diff from that.

Run as a program (`make golden`) it rewrites them.
"""

import difflib
import shutil
import sys
import tempfile
from pathlib import Path

from cookiecutter.main import cookiecutter

from conftest import DEFAULT, ROOT, VARIANTS

GOLDEN = ROOT / "tests/golden"


def tree(root: Path) -> dict[str, str]:
    """The text of every file below a folder, by path; git's own files left out."""
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


def difference(default: dict[str, str], variant: dict[str, str]) -> str:
    """A unified diff of two trees; a file that only one has is a diff from or to nothing."""
    lines: list[str] = []
    for name in sorted(default | variant):
        before, after = (side.get(name, "").splitlines() for side in (default, variant))
        source = f"a/{name}" if name in default else "/dev/null"
        target = f"b/{name}" if name in variant else "/dev/null"
        lines += difflib.unified_diff(before, after, source, target, n=1, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def rewrite() -> None:
    """Bakes every variant anew and replaces the golden files."""
    with tempfile.TemporaryDirectory() as scratch:
        baked = {
            name: Path(
                cookiecutter(
                    str(ROOT),
                    no_input=True,
                    extra_context=answers,
                    output_dir=f"{scratch}/{name}",
                    accept_hooks=True,
                    default_config=True,
                )
            )
            for name, answers in VARIANTS.items()
        }
        shutil.rmtree(GOLDEN, ignore_errors=True)
        ignore = shutil.ignore_patterns(".git")
        shutil.copytree(baked[DEFAULT], GOLDEN / DEFAULT, ignore=ignore)
        default = tree(GOLDEN / DEFAULT)
        for name, path in baked.items():
            if name != DEFAULT:
                (GOLDEN / f"{name}.diff").write_text(difference(default, tree(path)))
    print(f"Rewrote {GOLDEN.relative_to(ROOT)}; look at its diff before you commit it.")


if __name__ == "__main__":
    sys.exit(rewrite())
