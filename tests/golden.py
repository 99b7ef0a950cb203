"""The golden files: what Jinja writes. The default rendering's files whose source has Jinja, and of
every other variant the diff from those. The files without Jinja equal their source, as a test says.

Run as a program (`make golden`) it rewrites them.
"""

import difflib
import shutil
import sys
import tempfile
from pathlib import Path

from cookiecutter.main import cookiecutter

from conftest import DEFAULT, ROOT, VARIANTS
from sources import has_jinja, sources

GOLDEN = ROOT / "tests/golden"


def texts(root: Path) -> dict[str, str]:
    """The text of every file below a folder, by path; git's own files left out."""
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


def written_by_jinja(variant: str, root: Path) -> dict[str, str]:
    """The files of a variant's rendering whose source has Jinja."""
    origins = sources(variant, root)
    return {name: text for name, text in texts(root).items() if has_jinja(origins[name])}


def difference(default: dict[str, str], variant: dict[str, str]) -> str:
    """A unified diff of two trees; a file that only one has is a diff from or to nothing."""
    lines: list[str] = []
    for name in sorted(default | variant):
        before, after = (side.get(name, "").splitlines() for side in (default, variant))
        source = f"a/{name}" if name in default else "/dev/null"
        target = f"b/{name}" if name in variant else "/dev/null"
        lines += difflib.unified_diff(before, after, source, target, n=1, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def bake(name: str, output: Path) -> dict[str, str]:
    """What Jinja writes for a variant."""
    root = cookiecutter(
        str(ROOT),
        no_input=True,
        extra_context=VARIANTS[name],
        output_dir=str(output / name),
        default_config=True,
    )
    return written_by_jinja(name, Path(root))


def rewrite() -> None:
    """Bakes every variant anew and replaces the golden files."""
    with tempfile.TemporaryDirectory() as scratch:
        trees = {name: bake(name, Path(scratch)) for name in VARIANTS}
    shutil.rmtree(GOLDEN, ignore_errors=True)
    default = trees.pop(DEFAULT)
    for name, text in default.items():
        file = GOLDEN / DEFAULT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for name, tree in trees.items():
        (GOLDEN / f"{name}.diff").write_text(difference(default, tree), encoding="utf-8")
    print(f"Rewrote {GOLDEN.relative_to(ROOT)}; look at its diff before you commit it.")


if __name__ == "__main__":
    sys.exit(rewrite())
