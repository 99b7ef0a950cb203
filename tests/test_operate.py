"""`make status`, `approve`, `reject`, `start`, `logs`, `drift`: every screen, every refusal."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from operating import ADA, SLUG, Operator, Refusal, at_work

A, B, C = "aaaaaaaa-1", "bbbbbbbb-1", "cccccccc-1"
PLAN = "# What would change in prod\n\n**0 to create, 1 to update**\n"
DENIED = Refusal("AccessDeniedException", "not you")


@pytest.fixture
def operator(default: Path, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator of the default rendering, whose stack has just been created."""
    with at_work(default, monkeypatch, capsys) as operator:
        yield operator


@pytest.fixture
def other_operator(request, rendering, monkeypatch, capsys) -> Iterator[Operator]:
    """An operator of a rendering that signs in otherwise."""
    with at_work(rendering(request.param), monkeypatch, capsys) as operator:
        yield operator


def ago(days: int) -> datetime:
    """The day that many days ago."""
    return datetime.now(UTC) - timedelta(days=days, hours=1)


# ---- make status ---------------------------------------------------------------------------------


def test_status_is_one_screen(operator: Operator) -> None:
    cloud = operator.cloud
    cloud.release(A, "0123abcd99")
    cloud.release(B, "5678ef0199")
    cloud.stage("QA", "Succeeded", B)
    cloud.approval(PLAN)
    cloud.stage("Production", "Failed", B)
    cloud.looked("drifted", "2 of 5 resources in prod are not as deployed")
    cloud.secret("Qa", 3)
    cloud.secret("Prod", 40, was_set=False)
    screen = operator.run("status")
    assert (screen.code, screen.err) == (0, "")
    assert screen.lines == [
        "pipeline-1 https://console.example/p",
        "",
        "Stage State Since Commit Execution",
        "QA Succeeded 24 Nov 14:00 5678ef01 bbbbbbbb",
        "Review InProgress 0123abcd eeeeeeee",
        "Production Failed 24 Nov 14:00 5678ef01 bbbbbbbb",
        "",
        "Waits in Review: Ada[bot] asks [/to] deploy commit 0123abcd. It deletes no data.",
        "https://link.example/build",
        "",
        "In qa 0123abcd, 24 Nov 16:00, execution eeeeeeee",
        "In prod 5678ef01, 24 Nov 15:00, execution bbbbbbbb; the deployment after it: Failed",
        "Drift 2 of 5 resources in prod are not as deployed (24 Nov 14:00)",
        f"Token of qa set {ago(3):%d %b %Y}, 3 days ago; its workspace knows when it expires",
        "Token of prod not set yet: make secrets",
    ]


def test_status_of_a_new_stack(operator: Operator) -> None:
    operator.cloud.stages = [{"stageName": "Production", "actionStates": []}]
    screen = operator.run("status")
    assert screen.code == 0, screen.err
    assert screen.lines[3] == "Production not run yet"
    rest = ["In qa nothing yet", "In prod nothing yet", "Drift not compared yet: make drift"]
    assert screen.lines[5:8] == rest


def test_status_says_that_a_rollback_is_deployed(operator: Operator) -> None:
    for execution, commit, back_to in ((A, "0123abcd99", ""), (B, "5678ef0199", ""), (C, "", A)):
        operator.cloud.release(execution, commit, back_to)
    operator.cloud.stage("Production", "Succeeded", C, type="ROLLBACK")
    lines = operator.run("status").lines
    assert "Production Succeeded 24 Nov 14:00 0123abcd cccccccc (rollback)" in lines
    assert "In prod 0123abcd, 24 Nov 16:00, rolled back to execution aaaaaaaa" in lines


