"""A build's test reports, read from JUnit files."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rehearsal.aws.codebuild.context import Context
from rehearsal.aws.codebuild.log import Log
from rehearsal.aws.codebuild.model import PhaseError, Report
from rehearsal.aws.codebuild.source import Buildspec

RIGHTS = ("CreateReportGroup", "CreateReport", "UpdateReport", "BatchPutTestCases")


def put_reports(context: Context, spec: Buildspec, log: Log) -> None:
    """Puts each report that the buildspec names. Raises PhaseError and AwsError."""
    for name, section in spec.get("reports", {}).items():
        group = name if name.startswith("arn:") else f"{context.build.project}-{name}"
        paths = report_files(context.folder.source, section)
        if not paths:
            log.say(f"No files of the report {group}: {section['files']}")
            continue
        arn = f"{context.account.stack.arn_prefix('codebuild')}report-group/{group}"
        for right in RIGHTS:
            context.account.authorizer.require(context.build.role, f"codebuild:{right}", arn)
        context.build.reports.append(read_report(group, paths))


def report_files(source: Path, section: dict[str, Any]) -> list[Path]:
    """The files of a report."""
    base = source / section.get("base-directory", ".")
    paths = (path for pattern in section["files"] for path in sorted(base.glob(pattern)))
    return [path for path in paths if path.is_file()]


def read_report(group: str, paths: list[Path]) -> Report:
    """Counts the cases of JUnit files. Raises PhaseError."""
    report = Report(group)
    for path in paths:
        try:
            cases = list(ElementTree.parse(path).getroot().iter("testcase"))
        except ElementTree.ParseError as error:
            raise PhaseError(f"{path.name} is no JUnit XML: {error}") from None
        for case in cases:
            count(report, case)
    return report


def count(report: Report, case: ElementTree.Element) -> None:
    """Adds a test case to a report."""
    if case.find("failure") is not None or case.find("error") is not None:
        report.failed.append(f"{case.get('classname')}.{case.get('name')}")
    elif case.find("skipped") is not None:
        report.skipped += 1
    else:
        report.passed += 1
