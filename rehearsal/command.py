"""rehearse PATH: plays what a push to a rendered repository would start."""

import argparse
import contextlib
import os
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from rehearsal import failures
from rehearsal.aws.errors import AwsError, Unsupported
from rehearsal.aws.execution import Action, Answer, Execution, Stage
from rehearsal.databricks import real_client, spark
from rehearsal.databricks.calls import recorded
from rehearsal.leaks import search, written
from rehearsal.machine.disk import full
from rehearsal.machine.network import refusal
from rehearsal.machine.process import Stopped
from rehearsal.play import DATABRICKS, Rehearsal, Unplayable, check_repository, opened
from rehearsal.promises import broken, not_run
from rehearsal.screen import Screen, review, summary

STAND_IN = "stand-in"


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="rehearse", description=__doc__)
    parser.add_argument("path", type=Path, help="the rendered repository")
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument("--approve", action="store_true", help="approve the release")
    answer.add_argument("--reject", metavar="REASON", help="reject the release")
    parser.add_argument("--quick", action="store_true", help="use DuckDB in place of Spark")
    parser.add_argument(
        "--strict", action="store_true", help="fail if a task could not be run on this machine"
    )
    parser.add_argument("--keep", action="store_true", help="keep all files of the rehearsal")
    parser.add_argument(
        "--client",
        metavar="PATH",
        help=f"the Databricks client, or {STAND_IN}; if not given, the one on PATH if it has the"
        f" version that cicd/tools.env pins, else {STAND_IN}",
    )
    parser.add_argument(
        "--allow-host",
        metavar="HOST",
        action="append",
        default=[],
        help="let builds reach this host too, beside package indexes; may be repeated",
    )
    parser.add_argument("--region", default="us-east-1", help="the AWS region to play")
    return parser.parse_args()


def main() -> int:
    """Plays and shows a rehearsal; 0 only if production has what was approved."""
    chosen, console, started = options(), Console(highlight=False, record=True), time.monotonic()
    if not chosen.quick and spark.java_version() < spark.JAVA:
        if os.environ.get("CI"):
            console.print(f"[red]Java {spark.JAVA} or newer is needed[/]; or pass --quick")
            return 2
        console.print(
            f"[yellow]Java {spark.JAVA} is not installed:[/] notebooks, pipeline and wheel run on"
            " DuckDB in place of Spark, as with --quick. Unit tests that need Spark are skipped."
        )
        chosen.quick = True
    settings = {"region": chosen.region, "quick": chosen.quick, "keep": chosen.keep}
    settings["hosts"] = chosen.allow_host
    try:
        client, which = the_client(chosen.path, chosen.client)
        console.print(which, soft_wrap=True)
        with opened(chosen.path, say=console.print, client=client, **settings) as played:
            code = Player(played, console, chosen).play(started)
        console.print(which, soft_wrap=True)
        return code
    except Unplayable as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
    except Unsupported as error:
        console.print(f"[red]The rehearsal does not play this:[/] {error}")
    except AwsError as error:
        console.print(f"[red]AWS would refuse this:[/] {error}")
        return 1
    except Stopped as stopped:
        with contextlib.suppress(OSError):  # a terminal that was closed
            rest = "" if chosen.keep else " Nothing is left of this rehearsal."
            console.print(f"\nStopped.{rest}")
        return stopped.code
    return 2


def the_client(repository: Path, wanted: str | None) -> tuple[Path | None, str]:
    """The client to use, None for the stand-in, and a line that says so. Raises Unplayable."""
    check_repository(repository)
    pinned = real_client.pinned(repository)
    client = Path(wanted).absolute() if wanted else real_client.installed(pinned)
    if client is None or wanted == STAND_IN:
        more = "--client PATH: the real one"
        return None, f"Client: a stand-in for the Databricks CLI {pinned} ({more})"
    try:
        version = real_client.version(client)
    except (OSError, ValueError) as error:
        raise Unplayable(f"--client {wanted}: {error}") from None
    if version == pinned:
        return client, f"Client: the Databricks CLI {version}, as the builds install it ({client})"
    other = f"the builds install {pinned}, by cicd/tools.env"
    return client, f"Client: the Databricks CLI {version} ({client}); {other}"