@pytest.mark.parametrize(
    ("builds", "schedule", "said"),
    [
        (["SUCCEEDED"], "rate(1 day)", "Drift none (24 Nov 14:00)"),
        (["SUCCEEDED", "IN_PROGRESS"], "x", "Drift none (24 Nov 14:00); a build is comparing now"),
        (["IN_PROGRESS"], "x", "Drift unknown; a build is comparing now"),
        (
            ["SUCCEEDED", "FAILED"],
            "x",
            "Drift none (24 Nov 14:00); the last build could not compare",
        ),
        (["FAILED"], "x", "Drift unknown; the last build could not compare (24 Nov 14:00)"),
        (
            ["SUCCEEDED"],
            "",
            "Drift none (24 Nov 14:00); the schedule is off (DriftSchedule is empty)",
        ),
    ],
)
def test_status_says_what_is_known_of_drift(operator, builds, schedule, said) -> None:
    for status in builds:
        operator.cloud.looked("in-sync", "none")["buildStatus"] = status
    operator.cloud.parameters["DriftSchedule"] = schedule
    screen = operator.run("status")
    assert screen.code == 0, screen.err
    assert [line for line in screen.lines if line.startswith(said)]


def test_status_shows_the_rest_to_who_may_not_see_everything(operator: Operator) -> None:
    operator.cloud.answers["ListSecretVersionIds"] = lambda _: DENIED
    del operator.cloud.resources["DriftBuild"]
    screen = operator.run("status")
    assert screen.code == 0, screen.err
    assert "Token of qa unknown: AWS refuses ListSecretVersionIds: not you" in screen.lines
    gone = "Drift unknown: the stack has no DriftBuild; bring it up: make stack"
    assert gone in screen.lines


@pytest.mark.parametrize(
    ("other_operator", "said"),
    [
        (
            "oauth-m2m-serverless",
            [
                "Secret of qa set {ago}, 700 days ago; expires by {last} at the latest",
                "Secret of prod not set yet: make secrets",
            ],
        ),
        (
            "aws-iam-serverless",
            [
                "Drift not compared yet: make drift",
                "Credentials none is stored: builds sign in with their AWS roles",
            ],
        ),
    ],
    indirect=["other_operator"],
)
def test_status_knows_of_a_credential_what_aws_knows(other_operator: Operator, said) -> None:
    other_operator.cloud.secret("Qa", 700)
    other_operator.cloud.secret("Prod", 1, was_set=False)
    screen = other_operator.run("status")
    assert screen.code == 0, screen.err
    days = {"ago": f"{ago(700):%d %b %Y}", "last": f"{ago(700) + timedelta(days=730):%d %b %Y}"}
    assert screen.lines[-2:] == [line.format(**days) for line in said]


def test_another_year_is_named(operator: Operator) -> None:
    operator.cloud.looked("in-sync", "none", startTime=datetime(2020, 1, 2, 3, 4, tzinfo=UTC))
    assert "Drift none (02 Jan 2020 03:04)" in operator.run("status").lines


# ---- make approve, make reject -------------------------------------------------------------------


def test_the_whole_plan_is_shown_before_the_question(operator: Operator) -> None:
    operator.cloud.approval(PLAN)
    screen = operator.run("approve", "--reason", "looks good", typed="Y\n")
    assert screen == (
        0,
        "Ada[bot] asks [/to] deploy commit 0123abcd. It deletes no data.\n"
        f"https://link.example/build\n\n{PLAN}\nApprove it? [y/N] Approved.\n",
        "",
    )
    assert operator.cloud.called("PutApprovalResult") == [
        {
            "pipelineName": "pipeline-1",
            "stageName": "Review",
            "actionName": "Approve",
            "token": "t-1",
            "result": {"status": "Approved", "summary": "looks good"},
        }
    ]


def test_a_rejection_shows_what_is_rejected(operator: Operator) -> None:
    operator.cloud.approval(PLAN, loses_data=True)
    screen = operator.run("reject", "--reason", "x" * 600)
    assert screen.code == 0, screen.err
    assert screen.out.endswith(f"\n\n{PLAN}\nRejected.\n")
    (request,) = operator.cloud.called("PutApprovalResult")
    assert request["result"] == {"status": "Rejected", "summary": "x" * 512}


