"""Proves this repository without a cloud: each file by itself, and that the files agree.

Each module has one subject: its model, and the checks on it. A check is a function that yields
findings; `@check` registers it, and the names of its parameters say which models it reads.
"""

import importlib.util
import inspect
import json
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

# A module with checks is imported here, or they do not run.
from ops.check import (  # noqa: F401
    agreement,
    buildspecs,
    declarations,
    environments,
    facts,
    gate,
    leaks,
    people,
    rights,
    targets,
    trust,
)
from ops.check.bundle import Bundle
from ops.check.files import STACK, Files
from ops.check.reading import CHECKS, FIRST, Check, Finding, Findings, NotCheckedError, Place, check
from ops.check.stack import Stack

sys.dont_write_bytecode = True  # a check leaves nothing behind


class CfnLint:
    """cfn-lint on every CloudFormation template, in a process beside all the other checks."""

    MAIN = "import sys; from cfnlint.runner import main; sys.exit(main())"

    def __init__(self, files: Files) -> None:
        header = re.compile("^AWSTemplateFormatVersion:", re.MULTILINE)
        templates = [file for file, text in files.text.items() if header.search(text)]
        command = [sys.executable, "-c", self.MAIN, "--format", "json", "--include-checks", "I"]
        self.process: subprocess.Popen[str] | None = None
        if importlib.util.find_spec("cfnlint"):
            self.process = subprocess.Popen(
                [*command, "--", *templates],
                cwd=files.root,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )


@check
def templates_pass_cfn_lint(lint: CfnLint) -> Findings:
    """The stack's template has no finding of cfn-lint."""
    if not lint.process:
        what = "cicd/stack.yml against AWS's schemas"
        raise NotCheckedError(f"{what}, because cfn-lint is missing")
    output, errors = lint.process.communicate()
    try:
        results = json.loads(output) if output or lint.process.returncode else []
    except ValueError:
        last = (errors.strip().splitlines() or ["nothing"])[-1]
        yield Place(STACK, 1), f"cfn-lint stopped, saying {last!r}; run it by itself"
        return
    for result in results:
        line, rule = result["Location"]["Start"]["LineNumber"], result["Rule"]
        message = f"{result['Message']} (cfn-lint {rule['Id']}, {rule['Source']})"
        yield Place(result["Filename"], line), message


class Report(NamedTuple):
    """The findings of each check, by its name; what could not be checked; what was."""

    findings: dict[str, set[Finding]]
    not_checked: list[str]
    summary: str


def prove(files: Files, lint: CfnLint | None = None) -> Report:
    """Runs every check: on unreadable files only those that read each file by itself."""
    files.parse()
    bundle = Bundle(files)
    stack = Stack(files, bundle)
    models = {"files": files, "bundle": bundle, "stack": stack, "lint": lint}
    report = Report({}, [], summary(files, bundle, stack))
    for function in CHECKS:
        parameters = [*inspect.signature(function).parameters]
        if is_due(function, report, files) and (lint or "lint" not in parameters):
            try:
                pairs = [*function(*(models[name] for name in parameters))]
            except NotCheckedError as reason:
                report.not_checked.append(str(reason))
                continue
            # A file that cannot be read has only that finding.
            known = files.unreadable if function.__name__ != "files_can_be_read" else set()
            found = {Finding(place, text) for place, text in pairs if place.file not in known}
            report.findings[function.__name__] = {one for one in found if not files.accepts(one)}
    places = {finding.place for found in report.findings.values() for finding in found}
    report.findings["forms"] = {item for item in files.misfits if item.place not in places}
    return report


def is_due(function: Check, report: Report, files: Files) -> bool:
    """Whether a check runs: after some findings, others would mislead."""
    if function in FIRST and report.findings.get(FIRST[function].__name__):
        return False
    alone = function.__module__ in ("ops.check.files", __name__)
    return alone or not any(file.endswith((".yml", ".yaml", ".env")) for file in files.unreadable)


def summary(files: Files, bundle: Bundle, stack: Stack) -> str:
    """How much was checked."""
    return (
        f"{len(files.text)} files: {len(files.buildspecs)} buildspecs,"
        f" {len(stack.resources)} resources of the stack,"
        f" {len(bundle.resources)} resources in {len(bundle.targets)} targets"
    )


def run(path: Path, strict: bool) -> int:
    """Checks a repository and prints what it finds. Returns the exit code."""
    try:
        files = Files(path.resolve())
        report = prove(files, CfnLint(files))
    except Exception:  # no file can cause this, whatever is in it
        traceback.print_exc()
        print("This is a bug in ops/check: please report the lines above.", file=sys.stderr)
        return 2
    findings = sorted({finding for found in report.findings.values() for finding in found})
    for place, message in findings:
        print(f"{place.file}:{place.line}: {message}")
    for what in report.not_checked:
        print(f"not checked: {what} (`make check` installs it)")
    failed = not all(finding.is_warning for finding in findings)
    if not failed:
        print(f"no findings in {report.summary}")
    return int(failed or (strict and bool(report.not_checked)))
