"""What is rendered is what was reviewed. After a change that was meant: `make golden`."""

from pathlib import Path

import pytest

from conftest import DEFAULT, TEMPLATE, VARIANTS
from golden import GOLDEN, difference, texts, written_by_jinja
from sources import has_jinja, sources

FIX = "the rendering has changed; if that was meant: make golden, and review the diff"


def test_the_default_rendering(default: Path) -> None:
    golden, rendered = texts(GOLDEN / DEFAULT), written_by_jinja(DEFAULT, default)
    assert rendered.keys() == golden.keys(), FIX
    assert difference(golden, rendered) == "", FIX


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != DEFAULT])
def test_a_variant_as_its_diff_from_the_default(rendering, name: str) -> None:
    rendered = difference(texts(GOLDEN / DEFAULT), written_by_jinja(name, rendering(name)))
    assert rendered == (GOLDEN / f"{name}.diff").read_text(), FIX


@pytest.mark.parametrize("name", VARIANTS)
def test_every_other_file_equals_its_source(rendering, name: str) -> None:
    root = rendering(name)
    origins = sources(name, root)
    plain = [path for path in texts(root) if not has_jinja(origins[path])]
    assert len(plain) > 20
    changed = [path for path in plain if (root / path).read_bytes() != origins[path].read_bytes()]
    assert changed == []


def test_no_golden_file_without_a_variant() -> None:
    expected = {DEFAULT, *(f"{name}.diff" for name in VARIANTS if name != DEFAULT)}
    assert {path.name for path in GOLDEN.iterdir()} == expected


def test_there_is_no_jinja_in_the_python_that_aws_and_people_run() -> None:
    """ruff, mypy and editors read it as it stands in the template."""
    files = [*TEMPLATE.glob("ops/**/*.py"), *TEMPLATE.glob("cicd/**/*.py")]
    assert files
    assert [path for path in files if has_jinja(path)] == []
