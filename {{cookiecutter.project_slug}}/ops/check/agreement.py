"""That the files agree: commands, versions, hosts and names."""

import ast
import difflib
import operator
import os
import re
from collections.abc import Iterator

from cicd.steps.bundle import Refused, read
from ops.check.bundle import Bundle, bundle_has_known_keys
from ops.check.files import Files
from ops.check.reading import Findings, Place, check, check_after, suggest
from ops.check.stack import SECRET, TARGET, Stack

NAMES = "cicd/steps/names.py"
REQUIREMENTS = {"pyyaml": "cicd/requirements.txt", "uv": "cicd/uv.txt"}  # what pins them


@check
def scripts_exist(files: Files, bundle: Bundle) -> Findings:
    """The scripts that commands name exist."""
    pattern = r"(?<![\w./:$}-])(?:\./)?([\w-]+/[\w./-]+\.(?:py|sh|env))\b"
    named = [*files.search_commands(pattern)]
    for command, script in files.search_commands(r"\$STEPS/([\w.-]+\.(?:py|sh))"):
        named.append((command, f"cicd/steps/{script}"))
    for command, script in named:
        if not os.path.isfile(files.root / script):
            yield command.place, f"names {script}, which does not exist; fix the path"


@check
def make_targets_exist(files: Files) -> Findings:
    """The Makefile has the targets that builds make."""
    makefile = files.text.get("Makefile", "")
    targets = " ".join(re.findall(r"(?m)^([^\s#:=][^#:=]*):(?!=)", makefile)).split()
    if "%" in "".join(targets) or re.search(r"(?m)^-?include\s(?!\S+\.env$)", makefile):
        return  # a pattern or an included file may hold more targets
    for command, words in files.search_commands(r"(?:^|[;&|(]\s*|=\S*\s+)make\s([^;&|>]*)"):
        named = re.findall(r"(?<!\S)[a-z][\w.-]*(?!\S)", words)
        in_build = command.place.file in files.buildspecs and "-" not in words  # make has options
        for target in named if in_build else ():
            if target not in targets:
                yield command.place, f"no make target {target}; {suggest(target, targets)}"


@check
def ops_commands_exist(files: Files) -> Findings:
    """The package ops has the commands that the Makefile and the builds call."""
    source = "\n".join(text for file, text in files.text.items() if re.match(r"ops/.*\.py", file))
    for command, name in files.search_commands(r"-m ops ([a-z][\w-]*)"):
        function = name.replace("-", "_")
        if not re.search(rf"\bdef {function}\b|command\(\W*{name}\W", source):
            yield command.place, f"python -m ops has no command {name}; fix the name"


@check
def targets_exist(files: Files, bundle: Bundle) -> Findings:
    """The bundle has the targets that commands name."""
    for command, target in files.search_commands(TARGET):
        if target not in bundle.targets:
            yield command.place, f"no target {target}; {suggest(target, bundle.targets)}"


@check
def builds_name_their_target(files: Files) -> Findings:
    """No command of a build acts on the default target by leaving it out."""
    verbs = r"databricks bundle\b[^|;&]*?\s(?:validate|plan|deploy|summary|run|open|sync|destroy)\b"
    scripts = r"(?:cicd/steps|\$STEPS)/(?:preflight\.py|run_nutter\.sh|run_job\.sh)"
    target = r"\s(?:-t|--target)|\.(?:py|sh)[\"']?\s+[\"']?[\w$]"
    for command, part in files.search_commands(rf"(?:{verbs}|{scripts})(?![^\s\"'])[^|;&]*"):
        if command.place.file.startswith("cicd/") and not re.search(target, part):
            yield (
                command.place,
                "names no target, so it acts on the default one; add -t and a target",
            )


OPTIONS = r"(?:^|\s)(?:-[top]|--(?:target|output|profile|var|params|only))[ =]\S+"


@check_after(bundle_has_known_keys)
def what_is_run_exists(files: Files, bundle: Bundle) -> Findings:
    """Targets have the jobs and pipelines that commands run."""
    call = r"databricks bundle\b[^|;&]*?\srun\s([^;|&>]*)"
    for command, arguments in files.search_commands(call):
        words = [word for word in re.sub(OPTIONS, " ", arguments).split() if word[0] != "-"]
        name = "".join(words[:1]).strip("\"'")
        targets = re.findall(TARGET, command.text) or [*bundle.targets]
        known = [resource.name for resource in bundle.resources if resource.target in targets]
        if known and re.fullmatch(r"[\w-]+", name) and name not in known:
            where = f"the target {targets[0]}" if len(targets) == 1 else "any target"
            yield command.place, f"runs {name}, which is not in {where}; {suggest(name, known)}"


