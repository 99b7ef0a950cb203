"""`make status`, `approve`, `reject`, `start`, `logs`, `drift`: every screen, every refusal."""

import hashlib
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from operating import ADA, SLUG, Operator, Refusal, at_work, machine_plan, zipped

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


NOBODY = ": there is no terminal to ask at. To do it unasked, add YES=1"
UNTYPED, WORD = (
    ": the word delete was not typed",
    ": this plan loses data. YES=delete approves that",
)


@pytest.mark.parametrize(
    ("loses", "typed", "yes", "refused"),
    [
        (False, "y\n", [], None),
        (False, "\n", [], ""),
        (False, "no\n", [], ""),
        (False, None, [], NOBODY),
        (False, None, ["--yes"], None),
        (False, None, ["--yes", "1"], None),
        (False, None, ["--yes", "delete"], None),
        (True, "y\ndelete\n", [], None),
        (True, "y\ny\n", [], UNTYPED),
        (True, "y\n", [], UNTYPED),
        (True, "n\ndelete\n", [], ""),
        (True, "y\ndelete\n", ["--yes"], WORD),
        (True, None, [], NOBODY),
        (True, None, ["--yes"], WORD),
        (True, None, ["--yes", "delete"], None),
    ],
)
def test_a_plan_is_approved_by_a_persons_word_only(operator, loses, typed, yes, refused) -> None:
    operator.cloud.approval(PLAN, loses)
    screen = operator.run("approve", *yes, typed=typed)
    said = (0, "") if refused is None else (1, f"approve: nothing is approved{refused}\n")
    assert (screen.code, screen.err) == said
    assert len(operator.cloud.called("PutApprovalResult")) == (refused is None)


@pytest.mark.parametrize("typed", ["y\n", "delete\n", "y\ndelete\n"])
def test_what_comes_through_a_pipe_is_no_persons_word(operator: Operator, typed: str) -> None:
    operator.cloud.approval(PLAN, loses_data=True)
    operator.terminal = False
    screen = operator.run("approve", typed=typed)
    assert (screen.code, screen.err) == (1, f"approve: nothing is approved{NOBODY}\n")
    assert operator.cloud.called("PutApprovalResult") == []


def test_only_two_words_answer_beforehand(operator: Operator) -> None:
    operator.cloud.approval(PLAN)
    screen = operator.run("approve", "--yes", "no")
    assert (screen.code, operator.cloud.calls) == (2, [])
    assert "'no' is not one of '1', 'delete'" in screen.err


@pytest.mark.parametrize("exported", [{}, {"LOSES_DATA": "false"}, {"LOSES_DATA": ""}])
def test_the_plan_itself_says_whether_it_loses_data(operator: Operator, exported: dict) -> None:
    operator.cloud.approval(PLAN, loses_data=True)
    variables = operator.cloud.actions[1]["output"]["outputVariables"]
    del variables["LOSES_DATA"]
    variables |= exported
    screen = operator.run("approve", typed="y\ny\n")
    assert screen.code == 1
    question = "DATA WOULD BE LOST: delete schemas.raw. To approve that, type delete: "
    assert screen.out.endswith(f"Approve it? [y/N] {question}")
    assert operator.cloud.called("PutApprovalResult") == []


OTHER = "it is not the file that was planned; the bucket's access log says by whom"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, "AWS refuses GetObject: The specified key does not exist."),
        (b"PK", "its artifact is damaged (File is not a zip file)"),
        (
            zipped({"plan.md": PLAN}),
            "its artifact is damaged (\"There is no item named 'plan.json'",
        ),
        (zipped({"plan.json": machine_plan(loses_data=True), "plan.md": PLAN}), OTHER),
    ],
    ids=["gone", "damaged", "half", "another"],
)
@pytest.mark.parametrize("yes", [[], ["--yes"], ["--yes", "delete"]])
def test_what_cannot_be_shown_is_never_approved(operator: Operator, body, said, yes) -> None:
    operator.cloud.approval(PLAN)
    operator.cloud.objects = {"eeeeeeee-1/Plan": body} if body else {}
    screen = operator.run("approve", *yes, typed="y\ndelete\n")
    assert screen.code == 1
    start = "approve: nothing is approved: the plan cannot be shown: "
    assert screen.err.startswith(start + said)
    assert operator.cloud.called("PutApprovalResult") == []
    rejected = operator.run("reject", "--reason", "x")
    assert rejected.code == 0, rejected.err
    assert f"The plan cannot be shown: {said}" in rejected.out


