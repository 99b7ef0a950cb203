"""Comments on a pull request how its build ended.

Usage: python cicd/steps/comment.py

STEP names what the build did last. A build that no pull request has started comments on nothing.
This file too is code of the pull request that nobody has reviewed: the comment informs, it proves
nothing.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from release import Refused, aws
from texts import cut

REPORT = Path("reports/unit.xml")
# Failing tests that are named, characters of each: CodeCommit takes 10,240 in all.
MOST_NAMES, LONGEST = 40, 150
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-eusc": "console.amazonaws-eusc.eu",
}


def quoted(text: str) -> str:
    """Returns a text of unknown origin as Markdown shows code, so that nothing in it has effect."""
    plain = "".join(c if c.isprintable() and c != "`" else "?" for c in text) or "?"
    if len(plain) > LONGEST:
        plain = f"{plain[: LONGEST - 3]}..."
    return f"`{plain}`"


def with_outcome(cases: list[ElementTree.Element], *outcomes: str) -> list[str]:
    """Returns the names of the test cases that have one of these outcomes."""
    return [
        f"{case.get('classname', '')}.{case.get('name', '')}".strip(".")
        for case in cases
        if any(case.find(outcome) is not None for outcome in outcomes)
    ]


def tests() -> list[str]:
    """Returns what the report of the unit tests says, as parts of Markdown; none without one."""
    if not REPORT.is_file():
        return []
    try:
        cases = list(ElementTree.parse(REPORT).iter("testcase"))
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        return [f"{REPORT} cannot be read: {quoted(str(error))}"]
    failed, skipped = with_outcome(cases, "failure", "error"), with_outcome(cases, "skipped")
    passed = len(cases) - len(failed) - len(skipped)
    counts = f"Unit tests: {passed} passed, {len(failed)} failed, {len(skipped)} skipped."
    lines = [f"- {quoted(name)}" for name in failed]
    return [counts, "\n".join(cut(lines, MOST_NAMES))]


def link() -> str:
    """Returns the address of the build's page in the console of its AWS partition."""
    _, partition, _, region, _, build = os.environ["CODEBUILD_BUILD_ARN"].split(":", 5)
    project, number = build.removeprefix("build/").split(":")
    host = f"{region}.{CONSOLES.get(partition, CONSOLES['aws'])}"
    page = f"codesuite/codebuild/projects/{project}/build/{project}%3A{number}"
    return f"https://{host}/{page}/?region={region}"


def result() -> str:
    """Returns how the build ended, and if it failed, in which step."""
    if os.environ["CODEBUILD_BUILD_SUCCEEDING"] == "1":
        return "succeeded"
    step = os.environ.get("STEP", "")
    return f"failed in {quoted(step)}" if step else "failed"


def content() -> str:
    """Returns the comment, in Markdown."""
    minutes, seconds = divmod(int(time.time() - int(os.environ["CODEBUILD_START_TIME"]) / 1000), 60)
    parts = [
        f"**The build of commit {quoted(os.environ['SOURCE_COMMIT'])} {result()}**,"
        f" after {minutes}:{seconds:02} minutes.",
        *tests(),
        f"[Its log]({link()}). A later revision gets a comment of its own.",
    ]
    return "\n\n".join(part for part in parts if part)


def post(comment: dict[str, str]) -> None:
    """Posts the comment. Raises Refused."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "comment.json")
        file.write_text(json.dumps(comment), encoding="ascii")
        call = ("codecommit", "post-comment-for-pull-request")
        aws(*call, "--cli-input-json", file.as_uri())


def main() -> None:
    """Comments on the pull request; exits with AWS's reason if it refuses."""
    if not os.environ.get("PULL_REQUEST_ID"):
        print("comment.py: no pull request has started this build: there is nothing to comment on")
        return
    comment = {
        "pullRequestId": os.environ["PULL_REQUEST_ID"],
        "repositoryName": os.environ["REPOSITORY_NAME"],
        "beforeCommitId": os.environ["DESTINATION_COMMIT"],
        "afterCommitId": os.environ["SOURCE_COMMIT"],
        "content": content(),
    }
    try:
        post(comment)
    except Refused as refused:
        sys.exit(f"comment.py: {refused}")
    print(comment["content"])


if __name__ == "__main__":
    main()
