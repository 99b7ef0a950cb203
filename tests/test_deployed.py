"""What steps take for granted: the deployed release, its wheel, an administrator's cicd/."""

import hashlib
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steps import load

# ---- deployed.py ---------------------------------------------------------------------------------

NAME = "a-1-py3-none-any.whl"
RELEASE = [["Source", "bucket", "p/Source/old"], ["Wheel", "bucket", "p/Wheel/old"]]
CALL = "codepipeline list-action-executions --pipeline-name p --query"
SUCCESS = (
    "actionExecutionDetails[?stageName=='Production' && actionName=='Deploy'"
    " && status=='Succeeded'] | [0].input"
)
ARTIFACTS = f"{CALL} {SUCCESS}.inputArtifacts[].[name, s3location.bucket, s3location.key]"
VARIABLES = f"{CALL} {SUCCESS}.resolvedConfiguration.EnvironmentVariables"
GET = "s3api get-object --bucket bucket --key"


class Account:
    """AWS's command-line interface, for a release: the answer to each of its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, Any] = {ARTIFACTS: RELEASE}
        self.artifacts = {"p/Source/old": {"databricks.yml": "bundle:"}}
        self.wheel({NAME: "approved"})
        self.approve(hashlib.sha256(b"approved").hexdigest())

    def wheel(self, files: dict[str, str]) -> None:
        """What QA has handed on."""
        self.artifacts["p/Wheel/old"] = {f"dist/{name}": text for name, text in files.items()}

    def approve(self, checksum: str, name: str = "WHEEL_SHA256") -> None:
        """The variable that the approval was about, as CodePipeline keeps it."""
        variables = [{"name": "PLAN_SHA256", "value": "0"}, {"name": name, "value": checksum}]
        self.answers[VARIABLES] = json.dumps(variables)

    def aws(self, *arguments: str) -> str:
        """Answers a call, or writes an artifact into the file that is named last."""
        call = " ".join(arguments)
        if call in self.answers:
            return json.dumps(self.answers[call])
        command, _, rest = call.partition(f"{GET} ")
        assert command == "", call
        key, _, file = rest.partition(" ")
        with zipfile.ZipFile(file, "w") as archive:
            for name, text in self.artifacts[key].items():
                archive.writestr(name, text)
        return ""


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account with a release."""
    account = Account(tmp_path)
    monkeypatch.setattr(load("release"), "aws", account.aws)
    return account


@pytest.fixture
def fetched(account: Account, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """A function: runs deployed.py; returns the files that it fetched, or why it stops."""
    folder = account.folder / "release"
    folder.mkdir()
    monkeypatch.setattr(sys, "argv", ["deployed.py", "p", str(folder)])

    def run() -> Any:
        try:
            load("deployed").main()
        except SystemExit as stop:
            return stop.code
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_text() for path in files}

    return run


def test_a_release_is_its_commit_and_the_approved_wheel(account: Account, fetched) -> None:
    account.artifacts["p/Wheel/old"]["cicd/steps/plan.py"] = "evil"
    account.artifacts["p/Wheel/old"]["dist/extra.txt"] = "evil"
    assert fetched() == {"databricks.yml": "bundle:", f"dist/{NAME}": "approved"}


def test_a_commits_own_dist_is_not_taken(account: Account, fetched) -> None:
    account.artifacts["p/Source/old"]["dist/own-1-py3-none-any.whl"] = "x"
    assert set(fetched()) == {"databricks.yml", f"dist/{NAME}"}


def test_before_the_first_release_there_is_nothing(account: Account, fetched) -> None:
    account.answers[ARTIFACTS] = None
    assert fetched() == 3


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "the deployed release has 0 wheels, not one"),
        ({NAME: "approved", f"b{NAME}": ""}, "the deployed release has 2 wheels, not one"),
        ({NAME: "evil"}, f"{NAME} is not the wheel that was approved; it was replaced"),
    ],
)
def test_another_wheel_is_not_taken(account: Account, fetched, files, why: str) -> None:
    account.wheel(files)
    assert fetched() == f"deployed.py: {why}"
    assert not (account.folder / "release/dist" / NAME).exists()


@pytest.mark.parametrize("variables", [None, "[]", '[{"name": "PLAN_SHA256", "value": "0"}]'])
def test_a_release_without_a_checksum_is_not_taken(account: Account, fetched, variables) -> None:
    account.answers[VARIABLES] = variables
    why = "the deployed release has no WHEEL_SHA256; deploy once more: make start"
    assert fetched() == f"deployed.py: {why}"


# ---- release.py ----------------------------------------------------------------------------------

STATUS = (
    "codepipeline get-pipeline-state --name p --query"
    " stageStates[?stageName=='Production'].actionStates[]"
    " | [?actionName=='Deploy'].latestExecution.status | [0]"
)


@pytest.fixture
def said(account: Account, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., Any]:
    """A function: runs release.py; each time it waits, seconds pass and a status follows."""

    def run(
        command: str, *statuses: str | None, seconds: float = 5
    ) -> tuple[Any, str, list[float]]:
        release, coming, waits = load("release"), iter(statuses), []
        account.answers[STATUS] = next(coming)

        def sleep(duration: float) -> None:
            waits.append(duration)
            account.answers[STATUS] = next(coming)

        monkeypatch.setattr(sys, "argv", ["release.py", command, "p"])
        with monkeypatch.context() as patch:
            patch.setattr(release.time, "sleep", sleep)
            patch.setattr(release.time, "monotonic", lambda: 7 + seconds * len(waits))
            try:
                code = release.main()
            except SystemExit as stop:
                code = stop.code
        return code, capsys.readouterr().out, waits

    return run


