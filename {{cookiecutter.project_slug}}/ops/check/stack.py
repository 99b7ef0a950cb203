"""The stack: its builds, what they work on, and what its roles may use."""

import fnmatch
import re
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from ops.check.bundle import Bundle
from ops.check.files import STACK, Files
from ops.check.reading import Findings, Map, Place, check, items, maps, suggest

# A target in a command: the CLI's option, or what follows a script whose first word it is.
TARGET = (
    r"(?:\bbundle\b[^|;&]*?\s(?:-t|--target)"
    r"""|(?:cicd/steps|\$STEPS)/(?:preflight\.py|run_nutter\.sh|run_job\.sh)["']?\s)"""
    r"""[ =]*["']?([A-Za-z][\w-]*)"""
)
BUILD, ROLE = "AWS::CodeBuild::Project", "AWS::IAM::Role"
POLICY, SECRET = "AWS::IAM::ManagedPolicy", "AWS::SecretsManager::Secret"


class Right(NamedTuple):
    """How a resource is used: the action, a word for it, and how the resource's ARN ends."""

    action: str
    verb: str
    arn: str


RIGHTS = {
    SECRET: Right("secretsmanager:GetSecretValue", "read", "secret:{}-x"),
    "AWS::KMS::Key": Right("kms:Decrypt", "decrypt with", "key/{}"),
    ROLE: Right("sts:AssumeRole", "assume", "role/{}"),
    BUILD: Right("codebuild:StartBuild", "start", "project/{}"),
}


def plain(value: object) -> str:
    """A value of the stack as one string, its references as ${Name}."""
    match value:
        case {"Fn::Join": [separator, [*parts]]}:
            return str(separator).join(map(plain, parts))
        case {"Fn::Sub": [text, {**values}]}:
            names = {name: plain(item) for name, item in values.items()}
            return re.sub(r"\$\{(\w+)\}", lambda name: names.get(name[1], name[0]), str(text))
        case {"Ref": name} | {"Fn::GetAtt": str(name)}:
            return "${" + str(name) + "}"
        case {"Fn::GetAtt": [*path]}:
            return "${" + ".".join(map(plain, path)) + "}"
        case {**values} if values:
            return "".join(map(plain, values.values()))
        case [*parts]:
            return "".join(map(plain, parts))
    return "" if value is None or value == {} else str(value)


def references(value: object) -> list[str]:
    """The logical names that a value of the stack refers to."""
    return re.findall(r"\$\{(\w+)", plain(value))


class Variable(NamedTuple):
    """An environment variable of a build."""

    name: str
    value: object
    is_secret: bool
    place: Place


class Build(NamedTuple):
    """A CodeBuild project of the stack."""

    name: str
    properties: Map
    role: str
    buildspec: str  # its file, or its text
    place: Place  # where the stack names the buildspec
    variables: list[Variable]
    targets: dict[str, Place]  # which it works on, and where that is said


