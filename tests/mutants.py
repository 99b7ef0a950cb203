"""`make mutants`: changes the code that decides, one place at a time; does a test notice?

Usage: python tests/mutants.py [MODULE...]

mutmut makes the changes ("mutants") in every function and runs, in a fork for each, the tests that
call this function. It imports src/a/b.py as the module a.b. So this lays out a folder, SCRATCH,
whose src/ is a rendering, with the modules of cicd/steps/ beside it, since builds import them by
their name alone. Exits with 1 where fewer than SHARE percent of a module's mutants are noticed.
"""

import ast
import fnmatch
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from cookiecutter.main import cookiecutter
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import get_mutant_name
from rich.console import Console
from rich.table import Table

from conftest import DEFAULT, ROOT, VARIANTS

SCRATCH = ROOT / ".mutants"
SHARE = 90  # percent
CHILDREN = os.environ.get("CHILDREN", "2")  # mutants at a time
EVERY = int(os.environ.get("EVERY", "1"))  # 5: a sample, every fifth mutant of each module
NOTICED = ("killed", "timeout", "segfault")
# The modules that decide, and the tests that call them.
TESTS = (
    ("deploy plan proof leftovers accepted wheels client", "test_deploy.py test_plan.py"),
    (
        "model report fields hiding values texts",
        "test_plan.py test_hiding.py test_plan_parts.py",
    ),
    ("bundle", "test_bundle_guard.py"),
    ("ops.approval", "test_operate.py test_four_eyes.py"),
    ("release changes author", "test_changes.py test_deployed.py"),
    ("deployed same_cicd", "test_deployed.py"),
    ("four_eyes", "test_four_eyes.py"),
    ("preflight workspace", "test_preflight.py"),
    ("ops.pipeline", "test_rollback.py test_operate.py"),
    (
        "ops.check*",
        "test_check.py::test_a_change_is_found_where_it_is"
        " test_weakenings.py::test_a_weakening_is_found",
    ),
)
COPIED = ["cookiecutter.json", "hooks", "rehearsal", "docs", "{{cookiecutter.project_slug}}"]
CONFIGURATION = """\
[tool.mutmut]
source_paths = ["src"]
only_mutate = {files}
also_copy = {copied}
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = 5.0  # times the time of the tests: some changes make a loop endless
use_git_change_detection = false
track_dependencies = false

[tool.pytest.ini_options]
pythonpath = ["."]
# Half of a mutant's time would go into the collection of garbage, and into looking for plugins.
addopts = '''
-p no:unraisableexception -p no:cacheprovider -p pytest_cookies.plugin -p in_process --template .
'''
"""


def undecorated(source: str) -> str:
    """Returns a module that decorates by assignment: mutmut leaves decorated functions alone."""
    lines = source.splitlines()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    # From below, so that what is above stays in its line.
    for node in sorted(functions, key=lambda node: -(node.end_lineno or 0)):
        for decorator in node.decorator_list:
            first, last = decorator.lineno - 1, decorator.end_lineno or decorator.lineno
            lines[first:last] = [""] * (last - first)
            call = f"{node.name} = {ast.unparse(decorator)}({node.name})"
            lines.insert(node.end_lineno or 0, " " * node.col_offset + call)
    return "\n".join(lines) + "\n"


