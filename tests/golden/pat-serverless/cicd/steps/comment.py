"""Comments on the pull request what came of its build.

Usage: python cicd/steps/comment.py

STEP names what the build did last. A build that no pull request has started comments on nothing.
What it says comes from code that nobody has reviewed, this file included: it informs, it proves
nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

REPORT = Path("reports/unit.xml")
# Failing tests that are named, characters of each: CodeCommit takes 10,240 in all.
NAMES, LENGTH = 40, 150
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-eusc": "console.amazonaws-eusc.eu",
}


def quoted(text: str) -> str:
    """A text of unknown origin as Markdown shows code: nothing in it means anything."""
    plain = "".join(c if c.isprintable() and c != "`" else "?" for c in text) or "?"
    return f"`{plain if len(plain) <= LENGTH else f'{plain[: LENGTH - 3]}...'}`"


def tests() -> list[str]:
    """What the report of the unit tests says, as lines of Markdown; nothing where there is none."""
    if not REPORT.is_file():
        return []
    try:
        cases = list(ElementTree.parse(REPORT).iter("testcase"))
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        return [f"{REPORT} cannot be read: {quoted(str(error))}"]

    def has(*outcomes: str) -> list[str]:
        found = (one for one in cases if any(one.find(name) is not None for name in outcomes))
        return [f"{one.get('classname', '')}.{one.get('name', '')}".strip(".") for one in found]

    failed, skipped = has("failure", "error"), has("skipped")
    passed = f"{len(cases) - len(failed) - len(skipped)} passed"
    counts = f"Unit tests: {passed}, {len(failed)} failed, {len(skipped)} skipped."
    lines = [f"- {quoted(name)}" for name in failed[:NAMES]]
    more = len(failed) - len(lines)
    return [counts, "\n".join([*lines, *([f"- ... and {more} more"] if more else [])])]


def link() -> str:
    """The build's page in the console, whichever partition of AWS this is."""
    _, partition, _, region, _, build = os.environ["CODEBUILD_BUILD_ARN"].split(":", 5)
    project, number = build.removeprefix("build/").split(":")
    host = f"{region}.{CONSOLES.get(partition, CONSOLES['aws'])}"
    page = f"codesuite/codebuild/projects/{project}/build/{project}%3A{number}"
    return f"https://{host}/{page}/?region={region}"


def content() -> str:
    """The comment, in Markdown."""
    good = os.environ["CODEBUILD_BUILD_SUCCEEDING"] == "1"
    step = os.environ.get("STEP", "")
    where = f" in {quoted(step)}" if step and not good else ""
    minutes, seconds = divmod(int(time.time() - int(os.environ["CODEBUILD_START_TIME"]) / 1000), 60)
    parts = [
        f"**The build of commit {quoted(os.environ['SOURCE_COMMIT'])} "
        f"{'succeeded' if good else f'failed{where}'}**, after {minutes}:{seconds:02} minutes.",
        *tests(),
        f"[Its log]({link()}). A later revision gets a comment of its own.",
    ]
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    """Posts the comment. Ends the build with AWS's reason where it is refused."""
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
    call = ["aws", "codecommit", "post-comment-for-pull-request"]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "comment.json")
        file.write_text(json.dumps(comment), encoding="ascii")
        command = [*call, "--cli-input-json", file.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"comment.py: {' '.join(call)}: {' '.join(done.stderr.split())}")
    print(comment["content"])


if __name__ == "__main__":
    main()