class Player:
    """Plays one rehearsal at a terminal."""

    def __init__(self, played: Rehearsal, console: Console, chosen: argparse.Namespace) -> None:
        self.played, self.console, self.chosen = played, console, chosen
        self.screen = Screen(console, played)
        played.pipeline.approvals.decide = self.decide

    def play(self, started: float) -> int:
        """Secrets, push, pipeline, summary; returns the exit code."""
        played = self.played
        played.put_secrets()
        played.seconds["secrets"] = time.monotonic() - started - played.seconds["set-up"]
        self.screen.start()
        try:
            execution = played.push()
        finally:
            self.screen.stop()
        if execution is None:
            message = f"A push to {played.branch} started nothing: no rule matches it."
            self.console.print(f"[red]{message}[/]")
            return 1
        self.console.print(summary(played, started))
        for host in played.network.refused:
            self.console.print(f"[yellow]{escape(refusal(host))}[/]", soft_wrap=True)
        kept = self.keeps_secrets()
        return self.conclude(execution) or int(not kept)

    def keeps_secrets(self) -> bool:
        """Says whether a secret is in anything that the rehearsal wrote."""
        secrets = self.played.credentials.secret_values
        shown = self.console.export_text(clear=False)
        found = search(written(self.played, shown), secrets)
        if found.places:
            listed = "\n".join(f"  {place}" for place in found.places)
            self.console.print(f"[red]Secrets were written into:[/]\n{listed}", soft_wrap=True)
        elif secrets:
            self.console.print(f"0 of {len(secrets)} secrets found in {found.texts:,} texts")
        return not found.places

    def decide(self, execution: Execution, action: Action) -> Answer:
        """Shows an approval and answers it."""
        self.screen.stop()
        self.console.print(review(self.played, execution, action))
        answer = self.answer()
        self.screen.start()
        return answer

    def answer(self) -> Answer:
        """The answer that the command line gives, or the person at the terminal."""
        if self.chosen.approve:
            return Answer("Approved", "approved with --approve")
        if self.chosen.reject:
            return Answer("Rejected", self.chosen.reject)
        try:
            reply = self.console.input("Approve it? \\[y/N] ").strip().lower()
        except EOFError:
            self.console.print("\nNobody answers: without a terminal, pass --approve or --reject.")
            reply = ""
        if reply in ("y", "yes"):
            return Answer("Approved", "approved at the terminal")
        return Answer("Rejected", "not approved")

    def conclude(self, execution: Execution) -> int:
        """Says what production has now; returns the exit code."""
        if execution.status == "Succeeded":
            made = recorded(self.played.home / DATABRICKS)
            faults = broken(execution, made)
            self.console.print(verdict(execution.commit[:8], faults))
            left_out = self.show_not_run(*not_run(made))
            return 1 if faults or (left_out and self.chosen.strict) else 0
        stage = execution.stopped_in
        where = stage.name if stage else execution.status
        self.console.print(f"[red]Stopped in {where}.[/] No later stage has run.")
        if stage:
            self.show_failure(stage)
        if message := full(self.played.home):
            self.console.print(f"[red]{escape(message)}[/]", soft_wrap=True)
        return 1

    def show_not_run(self, tasks: list[str], count: int) -> bool:
        """Says which tasks were deployed, but ran nowhere; returns whether there are any."""
        if tasks:
            listed = "".join(f"\n  {escape(task)}" for task in tasks)
            message = f"{len(tasks)} of {count} tasks were not run here:"
            self.console.print(f"[yellow]{message}[/]{listed}", soft_wrap=True)
        return bool(tasks)

    def show_failure(self, stage: Stage) -> None:
        """Shows what failed in each build, and the message of each other action."""
        for action in stage.actions:
            if not action.build:
                self.console.print(action.message, markup=False)
            elif action.status != "Succeeded":
                log = action.build.log.read_text(encoding="utf-8")
                self.console.print(*failures.shown(log), sep="\n", markup=False, soft_wrap=True)
                self.console.print(f"The whole log: {failures.keep(action.build)}", soft_wrap=True)


def verdict(commit: str, faults: list[str]) -> str:
    """What is said of an execution that succeeded, with the promises that it has broken."""
    if not faults:
        return f"[green]Production has commit {commit}, as approved.[/]"
    lines = "\n".join(f"  {fault}" for fault in faults)
    return f"[red]Production has commit {commit}, but not as the gate promises:[/]\n{lines}"
