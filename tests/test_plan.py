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


def test_dangers_come_first(plans) -> None:
    recorded = copy.deepcopy(RECORDED["plan-delete-json"])
    text = plans.show(plans.Plan(json.dumps(recorded)))
    warning = "> **WARNING: delete pipelines.demo_etl: data or permanent addresses would be lost.**"
    assert text.splitlines()[2] == warning
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


def plan_of(**entries: dict) -> str:
    """A plan of resources by key; in the key, __ is a dot."""
    named = {f"resources.{key.replace('__', '.')}": entry for key, entry in entries.items()}
    return json.dumps({"plan_version": 2, "plan": named})


def created(**settings: object) -> dict:
    """A resource that is created, as the client writes it."""
    return {"action": "create", "new_state": {"value": settings}}


# ---- What is long --------------------------------------------------------------------------------


def test_many_fields_of_one_section_push_none_of_another_off_the_page(plans) -> None:
    fields = {f"tags['t{number:03}']": update("a", "b") for number in range(50)}
    fields["tasks[task_key='x'].notebook_task.notebook_path"] = update("/a", "/evil")
    fields["run_as.service_principal_name"] = update("etl", "admin")
    text = plans.show(plans.Plan(changed(**fields)))
    assert "  - tags['t039']: " in text and "tags['t040']" not in text
    assert "  - ... and 10 more fields of tags\n" in text
    assert '"/a" -> "/evil"\n' in text
    assert text.index("run_as") < text.index("tags")


def test_many_parameters_of_a_task_hide_no_other_field_of_it(plans) -> None:
    notebook = {
        "base_parameters": {f"p{number:02}": "x" for number in range(50)},
        "notebook_path": "/Workspace/Users/eve/nb",
    }
    cluster = {"init_scripts": [{"workspace": {"destination": "/Workspace/Users/eve/init"}}]}
    task = {"task_key": "t", "notebook_task": notebook, "new_cluster": cluster}
    text = plans.show(plans.Plan(plan_of(jobs__x=created(tasks=[task]))))
    assert "eve/nb" in text and "eve/init" in text
    inside = "tasks[task_key='t'].notebook_task.base_parameters"
    assert f"{inside}.p39" in text and f"{inside}.p40" not in text
    assert f"  - ... and 10 more fields of {inside}\n" in text


def test_of_many_resources_all_are_named_and_what_is_lost_comes_first(plans) -> None:
    many = {f"jobs__j{number:03}": created(name="x") for number in range(130)}
    text = plans.show(plans.Plan(plan_of(**many, schemas__zz={"action": "delete"})))
    assert text.index("delete schemas.zz") < text.index("create jobs.j000")
    assert "- create jobs.j098\n  - name: " in text
    assert "- create jobs.j129\n- (the fields of the last 31 resources are in plan.json)" in text


def test_every_right_is_shown(plans) -> None:
    people = [{"level": "CAN_VIEW", "user_name": f"u{number}@x"} for number in range(200)]
    text = plans.show(plans.Plan(plan_of(jobs__x__permissions=created(__embed__=people))))
    assert "[user_name='u199@x'].level: \"CAN_VIEW\"" in text


def test_long_values_are_cut_around_their_first_difference(plans) -> None:
    same = "select 1 " * 40
    change = update(f"{same}from a{same}", f"{same}from b{same}")
    text = plans.show(plans.Plan(changed(**{"tasks[0].sql": change})))
    assert "from aselect" in text and "from bselect" in text
    assert "(728 characters)" in text
    assert max(map(len, text.splitlines())) < 250


