"""Renderings for the tests: each variant is baked once for all workers, and only read."""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cookiecutter.environment import StrictEnvironment
from cookiecutter.main import cookiecutter
from filelock import FileLock
from pytest_cookies.plugin import Cookies, Result

from rehearsing import client, deploying, rehearsal, repository, wheel  # noqa: F401  fixtures for all

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
VARIANTS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "tests/variants").glob("*.json"))
}
DEFAULT = "pat-serverless"

# Every rendering, test and tool finds this environment's programs first.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# pyspark's wheel, which `make` builds where there is Java: no test builds it again.
WHEELS = Path(sys.prefix, "wheels")
os.environ |= {"UV_FIND_LINKS": str(WHEELS)} if WHEELS.is_dir() else {}


# The rendered repository's own check.
CHECK = [sys.executable, "-B", "-m", "ops", "check"]


def need_java() -> None:
    """Skips the test without a Java for Spark, saying what to install; fails it where CI is set."""
    from rehearsal.databricks.spark import JAVA, java_version

    if java_version() < JAVA:
        missing = f"needs Java {JAVA} or newer: apt-get install openjdk-{JAVA}-jre-headless"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `rendered` runs on every variant, all of one variant on one worker."""
    if "rendered" in metafunc.fixturenames:
        marked = [
            pytest.param(name, marks=pytest.mark.xdist_group(name), id=name) for name in VARIANTS
        ]
        metafunc.parametrize("rendered", marked, indirect=True)


@pytest.hookimpl(optionalhook=True)  # tests/mutants.py runs tests without xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many workers as cores, but at least four, for some tests only wait."""
    return max(4, os.cpu_count() or 4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Rehearsals first: at the end no worker waits for another one's long test."""
    items.sort(key=lambda item: "rehearsal" not in item.path.stem)


@functools.cache
def _hook_template(name: str) -> Any:
    source = (ROOT / f"hooks/{name}.py").read_text(encoding="utf-8")
    return StrictEnvironment(context={"cookiecutter": {}}).from_string(source)


def load_hook(name: str, context: dict[str, Any]) -> ModuleType:
    """A hook as a module, rendered as cookiecutter renders it; its main() does not run."""
    module = ModuleType(name)
    exec(_hook_template(name).render(cookiecutter=context), module.__dict__)
    return module


@contextlib.contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """What this process and its children print goes to a file."""
    sys.stdout.flush()
    before = os.dup(1)
    with path.open("w") as file:
        os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(before, 1)
        os.close(before)


@pytest.fixture(scope="session")
def rendering(tmp_path_factory, _cookiecutter_config_file) -> Callable[[str], Path]:
    """A function from a variant's name to its rendering. Copy it before you change it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "renderings"
    shared = Path(os.environ.get("RENDERINGS", shared))  # set by tests/mutants.py

    def get(name: str) -> Path:
        folder = shared / name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (made := list(folder.iterdir())):
                baker = Cookies(str(ROOT), lambda out: folder, _cookiecutter_config_file)
                with _printing_to(Path(f"{folder}.printed")):
                    result = baker.bake(extra_context=VARIANTS[name])
                assert result.exit_code == 0, result.exception
                made = [result.project_path]
        (path,) = made
        return path

    return get


@pytest.fixture(scope="session")
def printed(rendering) -> Callable[[str], str]:
    """A function from a variant's name to what the hooks printed when it was rendered."""
    return lambda name: Path(f"{rendering(name).parent}.printed").read_text()


@pytest.fixture
def rendered(request: pytest.FixtureRequest, rendering) -> Path:
    """The rendering of one variant."""
    return rendering(request.param)


@pytest.fixture
def default(rendering) -> Path:
    """The rendering of the default answers."""
    return rendering(DEFAULT)


@pytest.fixture
def bake(tmp_path: Path, _cookiecutter_config_file) -> Callable[..., Result]:
    """A function that bakes answers into `tmp_path / "out"`, from the template or a copy of it."""

    def run(template: Path = ROOT, **answers: Any) -> Result:
        def out(*_: object) -> Path:
            (tmp_path / "out").mkdir(exist_ok=True)
            return tmp_path / "out"

        return Cookies(str(template), out, _cookiecutter_config_file).bake(extra_context=answers)

    return run


@pytest.fixture
def render(tmp_path: Path, _cookiecutter_config_file) -> Callable[..., Path]:
    """A function: renders answers without the hooks, so nothing is checked or pruned."""

    def run(**answers: str) -> Path:
        root = cookiecutter(
            str(ROOT),
            no_input=True,
            extra_context=answers,
            output_dir=str(tmp_path / "plain"),
            config_file=str(_cookiecutter_config_file),
            accept_hooks=False,
        )
        return Path(root)

    return run
