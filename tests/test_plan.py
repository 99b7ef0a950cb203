"""cicd/steps/plan.py on the real client's plans: what a reviewer reads and an approval counts."""

import copy
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from steps import STEPS, load

RECORDINGS = json.loads((ROOT / "tests/data/client-recordings.json").read_text())["recordings"]
RECORDED = {
    recording["name"]: json.loads(recording["stdout"])
    for recording in RECORDINGS
    if recording["name"] in ("plan-first-json", "plan-update-json", "plan-delete-json")
}
JOB = "resources.jobs.demo_job"
CANARY = "dapi0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def plans():
    """The module cicd/steps/plan.py."""
    return load("plan")


def changed(**changes: dict) -> str:
    """The recorded update with other changed fields: old and new value by path."""
    plan = copy.deepcopy(RECORDED["plan-update-json"])
    plan["plan"][JOB]["changes"] = changes
    return json.dumps(plan)


def update(old: object, new: object, **more: object) -> dict:
    """A change as the client writes it."""
    return {"action": "update", "old": old, "new": new, "remote": old, **more}


def test_a_reviewer_reads_each_changed_field_and_no_server_default(plans) -> None:
    text = plans.show(plans.Plan(json.dumps(RECORDED["plan-update-json"])))
    assert "**0 to create, 1 to update, 0 to recreate, 0 to delete**, 2 unchanged" in text
    assert "- update jobs.demo_job\n  - trigger.periodic.interval: 2 -> 3\n" in text
    assert "run_if" not in text and "webhook_notifications" not in text
    assert "WARNING" not in text


def test_the_old_value_is_the_one_in_the_workspace(plans) -> None:
    plan = plans.Plan(changed(**{"trigger.periodic.interval": update(2, 3, remote=9)}))
    assert "trigger.periodic.interval: 9 -> 3" in plans.show(plan)


def test_deletions_come_first_with_a_warning(plans) -> None:
    recorded = copy.deepcopy(RECORDED["plan-delete-json"])
    text = plans.show(plans.Plan(json.dumps(recorded)))
    warning = "> **WARNING: delete pipelines.demo_etl: data or permanent addresses would be lost.**"
    assert text.splitlines()[4] == warning
    del recorded["plan"][JOB]["remote_state"]
    recorded["plan"][JOB]["action"] = "delete"
    assert "> WARNING: delete jobs.demo_job\n" in plans.show(plans.Plan(json.dumps(recorded)))


@pytest.mark.parametrize("kind", ["schemas", "volumes", "pipelines", "dashboards"])
@pytest.mark.parametrize(("action", "loses"), [("delete", 1), ("recreate", 1), ("update", 0)])
def test_resources_that_hold_data_are_counted(plans, kind: str, action: str, loses: int) -> None:
    entries = {f"resources.{kind}.x": {"action": action}, f"resources.{kind}.x.grants": {}}
    entries[f"resources.{kind}.x.grants"] = {"action": action}  # rights bear no data
    plan = plans.Plan(json.dumps({"plan_version": 2, "plan": entries}))
    assert len(plan.losses) == loses
    assert ("DATA WOULD BE LOST" in plans.variables(plan)) is bool(loses)


def test_what_is_gone_already_loses_nothing(plans) -> None:
    entries = {"resources.schemas.x": {"action": "delete", "gone": True}}
    assert plans.Plan(json.dumps({"plan_version": 2, "plan": entries})).losses == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tasks[0].base_parameters.db_password", "hunter2"),
        ("configuration['fs.azure.account.oauth2.client.secret']", "hunter2"),
        ("tags.note", CANARY),
        ("configuration.url", "jdbc:x://user:hunter2@db"),
        ("environment_variables", {"API_TOKEN": "hunter2"}),
        ("spark_env_vars.KEY", "-----BEGIN PRIVATE KEY-----hunter2"),
    ],
)
def test_nothing_that_looks_secret_is_shown(plans, path: str, value: object) -> None:
    text = plans.show(plans.Plan(changed(**{path: update("before", value)})))
    assert path in text and "(hidden)" in text
    assert "hunter2" not in text and CANARY not in text


def test_a_harmless_name_hides_nothing(plans) -> None:
    path = "tasks[task_key='refresh_token'].notebook_task.notebook_path"
    text = plans.show(plans.Plan(changed(**{path: update("/a/token", "/a/token_export")})))
    assert '"/a/token" -> "/a/token_export"' in text


def test_a_long_plan_is_cut_between_lines_with_a_count(plans) -> None:
    fields = {f"tags.t{number:03}": update("a", "b" * 400) for number in range(50)}
    text = plans.show(plans.Plan(changed(**fields)))
    assert '  - tags.t019: "a" -> "' in text and "tags.t020" not in text
    assert "  - ... and 30 more fields\n" in text
    assert "(402 characters)" in text
    many = {f"resources.jobs.j{number:03}": {"action": "create"} for number in range(130)}
    text = plans.show(plans.Plan(json.dumps({"plan_version": 2, "plan": many})))
    assert "- create jobs.j099\n- ... and 30 more resources\n" in text


def test_the_workspace_folder_is_shortened(plans) -> None:
    old = "/Workspace/Users/a@b.c/.bundle/demo/prod/artifacts/.internal/demo-1-py3-none-any.whl"
    text = plans.show(plans.Plan(changed(libraries=update([old], [old.replace("-1-", "-2-")]))))
    assert '[".../artifacts/.internal/demo-1-py3-none-any.whl"] -> [".../art' in text