def lay_out() -> Path:
    """Fills SCRATCH with all but the configuration; returns the folder of the sources."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    answers = VARIANTS[DEFAULT]
    place = {"output_dir": str(SCRATCH), "default_config": True}
    rendered = cookiecutter(str(ROOT), no_input=True, extra_context=answers, **place)
    source = Path(rendered).rename(SCRATCH / "src")
    for path in (source / "cicd/steps").glob("*.py"):
        shutil.copy(path, source)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, SCRATCH / name)
        else:
            shutil.copy(ROOT / name, SCRATCH)
    shutil.copytree(ROOT / "tests", SCRATCH / "tests", ignore=shutil.ignore_patterns("golden"))
    (SCRATCH / "renderings" / DEFAULT).mkdir(parents=True)
    (SCRATCH / "renderings" / DEFAULT / "my-data-project").symlink_to(SCRATCH / "mutants/src")
    return source


def module(path: Path) -> str:
    """Returns the name of the module in a file, by its path below the sources."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def configure(source: Path, wanted: set[str]) -> None:
    """Writes the configuration for these modules, or for all that decide."""
    modules = {module(path.relative_to(source)): path for path in source.rglob("*.py")}
    files, tests = [], []
    for patterns, names in TESTS:
        group = set(patterns.split())
        chosen = group & wanted if wanted else group
        tests += [f"tests/{name}" for name in names.split() if chosen]
        for name in sorted(name for one in chosen for name in fnmatch.filter(modules, one)):
            text = undecorated(modules[name].read_text(encoding="utf-8"))
            modules[name].write_text(text, encoding="utf-8")
            files.append(str(modules[name].relative_to(SCRATCH)))
    text = CONFIGURATION.format(files=files, copied=COPIED, tests=sorted(set(tests)))
    (SCRATCH / "pyproject.toml").write_text(text)


def sample() -> list[str]:
    """Returns the names of every so many mutants of each module."""
    return [
        get_mutant_name(path, mutant)
        for path in walk_mutatable_files()
        for mutant in mutate_file_contents(str(path), path.read_text("utf-8")).mutant_names[::EVERY]
    ]


class Result(NamedTuple):
    """What became of a mutant, and the lines that make it."""

    status: str
    lines: str

    @property
    def is_noticed(self) -> bool:
        """Whether a test failed, or did not end."""
        return self.status in NOTICED


def result(path: str, mutant: str, exit_code: int | None) -> Result:
    """Returns a mutant's result, with lines only if nobody has noticed it."""
    status = status_by_exit_code[exit_code]
    if status in NOTICED:
        return Result(status, "")
    lines = get_diff_for_mutant(mutant, path=path).splitlines()[2:]
    return Result(status, "\n".join(line for line in lines if line[:1] in ("+", "-")))


def results() -> dict[str, dict[str, Result]]:
    """Returns the mutants of each module."""
    every: dict[str, dict[str, Result]] = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for mutant, exit_code in data.exit_code_by_key.items():
            if exit_code is None:  # not in the sample
                continue
            name = mutant.rpartition(".")[0]
            every.setdefault(name, {})[mutant] = result(str(path), mutant, exit_code)
    return every


def report(every: dict[str, dict[str, Result]]) -> bool:
    """Prints the mutants that nobody has noticed, then a table; returns whether it is enough."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    table = Table("module", "mutants", "noticed", "%", box=None, pad_edge=False)
    shares = []
    for name, mutants in every.items():
        for mutant, (status, lines) in mutants.items():
            if status not in NOTICED:
                console.print(f"{status}: {mutant}\n{lines}\n")
        noticed = sum(mutant.is_noticed for mutant in mutants.values())
        shares.append(100 * noticed / len(mutants))
        table.add_row(name, str(len(mutants)), str(noticed), f"{shares[-1]:.1f}")
    console.print(table)
    seconds = json.loads(Path("mutants/mutmut-stats.json").read_text())["duration_by_test"]
    console.print(f"\nThese {len(seconds)} tests run in {sum(seconds.values()):.0f} seconds.")
    return min(shares) >= SHARE


def main() -> int:
    """Makes and counts the mutants; returns the exit code."""
    configure(lay_out(), set(sys.argv[1:]))
    os.chdir(SCRATCH)  # where mutmut looks for its configuration
    command = [Path(sys.executable).parent / "mutmut", "run", "--max-children", CHILDREN]
    command += sample() if EVERY > 1 else []
    tests = SCRATCH / "mutants/tests"  # Python looks once whether it is there
    tests.mkdir(parents=True)
    own = {
        "RENDERINGS": str(SCRATCH / "renderings"),
        "PYTHONPATH": str(tests),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    subprocess.run(command, env=os.environ | own, check=True)
    return int(not report(results()))


if __name__ == "__main__":
    sys.exit(main())
