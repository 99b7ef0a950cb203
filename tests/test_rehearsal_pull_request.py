"""Pull requests, rehearsed: what is built, what the comment says, what such code cannot reach."""

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import yaml

from rehearsal import play
from rehearsal.aws.build import Build, BuildRequest
from rehearsal.aws.stack import Stack
from rehearsing import UV, edit

SPEC = "cicd/buildspecs/pull_request.yml"
TEST = "tests/unit/test_trips.py"
FAKE_AWS = """\
#!/bin/sh
echo "$@" >>calls
[ -e refused ] && { printf '\\nAn error occurred (%s)\\n' "$(cat refused)" >&2; exit 254; }
cp "${4#file://}" posted.json
"""


def runs(root: Path, *commands: str) -> None:
    """Makes the build of pull requests install nothing and run these commands."""
    spec = yaml.safe_load((root / SPEC).read_text())
    del spec["phases"]["install"]
    spec["phases"]["build"]["commands"] = list(commands)
    (root / SPEC).write_text(yaml.safe_dump(spec, sort_keys=False))


def head(played: play.Rehearsal, branch: str) -> str:
    """The pushed commit of a branch."""
    return played.aws.codecommit.head(branch)


def comments(played: play.Rehearsal) -> list[dict[str, str]]:
    """The comments on pull requests."""
    return played.aws.codecommit.comments


def matched(played: play.Rehearsal) -> list[tuple[str, list[str]]]:
    """Each event so far, with the rules that it matched."""
    return [(event.detail_type, event.rules) for event in played.aws.bus.history]


def log(build: Build) -> str:
    """What the build's log says."""
    return build.log.read_text()


# ---- In a rehearsal ------------------------------------------------------------------------------


def test_a_green_pull_request_gets_one_comment(default: Path, rehearsal) -> None:
    with rehearsal(default, make=True) as played:
        played.working_copy.push(played.branch)
        (played.repository / "README.md").write_text("# Changed\n")
        build = played.pull_request("feature")
        assert build.status == "SUCCEEDED", build.failure + log(build)
        assert "no findings in" in log(build)
        (report,) = build.reports
        assert report.passed and not report.failed
        (comment,) = comments(played)
        assert comment["role"] == "PullRequestBuildRole"
        assert comment["pullRequestId"] == "1"
        assert comment["repositoryName"] == "my-data-project"
        assert comment["beforeCommitId"] == head(played, "main")
        assert comment["afterCommitId"] == head(played, "feature")
        first, tests, link = comment["content"].split("\n\n")
        assert first.startswith(f"**The build of commit `{head(played, 'feature')}` succeeded**, ")
        assert tests.startswith(f"Unit tests: {report.passed} passed, 0 failed, ")
        page = "codesuite/codebuild/projects/my-data-project-pull-request/build"
        assert f"(https://us-east-1.console.aws.amazon.com/{page}/{build.project}%3A" in link
        assert not [call for call in played.aws.calls if not call.allowed]
        assert played.pipeline.executions == []  # it deploys nothing
        assert played.mails == []


def test_a_failing_test_is_named(repository: Path, rehearsal) -> None:
    with rehearsal(repository, make=True) as played:
        played.working_copy.push(played.branch)
        edit(played.repository, TEST, 'assert "--schema" in', 'assert "--catalogue" in')
        for step in ("check", "lint", "build"):
            line = f'      - export STEP="make {step}" && make {step}\n'
            edit(played.repository, SPEC, line, "")
        build = played.pull_request("feature")
        assert build.status == "FAILED"
        assert "exit status 2" in build.failure
        content = comments(played)[0]["content"]
        assert f"`{head(played, 'feature')}` failed in `make test`**" in content
        assert "1 failed" in content
        assert "\n- `tests.unit.test_trips.test_main_says_what_is_missing`\n" in content


def test_each_revision_gets_a_comment_that_names_its_commit(repository: Path, rehearsal) -> None:
    with rehearsal(repository) as played:
        played.working_copy.push(played.branch)
        runs(played.repository, "test ! -e bad")
        (played.repository / "bad").touch()
        first, commit = played.pull_request("feature"), head(played, "feature")
        (played.repository / "bad").unlink()
        second = played.pull_request("feature")
        assert (first.status, second.status) == ("FAILED", "SUCCEEDED")
        red, green = comments(played)
        assert red["content"].startswith(f"**The build of commit `{commit}` failed**")
        assert green["content"].startswith(
            f"**The build of commit `{head(played, 'feature')}` succeeded**"
        )
        assert {red["pullRequestId"], green["pullRequestId"]} == {"1"}
        assert green["afterCommitId"] == head(played, "feature") != commit == red["afterCommitId"]

        other = played.pull_request("another")
        assert other.status == "SUCCEEDED"
        assert comments(played)[2]["pullRequestId"] == "2"