@pytest.mark.parametrize(
    ("old", "new", "further"),
    [
        ("1" + "x" * 300, "2" + "x" * 300 + "; GRANT ALL TO eve", True),
        ("1" + "x" * 300 + "a" + "x" * 50, "2" + "x" * 300 + "b" + "x" * 50, True),
        ("1" + "x" * 10, "2" + "x" * 300 + "; GRANT ALL TO eve", True),
        ("1" + "x" * 300, "2" + "x" * 300, False),
        ("1" + "x" * 300, "2345" + "x" * 300, False),
        ("x" * 300, "x" * 301, False),
        ("1" + "x" * 10, "2" + "x" * 10, False),
        (None, "x" * 300, False),
    ],
    ids=range(8),
)
def test_what_differs_after_the_cut_is_said(
    plans, old: str | None, new: str, further: bool
) -> None:
    text = plans.show(plans.Plan(changed(**{"tasks[0].sql": update(old, new)})))
    assert ("(differs further on)" in text) is further


def test_a_long_list_is_shown_by_what_differs(plans) -> None:
    items = [f"--option{number}=value{number}" for number in range(40)]
    change = update(items, [*items[:30], "--catalog=evil", *items[31:]])
    text = plans.show(plans.Plan(changed(**{"tasks[0].parameters": change})))
    assert 'tasks[0].parameters[30]: "--option30=value30" -> "--catalog=evil"\n' in text
    assert "option29" not in text


# ---- What the client says ------------------------------------------------------------------------

FOLDER = "/Workspace/Users/a@b.c/.bundle/demo/prod/"
OWN = {"deployment": {"metadata_file_path": f"{FOLDER}state/metadata.json"}}


def test_only_the_deployments_own_folder_is_shortened(plans) -> None:
    theirs = FOLDER.replace("a@b.c", "eve@b.c")
    change = update(f"{FOLDER}files/a", f"{theirs}files/a")
    entry = {"action": "update", "remote_state": OWN, "changes": {"tasks[0].path": change}}
    text = plans.show(plans.Plan(plan_of(jobs__x=entry)))
    assert f'".../files/a"\n      -> "{theirs}files/a"' in text


def test_the_folder_that_is_shortened_is_named(plans) -> None:
    """A plan that puts another one in its place shows which."""
    evil = "/Workspace/Shared/everybody/"
    own = {"deployment": {"metadata_file_path": f"{evil}state/metadata.json"}}
    path = {"notebook_task": {"notebook_path": f"{evil}files/nb"}, "task_key": "t"}
    text = plans.show(plans.Plan(plan_of(jobs__x=created(tasks=[path], **own))))
    assert '".../files/nb"' in text
    assert '\n\n`...` is "/Workspace/Shared/everybody"\n\n' in text
    assert "`...`" not in plans.show(plans.Plan(plan_of(jobs__x=created(name="x", **own))))


def wheels(old: str, new: str, **more: dict) -> dict:
    """The changes of a job that names its wheel twice."""
    place = f"{FOLDER}artifacts/.internal/"
    change = update(f"{place}{old}", f"{place}{new}")
    paths = (
        "environments[environment_key='main'].spec.dependencies[0]",
        "tasks[0].libraries[0].whl",
    )
    return {"action": "update", "remote_state": OWN, "changes": dict.fromkeys(paths, change) | more}


def test_a_new_version_of_the_wheel_is_one_line(plans) -> None:
    old, new = "demo-0.1+1-py3-none-any.whl", "demo-0.1+2-py3-none-any.whl"
    b = wheels(old, new, max_retries=update(1, 2))
    text = plans.show(plans.Plan(plan_of(jobs__a=wheels(old, new), jobs__b=b)))
    assert text.count(new) == 1
    assert (
        f"- the wheel (4 times): {old} -> {new}\n"
        "- update jobs.a (new wheel)\n- update jobs.b (new wheel)\n  - max_retries: 1 -> 2\n"
    ) in text


@pytest.mark.parametrize("other", ["evil-0.1+2-py3-none-any.whl", "x/demo-0.1+2-py3-none-any.whl"])
def test_another_wheel_is_no_new_version(plans, other: str) -> None:
    text = plans.show(plans.Plan(plan_of(jobs__a=wheels("demo-0.1+1-py3-none-any.whl", other))))
    assert "the wheel (" not in text and text.count(other) == 2