@pytest.mark.parametrize(
    ("loses", "terminal", "typed", "approved"),
    [
        (False, True, "y\n", True),
        (False, True, "\n", False),
        (False, True, "no\n", False),
        (False, False, "", True),
        (True, True, "y\ndelete\n", True),
        (True, True, "y\ny\n", False),
        (True, True, "y\n", False),
        (True, True, "n\ndelete\n", False),
        (True, False, "delete\n", True),
        (True, False, "y\n", False),
        (True, False, "", False),
    ],
)
def test_a_plan_that_loses_data_needs_the_word_delete(
    operator, loses, terminal, typed, approved
) -> None:
    operator.cloud.approval(PLAN, loses)
    operator.terminal = terminal
    screen = operator.run("approve", typed=typed)
    word = ": the word delete was not typed" if loses else ""
    refused = (1, f"approve: nothing is approved{word}\n")
    assert (screen.code, screen.err) == ((0, "") if approved else refused)
    assert len(operator.cloud.called("PutApprovalResult")) == approved


def test_the_word_depends_on_what_the_build_exports(default: Path, tmp_path: Path) -> None:
    """approve reads the variable that cicd/steps/plan.py writes, and the build hands on."""
    recordings = json.loads((ROOT / "tests/data/client-recordings.json").read_text())["recordings"]
    plans = {item["name"]: item["stdout"] for item in recordings}
    for name, loses_data in (("plan-delete-json", "true"), ("plan-update-json", "false")):
        (tmp_path / "plan.json").write_text(plans[name])
        command = [sys.executable, "cicd/steps/plan.py", "variables", tmp_path / "plan.json"]
        exports = subprocess.check_output(command, cwd=default, text=True)
        assert f"export LOSES_DATA={loses_data}" in exports.splitlines()
    buildspec = yaml.safe_load((default / "cicd/buildspecs/plan.yml").read_text())
    assert "LOSES_DATA" in buildspec["env"]["exported-variables"]


def test_a_plan_without_that_export_needs_the_word(operator: Operator) -> None:
    operator.cloud.approval(PLAN)
    operator.cloud.actions[1]["output"]["outputVariables"] = {}
    assert operator.run("approve", typed="y\n").code == 1
    assert operator.run("approve", typed="y\ndelete\n").code == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, "cannot be shown: AWS refuses GetObject: The specified key does not exist.. Read"),
        (b"PK", "The plan cannot be shown: its artifact is damaged (File is not a zip file)."),
    ],
)
def test_without_its_plan_an_approval_says_why(operator: Operator, body, said) -> None:
    operator.cloud.approval(PLAN)
    operator.cloud.objects = {"eeeeeeee-1/Plan": body} if body else {}
    screen = operator.run("approve", typed="n\n")
    assert said in screen.out
    assert operator.cloud.called("PutApprovalResult") == []


def test_an_approval_without_a_plan_says_so(operator: Operator) -> None:
    operator.cloud.approval(PLAN)
    operator.cloud.actions[1]["output"] = {}
    screen = operator.run("approve", typed="n\n")
    assert "\nThis execution has no plan to show.\n" in screen.out


def test_of_two_tries_the_newest_plan_counts(operator: Operator) -> None:
    operator.cloud.approval(PLAN, loses_data=True)
    approve = operator.cloud.actions.pop(0)
    again = {"outputs": ("Again",), "variables": {"LOSES_DATA": "false"}}
    newer = operator.cloud.action("eeeeeeee-1", "Review", "Plan", **again)
    newer["output"]["outputArtifacts"][0]["name"] = "Plan"
    operator.cloud.objects["eeeeeeee-1/Again"] = operator.cloud.objects["eeeeeeee-1/Plan"]
    operator.cloud.actions.insert(0, approve)
    screen = operator.run("approve")
    assert screen.code == 0, screen.err
    (got,) = operator.cloud.called("GetObject")
    assert got["Key"] == "eeeeeeee-1/Again"


def test_text_from_outside_cannot_change_the_screen(operator: Operator) -> None:
    operator.cloud.approval("- delete\x1b[2K\r\n- \x1b[31mred\x1b[0m \x9b2J \u202egnp.exe\rx\tä\n")
    screen = operator.run("approve")
    assert "\n- delete\n- red \ufffd2J \ufffdgnp.exe\ufffdx\tä\n" in screen.out


