"""The rendered documents: the commands they give exist, what they quote is said, sums are right."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

DOCUMENTS = ("README.md", "docs/operations.md", "docs/security.md")
OURS = DOCUMENTS[:2]
WIDTH = 115  # a name that an answer gives may be longer than the template's


def prose(text: str) -> list[str]:
    """The lines outside of examples, tables and pictures."""
    text = re.sub(r"(?ms)^```.*?^```$", "", text)
    return [line for line in text.splitlines() if not line.startswith(("|", "!"))]


@pytest.mark.parametrize("document", OURS)
def test_lines_have_one_width(default: Path, document: str) -> None:
    lines = [re.sub(r"\(http[^)]*\)", "", line) for line in prose((default / document).read_text())]
    assert [line for line in lines if len(line) > WIDTH] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_is_named_exists(rendered: Path, document: str) -> None:
    code = re.findall(r"`([^`\n]+)`", "\n".join(prose((rendered / document).read_text())))
    paths = [
        path for path in code if re.fullmatch(r"(ops|cicd|resources|src|tests|docs)/[\w./]*", path)
    ]
    assert [path for path in paths if not (rendered / path).exists()] == []


def test_the_readme_leads_to_every_folder(rendered: Path) -> None:
    """The table names where to add a job, which file has the rights, and where the plan is made."""
    table = (
        (rendered / "README.md").read_text().partition("## What is where")[2].partition("\n## ")[0]
    )
    named = re.findall(r"`([^`]+)`", table)
    assert {"resources/", "cicd/stack.yml", "cicd/buildspecs/", "plan.yml", "plan.py"} <= set(named)
    places = [name for name in named if name != "Makefile" and "/" in name]
    assert [place for place in places if not (rendered / place).exists()] == []
    folders = {path.name for path in rendered.glob("[!.]*/")}
    assert folders <= {place.split("/")[0] for place in places}


@pytest.mark.parametrize("document", OURS)
def test_the_jobs_name_is_not_repeated(rendered: Path, document: str) -> None:
    (job,) = (
        path for path in (rendered / "resources").glob("*.job.yml") if "nutter" not in path.name
    )
    name = job.name.removesuffix(".job.yml")
    assert f"{name}_job" not in (rendered / document).read_text()
    assert f"{name}_job" not in (rendered / "Makefile").read_text()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_command_exists(rendered: Path, document: str) -> None:
    made = set(re.findall(r"(?m)^([a-z-]+):.*## ", (rendered / "Makefile").read_text()))
    text = (rendered / document).read_text()
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"(?m)^\$ (.+)$", text)
    named = [words for text in code for words in re.findall(r"\bmake ([a-z -]+)", text)]
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
    assert len(sums) == 2 and all(total == stated for total, stated in sums), sums
    readme = (rendered / "README.md").read_text()
    assert f"costs about {sums[0][1]} USD, a change some {sums[1][1]} USD" in readme