@pytest.mark.parametrize("new", ["0.2 **reviewed by security**", "0.2\u202e", "0.2`", "0.2,b"])
def test_a_version_that_is_none_is_no_new_version(plans, new: str) -> None:
    change = wheels("demo-0.1+1-py3-none-any.whl", f"demo-{new}-py3-none-any.whl")
    text = plans.show(plans.Plan(plan_of(jobs__a=change)))
    assert "the wheel (" not in text and "new wheel" not in text


def test_a_wheel_of_another_place_is_no_new_version(plans) -> None:
    changes = {
        f"tasks[{number}].libraries[0].whl": update(
            f"{place}demo-0.1+1-py3-none-any.whl", f"{place}demo-0.1+2-py3-none-any.whl"
        )
        for number, place in enumerate(["", "/Workspace/Shared/", "/Volumes/eve/a/b/"])
    }
    entry = {"action": "update", "remote_state": OWN, "changes": changes}
    text = plans.show(plans.Plan(plan_of(jobs__a=entry)))
    assert "the wheel (" not in text and text.count("demo-0.1+2") == 3


@pytest.mark.parametrize("again", [{}, {"changes": {"tags['a']": {"action": "update", "old": 1}}}])
def test_what_is_created_is_shown_with_its_fields(plans, again: dict) -> None:
    """Also what somebody deleted by hand: the client compares that with its own state."""
    job = {
        "name": "daily",
        "run_as": {"service_principal_name": "admin"},
        "schedule": {"quartz_cron_expression": "0 0 6 * * ?", "timezone_id": "UTC"},
        "job_clusters": [{"job_cluster_key": "m", "new_cluster": {"node_type_id": "m5d.large"}}],
        "tasks": [
            {"task_key": "a", "python_wheel_task": {"parameters": ["--catalog=prod"]}},
            {"task_key": "b", "depends_on": [{"task_key": "a"}], "run_job_task": {"job_id": 7}},
        ],
        **OWN,
    }
    rights = created(object_id="", __embed__=[{"level": "CAN_MANAGE", "group_name": "all"}])
    rights["new_state"]["vars"] = {"object_id": "/jobs/${resources.jobs.x.id}"}
    plan = plan_of(jobs__x=created(**job) | again, jobs__x__permissions=rights)
    assert plans.show(plans.Plan(plan)).split("\n\n")[2] == (
        "- create jobs.x\n"
        '  - name: "daily"\n'
        '  - run_as.service_principal_name: "admin"\n'
        '  - schedule.quartz_cron_expression: "0 0 6 * * ?"\n'
        '  - schedule.timezone_id: "UTC"\n'
        "  - job_clusters[job_cluster_key='m'].new_cluster.node_type_id: \"m5d.large\"\n"
        "  - tasks[task_key='a'].python_wheel_task.parameters: [\"--catalog=prod\"]\n"
        "  - tasks[task_key='b'].depends_on[task_key='a'].task_key: \"a\"\n"
        "  - tasks[task_key='b'].run_job_task.job_id: 7\n"
        "- create jobs.x.permissions\n"
        "  - object_id: (known when it is deployed: /jobs/${resources.jobs.x.id})\n"
        "  - [group_name='all'].level: \"CAN_MANAGE\"\n"
    )


def test_two_plans_that_create_something_else_are_not_the_same(plans) -> None:
    one, two = (plans.Plan(plan_of(jobs__x=created(name=name))) for name in "ab")
    assert one.same_as(one) and not one.same_as(two)


