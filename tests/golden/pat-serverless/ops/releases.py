"""Lists what was deployed to production, newest first; COUNT says how many."""

import itertools
import os
import sys

import aws_stack
import pipeline
from rich.console import Console
from rich.table import Table
from rich.text import Text
from screen import plain, when

COUNT = "10"


def count() -> int:
    """How many releases are asked for. Exits where that is no number."""
    told = os.environ.get("COUNT") or COUNT
    if not (told.isascii() and told.isdigit() and int(told)):
        sys.exit(f"releases.py: COUNT={told} is no number of releases; try: make releases COUNT=30")
    return int(told)


def main() -> None:
    """Prints a line for each."""
    most = count()
    deployed = pipeline.deployed()
    found = list(itertools.islice(deployed.releases(), most + 1))
    if not found:
        print("Nothing has been deployed to production yet. See: make status")
        return
    broken = deployed.broken(pipeline.PRODUCTION)
    table = Table(box=None, pad_edge=False)
    for title, width in {"Execution": 9, "Commit": 8, "Deployed": 12, "By": 15, "": 12}.items():
        table.add_column(title, min_width=width, no_wrap=True)
    for place, one in enumerate(found[:most]):
        target = one.rolled_back_to
        notes = ["last that succeeded" if broken else "deployed now"] if place == 0 else []
        notes += [f"rollback to {target[:8]}"] if target else []
        row = (
            one.execution[:8],
            one.commit[:8],
            when(one.at),
            one.by or deployed.approver(one.execution),
            ", ".join(notes) or one.subject,
        )
        table.add_row(*(Text(plain(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    if len(found) > most:
        print(f"Older ones: make releases COUNT={most * 3}")
    if len(found) > 1:
        print("Back to one of them: make rollback TO=<execution>")


if __name__ == "__main__":
    aws_stack.run(main)
