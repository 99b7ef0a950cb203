"""Attacks on production, rehearsed: by who may push, and by what runs in QA's build."""

import io
import py_compile
import zipfile
from pathlib import Path

import pytest

from rehearsal import play
from rehearsing import edit, said

STEPS = "cicd/steps"
ATTACK = 'import os; print("REACHED", os.environ.get("CODEBUILD_BUILD_ID", "").split(":")[0])\n'


def log(execution, stage: str) -> str:
    """The log of the first build of a stage."""
    (found,) = (item for item in execution.stages if item.name == stage)
    return next(action for action in found.actions if action.build).build.log.read_text()


def changed_script(root: Path) -> None:
    """A step that runs the attacker's code."""
    edit(root, f"{STEPS}/names.py", "\nQA, REVIEW", f"\n{ATTACK}QA, REVIEW")


def new_module(root: Path) -> None:
    """A module that takes the place of one of Python's own."""
    (root / STEPS / "argparse.py").write_text(ATTACK)


def link(root: Path) -> None:
    """The same, as a link to a file outside of cicd/."""
    (root / "src/argparse.py").write_text(ATTACK)
    (root / STEPS / "argparse.py").symlink_to("../../src/argparse.py")


def compiled(root: Path) -> None:
    """Compiled code that Python takes for the script's, whatever the script says."""
    source = root / STEPS / "names.py"
    text = source.read_text()
    source.write_text(ATTACK + text)
    cache = py_compile.compile(
        str(source), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    source.write_text(text)
    edit(root, ".gitignore", "__pycache__/\n*.py[cod]\n", "")
    assert Path(cache).parent == root / STEPS / "__pycache__"


ATTACKS = {
    changed_script: "changed 'cicd/steps/names.py'",
    new_module: "added 'cicd/steps/argparse.py'",
    link: "added 'cicd/steps/argparse.py'",
    compiled: "added 'cicd/steps/__pycache__/names",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_what_is_pushed_does_not_run_with_productions_credential(
    deploying: Path, rehearsal, attack
) -> None:
    with rehearsal(deploying) as played:
        attack(played.repository)
        execution = played.push()
        text = said(execution, "Review")
        assert "REACHED my-data-project-plan" not in text
        assert ATTACKS[attack] in text
        assert "ops/ and the Makefile, and run make stack on this commit" in text
        assert 'author: "Ada"' in text


def test_an_administrator_deploys_a_changed_cicd(deploying: Path, rehearsal) -> None:
    with rehearsal(deploying) as played:
        changed_script(played.repository)
        played.deploy_cicd()
        execution = played.push()
        assert execution.status == "Succeeded"
        assert "REACHED my-data-project-plan" in log(execution, "Review")


def put_into_wheel(played: play.Rehearsal, execution, files: dict[str, bytes]) -> None:
    """Writes files into QA's artifact, as QA's own role may: at its key, at any time."""
    bucket, key = execution.artifacts["Wheel"]
    s3 = played.aws.client("s3")
    with zipfile.ZipFile(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read())) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in (contents | files).items():
            archive.writestr(name, content)
    s3.put_object(Bucket=bucket, Key=key, Body=packed.getvalue())


def test_what_is_put_into_the_wheels_artifact_does_not_run_in_the_drift_build(
    deploying: Path, rehearsal
) -> None:
    with rehearsal(deploying) as played:
        execution = played.push()
        assert execution.status == "Succeeded", said(execution, execution.stopped_in.name)
        script = b"echo REACHED; printf 'export DRIFT_STATUS=in-sync DRIFT=none' >drift.env"
        names = ["cicd/steps/drift.sh", "databricks.yml", "drift.env", "release/databricks.yml"]
        put_into_wheel(played, execution, dict.fromkeys(names, script))
        build = played.look_for_drift()
        assert "REACHED" not in build.log.read_text()
        assert (build.status, build.exported["DRIFT_STATUS"]) == ("SUCCEEDED", "in-sync")


def test_a_replaced_wheel_is_not_compared_with_the_next(deploying: Path, rehearsal) -> None:
    with rehearsal(deploying) as played:
        first = played.push()
        assert first.status == "Succeeded", said(first, first.stopped_in.name)
        (path,) = (played.repository / "built").glob("*.whl")
        put_into_wheel(played, first, {f"dist/{path.name}": path.read_bytes() + b"another"})
        (played.repository / "a.md").write_text("a")
        second = played.push()
        assert second.stopped_in.name == "Review"
        text = log(second, "Review")
        assert "the wheel of the last release was replaced" in text
        assert "In the wheel" not in text


def test_a_replaced_wheel_is_not_compared_with_production(deploying: Path, rehearsal) -> None:
    with rehearsal(deploying) as played:
        execution = played.push()
        (name,) = {path.name for path in (played.repository / "built").glob("*.whl")}
        put_into_wheel(played, execution, {f"dist/{name}": b"another"})
        build = played.look_for_drift()
        assert build.status == "FAILED"
        assert f"{name} is not the wheel that was approved" in build.log.read_text()