class Stack:
    """The CloudFormation template."""

    def __init__(self, files: Files, bundle: Bundle) -> None:
        self.files = files
        self.bundle = bundle
        self.template = files.yaml.mapping(STACK)
        self.resources = self.template.mapping("Resources")
        self.types = {name: self.resources.mapping(name).text("Type") for name in self.resources}

    def properties(self, name: str) -> Map:
        """The properties of a resource."""
        return self.resources.mapping(name, "Properties")

    def of_type(self, kind: str) -> dict[str, Map]:
        """The resources of a type, each with its properties."""
        return {name: self.properties(name) for name in self.types if self.types[name] == kind}

    @cached_property
    def pipeline(self) -> list[Map]:
        """Every mapping in the pipeline: stages and actions among others."""
        return [*maps([*self.of_type("AWS::CodePipeline::Pipeline").values()])]

    @cached_property
    def artifacts(self) -> list[str]:
        """The names of the artifacts that actions of the pipeline produce."""
        outputs = [action.get("OutputArtifacts") for action in self.pipeline]
        return [artifact.text("Name") for artifact in maps(outputs)]

    def environment(self, name: str) -> str:
        """The target that a logical name starts with: QaSecret is qa's. Else nothing."""
        words = {target: re.sub(r"\W|_", "", target).lower() for target in self.bundle.targets}
        fitting = [target for target in words if name.lower().startswith(words[target])]
        return max(fitting, key=len, default="")

    @cached_property
    def builds(self) -> list[Build]:
        """Every build."""
        return [self.build(name, properties) for name, properties in self.of_type(BUILD).items()]

    def build(self, name: str, properties: Map) -> Build:
        """One build, from its properties."""
        source, environment = properties.mapping("Source"), properties.mapping("Environment")
        buildspec = plain(source.get("BuildSpec", "buildspec.yml"))  # CodeBuild's own default
        place = source.at.get("BuildSpec", self.resources.at[name])
        environment.sequence("EnvironmentVariables").mappings()  # nothing else is in that list
        variables = []
        for item in (item for item in maps(environment) if "Name" in item):
            is_secret, at = item.get("Type") == "SECRETS_MANAGER", item.at.get("Value", place)
            variables.append(Variable(item.text("Name"), item.get("Value"), is_secret, at))
        role = "".join(references(properties.get("ServiceRole"))[:1])
        targets = self.targets(buildspec, place, variables)
        return Build(name, properties, role, buildspec, place, variables, targets)

    def targets(self, buildspec: str, at: Place, variables: list[Variable]) -> dict[str, Place]:
        """What a build works on: its commands say it, else the variable TARGET, else its host."""
        places: dict[str, Place] = {}
        for command in self.files.commands(buildspec):
            for target in re.findall(TARGET, command.text):
                places.setdefault(target, command.place)
        values = {variable.name: variable.value for variable in variables}
        places = places or {plain(values.get("TARGET")): at}
        known = {target: place for target, place in places.items() if target in self.bundle.targets}
        hosts = references(values.get("DATABRICKS_HOST"))
        return known or {target: at for host in hosts if (target := self.environment(host))}

    @property
    def uses(self) -> Iterator[tuple[Build, Variable, str]]:
        """Every logical name to which a variable of a build refers."""
        for build in self.builds:
            for variable in build.variables:
                for name in references(variable.value):
                    yield build, variable, name

    @cached_property
    def users(self) -> dict[str, dict[str, Place]]:
        """The targets whose builds use a logical name, and where; "" stands for no target."""
        uses = [(build, build.place, build.name) for build in self.builds]
        uses += [(build, build.place, build.role) for build in self.builds]
        uses += [(build, variable.place, name) for build, variable, name in self.uses]
        users: dict[str, dict[str, Place]] = {}
        for build, place, name in uses:
            users.setdefault(name, {}).update(dict.fromkeys(build.targets or [""], place))
        return users

    @cached_property
    def owners(self) -> dict[str, str]:
        """Each resource's environment: a secret's by its name, else the only one that uses it."""
        owners = {name: self.environment(name) for name in self.of_type(SECRET)}
        for name, targets in self.users.items():
            if name in self.resources and len(targets) == 1:
                owners[name] = owners.get(name) or min(targets)
        return owners

    @cached_property
    def rights(self) -> dict[tuple[str, str], Place]:
        """Which role may use which resource as RIGHTS has it, and where that is said."""
        rights: dict[tuple[str, str], Place] = {}
        for name in self.resources:
            properties, roles = self.properties(name), self.roles(name)
            trust = [properties.get(key) for key in ("AssumeRolePolicyDocument", "KeyPolicy")]
            for principal in maps(trust):
                for role in references(principal.get("AWS")):
                    rights[role, name] = principal.at["AWS"]
            for statement in maps([properties.get("Policies"), properties.get("PolicyDocument")]):
                place = statement.at.get("Resource", self.resources.at[name])
                if statement.get("Effect", "Deny") != "Deny":
                    allowed = self.allowed(statement)
                    rights |= {(role, resource): place for resource in allowed for role in roles}
        return rights

    def roles(self, name: str) -> list[str]:
        """The roles that get the policies of a resource."""
        if self.types[name] == ROLE:
            return [name]
        policy, others = self.properties(name), self.of_type(ROLE).items()
        users = [role for role, p in others if name in references(p.get("ManagedPolicyArns"))]
        return users + references([policy.get("Roles"), policy.get("RoleName")])

    def allowed(self, statement: Map) -> list[str]:
        """The resources that a policy's statement allows to use as RIGHTS has it."""
        actions = [plain(action).lower() for action in items(statement.get("Action", "*"))]
        resources = [plain(resource) for resource in items(statement.get("Resource", "*"))]
        return [
            name
            for kind, right in RIGHTS.items()
            if any(fnmatch.fnmatch(right.action.lower(), action) for action in actions)
            for name, properties in self.of_type(kind).items()
            if any(self.covers(resource, name, properties, right) for resource in resources)
        ]

    def covers(self, resource: str, name: str, properties: Map, right: Right) -> bool:
        """Whether a policy's resource is the stack's resource of a name, or a pattern for it."""
        own = properties.get("Name") or properties.get("RoleName") or f"stack-{name}-x"
        parts = re.split(r"\$\{([\w:]+)[^}]*\}", resource)
        # A parameter may be anything, a resource is only itself.
        parts[1::2] = [part if part in self.resources else "*" for part in parts[1::2]]
        end = "".join(parts).split(":", 5)[-1]  # of whatever partition and account
        return name in references(resource) or fnmatch.fnmatch(right.arn.format(plain(own)), end)