@pytest.mark.parametrize(("status", "line"), [("Succeeded", "Succeeded\n"), (None, "\n")])
def test_the_status_of_the_last_deployment(said, status: str | None, line: str) -> None:
    assert said("status", status) == (None, line, [])


def test_the_execution_that_entered_a_stage_last(account: Account) -> None:
    for stage, answer in (("Review", "e-2"), ("Production", None)):
        query = f"stageStates[?stageName=='{stage}'].latestExecution.type | [0]"
        call = f"codepipeline get-pipeline-state --name p --query {query}"
        account.answers[call] = answer
    latest = load("release").latest
    assert (latest("p", "type", "Review"), latest("p", "type")) == ("e-2", "")


RUNS = "A deployment to production is running; the plan waits for its end.\n"


def test_a_plan_waits_for_the_end_of_a_deployment(said) -> None:
    assert said("wait", "Failed") == (None, "", [])
    assert said("wait", None) == (None, "", [])
    assert said("wait", "InProgress", "Succeeded") == (None, RUNS, [5])
    assert said("wait", "InProgress", "InProgress", "Stopping", "Stopped") == (None, RUNS, [5] * 3)


def test_a_plan_waits_for_twenty_minutes(said) -> None:
    code, out, waits = said("wait", *["InProgress"] * 9, seconds=300)
    why = "the deployment to production is still running; retry this stage when it has ended"
    assert (code, out, len(waits)) == (f"release.py: {why}", RUNS, 5)


def test_what_aws_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "aws"
    program.write_text('#!/bin/sh\necho "$@"\nprintf "\\nAccess\\n denied\\n" >&2\nexit 255\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "argv", ["release.py", "status", "p"])
    with pytest.raises(SystemExit) as stop:
        load("release").main()
    assert stop.value.code == "release.py: aws codepipeline get-pipeline-state: Access denied"
    program.write_text('#!/bin/sh\necho "$@"\n')
    assert load("release").aws("a", "b c") == "a b c --output json\n"


# ---- same_cicd.py --------------------------------------------------------------------------------


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[[], Any]:
    """A function: compares tmp_path/commit/cicd with what an administrator has deployed."""
    step = load("same_cicd")
    for place in (tmp_path / "deployed", tmp_path / "commit/cicd"):
        (place / "steps").mkdir(parents=True)
        (place / "steps/plan.py").write_text("plan")
        (place / "stack.yml").write_text("stack")
        (place / "link").symlink_to("stack.yml")
    monkeypatch.setattr(step, "OWN", tmp_path / "deployed")
    monkeypatch.setenv("COMMIT_AUTHOR", '"Ada"')

    def run(*arguments: str) -> tuple[int, str]:
        folder = (str(tmp_path / "commit"),)
        monkeypatch.setattr(sys, "argv", ["same_cicd.py", *(arguments or folder)])
        code = step.main()
        out, err = capsys.readouterr()
        assert out == ""
        return code, err

    return run


def relink(path: Path, target: str) -> None:
    """Has a link lead elsewhere."""
    path.unlink()
    path.symlink_to(target)


def replace_by_link(path: Path) -> None:
    """Puts a link in the place of a folder."""
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to("../elsewhere")


CHANGES: dict[str, Callable[[Path], object]] = {
    "changed 'cicd/stack.yml'": lambda cicd: (cicd / "stack.yml").write_text("evil"),
    "removed 'cicd/steps/plan.py'": lambda cicd: (cicd / "steps/plan.py").unlink(),
    "added 'cicd/steps/yaml.py'": lambda cicd: (cicd / "steps/yaml.py").write_text(""),
    r"added 'cicd/\n\xe4'": lambda cicd: (cicd / "\nä").write_text(""),
    "changed 'cicd/link'": lambda cicd: relink(cicd / "link", "steps/plan.py"),
    "added 'cicd/more'": lambda cicd: (cicd / "more").symlink_to("steps"),
    "added 'cicd/steps', removed 'cicd/steps/plan.py'": lambda cicd: replace_by_link(
        cicd / "steps"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_cicd_is_not_planned(compared, tmp_path: Path, change: str) -> None:
    CHANGES[change](tmp_path / "commit/cicd")
    assert compared() == (
        1,
        f'same_cicd.py: the commit (author: "Ada") has {change}, but cicd/ decides about'
        " production: someone who may change the stack has to review that, ops/ and the Makefile,"
        " and run make stack on this commit. Then: make start\n",
    )


def test_the_same_cicd_is_planned(compared, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compared() == (0, "")


def test_many_changes_are_counted(compared, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("COMMIT_AUTHOR")
    for name in "abc":
        (tmp_path / "commit/cicd" / name).write_text("")
    said = "(author: unknown) has added 'cicd/a', added 'cicd/b', added 'cicd/c'"
    assert f"{said}, but" in compared()[1]
    (tmp_path / "commit/cicd/d").write_text("")
    (tmp_path / "commit/cicd/e").write_text("")
    assert f"{said} and 2 more, but" in compared()[1]


def test_a_cicd_that_is_a_link_is_another_one(compared, tmp_path: Path) -> None:
    (tmp_path / "commit/cicd").rename(tmp_path / "commit/other")
    (tmp_path / "commit/cicd").symlink_to("other")
    assert "has added 'cicd/.', removed 'cicd/link', removed" in compared()[1]


def test_it_needs_a_folder(compared) -> None:
    assert compared("a", "b") == (2, "usage: python same_cicd.py COMMIT_FOLDER\n")