def variables(plan: str, tmp_path: Path) -> dict[str, str]:
    """What a shell has after `eval` of the variables, as the buildspec does it."""
    (tmp_path / "plan.json").write_text(plan)
    script = shlex.quote(str(STEPS / "plan.py"))
    command = f'eval "$({sys.executable} -B {script} variables plan.json)" && env -0'
    result = subprocess.run(["bash", "-ec", command], cwd=tmp_path, capture_output=True, text=True)
    return dict(pair.split("=", 1) for pair in result.stdout.split("\0") if "=" in pair)


@pytest.mark.parametrize(
    ("name", "counts", "loses_data", "loss"),
    [
        ("plan-first-json", "3 0 0 0", "false", "It deletes no data."),
        ("plan-update-json", "0 1 0 0", "false", "It deletes no data."),
        (
            "plan-delete-json",
            "0 0 0 1",
            "true",
            "DATA WOULD BE LOST: delete pipelines.demo_etl.",
        ),
    ],
)
def test_the_approval_has_counts_and_says_what_is_lost(
    tmp_path: Path, name: str, counts: str, loses_data: str, loss: str
) -> None:
    exported = variables(json.dumps(RECORDED[name]), tmp_path)
    keys = ("CREATES", "UPDATES", "RECREATES", "DELETES")
    assert [exported[key] for key in keys] == counts.split()
    assert exported["LOSES_DATA"] == loses_data
    assert exported["DATA_LOSS"] == loss


def test_the_approval_names_three_losses_and_counts_the_others(plans) -> None:
    entries = {f"resources.schemas.s{number}": {"action": "delete"} for number in range(5)}
    text = plans.variables(plans.Plan(json.dumps({"plan_version": 2, "plan": entries})))
    assert "delete schemas.s0, delete schemas.s1, delete schemas.s2 and 2 more." in text


def test_the_plan_build_exports_what_the_approval_needs(plans, default: Path) -> None:
    spec = yaml.safe_load((default / "cicd/buildspecs/plan.yml").read_text())
    exported = plans.variables(plans.Plan('{"plan_version": 2, "plan": {}}'))
    names = {line.removeprefix("export ").split("=")[0] for line in exported.splitlines()}
    assert names >= {"LOSES_DATA", "DATA_LOSS"}
    assert names <= set(spec["env"]["exported-variables"])


def test_a_plan_that_changes_nothing_says_so(tmp_path: Path, plans) -> None:
    plan = copy.deepcopy(RECORDED["plan-update-json"])
    plan["plan"][JOB]["action"] = "skip"
    assert "The resources stay as they are." in plans.show(plans.Plan(json.dumps(plan)))
    exported = variables(json.dumps(plan), tmp_path)
    assert exported["DATA_LOSS"] == "It changes no resource: files and wheel only."
    assert exported["LOSES_DATA"] == "false"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "this is no plan (JSONDecodeError"),
        ('{"plan_version": 2, "plan": {"resources.jobs.x": {"acti', "this is no plan"),
        ("[]", "this is no plan"),
        ('{"plan_version": 2}', "this is no plan (KeyError"),
        ('{"plan_version": 9, "plan": {}}', "has a form that cicd/steps/plan.py does not know"),
        ('{"plan_version": 2, "plan": {"x": {"action": "explode"}}}', "does not know"),
    ],
)
def test_what_is_no_plan_is_refused_in_a_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    command = [sys.executable, "-B", STEPS / "plan.py", "show", "plan.json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("plan.py: plan.json: ") and why in result.stderr
    assert result.stdout == "" and result.stderr.count("\n") == 1


def test_drift_names_resources_and_fields_but_no_value(plans) -> None:
    plan = plans.Plan(changed(**{"trigger.periodic.interval": update(2, 3, remote=777)}))
    lines = plans.drift(plan).splitlines()
    assert lines[0] == "1 of 3 resources in prod are not as deployed"
    assert lines[2:4] == ["- changed jobs.demo_job", "  - trigger.periodic.interval"]
    assert "777" not in plans.drift(plan)
    assert plans.drift(plans.Plan('{"plan_version": 2, "plan": {}}')) == "none"


def test_what_was_removed_by_hand_is_seen(plans) -> None:
    """The client names no remote value where the workspace has none."""
    gone = {"action": "update", "old": "a", "new": "b"}
    plan = plans.Plan(changed(description=gone))
    assert 'description: (none) -> "b"' in plans.show(plan)
    assert not plan.same_as(plans.Plan(changed(description=update("a", "b"))))


def rights(**changes: dict) -> str:
    """A plan that updates a pipeline's permissions."""
    entry = {"action": "update", "remote_state": {}, "changes": changes}
    entries = {"resources.pipelines.x.permissions": entry}
    return json.dumps({"plan_version": 2, "plan": entries})


def test_rights_that_the_client_reads_from_the_old_object_are_right_already(plans) -> None:
    """databricks/cli#5587: after an object was recreated it goes on asking the one before."""
    moved = update("/pipelines/new", "/pipelines/new", remote="/pipelines/old")
    assert plans.Plan(rights(object_id=moved)).actions == {}
    level = update("CAN_VIEW", "CAN_RUN")
    assert plans.Plan(rights(object_id=moved, level=level)).actions
    assert plans.Plan(rights(level=update("CAN_VIEW", "CAN_VIEW", remote="CAN_RUN"))).actions


def test_a_plan_with_a_secret_is_refused(plans) -> None:
    """It holds a word in the secret's place, which the client would deploy."""
    state = {"value": {"scope": "s", "value": "[redacted]"}}
    entries = {"resources.secrets.s": {"action": "create", "new_state": state}}
    text = json.dumps({"plan_version": 2, "plan": entries})
    with pytest.raises(plans.Damaged, match=r"secrets.s has a secret, and a plan carries none"):
        plans.show(plans.Plan(text))