@pytest.mark.parametrize("machine", ["{", '{"plan_version": 9, "plan": {}}', ""])
def test_a_plan_that_this_checkout_cannot_read_is_not_approved(operator, machine: str) -> None:
    operator.cloud.approval(PLAN)
    operator.cloud.objects["eeeeeeee-1/Plan"] = zipped({"plan.json": machine, "plan.md": PLAN})
    checksum = hashlib.sha256(machine.encode()).hexdigest()
    operator.cloud.actions[1]["output"]["outputVariables"]["PLAN_SHA256"] = checksum
    screen = operator.run("approve", "--yes", "delete")
    assert (screen.code, operator.cloud.called("PutApprovalResult")) == (1, [])
    assert screen.err.startswith("approve: nothing is approved: the plan cannot be shown: this ")


def test_the_checksum_of_the_approval_is_the_one_that_the_build_exports(default: Path) -> None:
    buildspec = yaml.safe_load((default / "cicd/buildspecs/plan.yml").read_text())
    assert "PLAN_SHA256" in buildspec["env"]["exported-variables"]


def test_an_approval_without_a_plan_is_not_given(operator: Operator) -> None:
    operator.cloud.approval(PLAN)
    operator.cloud.actions[1]["output"] = {}
    screen = operator.run("approve", "--yes")
    said = "approve: nothing is approved: the plan cannot be shown: this execution has none\n"
    assert (screen.code, screen.err) == (1, said)


def test_of_two_tries_the_newest_plan_counts(operator: Operator) -> None:
    operator.cloud.approval(PLAN, loses_data=True)
    approve = operator.cloud.actions.pop(0)
    machine = machine_plan()
    checksum = hashlib.sha256(machine.encode()).hexdigest()
    again = {"outputs": ("Again",), "variables": {"PLAN_SHA256": checksum}}
    newer = operator.cloud.action("eeeeeeee-1", "Review", "Plan", **again)
    newer["output"]["outputArtifacts"][0]["name"] = "Plan"
    body = zipped({"plan.json": machine, "plan.md": PLAN})
    operator.cloud.objects["eeeeeeee-1/Again"] = body
    operator.cloud.actions.insert(0, approve)
    screen = operator.run("approve", "--yes")
    assert screen.code == 0, screen.err
    (got,) = operator.cloud.called("GetObject")
    assert got["Key"] == "eeeeeeee-1/Again"


def test_text_from_outside_cannot_change_the_screen(operator: Operator) -> None:
    operator.cloud.approval("- delete\x1b[2K\r\n- \x1b[31mred\x1b[0m \x9b2J \u202egnp.exe\rx\tä\n")
    screen = operator.run("approve", "--yes")
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
    screen = operator.run("approve", "--yes")
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
        approve check destroy doctor drift logs pin-cli protect reject releases rollback secrets
        stack start status
        """.split()
    )
    for command in commands:
        assert operator.run(command, "--help").code == 0


@pytest.mark.parametrize("other_operator", ["aws-iam-serverless"], indirect=True)
def test_where_nothing_is_stored_no_command_stores_it(other_operator: Operator) -> None:
    screen = other_operator.run("secrets")
    assert (screen.code, "No such command 'secrets'" in screen.err) == (2, True)
