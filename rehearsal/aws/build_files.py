"""What goes into a build and comes out of it: sources, buildspec, artifacts, test reports."""

import glob
import io
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from rehearsal.aws.build import Context, Location, Log, PhaseError, Report
from rehearsal.aws.errors import Unsupported

Buildspec = dict[str, Any]
KEYS = {"version", "env", "phases", "reports", "artifacts", "cache"}


def download(context: Context) -> None:
    """Puts the sources into the build's folder. Raises PhaseError and ClientError."""
    kind = context.project["Source"]["Type"]
    if kind not in ("CODEPIPELINE", "CODECOMMIT", "NO_SOURCE", "S3"):
        raise Unsupported(f"the rehearsal does not know the source {kind}")
    if kind == "CODECOMMIT":
        clone(context)
    if kind == "S3" and not context.request.inputs:
        context.request.inputs[""] = Location.of_source(context.project["Source"]["Location"])
    unpack_inputs(context)


def unpack_inputs(context: Context) -> None:
    """Downloads and unpacks the input artifacts, with the build's role."""
    s3, folder = context.client("s3"), context.folder
    for position, (name, location) in enumerate(context.request.inputs.items()):
        body = s3.get_object(Bucket=location.bucket, Key=location.key)["Body"].read()
        if position == 0:
            unpack(body, folder.source)
        else:
            target = folder.root / f"src-{name}"
            context.variables[f"CODEBUILD_SRC_DIR_{name}"] = str(target)
            unpack(body, target)


def unpack(content: bytes, target: Path) -> None:
    """Unpacks a zip, with the modes of its files."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, target))
            if mode := entry.external_attr >> 16 & 0o777:
                path.chmod(mode)


def clone(context: Context) -> None:
    """Clones the repository at the commit or branch that is asked for, with the build's role."""
    account, source = context.account, context.folder.source
    location = context.project["Source"]["Location"]
    repository = account.stack.logical("CodeCommit::Repository", location)
    account.authorizer.require(
        context.build.role, "codecommit:GitPull", account.stack.arn(repository)
    )
    version = context.request.version or context.project.get("SourceVersion") or "HEAD"
    # A whole clone, not a hard-linked one: the build may write into its .git.
    commands = (
        ["clone", "--quiet", "--no-local", "--no-checkout", str(account.codecommit.folder), "."],
        ["checkout", "--quiet", version, "--"],
        # What the build itself pulls or pushes needs AWS's address, and a credential.
        ["remote", "set-url", "origin", location],
    )
    for command in commands:
        git(source, version, *command)
    context.variables |= {
        "CODEBUILD_RESOLVED_SOURCE_VERSION": git(source, version, "rev-parse", "HEAD").strip(),
        "CODEBUILD_SOURCE_REPO_URL": location,
        "CODEBUILD_SOURCE_VERSION": version,
    }


def git(folder: Path, version: str, *arguments: str) -> str:
    """What git prints in a folder. Raises PhaseError as CodeBuild words it."""
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    if result.returncode:
        raise PhaseError(f"CLIENT_ERROR: {result.stderr.strip()} for source version {version}")
    return result.stdout


def read_buildspec(context: Context) -> Buildspec:
    """The buildspec that the project names, or holds itself. Raises PhaseError."""
    default = context.project["Source"].get("BuildSpec", "buildspec.yml")
    name = text = context.request.buildspec or default
    if "\n" not in name:
        path = context.folder.source / name
        if not path.is_file():
            raise PhaseError(f"YAML_FILE_ERROR: {name}: no such file in the source")
        text = path.read_text(encoding="utf-8")
    try:
        spec = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PhaseError(f"YAML_FILE_ERROR: {name}: {' '.join(str(error).split())}") from None
    if not isinstance(spec, dict) or str(spec.get("version")) != "0.2":
        raise PhaseError(f"YAML_FILE_ERROR: {name}: the rehearsal knows version 0.2")
    unknown = sorted(set(spec) - KEYS)
    if unknown or not spec.get("phases"):
        raise PhaseError(f"YAML_FILE_ERROR: {name}: no phases, or unknown keys: {unknown}")
    return spec


def upload(context: Context, spec: Buildspec) -> None:
    """Uploads the output artifacts, with the build's role. Raises PhaseError and ClientError."""
    outputs = context.request.outputs
    if not outputs:
        return
    section = spec.get("artifacts")
    if not section:
        raise PhaseError("the action has output artifacts, but the buildspec has no artifacts")
    secondary = section.get("secondary-artifacts", {})
    s3 = context.client("s3")
    for name, location in outputs.items():
        content = pack(context.folder.source, secondary.get(name, section))
        s3.put_object(Bucket=location.bucket, Key=location.key, Body=content)
        context.build.artifacts[name] = location.key


def pack(source: Path, section: dict[str, Any]) -> bytes:
    """A zip of the files that an artifacts section names."""
    base = source / section.get("base-directory", ".")
    names = files(base, section["files"]) - files(base, section.get("exclude-paths", []))
    if not names:
        raise PhaseError(f"CLIENT_ERROR: no matching artifact paths found: {section['files']}")
    flat = str(section.get("discard-paths", "no")).lower() in ("yes", "true")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(names):
            archive.write(base / name, Path(name).name if flat else name)
    return content.getvalue()


def files(base: Path, patterns: list[str]) -> set[str]:
    """The files that match one of the patterns."""
    matches = (
        name
        for pattern in patterns
        for name in glob.glob(pattern, root_dir=base, recursive=True, include_hidden=True)
    )
    return {name for name in matches if (base / name).is_file()}


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
