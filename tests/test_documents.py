"""The rendered documents: the commands they give exist, what they quote is said, sums are right."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

DOCUMENTS = ("README.md", "docs/operations.md", "docs/security.md")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_command_exists(rendered: Path, document: str) -> None:
    made = set(re.findall(r"(?m)^([a-z-]+):.*## ", (rendered / "Makefile").read_text()))
    text = (rendered / document).read_text()
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"(?m)^\$ (.+)$", text)
    named = [words for one in code for words in re.findall(r"\bmake ([a-z -]+)", one)]
    used = {word for words in named for word in words.split()}
    assert used <= made, used - made


def test_every_message_that_operations_explains_is_one_that_is_said(rendered: Path) -> None:
    text = (rendered / "docs/operations.md").read_text()
    rows = text.partition("| the log says | do |\n")[2].partition("\n\n")[0].splitlines()[1:]
    said = "".join(path.read_text() for path in (rendered / "cicd").rglob("*.*"))
    said = re.sub(r'"\s+f?"', "", said)  # a message may be written in pieces
    parts = [
        part.strip()
        for row in rows
        for quoted in re.findall(r"`([^`]+)`", row.split("|")[1])
        for part in re.split(r"\.\.\.|\w+\.(?:py|sh): (?:qa: |prod: )?", quoted)
    ]
    assert len(rows) >= 12
    assert [part for part in parts if part and part not in said] == []


def test_what_it_costs_adds_up(rendered: Path) -> None:
    text = (rendered / "docs/operations.md").read_text().partition("## What it costs")[2]
    total, sums = Decimal(0), []
    for row in re.findall(r"(?m)^\| (.+) \|$", text):
        cells = [cell.strip() for cell in row.split("|")]
        if cells[0] == "together":
            sums.append((total, Decimal(cells[3])))
            total = Decimal(0)
        elif cells[1].isdigit():
            assert int(cells[1]) * Decimal(cells[2]) == Decimal(cells[3]), row
            total += Decimal(cells[3])
    assert len(sums) == 2 and all(made == told for made, told in sums), sums
    readme = (rendered / "README.md").read_text()
    assert f"costs about {sums[0][1]} USD, a change some {sums[1][1]} USD" in readme
