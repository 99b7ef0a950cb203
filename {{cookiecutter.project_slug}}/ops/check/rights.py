"""What the roles of the stack may do."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ops.check.reading import Findings, Map, Place, check, items, maps
from ops.check.stack import POLICY, Build, Stack, plain, references
from ops.check.trust import (
    CODEBUILD,
    EVENTS,
    PIPELINE,
    allows,
    arn,
    conditions,
    statements,
    users,
)


def rights(words: str) -> set[str]:
    """The rights in a text."""
    return set(words.split())


# The rights that a role may have, by who uses it. One more: add it here for all such roles, or
# accept it where it is given: `# accepted: ACTION (reason)`.
BUILD_WITHOUT_ENVIRONMENT = rights(
    """
    codebuild:BatchPutTestCases codebuild:CreateReport codebuild:CreateReportGroup
    codebuild:UpdateReport
    codecommit:GetCommit codecommit:GitPull codecommit:PostCommentForPullRequest
    ec2:CreateNetworkInterface ec2:CreateNetworkInterfacePermission ec2:DeleteNetworkInterface
    ec2:DescribeDhcpOptions ec2:DescribeNetworkInterfaces ec2:DescribeSecurityGroups
    ec2:DescribeSubnets ec2:DescribeVpcs
    logs:CreateLogStream logs:PutLogEvents
    """
)
BUILD_OF_AN_ENVIRONMENT = BUILD_WITHOUT_ENVIRONMENT | rights(
    """
    codecommit:GetCommit codepipeline:GetPipelineExecution codepipeline:GetPipelineState
    codepipeline:ListActionExecutions codepipeline:ListPipelineExecutions
    kms:Decrypt kms:GenerateDataKey
    s3:GetBucketAcl s3:GetBucketLocation s3:GetObject s3:GetObjectVersion s3:ListBucket s3:PutObject
    secretsmanager:GetSecretValue sns:Publish sts:GetWebIdentityToken
    """
)
MAY = {
    CODEBUILD: BUILD_OF_AN_ENVIRONMENT,
    PIPELINE: rights(
        """
        codebuild:BatchGetBuilds codebuild:StartBuild
        codecommit:CancelUploadArchive codecommit:GetBranch codecommit:GetCommit
        codecommit:GetRepository codecommit:GetUploadArchiveStatus codecommit:UploadArchive
        kms:Decrypt kms:DescribeKey kms:GenerateDataKey
        s3:GetBucketAcl s3:GetBucketLocation s3:GetBucketVersioning
        s3:GetObject s3:GetObjectVersion s3:PutObject sns:Publish
        """
    ),
    EVENTS: {"codepipeline:StartPipelineExecution", "codebuild:StartBuild"},
}
# Rights for which AWS knows nothing narrower than every resource.
ANYWHERE = re.compile(r"ec2:\w+NetworkInterfaces?$|ec2:Describe\w+$|sts:GetWebIdentityToken$")
VIA = r"StringEquals kms:ViaService"
# The conditions that some rights of a build need.
ONLY_IF = {
    "ec2:CreateNetworkInterfacePermission": [r"StringEquals ec2:AuthorizedService"],
    "kms:Decrypt": [VIA],
    "kms:GenerateDataKey": [VIA],
    "sts:GetWebIdentityToken": [
        r"ForAllValues:StringEquals sts:IdentityTokenAudience",
        r"Null sts:IdentityTokenAudience",
    ],
}


class Grant(NamedTuple):
    """One right of a role on one resource."""

    role: str
    action: str
    resource: str
    statement: Map
    place: Place  # of the statement's actions


def attached(stack: Stack) -> Iterator[tuple[str, Map]]:
    """Every role with each statement that allows it something."""
    for name in stack.resources:
        properties = stack.properties(name)
        policies = [properties.get("Policies"), properties.get("PolicyDocument")]
        for role in stack.roles(name):
            for statement in statements(policies):
                if allows(statement) and role in stack.types:
                    yield role, statement


def grants(stack: Stack) -> Iterator[Grant]:
    """Every right of every role."""
    for role, statement in attached(stack):
        place = statement.at.get("Action", statement.at["Effect"])
        for action in items(statement.get("Action")):
            for resource in items(statement.get("Resource")):
                yield Grant(role, plain(action), plain(resource), statement, place)


def builds(stack: Stack, role: str) -> list[Build]:
    """The builds that have a role."""
    return [build for build in stack.builds if build.role == role]


def may(stack: Stack, role: str) -> set[str]:
    """The rights that a role may have."""
    services = users(stack, role)
    rights = [MAY[service] for service in services]
    if [*services] == [CODEBUILD] and not any(build.targets for build in builds(stack, role)):
        rights = [BUILD_WITHOUT_ENVIRONMENT]
    return set().union(*rights)


@check
def roles_have_no_other_rights(stack: Stack) -> Findings:
    """A role has only rights that one who uses it needs, under the conditions that these need."""
    for role, action, _, statement, place in {grant[:3]: grant for grant in grants(stack)}.values():
        if action not in may(stack, role):
            message = f"{role} may {action}, which it does not need"
            yield place, f"{message}; remove it (or see ops/check/rights.py)"
        elif CODEBUILD in users(stack, role):
            held = [*conditions(statement)]
            for condition in ONLY_IF.get(action, []):
                if not any(re.fullmatch(condition, one) for one in held):
                    key = condition.split()[-1].replace(r"\S+", "...")
                    yield place, f"{role} may {action} without a condition on {key}; add it"


@check
def policies_name_what_they_allow(stack: Stack) -> Findings:
    """No policy allows all but something; none for people allows all of a service."""
    for name in stack.resources:
        for statement in filter(allows, statements([*stack.properties(name).values()])):
            for key in ("NotAction", "NotResource", "NotPrincipal"):
                if key in statement:
                    message = "allows all that is not named; name what is allowed"
                    yield statement.at[key], f"{name}: {key} {message}"
            for action in map(plain, items(statement.get("Action"))):
                if stack.types[name] == POLICY and re.fullmatch(r"\*|[\w-]+:\*|iam:.*", action):
                    at = statement.at["Action"]
                    yield at, f"{name} allows {action}; name the actions that are needed"


@check
def nobody_is_made(stack: Stack) -> Findings:
    """The stack makes no users and no access keys: people come from outside."""
    for name, kind in stack.types.items():
        if re.fullmatch(r"AWS::IAM::(User|Group|AccessKey|UserToGroupAddition|UserPolicy)", kind):
            place = stack.resources.at[name]
            yield place, f"{name}: the stack makes no users, groups or keys; remove it"


def names(stack: Stack, role: str, key: str) -> set[str]:
    """The artifacts that the pipeline's actions read or write in the builds of a role."""
    own = {build.name for build in builds(stack, role)}
    actions = [part for part in stack.pipeline if own & {*references(project(part))}]
    return {plain(item.get("Name")) for part in actions for item in maps(part.get(key))}