TOO_LATE = " Your answer changes nothing; see: make status\n"


@pytest.mark.parametrize("code", ["ApprovalAlreadyCompleted", "InvalidApprovalToken"])
@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"status": "Succeeded", "updatedBy": ADA}, "ada@example.com has approved it"),
        ({"status": "Failed", "updatedBy": ADA}, "ada@example.com has rejected it"),
        ({"status": "Failed"}, "it has been answered, or has expired"),
    ],
)
def test_the_second_of_two_answers_is_refused(operator, code, record, said) -> None:
    operator.cloud.approval(PLAN)

    def put(_: dict) -> Refusal:
        operator.cloud.actions[0] |= record
        return Refusal(f"{code}Exception")

    operator.cloud.answers["PutApprovalResult"] = put
    screen = operator.run("approve")
    assert screen.code == 1
    assert screen.err.startswith(f"approve: too late: {said}")
    assert screen.err.endswith(TOO_LATE)
    assert "Approved." not in screen.out


@pytest.mark.parametrize("reason", [[], ["--reason", ""], ["--reason", " "]])
def test_a_rejection_needs_a_reason(operator: Operator, reason: list[str]) -> None:
    operator.cloud.approval(PLAN)
    screen = operator.run("reject", *reason)
    assert (screen.code, screen.out) == (2, "")
    assert screen.err.endswith('Error: a reason is missing: make reject REASON="..."\n')
    assert operator.cloud.calls == []


@pytest.mark.parametrize("arguments", [["approve"], ["reject", "--reason", "x"]])
def test_nothing_is_answered_where_nothing_waits(operator: Operator, arguments) -> None:
    operator.cloud.approval(PLAN)
    operator.cloud.stages = []
    refused = f"{arguments[0]}: nothing waits for an approval; see: make status\n"
    assert operator.run(*arguments) == (1, "", refused)
    assert operator.cloud.called("PutApprovalResult") == []


# ---- make start ----------------------------------------------------------------------------------


def test_start_says_what_it_has_started(operator: Operator) -> None:
    assert operator.run("start") == (
        0,
        "Started execution 55555555-1 on the head of main.\nFollow it: make status, make logs\n",
        "",
    )
    (request,) = operator.cloud.called("StartPipelineExecution")
    assert (request["name"], "sourceRevisions" in request) == ("pipeline-1", False)


def test_start_passes_on_what_aws_says(operator: Operator) -> None:
    limit = Refusal("ConcurrentPipelineExecutionsLimitExceededException", "too many")
    operator.cloud.answers["StartPipelineExecution"] = lambda _: limit
    refused = "start: AWS refuses StartPipelineExecution: too many\n"
    assert operator.run("start") == (1, "", refused)


# ---- make logs -----------------------------------------------------------------------------------


def test_logs_follow_a_build_to_its_end(operator: Operator) -> None:
    cloud = operator.cloud
    cloud.build("ProdBuild", hour=5)
    build = cloud.build("QaBuild", "IN_PROGRESS", logs={"groupName": "/aws/codebuild/x"})

    def starts() -> None:
        build["logs"]["streamName"] = "s"

    def writes() -> None:
        cloud.log += ["one", "two", "three"]

    def ends() -> None:
        build["buildStatus"] = "SUCCEEDED"

    def late() -> None:
        cloud.log.append("\x1b[32mlast\x1b[0m")

    operator.waiting = iter([starts, writes, ends, late])
    screen = operator.run("logs")
    assert screen == (
        0,
        f"{SLUG}-qa:1, started 24 Nov 14:00\none\ntwo\nthree\nlast\nSUCCEEDED\n",
        "",
    )


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], "plan:1"),
        (["--build", "qa"], "qa:0"),
        (["--build", "drift"], "drift:2"),
        (["--build", "pull-request"], "pull-request:3"),
    ],
)
def test_logs_are_of_the_last_build_or_the_named_one(operator, arguments, shown) -> None:
    for hour, name in enumerate(("Qa", "Plan", "Drift", "PullRequest")):
        operator.cloud.build(f"{name}Build", hour=hour)
    operator.cloud.log = ["hello"]
    screen = operator.run("logs", *arguments)
    assert screen.code == 0, screen.err
    assert screen.out.startswith(f"{SLUG}-{shown}, started ")
    assert screen.out.endswith("\nhello\nSUCCEEDED\n")