def test_an_installation_that_fails_is_commented_on_too(repository: Path, rehearsal) -> None:
    with rehearsal(repository) as played:
        played.working_copy.push(played.branch)
        edit(played.repository, SPEC, UV, "      - test -e nowhere\n")
        build = played.pull_request("feature")
        assert [phase.name for phase in build.phases] == ["DOWNLOAD_SOURCE", "INSTALL"]
        (comment,) = comments(played)
        assert "failed in `pip install`**" in comment["content"]
        assert "test -e nowhere" in build.failure

        # A `finally` that fails fails its phase.
        edit(played.repository, SPEC, "test -e nowhere", "test -e README.md")
        edit(played.repository, SPEC, 'install" python cicd/steps/comment.py', 'install" false')
        again = played.pull_request("feature")
        assert again.failure.startswith("INSTALL: ") and "command -v uv" in again.failure


def test_a_comment_that_is_refused_fails_the_build(repository: Path, rehearsal) -> None:
    rights = "codecommit:GitPull, codecommit:PostCommentForPullRequest"
    edit(repository, "cicd/stack.yml", rights, "codecommit:GitPull")

    with rehearsal(repository) as played:
        played.working_copy.push(played.branch)
        runs(played.repository, "true")
        build = played.pull_request("feature")
        assert build.failure.startswith("POST_BUILD")
        (line,) = (text for text in log(build).splitlines() if text.startswith("comment.py: "))
        assert line.startswith(
            "comment.py: aws codecommit post-comment-for-pull-request:"
            " An error occurred (AccessDeniedException)"
        )
        assert "codecommit:PostCommentForPullRequest" in line
        assert comments(played) == []


def test_a_build_by_hand_comments_on_nothing(repository: Path, rehearsal) -> None:
    runs(repository, 'test "$CODEBUILD_RESOLVED_SOURCE_VERSION" = "$(git rev-parse HEAD)"')

    with rehearsal(repository) as played:
        played.working_copy.push(played.branch)
        build = played.codebuild.run("PullRequestBuild", BuildRequest("Ada"))
        assert build.status == "SUCCEEDED", build.failure
        assert "there is nothing to comment on" in log(build)
        assert comments(played) == []


def forbidden(stack: Stack, bucket: str, key: str) -> dict[str, list[str]]:
    """What a pull request's code may try, by the action that it needs: calls of `aws`."""
    pipeline, role = stack.ref("Pipeline"), stack.arn("ProdBuildRole")
    return {
        "secretsmanager:GetSecretValue": [
            f"secretsmanager get-secret-value --secret-id {stack.arn('ProdSecret')}",
            f"secretsmanager get-secret-value --secret-id {stack.arn('QaSecret')}",
        ],
        "s3:GetObject": [f"s3api get-object --bucket {bucket} --key {key} stolen.zip"],
        "s3:ListBucket": [f"s3api list-objects-v2 --bucket {bucket}"],
        "s3:PutObject": [f"s3api put-object --bucket {bucket} --key {key} --body README.md"],
        "codebuild:StartBuild": [
            f"codebuild start-build --project-name my-data-project-{name}"
            for name in ("prod", "pull-request")
        ],
        "codepipeline:StartPipelineExecution": [
            f"codepipeline start-pipeline-execution --name {pipeline}"
        ],
        "sns:Publish": [f"sns publish --topic-arn {stack.arn('Topic')} --message hello"],
        "sts:AssumeRole": [f"sts assume-role --role-arn {role} --role-session-name me"],
        "kms:GenerateDataKey": [
            f"kms generate-data-key --key-id {stack.arn('Key')} --key-spec AES_256"
        ],
    }


def test_what_a_pull_request_cannot_reach(repository: Path, rehearsal) -> None:
    """Its buildspec is its own: it may ask for anything."""

    with rehearsal(repository) as played:
        played.working_copy.push(played.branch)
        aws, stack = played.aws, played.aws.stack
        bucket, key = stack.ref("ArtifactBucket"), "my-data-project-Pipe/Source/aB3xY7z"
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("README.md", "reviewed")
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=packed.getvalue())
        asks = forbidden(stack, bucket, key)
        commands = [command for several in asks.values() for command in several]
        attempts = [f"if aws {command}; then echo 'REACHED IT'; fi" for command in commands]
        runs(played.repository, "env", *attempts)
        build = played.pull_request("feature")
        assert build.status == "SUCCEEDED", build.failure + log(build)
        text = log(build)
        assert "\nREACHED IT\n" not in text
        assert text.count("An error occurred (AccessDenied") == len(commands)
        refused = [call for call in aws.calls if not call.allowed]
        assert [call.action for call in refused] == [
            action for action, several in asks.items() for _ in several
        ]
        assert {call.role for call in refused} == {"PullRequestBuildRole"}
        allowed = {c.action for c in aws.calls if c.allowed and c.role == "PullRequestBuildRole"}
        assert allowed == {
            "codecommit:GitPull",
            "codecommit:PostCommentForPullRequest",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        }
        assert not (build.log.parent / "src/stolen.zip").exists()
        body = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        assert body == packed.getvalue()
        assert [other.project for other in played.codebuild.builds] == [build.project]
        assert (played.pipeline.executions, played.mails) == ([], [])


