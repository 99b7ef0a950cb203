"""The whole life of each rendering with the real Databricks client, where it is on PATH."""

from pathlib import Path

import pytest

from conftest import VARIANTS
from rehearsal import play
from rehearsal.aws.build import BuildRequest, Location
from rehearsal.aws.execution import Execution
from rehearsing import (
    APPROVED,
    build_wheel,
    by_hand,
    client_on_path,
    decide,
    deploy_only,
    edit,
    fail,
    job_in_prod,
    said,
    slim,
    workspace,
)
from releasing import another_deployment, approving, damage, drift, log, meanwhile

SCHEMA = """\
resources:
  schemas:
    extra:
      name: extra
      catalog_name: ${var.catalog}
      grants:
        - principal: account users
          privileges: [USE_SCHEMA]
"""


@pytest.fixture
def client(default: Path) -> Path:
    """The real client."""
    return client_on_path(default)


def deployed(execution: Execution | None) -> Execution:
    """An execution, which must have succeeded."""
    assert execution is not None and execution.status == "Succeeded", said(
        execution, execution.stopped_in.name
    )
    return execution


class Team:
    """What a team does with its repository."""

    def __init__(self, played: play.Rehearsal) -> None:
        self.played, self.hour = played, 6
        (job,) = set(played.repository.glob("resources/*.job.yml")) - {
            played.repository / "resources/nutter.job.yml"
        }
        self.shown = approving(played)
        self.job = f"resources/{job.name}"
        (pipeline,) = played.repository.glob("resources/*.pipeline.yml")
        self.pipeline = f"resources/{pipeline.name}"

    def push_another_hour(self) -> Execution:
        """Pushes a change of the schedule."""
        edit(self.played.repository, self.job, f"0 0 {self.hour} ", f"0 0 {self.hour + 1} ")
        self.hour += 1
        return self.played.push()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_rendering_lives(rendering, tmp_path: Path, rehearsal, name: str) -> None:
    wheel = build_wheel(rendering(name), tmp_path / "wheel")
    root = deploy_only(slim(rendering(name), wheel, tmp_path / "my-data-project"))
    with rehearsal(root) as played:
        team = Team(played)
        first = deployed(played.push())
        assert "4 to create, 0 to update, 0 to recreate, 0 to delete" in team.shown[0]
        assert drift(played.look_for_drift()) == ("in-sync", "none")
        deployed(team.push_another_hour())
        assert "0 to create, 1 to update" in team.shown[1]
        assert '"0 0 6 * * ?" -> "0 0 7 * * ?"' in log(played.pipeline.executions[-1], "Review")
        stops(team)
        made_anew_and_deleted(team)
        stops_half_way(team)
        rolls_back(team, first)
        by_hand(played)
        assert drift(played.look_for_drift())[0] == "drifted"
        is_destroyed(team)


def stops(team: Team) -> None:
    """What happens between plan and approval stops the deployment; a new plan goes through."""
    for change, message in (
        (another_deployment, "the plan is stale: since it was made another deployment"),
        (by_hand, "prod was changed by hand since the plan was made"),
        (damage, "plan.json is not the file that was approved"),
    ):
        meanwhile(team.played, change)
        assert message in said(team.push_another_hour(), "Production")
    decide(team.played, APPROVED)
    deployed(team.played.pipeline.start())


def made_anew_and_deleted(team: Team) -> None:
    """A pipeline is recreated, a schema comes and goes: the approval says that data is lost."""
    played, shown = team.played, approving(team.played)
    schema = played.repository / "resources/extra.schema.yml"
    schema.write_text(SCHEMA)
    edit(
        played.repository, team.pipeline, "      catalog:", "      storage: /other\n      catalog:"
    )
    deployed(played.push())
    assert "DATA WOULD BE LOST: recreate pipelines." in shown[0]
    schema.unlink()
    deployed(played.push())
    assert "DATA WOULD BE LOST: delete schemas.extra." in shown[1]


def stops_half_way(team: Team) -> None:
    """A deployment that fails says what it has done; the next one does the rest."""
    played = team.played
    edit(played.repository, team.pipeline, "storage: /other", "storage: /third")
    meanwhile(played, lambda played: fail(played, "deploy", after=1))
    text = said(team.push_another_hour(), "Production")
    assert "\nhalf done (create): recreate pipelines." in text and "\nnot done: " in text
    (played.home / "databricks/faults.json").unlink()
    decide(played, APPROVED)
    deployed(played.pipeline.start())


def rolls_back(team: Team, first: Execution) -> None:
    """A rollback that loses data is refused; another one brings the old release."""
    back = team.played.pipeline.rollback("Production", first)
    assert "this rollback would lose data" in said(back, "Production")
    before = team.played.pipeline.executions[-2]
    deployed(team.push_another_hour())
    deployed(team.played.pipeline.rollback("Production", before))
    schedule = job_in_prod(team.played)["schedule"]
    assert schedule["quartz_cron_expression"] == f"0 0 {team.hour - 1} * * ?"


def is_destroyed(team: Team) -> None:
    """The build of `make destroy` leaves nothing of the deployment."""
    played = team.played
    cicd = Location(played.aws.stack.ref("CicdBucket"), "cicd.zip")
    source = Location(*played.pipeline.executions[-1].artifacts["Source"])
    request = BuildRequest(
        initiator="operator",
        variables=[{"name": "TARGET", "value": "prod", "type": "PLAINTEXT"}],
        inputs={"": cicd, "Source": source},
        buildspec="cicd/buildspecs/destroy.yml",
    )
    build = played.codebuild.run("ProdBuild", request)
    assert build.status == "SUCCEEDED", build.log.read_text()
    assert list(workspace(played).glob("files/Workspace/Users/*/.bundle/*/prod")) == []