def test_logs_say_why_a_build_failed_that_wrote_none(operator: Operator) -> None:
    phases = [
        {"phaseType": "QUEUED", "phaseStatus": "SUCCEEDED"},
        {
            "phaseType": "DOWNLOAD_SOURCE",
            "phaseStatus": "FAILED",
            "contexts": [{"message": "Secrets Manager can't find the secret"}, {}],
        },
        {"phaseType": "COMPLETED"},
    ]
    operator.cloud.build("ProdBuild", "FAILED", phases=phases)
    assert operator.run("logs").lines[1:] == [
        "It has no log: none was written, or it has expired (docs/operations.md).",
        "DOWNLOAD_SOURCE: Secrets Manager can't find the secret",
        "FAILED",
    ]


def test_logs_stop_being_followed_without_a_trace(operator: Operator) -> None:
    operator.cloud.build("QaBuild", "IN_PROGRESS")
    operator.cloud.log = ["one"]

    def control_c() -> None:
        raise KeyboardInterrupt

    operator.waiting = iter([control_c])
    screen = operator.run("logs")
    said = "No longer followed; the build itself is not stopped.\n"
    assert screen == (0, f"{SLUG}-qa:0, started 24 Nov 14:00\none\n\n{said}", "")


@pytest.mark.parametrize(
    ("arguments", "removed", "said"),
    [
        ([], "", "logs: there was no such build yet; see: make status"),
        (["--build", "plan"], "PlanBuild", "the stack has no PlanBuild; bring it up: make stack"),
    ],
)
def test_logs_that_are_not_there(operator: Operator, arguments, removed: str, said: str) -> None:
    operator.cloud.resources.pop(removed, None)
    screen = operator.run("logs", *arguments)
    assert (screen.code, screen.out) == (1, "")
    assert screen.err.startswith("logs: ") and screen.err.endswith(f"{said}\n")


def test_logs_of_no_build(operator: Operator) -> None:
    screen = operator.run("logs", "--build", "prd")
    assert (screen.code, screen.out) == (2, "")
    assert "'prd' is not one of 'qa', 'plan', 'prod', 'drift', 'pull-request'" in screen.err


# ---- make drift ----------------------------------------------------------------------------------


DIFFERS = "1 of 5 resources differ"
NOT_KNOWN = "not known: x"
COULD_NOT = "drift: the build could not compare: "


@pytest.mark.parametrize(
    ("build", "word", "sentence", "code", "out", "err"),
    [
        ("SUCCEEDED", "in-sync", "none", 0, "Drift: none\n", ""),
        ("SUCCEEDED", "no-release", "no deployment", 0, "Drift: no deployment\n", ""),
        ("SUCCEEDED", "unknown", NOT_KNOWN, 2, f"Drift: {NOT_KNOWN}\n", "see: make status\n"),
        ("SUCCEEDED", "drifted", DIFFERS, 1, f"Drift: {DIFFERS}\n", ""),
        ("FAILED", "", "", 2, "BUILD: exit status 1\n", f"{COULD_NOT}FAILED\n"),
        ("STOPPED", "", "", 2, "BUILD: exit status 1\n", f"{COULD_NOT}STOPPED\n"),
        ("FAILED", "in-sync", "none", 2, "BUILD: exit status 1\n", f"{COULD_NOT}FAILED\n"),
        ("SUCCEEDED", "", "", 2, "", f"{COULD_NOT}SUCCEEDED\n"),
    ],
)
def test_drift_says_what_its_build_found(operator, build, word, sentence, code, out, err) -> None:
    cloud = operator.cloud
    cloud.log = ["looking"]
    values = {"DRIFT_STATUS": word, "DRIFT": sentence}
    exported = [{"name": name, "value": value} for name, value in values.items() if value]
    phase = {"phaseType": "BUILD", "phaseStatus": build, "contexts": [{"message": "exit status 1"}]}

    def ends() -> None:
        cloud.builds[0] |= {
            "buildStatus": build,
            "exportedEnvironmentVariables": exported,
            "phases": [phase],
        }

    operator.waiting = iter([ends, lambda: None])
    screen = operator.run("drift")
    assert screen[:2] == (code, f"{SLUG}-drift:0, started 24 Nov 14:00\nlooking\n{out}")
    assert screen.err.endswith(err)
    assert cloud.called("StartBuild") == [{"projectName": f"{SLUG}-drift"}]