def test_pull_requests_and_pushes_start_what_is_theirs(deploying: Path, rehearsal) -> None:
    runs(deploying, "true")

    with rehearsal(deploying) as played:
        played.working_copy.push(played.branch)
        build = played.pull_request("feature")
        assert matched(played) == [
            ("CodeCommit Repository State Change", []),  # the push to the branch
            ("CodeCommit Pull Request State Change", ["PullRequestRule"]),
            ("CodeBuild Build State Change", []),
        ]
        played.aws.bus.history.clear()
        codecommit = played.aws.codecommit
        assert codecommit.announce_push("feature", head(played, "feature")) == []
        assert matched(played) == [("CodeCommit Repository State Change", [])]
        assert [other.project for other in played.codebuild.builds] == [build.project]
        assert played.pipeline.executions == []


# ---- What the comment says of what it is given ---------------------------------------------------


@pytest.fixture
def comment(default: Path, tmp_path: Path):
    """A function: runs comment.py on a report, with variables; its result and comment."""
    fake = tmp_path / "bin/aws"
    fake.parent.mkdir()
    fake.write_text(FAKE_AWS)
    fake.chmod(0o755)

    def run(report: str | None = None, **variables: str):
        if report is not None:
            (tmp_path / "reports").mkdir(exist_ok=True)
            (tmp_path / "reports/unit.xml").write_text(report, encoding="utf-8")
        env = {
            "PATH": f"{fake.parent}:{os.environ['PATH']}",
            "CODEBUILD_BUILD_ARN": "arn:aws:codebuild:eu-west-1:1:build/slug-pull-request:a1-b2",
            "CODEBUILD_BUILD_SUCCEEDING": "0",
            "CODEBUILD_START_TIME": str(int((time.time() - 83) * 1000)),
            "PULL_REQUEST_ID": "7",
            "REPOSITORY_NAME": "slug",
            "SOURCE_COMMIT": "ab12",
            "DESTINATION_COMMIT": "cd34",
            **variables,
        }
        command = [sys.executable, "-B", default / "cicd/steps/comment.py"]
        result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        posted = tmp_path / "posted.json"
        return result, json.loads(posted.read_text())["content"] if posted.exists() else ""

    return run


def junit(*names: str) -> str:
    """A report in which these tests failed and one passed."""
    cases = "".join(
        f'<testcase classname="t" name="{name}"><failure/></testcase>' for name in names
    )
    return f'<testsuites><testsuite><testcase name="good"/>{cases}</testsuite></testsuites>'


def test_the_comment_says_what_failed_and_how_long_it_took(comment) -> None:
    result, content = comment(STEP="make lint")
    assert result.returncode == 0, result.stderr
    assert content.startswith("**The build of commit `ab12` failed in `make lint`**, after 1:2")
    assert "Unit tests" not in content


def test_names_of_tests_mean_nothing_in_markdown(comment) -> None:
    name = "x`](https://evil.example)\u202e **bold** &#10;&#10;# title" + "y" * 200
    _, content = comment(junit(name), STEP="make `test`\n\n# x")
    (line,) = (text for text in content.splitlines() if text.startswith("- "))
    assert line.startswith("- `t.x?](https://evil.example)? **bold** ??# title")
    assert line.endswith("...`") and line.count("`") == 2 and len(line) < 160
    assert "failed in `make ?test???# x`**" in content


def test_many_names_are_cut_with_a_count(comment) -> None:
    names = [f"{number:04}{'ü' * 500}" for number in range(1000)]
    _, content = comment(junit(*names))
    assert "Unit tests: 1 passed, 1000 failed, 0 skipped." in content
    assert content.count("\n- `t.0") == 40
    assert "\n- ... and 960 more\n" in content
    assert len(content) <= 10_240


@pytest.mark.parametrize("report", ["<testsuites><", "", "\x00", "<!DOCTYPE x [<!ENTITY a 'b'>"])
def test_a_broken_report_is_said(comment, report: str) -> None:
    result, content = comment(report)
    assert result.returncode == 0, result.stderr
    assert "reports/unit.xml cannot be read: `" in content


def test_a_refusal_is_one_line_that_names_the_call(comment, tmp_path: Path) -> None:
    (tmp_path / "refused").write_text("CommitDoesNotExistException")
    result, _ = comment()
    assert result.returncode == 1
    assert result.stderr == (
        "comment.py: aws codecommit post-comment-for-pull-request:"
        " An error occurred (CommitDoesNotExistException)\n"
    )


def test_without_a_pull_request_nothing_is_called(comment, tmp_path: Path) -> None:
    result, _ = comment(PULL_REQUEST_ID="")
    assert result.returncode == 0
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn", "aws-eusc"])
def test_the_link_has_the_console_that_the_stack_has(comment, default, partition: str) -> None:
    stack = (default / "cicd/stack.yml").read_text()
    (line,) = (text for text in stack.splitlines() if f"    {partition}: {{Console:" in text)
    _, content = comment(CODEBUILD_BUILD_ARN=f"arn:{partition}:codebuild:r-1:1:build/p:a1")
    page = "codesuite/codebuild/projects/p/build/p%3Aa1/?region=r-1"
    host = line.split("Console: ")[1].rstrip("}")
    assert f"[Its log](https://r-1.{host}/{page})" in content