@pytest.mark.parametrize("new", ["", "${resources.pipelines.etl.id}"])
def test_what_is_known_later_is_told_from_what_is_empty(plans, new: str) -> None:
    """Of a reference the client says `"new": ""`, or the reference; its state names both."""
    path = "tasks[task_key='p'].pipeline_task.pipeline_id"
    task = {"task_key": "p", "pipeline_task": {"pipeline_id": new}}
    reference = "${resources.pipelines.etl.id}"
    state = {"value": {"tasks": [{"task_key": "a"}, task]}}
    entry = {"action": "update", "remote_state": OWN, "changes": {path: update("7", new)}}
    known_later = entry | {
        "new_state": state | {"vars": {"tasks[1].pipeline_task.pipeline_id": reference}}
    }
    text = plans.show(plans.Plan(plan_of(jobs__x=known_later)))
    assert f'"7"\n      -> (known when it is deployed: {reference})' in text
    text = plans.show(plans.Plan(plan_of(jobs__x=entry | {"new_state": state})))
    assert f'"7"\n      -> "{new}"' in text or f'{path}: "7" -> "{new}"' in text


def test_a_literal_that_looks_like_a_reference_is_shown(plans) -> None:
    text = plans.show(plans.Plan(changed(description=update("a", "costs ${x:y} or ${HOME}"))))
    assert 'description: "a" -> "costs ${x:y} or ${HOME}"\n' in text


def test_a_renamed_volume_is_updated_in_place(plans) -> None:
    change = {"action": "update_id", "reason": "id_changes", "old": "v", "new": "w", "remote": "v"}
    entry = {"action": "update_id", "remote_state": {"name": "v"}, "changes": {"name": change}}
    plan = plans.Plan(plan_of(volumes__v=entry))
    assert (plan.actions, plan.losses) == ({"volumes.v": "update"}, [])
    assert '- update volumes.v\n  - name: "v" -> "w"\n' in plans.show(plan)


@pytest.mark.parametrize(("old", "new"), [(1, True), (0, False), (2, "2"), (None, "")])
def test_values_of_another_type_differ(plans, old: object, new: object) -> None:
    text = plans.show(plans.Plan(changed(tags=update({"a": old}, {"a": new}))))
    shown = ["(none)" if value is None else json.dumps(value) for value in (old, new)]
    assert f"  - tags.a: {shown[0]} -> {shown[1]}\n" in text


@pytest.mark.parametrize(
    ("entries", "warning"),
    [
        (
            {"jobs__x__permissions": {"action": "update", "changes": {"level": update("a", "b")}}},
            "> Rights change: update jobs.x.permissions",
        ),
        (
            {"jobs__x": {"action": "skip"}, "jobs__x__permissions": created()},
            "> Rights change: create jobs.x.permissions",
        ),
        (
            {
                "jobs__x": {
                    "action": "update",
                    "changes": {"run_as": update({}, {"user_name": "a"})},
                }
            },
            "> Rights change: update jobs.x",
        ),
    ],
)
def test_other_rights_are_among_the_dangers(plans, entries: dict, warning: str) -> None:
    assert plans.show(plans.Plan(plan_of(**entries))).splitlines()[2] == warning


# ---- Names that others chose ---------------------------------------------------------------------

NASTY = "x\n\n# Nothing changes\n\n`\u202e\u0085\u2028\x1b[2K\x7f\ud800"
CONTROL = "\u202e\u0085\u2028\x1b\x7f\ud800"


@pytest.mark.parametrize("text", ["show", "drift", "variables"])
def test_no_name_prints_a_heading_or_a_control_character(plans, text: str) -> None:
    change = update("a", NASTY)
    entry = {"action": "update", "remote_state": OWN, "changes": {f"tags['{NASTY}']": change}}
    named = {f"resources.jobs.{NASTY}": entry, f"resources.schemas.{NASTY}": {"action": "delete"}}
    plan = plans.Plan(json.dumps({"plan_version": 2, "plan": named}))
    printed = getattr(plans, text)(plan)
    assert "\n# Nothing" not in printed
    assert not set(CONTROL) & set(printed)


