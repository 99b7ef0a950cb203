"""What a rehearsal shows: a tree that grows while it runs, the reviewer's view, and a summary."""

import io
import json
import threading
import time
import zipfile
from collections import Counter, defaultdict

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.tree import Tree

from rehearsal.aws.codepipeline import Action, Execution
from rehearsal.play import Rehearsal

MARKS = {
    "Succeeded": "[green]✓[/]",
    "SUCCEEDED": "[green]✓[/]",
    "Failed": "[red]✗[/]",
    "FAILED": "[red]✗[/]",
    "STOPPED": "[red]✗[/]",
    "Superseded": "[yellow]»[/]",
    "": "[dim]·[/]",
}
BUSY = "[yellow]…[/]"


def tree(execution: Execution) -> Tree:
    """An execution as far as it has come: stages, actions, a build's phases with their times."""
    root = Tree(f"[bold]commit {execution.commit[:8]}[/]  {execution.status}", guide_style="dim")
    for stage in execution.stages:
        branch = root.add(f"{MARKS.get(stage.status, BUSY)} [bold]{stage.name}[/]")
        for action in stage.actions:
            if not action.status:
                continue
            took = f"  [dim]{action.seconds:.1f} s[/]" if action.seconds else ""
            leaf = branch.add(f"{MARKS.get(action.status, BUSY)} {action.name}{took}")
            for phase in action.build.phases if action.build else ():
                mark = MARKS.get(phase.status, BUSY)
                leaf.add(f"{mark} {phase.name.lower()}  [dim]{phase.seconds:.1f} s[/]")
            if action.status == "Failed":
                leaf.add(f"[red]{escape(action.message)}[/]")
    return root


def review(played: Rehearsal, execution: Execution, action: Action) -> RenderableType:
    """An approval as its reviewer sees it, with what its stage has written for people to read."""
    parts: list[RenderableType] = [f"{escape(action.text)}\n[dim]{escape(action.link)}[/]"]
    (stage,) = (one for one in execution.stages if action in one.actions)
    for bucket, key in (place for one in stage.actions for place in one.outputs.values()):
        body = played.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            for name in archive.namelist():
                if name.endswith(".md"):
                    parts += ["", escape(archive.read(name).decode(errors="replace").strip())]
    return Panel(Group(*parts), title="Approval")


class Screen:
    """Follows a rehearsal on a terminal; without one, a line for each thing that happens."""

    def __init__(self, console: Console) -> None:
        self.console, self.lock = console, threading.Lock()
        self.played: Rehearsal | None = None
        self.live: Live | None = None
        self.tail: list[str] = []
        self.seen: Counter = Counter()

    def follow(self, played: Rehearsal) -> None:
        """Listens to a rehearsal."""
        self.played = played
        played.pipeline.watch = self.update
        played.codebuild.watch = lambda build: self.update()
        played.codebuild.tell = self.line

    def line(self, build, text: str) -> None:
        """Keeps the last lines of the running build's log."""
        self.tail = [*self.tail[-3:], text]
        self.update()

    def draw(self) -> RenderableType:
        """The whole picture."""
        parts: list[RenderableType] = [tree(one) for one in self.played.pipeline.executions]
        width = self.console.width - 4
        return Group(*parts, *(f"  [dim]{escape(text[:width])}[/]" for text in self.tail))

    def update(self) -> None:
        """Draws what has changed."""
        if self.live:
            self.live.update(self.draw())
            return
        with self.lock:
            for execution in self.played.pipeline.executions:
                for stage in execution.stages:
                    for action in stage.actions:
                        for phase in action.build.phases if action.build else ():
                            self.once(f"{stage.name}: {phase.name.lower()}", phase.status)
                        self.once(f"{stage.name}: {action.name}", action.status)

    def once(self, what: str, status: str) -> None:
        """Prints an outcome, the first time that it is seen."""
        key = (len(self.played.pipeline.executions), what, status)
        if status in MARKS and status and not self.seen[key]:
            self.seen[key] += 1
            self.console.print(f"{MARKS[status]} {what}")

    def start(self) -> None:
        """Begins to draw, where there is a terminal."""
        if self.console.is_terminal:
            self.live = Live(self.draw(), console=self.console, refresh_per_second=8)
            self.live.start()

    def stop(self) -> None:
        """Leaves the last picture standing."""
        if self.live:
            self.tail = []
            self.live.update(self.draw())
            self.live.stop()
            self.live = None


def deployed(played: Rehearsal) -> Table:
    """What reached which workspace, by whom, from the workspaces' own record of calls."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("workspace", "signed in as", "did"):
        table.add_column(name, overflow="fold")
    record = played.home / "databricks/calls.jsonl"
    calls = (
        [json.loads(text) for text in record.read_text().splitlines()] if record.exists() else []
    )
    done: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for call in calls:
        done[call["host"], call["user"]][call["command"]] += call["command"] != "sign-in"
    for (host, user), counts in done.items():
        told = ", ".join(f"{name} ({count})" for name, count in counts.items() if count)
        table.add_row(host, user, told or "signed in only")
    return table


def summary(played: Rehearsal, started: float) -> RenderableType:
    """What came of a rehearsal: deployments, test reports, calls by role, mails, times."""
    reports = Table("report", "passed", "failed", "skipped", box=None, pad_edge=False)
    calls = Table(
        "role", "AWS calls, each decided on its policies", "denied", box=None, pad_edge=False
    )
    for build in played.codebuild.builds:
        for one in build.reports:
            failed = f"[red]{len(one.failed)}[/]" if one.failed else "0"
            reports.add_row(one.group, str(one.passed), failed, str(one.skipped))
    by_role: dict[str, list] = defaultdict(list)
    for call in played.aws.calls:
        by_role[call.role].append(call)
    for role, made in by_role.items():
        denied = sorted({f"{one.action} {one.resource}" for one in made if not one.allowed})
        names = sorted({one.action for one in made if one.allowed})
        calls.add_row(role, f"{len(made)}: {', '.join(names)}", escape(", ".join(denied)) or "none")
    for table in (reports, calls):
        table.header_style = "dim"
    mails = [f"mail: {escape(str(text))}" for text in played.pipeline.mails]
    took = ", ".join(f"{name} {value:.1f} s" for name, value in times(played).items())
    total = time.monotonic() - started
    return Group(
        "", deployed(played), "", reports, "", calls, "", *mails, f"{took}, in all {total:.1f} s"
    )


def times(played: Rehearsal) -> dict[str, float]:
    """Seconds by stage, the set-up first."""
    found = dict(played.seconds)
    for execution in played.pipeline.executions:
        for stage in execution.stages:
            found[stage.name] = found.get(stage.name, 0.0) + sum(a.seconds for a in stage.actions)
    return found