def project(action: Map) -> object:
    """The build that an action of the pipeline runs."""
    return action.mapping("Configuration").get("ProjectName")


# An artifact's key: the pipeline's name, 20 characters of it; the artifact's; something random.
BUCKET, PIPELINE_FOLDER = r"\$\{\w+\.Arn\}", r"\?{20}"


def is_own_object(stack: Stack, grant: Grant) -> bool:
    """Whether a build's right on objects is on what the pipeline gives to, or takes from, it."""
    if CODEBUILD not in users(stack, grant.role):
        return True
    writes = grant.action == "s3:PutObject"
    artifacts = names(stack, grant.role, "OutputArtifacts" if writes else "InputArtifacts")
    if writes:
        artifact = re.fullmatch(rf"{BUCKET}/{PIPELINE_FOLDER}/(\w+)/\*", grant.resource)
        return artifact is not None and artifact[1] in artifacts
    artifacts |= names(stack, grant.role, "OutputArtifacts")
    targets = {target for build in builds(stack, grant.role) for target in build.targets}
    own = [f"{PIPELINE_FOLDER}/{re.escape(artifact)}/\\*" for artifact in artifacts]
    own += [f"destroy/{re.escape(target)}.zip" for target in targets]
    return bool(re.fullmatch(f"{BUCKET}/({'|'.join([*own, 'cicd.zip'])})", grant.resource))


@check
def artifacts_are_the_builds_own(stack: Stack) -> Findings:
    """A build reads and writes only the artifacts that the pipeline's actions name for it."""
    for grant in grants(stack):
        is_object = grant.action.startswith(("s3:GetObject", "s3:PutObject"))
        if is_object and not is_own_object(stack, grant):
            verb = "write" if grant.action == "s3:PutObject" else "read"
            message = "name only what the pipeline's actions of its builds do"
            yield grant.place, f"{grant.role} may {verb} {grant.resource}; {message}"


def started(stack: Stack, role: str) -> set[str]:
    """What a role's rules and pipelines start, as policies name it."""
    uses = users(stack, role)
    rules = [stack.properties(name).get("Targets") for name in uses.get(EVENTS, [])]
    arns = {plain(target.get("Arn")) for target in maps(rules) if "Arn" in target}
    if PIPELINE in uses:
        arns |= {arn(name) for part in stack.pipeline for name in references(project(part))}
    return arns


def is_in_reach(stack: Stack, grant: Grant) -> bool:
    """Whether a right is on what this stack owns and the role has to do with."""
    if grant.action in ("codebuild:StartBuild", "codepipeline:StartPipelineExecution"):
        return grant.resource in started(stack, grant.role)
    if grant.action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        streams = [
            plain(build.properties.mapping("LogsConfig", "CloudWatchLogs").get("StreamName"))
            for build in builds(stack, grant.role)
        ]
        ends = tuple(f":log-stream:{stream}/*" for stream in streams if stream)
        return grant.resource.endswith(ends)
    if ANYWHERE.match(grant.action) or grant.action == "ec2:CreateNetworkInterfacePermission":
        return True
    return any(name in stack.resources for name in references(grant.resource))


@check
def rights_are_on_the_stacks_own(stack: Stack) -> Findings:
    """A right is on a resource of this stack that the role has to do with."""
    for grant in grants(stack):
        if grant.action in may(stack, grant.role) and not is_in_reach(stack, grant):
            message = "which is not its own; name a resource of its own"
            yield grant.place, f"{grant.role} may {grant.action} on {grant.resource}, {message}"
