"""What came of a rehearsal: deployments, test reports, calls by role, mails, times."""

import json
import time
from collections import Counter, defaultdict

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from rehearsal.aws.authorizer import Call
from rehearsal.play import Rehearsal


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
    for name in ("workspace", "signed in as", "did"):
        result.add_column(name, overflow="fold")
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for call in workspace_calls(played):
        commands = counts[call["host"], call["user"]]
        commands.update({call["command"]} - {"sign-in"})
    for (host, user), commands in counts.items():
        listed = ", ".join(f"{name} ({count})" for name, count in commands.items())
        result.add_row(host, user, listed or "signed in only")
    return result


def workspace_calls(played: Rehearsal) -> list[dict[str, str]]:
    """Every sign-in and every change, in order."""
    record = played.home / "databricks/calls.jsonl"
    if not record.exists():
        return []
    return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]


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
