"""python -m rehearsal PATH: plays what a push to a rendered repository would set off."""

import argparse
import os
import sys
import time
from pathlib import Path

from rich.console import Console

from rehearsal.aws.codepipeline import Action, Answer, Execution
from rehearsal.databricks import spark
from rehearsal.play import Rehearsal, Unplayable, opened
from rehearsal.screen import Screen, review, summary


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__)
    parser.add_argument("path", type=Path, help="the rendered repository")
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument("--approve", action="store_true", help="approve what waits")
    answer.add_argument("--reject", metavar="REASON", help="reject what waits")
    parser.add_argument("--quick", action="store_true", help="DuckDB in place of Spark")
    parser.add_argument("--keep", action="store_true", help="leave everything for a look")
    parser.add_argument("--region", default="us-east-1")
    return parser.parse_args()


def main() -> int:
    """Plays and shows it; 0 only if production has what was approved."""
    given, console, started = options(), Console(highlight=False), time.monotonic()
    screen = Screen(console)
    if not given.quick and spark.java_version() < spark.JAVA:
        if os.environ.get("CI"):
            console.print(f"[red]Java {spark.JAVA} or newer is needed[/]; or say --quick")
            return 2
        console.print(
            f"[yellow]No Java {spark.JAVA} here:[/] notebooks, pipeline and wheel run on DuckDB in"
            " place of Spark, as with --quick, and unit tests that need Spark are skipped."
        )
        given.quick = True

    def decide(execution: Execution, action: Action) -> Answer:
        screen.stop()
        console.print(review(screen.played, execution, action))
        if given.approve:
            answer = ("Approved", "approved with --approve")
        elif given.reject:
            answer = ("Rejected", given.reject)
        else:
            yes = console.input("Approve it? \\[y/N] ").strip().lower() in ("y", "yes")
            answer = (
                ("Approved", "approved at the terminal") if yes else ("Rejected", "not approved")
            )
        screen.start()
        return answer

    try:
        how = {"region": given.region, "quick": given.quick, "keep": given.keep}
        with opened(given.path, **how, say=console.print) as played:
            return play(played, screen, console, decide, started, given.keep)
    except Unplayable as error:
        console.print(f"[red]{error}[/]")
        return 2


def play(played: Rehearsal, screen: Screen, console: Console, decide, started, keep) -> int:
    """Secrets, push, pipeline, summary."""
    played.pipeline.decide = decide
    played.put_secrets()
    played.seconds["secrets"] = time.monotonic() - started - played.seconds["set-up"]
    screen.follow(played)
    screen.start()
    try:
        execution = played.push()
    finally:
        screen.stop()
    if execution is None:
        console.print(f"[red]A push to {played.branch} started nothing: no rule matches it.[/]")
        return 1
    console.print(summary(played, started))
    if keep:
        console.print(f"Kept: {played.home}")
    if execution.status == "Succeeded":
        console.print(f"[green]Production has commit {execution.commit[:8]}, as approved.[/]")
        return 0
    stopped = execution.stopped_in
    where = stopped.name if stopped else execution.status
    console.print(f"[red]Stopped in {where}.[/] Production is as it was before that stage.")
    for action in stopped.actions if stopped else ():
        if action.build:
            console.print("\n".join(action.build.log.read_text().splitlines()[-15:]), markup=False)
        else:
            console.print(action.message, markup=False)
    return 1


if __name__ == "__main__":
    sys.exit(main())