# Bytes: of a template in a request, as for a new stack, and of one in a bucket, as for an update.
IN_REQUEST, IN_BUCKET = 51_200, 1_000_000


@check
def template_fits_cloudformation(files: Files) -> Findings:
    """The template is no larger than CloudFormation accepts."""
    size = len(files.text.get(STACK, "").encode())
    if size > IN_BUCKET:
        message = f"{size:,} bytes, and CloudFormation accepts {IN_BUCKET:,}; remove some"
        yield Place(STACK, 1), message
    elif size > IN_REQUEST:
        message = f"{size:,} bytes: a new stack takes {IN_REQUEST:,}; an update takes this one too"
        yield Place(STACK, 1), f"warning: {message}"


@check
def namespaces_differ_from_artifacts(stack: Stack) -> Findings:
    """No action's namespace has the name of an artifact."""
    for action in stack.pipeline:
        name = action.text("Namespace")
        if name and name in stack.artifacts:
            yield action.at["Namespace"], f"{name} is an artifact too, which AWS refuses; rename it"


@check
def pipeline_runs_its_builds(stack: Stack) -> Findings:
    """Each build that gets its sources from the pipeline is run by one of its actions."""
    projects = [plain(part["ProjectName"]) for part in stack.pipeline if "ProjectName" in part]
    for build in stack.builds:
        names = {build.name, plain(build.properties.get("Name"))}
        from_pipeline = build.properties.mapping("Source").text("Type") == "CODEPIPELINE"
        if projects and from_pipeline and not names & {*projects, *references(projects)}:
            yield build.place, f"no action of the pipeline runs {build.name}; add its ProjectName"


@check
def report_groups_exist(files: Files, stack: Stack) -> Findings:
    """The stack has a report group for each report of a build."""
    groups = stack.of_type("AWS::CodeBuild::ReportGroup").values()
    names = [plain(group.get("Name")) for group in groups]
    for build in stack.builds:
        prefix = plain(build.properties.get("Name")) + "-"  # as CodeBuild finds them
        known = [name.split(prefix)[1] for name in names if prefix in name]
        spec = files.buildspecs.get(build.buildspec, Map())
        for report, place in spec.mapping("reports").at.items():
            if known and ":" not in report and report not in known:  # an ARN is another stack's
                yield place, f"the stack has no report group for {report}; {suggest(report, known)}"