def test_a_comparison_that_failed_is_no_drift(operator: Operator) -> None:
    operator.cloud.answers["StartBuild"] = lambda _: Refusal("AccountLimitExceededException")
    refused = "drift: AWS refuses StartBuild: no\n"
    assert operator.run("drift") == (2, "", refused)
    operator.cloud.resources = {}
    missing = "drift: the stack has no DriftBuild; bring it up: make stack\n"
    assert operator.run("drift") == (2, "", missing)


def test_drift_that_nobody_waits_for_is_no_drift(operator: Operator) -> None:
    def control_c() -> None:
        raise KeyboardInterrupt

    operator.waiting = iter([control_c])
    screen = operator.run("drift")
    assert (screen.code, screen.err) == (2, "\ndrift: stopped\n")


def test_a_bug_is_no_drift_and_no_mistake_of_its_operator(operator: Operator) -> None:
    operator.cloud.answers["ListStackResources"] = lambda _: {"StackResourceSummaries": [{}]}
    screen = operator.run("drift")
    assert screen.code == 2
    assert screen.err.startswith("Traceback (most recent call last):")
    assert screen.err.endswith("drift: this is a bug in ops/, not your mistake\n")


def test_a_reader_that_has_enough_is_no_bug(operator: Operator, monkeypatch) -> None:
    def hang_up() -> None:  # as `make drift | head` does
        raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", sys.stdout)  # what is set in its place goes with the test
    operator.waiting = iter([hang_up])
    screen = operator.run("drift")
    assert (screen.code, screen.err) == (2, "")


# ---- Every command -------------------------------------------------------------------------------


def test_without_a_stack_the_way_to_one_is_shown(operator: Operator) -> None:
    missing = Refusal("ValidationError", f"Stack with id {SLUG} does not exist")
    operator.cloud.answers["DescribeStacks"] = lambda _: missing
    for command in ("status", "approve", "rollback", "start", "releases", "secrets"):
        refused = f"{command}: the stack {SLUG} does not exist; create it: make stack\n"
        assert operator.run(command) == (1, "", refused)


def test_without_a_name_of_a_stack_make_is_recommended(operator: Operator, monkeypatch) -> None:
    monkeypatch.setattr("operating.SLUG", "")
    screen = operator.run("start")
    assert (screen.code, screen.err.startswith("start: which stack? Pass --stack and ")) == (
        1,
        True,
    )


def test_help_lists_every_command(operator: Operator) -> None:
    screen = operator.run("--help")
    commands = re.findall(r"(?m)^  ([a-z-]+)  ", screen.out.partition("Commands:")[2])
    assert commands == sorted(
        """
        approve check destroy doctor drift logs pin-cli reject releases rollback secrets
        stack-parameters start status
        """.split()
    )
    for command in commands:
        assert operator.run(command, "--help").code == 0


@pytest.mark.parametrize("other_operator", ["aws-iam-serverless"], indirect=True)
def test_where_nothing_is_stored_no_command_stores_it(other_operator: Operator) -> None:
    screen = other_operator.run("secrets")
    assert (screen.code, "No such command 'secrets'" in screen.err) == (2, True)
