"""Reads a plan of the Databricks CLI and says what it would do.

Usage: python plan.py show|variables|drift PLAN.JSON

show: for a person, as Markdown. variables: for the approval, as shell. drift: for a mail, `none` or
a list. No value that looks secret is shown, nor what only the workspace adds to a resource.
"""

import argparse
import sys

import accepted
from model import RIGHTS, Damaged, Plan, read
from report import drift, field_lines, show, summary, variables

__all__ = ["RIGHTS", "Damaged", "Plan", "field_lines", "read", "show", "summary"]


def main() -> None:
    """Prints a plan in one of three ways."""
    texts = {"show": show, "variables": variables, "drift": drift}
    parser = argparse.ArgumentParser(description="Says what a plan of the Databricks CLI would do.")
    parser.add_argument("text", choices=texts)
    parser.add_argument("plan", metavar="PLAN.JSON")
    options = parser.parse_args()
    try:
        plan = read(options.plan)
        if options.text == "drift":
            accepted.leave_out(plan)
        print(texts[options.text](plan))
    except (Damaged, accepted.Unreadable) as damaged:
        sys.exit(f"plan.py: {options.plan}: {damaged}")


if __name__ == "__main__":
    main()