def test_the_key_of_a_resource_adds_no_sentence_to_the_approval(plans) -> None:
    named = {"resources.schemas.x. It deletes no data. `y`": {"action": "delete"}}
    plan = plans.Plan(json.dumps({"plan_version": 2, "plan": named}))
    assert len(plan.losses) == 1
    assert "schemas.x.\\u0020It\\u0020deletes" in plans.variables(plan)
    long = {f"resources.schemas.{'x' * 500}": {"action": "delete"}}
    assert len(plans.variables(plans.Plan(json.dumps({"plan_version": 2, "plan": long})))) < 300


# ---- For the approval ----------------------------------------------------------------------------


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
        ('{"plan_version": 9, "plan": {}}', "has a form that cicd/steps/model.py does not know"),
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


def test_the_message_names_what_would_become_of_the_secret(plans) -> None:
    state = {"value": {"value": "[redacted]"}}
    text = plan_of(jobs__a={"action": "create"}, secrets__s={"action": "create"})
    plan = plans.Plan(text)
    plan.check_secrets()
    plan.entries["secrets.s"]["new_state"] = state
    with pytest.raises(plans.Damaged) as stop:
        plan.check_secrets()
    assert str(stop.value) == (
        "secrets.s has a secret, and a plan carries none: it would become [redacted]. Keep secrets"
        " out of the bundle"
    )


# ---- Whole texts ---------------------------------------------------------------------------------

EVERYTHING = {
    "jobs__skipped": {"action": "skip"},
    "jobs__new": created(name="a"),
    "jobs__new__permissions": created(level="CAN_VIEW"),
    "jobs__old__permissions": {"action": "update", "changes": {"level": update("a", "b")}},
    "jobs__x": {"action": "resize", "changes": {"tags.x": update(1, 2)}},
    "jobs__y": {"action": "recreate", "changes": {"name": update("c", "d")}},
    "schemas__s": {"action": "delete"},
    "volumes__v": {"action": "delete"},
    "pipelines__p": {"action": "recreate"},
    "dashboards__d": {"action": "delete"},
}
SHOWN = """\
# What would change in prod

> **WARNING: delete schemas.s: data or permanent addresses would be lost.**
> **WARNING: delete volumes.v: data or permanent addresses would be lost.**
> **WARNING: recreate pipelines.p: data or permanent addresses would be lost.**
> **WARNING: delete dashboards.d: data or permanent addresses would be lost.**
> WARNING: recreate jobs.y
> Rights change: update jobs.old.permissions

**2 to create, 2 to update, 2 to recreate, 3 to delete**, 1 unchanged

- recreate jobs.y
  - name: "c" -> "d"
- delete schemas.s
- delete volumes.v
- recreate pipelines.p
- delete dashboards.d
- update jobs.old.permissions
  - level: "a" -> "b"
- update jobs.x
  - tags.x: 1 -> 2
- create jobs.new
  - name: "a"
- create jobs.new.permissions
  - level: "CAN_VIEW"

"""
EXPORTED = """\
export CREATES=2
export UPDATES=2
export RECREATES=2
export DELETES=3
export LOSES_DATA=true
export DATA_LOSS='DATA WOULD BE LOST: delete schemas.s, delete volumes.v, recreate pipelines.p\
 and 1 more.'
"""
DRIFT = """\
9 of 10 resources in prod are not as deployed

- changed jobs.y
  - name
- stays schemas.s
- stays volumes.v
- changed pipelines.p
- stays dashboards.d
- changed jobs.old.permissions
  - level
- changed jobs.x
  - tags.x
- missing jobs.new
- missing jobs.new.permissions

Deploying again undoes this. Copy what should stay into the repository and push;
otherwise: make start. To look again: make drift.
"""


@pytest.mark.parametrize(
    ("command", "text"), [("show", SHOWN), ("variables", EXPORTED), ("drift", DRIFT)]
)
def test_a_plan_with_everything(tmp_path: Path, command: str, text: str) -> None:
    (tmp_path / "plan.json").write_text(plan_of(**EVERYTHING))
    step = [sys.executable, "-B", STEPS / "plan.py", command, "plan.json"]
    result = subprocess.run(step, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, text, "")


