"""Renderings for the tests: each variant is baked once for all workers, and only read."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from pytest_cookies.plugin import Cookies, Result

from rehearsing import deploying, rehearsal, repository, wheel  # noqa: F401  fixtures for all

ROOT = Path(__file__).parent.parent
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


@pytest.fixture(scope="session")
def rendering(tmp_path_factory, _cookiecutter_config_file) -> Callable[[str], Path]:
    """A function from a variant's name to its rendering. Copy it before you change it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "renderings"

    def get(name: str) -> Path:
        folder = shared / name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not (made := list(folder.iterdir())):
                baker = Cookies(str(ROOT), lambda out: folder, _cookiecutter_config_file)
                result = baker.bake(extra_context=VARIANTS[name])
                assert result.exit_code == 0, result.exception
                made = [result.project_path]
        (path,) = made
        return path

    return get


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

    def run(template: Path = ROOT, **answers: str) -> Result:
        def out(*_: object) -> Path:
            (tmp_path / "out").mkdir(exist_ok=True)
            return tmp_path / "out"

        return Cookies(str(template), out, _cookiecutter_config_file).bake(extra_context=answers)

    return run
