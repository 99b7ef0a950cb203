"""What is rendered is what was reviewed. After a change that was meant: `make golden`."""

from pathlib import Path

import pytest

from conftest import DEFAULT, VARIANTS
from golden import GOLDEN, difference, tree

MEND = "the rendering has changed; if that was meant: make golden, and review the diff"


def test_the_default_rendering(default: Path) -> None:
    golden, rendered = tree(GOLDEN / DEFAULT), tree(default)
    assert rendered.keys() == golden.keys(), MEND
    assert difference(golden, rendered) == "", MEND


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != DEFAULT])
def test_a_variant_as_its_diff_from_the_default(rendering, name: str) -> None:
    rendered = difference(tree(GOLDEN / DEFAULT), tree(rendering(name)))
    assert rendered == (GOLDEN / f"{name}.diff").read_text(), MEND


def test_no_golden_file_without_a_variant() -> None:
    told = {DEFAULT, *(f"{name}.diff" for name in VARIANTS if name != DEFAULT)}
    assert {path.name for path in GOLDEN.iterdir()} == told