def test_the_state_that_a_plan_was_made_for(plans) -> None:
    assert plans.Plan('{"plan_version": 2, "plan": {}}').state == ("", 0)
    text = '{"plan_version": 2, "lineage": "l", "serial": 3, "plan": {}}'
    assert plans.Plan(text).state == ("l", 3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[]", "this is no plan (TypeError: list indices must be integers or slices, not str)"),
        (
            b'{"plan_version": 9, "plan": {}}',
            "this plan has a form that cicd/steps/model.py does not know",
        ),
        (
            b'{"plan_version": 2, "plan": {"x": {"action": "explode"}}}',
            "this plan has a form that cicd/steps/model.py does not know",
        ),
        (b"\xff", "cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: invalid"),
        (None, "cannot be read: [Errno 2] No such file or directory: "),
    ],
)
def test_what_is_wrong_with_a_file(plans, tmp_path: Path, text: bytes | None, why: str) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(text) if text is not None else None
    with pytest.raises(plans.Damaged) as stop:
        plans.read(str(file))
    assert str(stop.value).startswith(why)


def test_of_many_resources_the_first_have_their_fields(plans) -> None:
    many = {f"jobs__j{number:03}": created(name="a") for number in range(102)}
    lines = plans.show(plans.Plan(plan_of(**many))).splitlines()
    assert lines[4:6] == ["- create jobs.j000", '  - name: "a"']
    assert lines[-3:] == [
        "- create jobs.j100",
        "- create jobs.j101",
        "- (the fields of the last 2 resources are in plan.json)",
    ]
    gone = plans.drift(plans.Plan(plan_of(**many))).splitlines()
    assert gone[101:103] == ["- missing jobs.j099", "- ... and 2 more resources"]


@pytest.mark.parametrize(
    ("key", "changes", "settled"),
    [
        ("pipelines__x__permissions", {"object_id": update("a", "a")}, True),
        ("schemas__x__grants", {"full_name": update("a", "a")}, True),
        ("schemas__x__grants", {"name": update("a", "a")}, False),
        ("schemas__x", {"full_name": update("a", "a")}, False),
        ("schemas__x__grants", {"full_name": update("a", "a"), "x": update(1, 2)}, False),
    ],
)
def test_only_rights_of_a_moved_object_are_settled(plans, key, changes, settled) -> None:
    entry = {"action": "update", "changes": changes}
    assert (plans.Plan(plan_of(**{key: entry})).actions == {}) is settled
    assert plans.Plan(plan_of(**{key: entry | {"action": "delete"}})).actions


def test_what_the_client_did_not_ask_for_is_as_it_was_deployed(plans) -> None:
    entry = {"action": "update", "changes": {"a": update(1, 2, remote=9)}}
    assert "  - a: 1 -> 2\n" in plans.show(plans.Plan(plan_of(jobs__x=entry)))
    entry["remote_state"] = OWN
    assert "  - a: 9 -> 2\n" in plans.show(plans.Plan(plan_of(jobs__x=entry)))


def test_many_fields_that_drifted_are_counted(plans) -> None:
    entry = {"action": "update", "changes": {f"t{number}": update(1, 2) for number in range(42)}}
    lines = plans.drift(plans.Plan(plan_of(jobs__x=entry))).splitlines()
    assert lines[42:44] == ["  - t39", "  - ... and 2 more fields"]


def test_a_long_value_that_differs_at_its_end_is_shown_to_the_end(plans) -> None:
    old, new = ("x" * 400 + end for end in ("one", "two"))
    text = plans.show(plans.Plan(changed(description=update(old, new))))
    assert 'xone" (405 characters)' in text and 'xtwo" (405 characters)' in text