@check_after(bundle_has_known_keys)
def what_follows_a_deployment_exists(bundle: Bundle) -> Findings:
    """Each target has what builds run after its deployment: what the variable `job` names."""
    declared = bundle.all.mapping("variables", "job")
    for target, settings in bundle.targets.items():
        own = settings.mapping("variables")
        values, key = (own, "job") if "job" in own else (declared, "default")
        name = values.text(key)
        known = [resource.name for resource in bundle.resources if resource.target == target]
        if known and name and "$" not in name and name not in known:
            what = f"job names {name}, which is not in the target {target}"
            yield values.at[key], f"{what}; {suggest(name, known)}"


@check
def buildspecs_are_those_named(files: Files, stack: Stack) -> Findings:
    """The buildspecs that the stack and ops/ name exist, and there are no others."""
    named = {b.buildspec: b.place for b in stack.builds if "\n" not in b.buildspec}
    for place, match in files.search(r"cicd/buildspecs/[\w.-]+\.ya?ml", ".py"):
        if not place.file.startswith("ops/check/"):
            named[match[0]] = place
    for file, place in named.items():
        if file not in files.text:
            yield place, f"names the buildspec {file}, which does not exist; fix the path"
    for file in files.buildspecs.keys() - named.keys():
        if "cicd/buildspecs/" in file:
            message = "neither cicd/stack.yml nor ops/ uses this file; name it there, or remove it"
            yield Place(file, 1), message


@check
def versions_are_the_pinned_ones(files: Files) -> Findings:
    """What has to repeat a version repeats it right: packages, and builds' Python."""
    pins = {"nutter": "NUTTER", "databricks-bundles": "DATABRICKS_CLI"}
    for place, match in files.search(r"\b(nutter|databricks-bundles)==(\d[\w.]*)"):
        pin = files.pins.get(f"{pins[match[1]]}_VERSION", match[2])
        if match[2] != pin:
            yield place, f"{match[2]}, but cicd/tools.env pins {pin}; make them equal"
    for name, file in REQUIREMENTS.items():
        pinned = re.findall(rf"(?m)^{name}==(\S+)", files.text.get(file, ""))
        for place, match in files.search(rf"\b{name}==(\d[\w.]*)"):
            if pinned and match[1] != pinned[0]:
                yield place, f"{match[1]}, but {file} pins {pinned[0]}; make them equal"
    python = files.pins.text("PYTHON_VERSION")
    for spec in files.buildspecs.values():
        runtimes = spec.mapping("phases", "install", "runtime-versions")
        if python and runtimes.text("python") not in ("", python):
            place = runtimes.at["python"]
            yield place, f"cicd/tools.env pins Python {python}; make them equal"


KNOWN_HOST = "github.com"  # where Databricks publishes its client


@check
def client_comes_from_its_place(files: Files) -> Findings:
    """The client is downloaded by https, from a host that does not only look like the known one."""
    name = "DATABRICKS_CLI_BASE_URL"
    url = files.pins.text(name).strip("\"'")
    match = re.fullmatch(r"https://([a-z0-9.-]+)(:\d+)?(/[\w./~-]*)?", url, re.ASCII)
    if name in files.pins and not match:
        yield files.pins.at[name], "needs https://, a host and a path, no user; correct it"
    elif match and match[1] != KNOWN_HOST and looks_like(match[1], KNOWN_HOST):
        message = f"{match[1]} only looks like {KNOWN_HOST}; use that, or a mirror of yours"
        yield files.pins.at[name], message


def looks_like(host: str, known: str) -> bool:
    """Whether a host could be taken for a known one, by a person who reads quickly."""
    plain = host.translate(str.maketrans("1l0", "iio"))
    near = difflib.SequenceMatcher(None, plain, known).ratio() > 0.8
    return near or known.partition(".")[0] in plain or "xn--" in host


@check
def bundle_accepts_the_client(files: Files, bundle: Bundle) -> Findings:
    """The bundle accepts the Databricks CLI that tools.env pins."""
    compare = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
    pin, settings = files.pins.text("DATABRICKS_CLI_VERSION"), bundle.all.mapping("bundle")
    bounds = re.findall(r"([<>=]*) ?([\d.]+)", settings.text("databricks_cli_version"))
    for sign, bound in bounds:
        client, limit = ([int(n) for n in re.findall(r"\d+", v)] for v in (pin, bound))
        if not compare.get(sign, operator.eq)(client, limit):
            message = f"refuses the {pin} that cicd/tools.env pins; change one of them"
            yield settings.at["databricks_cli_version"], message


