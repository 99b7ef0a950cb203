"""The gate: what starts a build, and in which order the pipeline acts."""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from ops.check.files import Files
from ops.check.reading import Findings, Map, Place, check, items
from ops.check.rights import project
from ops.check.stack import Build, Stack, plain, references

PROD = "prod"  # the target that an approval protects
SHOWN = [
    "COMMIT",
    "CREATES",
    "UPDATES",
    "RECREATES",
    "DELETES",
    "DATA_LOSS",
]  # in the approval's text
CHECKSUMS = {"PLAN_SHA256", "WHEEL_SHA256"}
DEPLOYS = re.compile(r"\bdeploy\.py\b|\bbundle\b[^|;&]*\s(deploy|destroy|run)\b|\brun_job\.sh\b")


class Action(NamedTuple):
    """An action of the pipeline, and when it acts: its stage, and its order in there."""

    when: tuple[int, int]
    parts: Map
    build: Build | None  # which it runs

    @property
    def name(self) -> str:
        """Its name."""
        return self.parts.text("Name")

    @property
    def kind(self) -> str:
        """Its category and provider, as in Build/CodeBuild."""
        kind = self.parts.mapping("ActionTypeId")
        return f"{kind.text('Category')}/{kind.text('Provider')}"

    @property
    def configuration(self) -> Map:
        """Its settings."""
        return self.parts.mapping("Configuration")

    def at(self, key: str) -> Place:
        """Where a setting stands; without it, where the action does."""
        return self.configuration.at.get(key, self.parts.at["Name"])

    def artifacts(self, key: str) -> list[str]:
        """The names of its artifacts."""
        return [item.text("Name") for item in self.parts.sequence(key).mappings()]


def actions(stack: Stack) -> Iterator[Action]:
    """Every action of the pipeline, in the order of the file."""
    for pipeline in stack.of_type("AWS::CodePipeline::Pipeline").values():
        for number, stage in enumerate(pipeline.sequence("Stages").mappings()):
            for parts in stage.sequence("Actions").mappings():
                names = references(project(parts))
                build = next((one for one in stack.builds if one.name in names), None)
                order = parts.text("RunOrder")
                when = (number, int(order) if order.isdigit() else 1)
                if "Name" in parts:
                    yield Action(when, parts, build)


def deploys(files: Files, build: Build) -> bool:
    """Whether a build changes its target."""
    return any(DEPLOYS.search(command.text) for command in files.commands(build.buildspec))


def of_prod(stack: Stack) -> list[Action]:
    """The actions whose builds work on production."""
    return [one for one in actions(stack) if one.build and PROD in one.build.targets]


@check
def production_follows_an_approval(files: Files, stack: Stack) -> Findings:
    """What changes production comes after an approval, and that after a plan."""
    approvals = [one.when for one in actions(stack) if one.kind == "Approval/Manual"]
    plans = [one for one in of_prod(stack) if one.build and not deploys(files, one.build)]
    for action in of_prod(stack):
        name = action.build.name if action.build else ""
        before = [when for when in approvals if when < action.when]
        if action in plans:
            continue
        if not before:
            message = f"runs {name}, which changes prod, without an approval before it; add that"
            yield action.parts.at["Name"], f"{action.name} {message}"
        elif not any(plan.when < max(before) for plan in plans):
            message = "there is no plan before the approval (Approve); put it before that"
            yield action.parts.at["Name"], f"{action.name} runs {name}, but {message}"


@check
def production_runs_what_an_administrator_deployed(stack: Stack) -> Findings:
    """The builds with production's credential take their commands from the stack's own bucket."""
    own = {
        name
        for one in actions(stack)
        if one.kind == "Source/S3" and references(one.configuration.get("S3Bucket"))
        for name in one.artifacts("OutputArtifacts")
    }
    for action in of_prod(stack):
        source = action.configuration.text("PrimarySource")
        if source not in own:
            expected = " or ".join(own) or "Cicd, from the stack's bucket"
            message = f"{action.name}: PrimarySource is {source or 'not set'}; name {expected}"
            yield action.at("PrimarySource"), message
    for build in stack.builds:
        location = plain(build.properties.mapping("Source").get("Location"))
        if PROD in build.targets and not re.fullmatch(r"|\$\{\w+\}/cicd\.zip", location):
            yield build.place, f"{build.name}: its source is {location}; name the stack's cicd.zip"


@check
def production_deploys_the_approved_plan(files: Files, stack: Stack) -> Findings:
    """What deploys to production gets the plan, and the checksums of plan and wheel."""
    plans = [one for one in of_prod(stack) if one.build and not deploys(files, one.build)]
    spaces = [one.parts.text("Namespace") for one in plans]
    for action in of_prod(stack):
        if action in plans or is_after_deployment(stack, action):
            continue
        if "Plan" not in action.artifacts("InputArtifacts"):
            yield action.parts.at["Name"], f"{action.name} does not get the artifact Plan; add it"
        values = variables(action)
        for name in sorted(CHECKSUMS):
            if values.get(name) not in ["#{" + f"{space}.{name}" + "}" for space in spaces]:
                message = f"{name} is not the one of the plan that was approved; take it from there"
                yield action.at("EnvironmentVariables"), f"{action.name}: {message}"


