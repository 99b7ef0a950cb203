"""What a rehearsal shows: a tree that grows while it runs, the reviewer's view, and the summary."""

import io
import threading
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.tree import Tree

from rehearsal.aws.build import Build
from rehearsal.aws.execution import Action, Execution
from rehearsal.aws.iam import Call
from rehearsal.databricks.calls import PLAN, RESOURCE, SIGN_IN, TASK, recorded
from rehearsal.play import DATABRICKS, Rehearsal

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
TAIL = 4  # lines of the running build's log


def tree(execution: Execution) -> Tree:
    """An execution as far as it has come: stages, actions, a build's phases with their times."""
    root = Tree(f"[bold]commit {execution.commit[:8]}[/]  {execution.status}", guide_style="dim")
    for stage in execution.stages:
        branch = root.add(f"{MARKS.get(stage.status, BUSY)} [bold]{stage.name}[/]")
        for action in stage.actions:
            if action.status:
                add_action(branch, action)
    return root


def add_action(branch: Tree, action: Action) -> None:
    """Adds an action that has begun."""
    label = f"{MARKS.get(action.status, BUSY)} {action.name}"
    if action.seconds:
        label += f"  [dim]{action.seconds:.1f} s[/]"
    leaf = branch.add(label)
    if action.build:
        for phase in action.build.phases:
            mark = MARKS.get(phase.status, BUSY)
            leaf.add(f"{mark} {phase.name.lower()}  [dim]{phase.seconds:.1f} s[/]")
    if action.status == "Failed":
        leaf.add(f"[red]{escape(action.message)}[/]")


def review(played: Rehearsal, execution: Execution, action: Action) -> RenderableType:
    """An approval as its reviewer sees it, with what its stage has written for people to read."""
    parts: list[RenderableType] = [f"{escape(action.text)}\n[dim]{escape(action.link)}[/]"]
    (stage,) = (stage for stage in execution.stages if action in stage.actions)
    s3 = played.aws.client("s3")
    for location in (place for other in stage.actions for place in other.outputs.values()):
        body = s3.get_object(Bucket=location.bucket, Key=location.key)["Body"].read()
        for text in markdown(body):
            parts += ["", escape(text.strip())]
    return Panel(Group(*parts), title="Approval")


def markdown(content: bytes) -> Iterator[str]:
    """The texts of an artifact that are written for people."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if name.endswith(".md"):
                yield archive.read(name).decode(errors="replace")


def outcomes(execution: Execution) -> Iterator[tuple[str, str]]:
    """What an execution has done so far, each with its status."""
    for stage in execution.stages:
        for action in stage.actions:
            if action.build:
                for phase in action.build.phases:
                    yield f"{stage.name}: {phase.name.lower()}", phase.status
            yield f"{stage.name}: {action.name}", action.status


class Screen:
    """Follows a rehearsal on a terminal; without one, prints a line for each thing that happens."""

    def __init__(self, console: Console, played: Rehearsal) -> None:
        self.console, self.played, self.lock = console, played, threading.Lock()
        self.live: Live | None = None
        self.tail: list[str] = []
        self.seen: Counter[tuple[int, str, str]] = Counter()
        played.pipeline.watch = self.update
        played.codebuild.watch = self.follow
        played.codebuild.tell = self.line

    def follow(self, build: Build) -> None:
        """Draws what has changed in a build."""
        self.update()

    def line(self, build: Build, text: str) -> None:
        """Keeps the last lines of the running build's log."""
        self.tail = [*self.tail[1 - TAIL :], text]
        self.update()

    def draw(self) -> RenderableType:
        """The whole picture."""
        parts: list[RenderableType] = [tree(item) for item in self.played.pipeline.executions]
        width = self.console.width - 4
        return Group(*parts, *(f"  [dim]{escape(text[:width])}[/]" for text in self.tail))

    def update(self) -> None:
        """Draws what has changed."""
        if self.live:
            self.live.update(self.draw())
            return
        executions = self.played.pipeline.executions
        with self.lock:
            for execution in executions:
                for name, status in outcomes(execution):
                    self.print_once((len(executions), name, status))

    def print_once(self, outcome: tuple[int, str, str]) -> None:
        """Prints an outcome, the first time that it is seen."""
        _, name, status = outcome
        if status in MARKS and status and not self.seen[outcome]:
            self.seen[outcome] += 1
            self.console.print(f"{MARKS[status]} {name}")

    def start(self) -> None:
        """Begins to draw, where there is a terminal."""
        if self.console.is_terminal:
            self.live = Live(self.draw(), console=self.console, refresh_per_second=8)
            self.live.start()

    def stop(self) -> None:
        """Stops drawing, and keeps the last picture."""
        if self.live:
            self.tail = []
            self.live.update(self.draw())
            self.live.stop()
            self.live = None


def summary(played: Rehearsal, started: float) -> RenderableType:
    """Everything, as it is shown at the end."""
    mails = [f"mail: {escape(str(text))}" for text in played.mails]
    stages = ", ".join(f"{name} {value:.1f} s" for name, value in times(played).items())
    total = f"{stages}, in all {time.monotonic() - started:.1f} s"
    return Group("", deployed(played), "", reports(played), "", calls(played), "", *mails, total)


def table(*columns: str) -> Table:
    """A table without lines."""
    return Table(*columns, box=None, pad_edge=False, header_style="dim")


def deployed(played: Rehearsal) -> Table:
    """What reached which workspace, by whom, from the workspaces' own record of calls."""
    result = table()
    for name in ("workspace", "signed in as", "commands"):
        result.add_column(name, overflow="fold")
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for call in recorded(played.home / DATABRICKS):
        commands = counts[call.host, call.user]
        commands.update({call.command} - {SIGN_IN, PLAN, RESOURCE, TASK})
    for (host, user), commands in counts.items():
        listed = ", ".join(f"{name} ({count})" for name, count in commands.items())
        result.add_row(host, user, listed or "signed in only")
    return result


def reports(played: Rehearsal) -> Table:
    """The test reports of all builds."""
    result = table("report", "passed", "failed", "skipped")
    for report in (report for build in played.codebuild.builds for report in build.reports):
        failed = f"[red]{len(report.failed)}[/]" if report.failed else "0"
        result.add_row(report.group, str(report.passed), failed, str(report.skipped))
    return result


def calls(played: Rehearsal) -> Table:
    """The calls of each role."""
    result = table("role", "AWS calls, each decided on its policies", "denied")
    by_role: dict[str, list[Call]] = defaultdict(list)
    for call in played.aws.calls:
        by_role[call.role].append(call)
    for role, made in by_role.items():
        allowed = sorted({call.action for call in made if call.allowed})
        denied = sorted({f"{call.action} {call.resource}" for call in made if not call.allowed})
        shown = escape(", ".join(denied)) or "none"
        result.add_row(role, f"{len(made)}: {', '.join(allowed)}", shown)
    return result


def times(played: Rehearsal) -> dict[str, float]:
    """Seconds by stage, the set-up first."""
    seconds = defaultdict(float, played.seconds)
    for execution in played.pipeline.executions:
        for stage in execution.stages:
            seconds[stage.name] += sum(action.seconds for action in stage.actions)
    return dict(seconds)