@check
def production_targets_have_hosts(bundle: Bundle, stack: Stack) -> Findings:
    """A target in production mode has a host; one that a build deploys to has its own."""
    built = {target for build in stack.builds for target in build.targets}
    for name, target in bundle.targets.items():
        settings = {*target.mapping("workspace")}
        if name not in built:  # builds accept the target's own host only
            settings |= {*bundle.all.mapping("workspace")}
        if target.get("mode") == "production" and not settings & {"host", "profile"}:
            yield target.at["mode"], f"{name} has no host; add workspace: host:"


@check
def hosts_are_equal(bundle: Bundle, stack: Stack) -> Findings:
    """A build gets from the stack the host that its target has in the bundle."""
    parameters = stack.template.mapping("Parameters")
    for build, variable, name in stack.uses:
        if variable.name != "DATABRICKS_HOST" or len(build.targets) != 1:
            continue
        (target,) = build.targets
        workspace = bundle.targets[target].mapping("workspace")
        host, default = workspace.text("host"), parameters.text(name, "Default")
        foreign = stack.environment(name) not in ("", target)  # environments.py says that
        if host and default and host != default and not foreign:
            file, line = workspace.at["host"]
            message = f"{default}, but {target}'s host in {file}:{line} is {host}; make them equal"
            yield parameters.mapping(name).at["Default"], message


@check
def branches_are_equal(bundle: Bundle, stack: Stack) -> Findings:
    """The pipeline's branch is the one from which the bundle may be deployed."""
    branch = stack.template.text("Parameters", "BranchName", "Default")
    for target in bundle.targets.values():
        git = target.mapping("git")
        if branch and git.text("branch") not in ("", branch):
            yield git.at["branch"], f"BranchName in cicd/stack.yml is {branch}; make them equal"


@check
def builds_accept_the_bundle(files: Files, bundle: Bundle, stack: Stack) -> Findings:
    """The builds' own strict reading takes the bundle, for each target that a build deploys to."""
    for target in sorted({target for build in stack.builds for target in build.targets}):
        if target not in bundle.targets:
            continue  # targets_exist says that
        try:
            read(files.root, target)
        except Refused as refused:
            yield Place(refused.file, refused.line), refused.message


def constants(source: str) -> Iterator[tuple[str, str, int]]:
    """The names, texts and lines of a module's assignments."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            targets, values = elements(node.targets[0]), elements(node.value)
            for target, value in zip(targets, values, strict=False):
                if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
                    yield target.id, str(value.value), target.lineno


def elements(node: ast.expr) -> list[ast.expr]:
    """The parts of `a, b`, or the one part."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


@check
def shared_names_are_the_pipelines(files: Files, stack: Stack) -> Findings:
    """The pipeline has the stages and artifacts of names.py."""
    stages = [part.text("Name") for part in stack.pipeline if "Actions" in part]
    known = {
        **dict.fromkeys(["QA", "REVIEW", "PRODUCTION"], stages),
        **dict.fromkeys(["SOURCE", "WHEEL", "PLAN"], stack.artifacts),
    }
    for name, text, line in constants(files.readable(NAMES)):
        if text not in known.get(name, [text]):
            message = f"the pipeline in cicd/stack.yml has no {text}; {suggest(text, known[name])}"
            yield Place(NAMES, line), message


@check
def placeholders_are_equal(files: Files, stack: Stack) -> Findings:
    """Secrets start with the placeholder of names.py; client IDs may have it."""
    values = {name: text for name, text, _ in constants(files.readable(NAMES))}
    placeholder = values.get("PLACEHOLDER", "")
    message = f"does not know the placeholder {placeholder!r} of {NAMES}; make them equal"
    for secret in stack.of_type(SECRET).values():
        generated = secret.mapping("GenerateSecretString")
        template = generated.text("SecretStringTemplate")
        if placeholder and template and f'"{placeholder}"' not in template:
            yield generated.at["SecretStringTemplate"], message
    parameters = stack.template.mapping("Parameters")
    for name in (name for name in parameters if name.endswith("ClientId")):
        parameter = parameters.mapping(name)
        if placeholder not in parameter.text("Default") + parameter.text("AllowedPattern"):
            yield parameters.at[name], message