def is_after_deployment(stack: Stack, action: Action) -> bool:
    """Whether an earlier action of the same stage has deployed the plan, as before a job's run."""
    return any(
        one.when[0] == action.when[0]
        and one.when < action.when
        and "Plan" in one.artifacts("InputArtifacts")
        for one in of_prod(stack)
    )


def variables(action: Action) -> dict[str, str]:
    """The environment variables that an action gives to its build."""
    try:
        pairs = json.loads(plain(action.configuration.get("EnvironmentVariables")) or "[]")
        return {pair["name"]: pair["value"] for pair in pairs}
    except (ValueError, TypeError, KeyError):
        return {}


@check
def approvals_say_what_is_approved(stack: Stack) -> Findings:
    """An approval is mailed, links to the plan and sums it up."""
    for action in actions(stack):
        if action.kind != "Approval/Manual":
            continue
        for key in ("NotificationArn", "ExternalEntityLink"):
            if key not in action.configuration:
                yield action.parts.at["Name"], f"{action.name} has no {key}; restore it"
        text = plain(action.configuration.get("CustomData"))
        for name in SHOWN:
            if f".{name}" + "}" not in text:
                yield action.at("CustomData"), f"{action.name} does not show {name}; add it"


@check
def sources_are_the_stacks_own(stack: Stack) -> Findings:
    """The pipeline's sources are the stack's repository, at its branch, and the stack's bucket."""
    wanted = {
        "Source/CodeCommit": {"RepositoryName": r"\$\{.*", "BranchName": r"\$\{BranchName\}"},
        "Source/S3": {"S3Bucket": r"\$\{\w+\}"},
    }
    for action in actions(stack):
        if not action.kind.startswith("Source/"):
            continue
        if action.kind not in wanted:
            message = f"{action.name} comes from {action.kind}; take CodeCommit, or S3 for Cicd"
            yield action.parts.at["ActionTypeId"], message
        for key, pattern in {
            **wanted.get(action.kind, {}),
            "PollForSourceChanges": "False",
        }.items():
            value = plain(action.configuration.get(key))
            if action.kind in wanted and not re.fullmatch(pattern, value):
                message = f"{action.name}: {key} is {value or 'not set'}; name what is the stack's"
                yield action.at(key), message


# What starts the pipeline or a build: each part of the event, and what it has to be.
PUSH = {
    "source": ["aws.codecommit"],
    "detail-type": ["CodeCommit Repository State Change"],
    "resources": ["${Repository.Arn}"],
    "event": ["referenceCreated", "referenceUpdated"],
    "referenceType": ["branch"],
    "referenceName": ["${BranchName}"],
}
PULL_REQUEST = {
    "source": ["aws.codecommit"],
    "detail-type": ["CodeCommit Pull Request State Change"],
    "event": ["pullRequestCreated", "pullRequestSourceBranchUpdated"],
    "resources": ["${Repository.Arn}"],
}


def mismatches(pattern: Map, wanted: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """The parts of an event that are not as they have to be, and what they are."""
    parts = {**pattern, **pattern.mapping("detail")}
    for key, values in wanted.items():
        found = [plain(item) for item in items(parts.get(key))]
        if found != values:
            yield key, ", ".join(found)


@check
def rules_start_what_they_are_for(files: Files, stack: Stack) -> Findings:
    """A push to the branch starts the pipeline, a pull request a build that has no credential."""
    for name, rule in stack.of_type("AWS::Events::Rule").items():
        pattern = rule.mapping("EventPattern")
        for target in rule.sequence("Targets").mappings():
            arn = references(target.get("Arn"))
            build = next((one for one in stack.builds if one.name in arn), None)
            wanted = PULL_REQUEST if build else PUSH if {*arn} & pipelines(stack) else {}
            for key, found in mismatches(pattern, wanted) if pattern else ():
                message = f"is {found or 'not set'}, not {', '.join(wanted[key])}; restore it"
                yield rule.at["EventPattern"], f"{name}: {key} of the event {message}"
            if build and (build.targets if pattern else deploys(files, build)):
                message = "it has a credential" if pattern else "it changes its target"
                yield target.at["Arn"], f"{name} starts {build.name}, but {message}; start another"


def pipelines(stack: Stack) -> set[str]:
    """The logical names of the pipelines."""
    return {*stack.of_type("AWS::CodePipeline::Pipeline")}


@check
def rules_override_variables_only(stack: Stack) -> Findings:
    """What a rule's event says changes no build but by its variables."""
    for name, rule in stack.of_type("AWS::Events::Rule").items():
        for target in rule.sequence("Targets").mappings():
            for word in re.findall(r'"(\w+Override)"', plain(target.get("InputTransformer"))):
                if word != "environmentVariablesOverride":
                    yield target.at["InputTransformer"], f"{name} sets {word}; remove it"


# The ends that somebody has to hear of.
ENDS = {"build-status": {"FAILED", "FAULT", "TIMED_OUT"}, "state": {"FAILED"}}


@check
def failures_are_mailed(stack: Stack) -> Findings:
    """The rules that send mail know every way in which a build or a stage fails."""
    for name, rule in stack.of_type("AWS::Events::Rule").items():
        detail = rule.mapping("EventPattern", "detail")
        for key, ends in ENDS.items():
            missing = ends - {plain(item) for item in items(detail.get(key))}
            if key in detail and missing:
                yield (
                    detail.at[key],
                    f"{name} does not hear of {', '.join(sorted(missing))}; add it",
                )
