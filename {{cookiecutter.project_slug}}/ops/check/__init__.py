"""Proves this repository without a cloud: each file by itself, and that the files agree.

Usage: uv run ops/check.py [--strict] [PATH]

Prints each finding as `file:line: what, and how to mend it`, and exits 1 if there is one. What a
missing package leaves unchecked is a line `not checked: ...`; with --strict that exits 1 too.
"""

import argparse
import difflib
import glob
import importlib
import importlib.util
import itertools
import json
import operator
import pkgutil
import re
import runpy
import subprocess
import sys
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

sys.dont_write_bytecode = True  # a check leaves nothing behind
from repository import Finding, Map, Place, Repository, Seq, dig, each, leaves, maps, names, plain  # noqa: E402


def suggest(word: str, known: Iterable[str]) -> str:
    """What may have been meant."""
    known = [str(one) for one in known]
    near = difflib.get_close_matches(word, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"


# ---- Each file by itself -----------------------------------------------------------------------

NOTEBOOK = r"""(?m)(?:^# MAGIC %run |dbutils\.notebook\.run\()["']?(\.[^"'\s,)]+)"""
# Every key of a buildspec, as the CodeBuild user guide lists them, and of databricks.yml, as the
# CLI's own types do (bundle/config). "*": any key; no value: no keys below; []: anything below.
KEYS = yaml.safe_load("""
a buildspec:
  version:
  run-as:
  env:
    {shell, exported-variables, git-credential-helper,
     variables: &words {"*"}, parameter-store: *words, secrets-manager: *words}
  proxy: {upload-artifacts, logs}
  batch: {fast-fail, build-list, build-matrix, build-graph, build-fanout}
  phases:
    install: {<<: &step {run-as, on-failure, commands, finally}, runtime-versions: *words}
    pre_build: *step
    build: *step
    post_build: *step
  reports: {"*": {files, base-directory, discard-paths, file-format}}
  artifacts:
    <<: &files
      {files, name, base-directory, discard-paths, exclude-paths, enable-symlinks, s3-prefix}
    secondary-artifacts: {"*": *files}
  cache: {key, fallback-keys, action, paths}
a bundle:
  <<:
  - &common
    {artifacts: &any {"*": []}, bundle: *any, permissions: [], presets: *any, run_as: [],
     resources: {"*": {"*": *any}}, sync: *any, variables: *any, workspace: *any}
  - {definitions: [], experimental: *any, include: [], python: *any, scripts: *any}
  targets: &targets {"*": {<<: *common, cluster_id, compute_id, default, git: *any, mode}}
  environments: *targets
""")


def notebooks(repo: Repository) -> Iterator[Finding]:
    """The notebooks that notebooks run are there."""
    for file, line, (name,) in repo.search(NOTEBOOK, ".py"):
        path = (repo.root / file).parent / name
        if not any(path.with_name(path.name + end).is_file() for end in ("", ".py", ".ipynb")):
            yield file, line, f"runs the notebook {name}, which is not there; mend the path"


def buildspecs(repo: Repository) -> Iterator[Finding]:
    """Each buildspec says what version 0.2 knows, and YAML reads it as it was meant."""
    for file, spec in repo.buildspecs.items():
        if str(spec.get("version")) != "0.2":
            yield *spec.at.get("version", (file, 1)), "no buildspec 0.2; say version: 0.2"
        yield from unknown_keys(spec, "a buildspec", KEYS["a buildspec"])
        for name, at in dig(spec, "env", "secrets-manager").at.items():
            yield *at, f"{name} is a secret; its place is the build's project in cicd/stack.yml"
        phases = dig(spec, "phases")
        if not phases:
            yield file, 1, "has no phases, so it builds nothing; add phases: build: commands:"
        versions = dig(phases, "install", "runtime-versions")
        for name, value, at in leaves(spec):
            if name != "version" and isinstance(value, float | int if name in versions else float):
                yield *at, f"{name} is read as the number {value}; quote it"
        for name, phase in phases.items():
            if not dig(phase, "commands") and not dig(phase, "runtime-versions"):
                yield *phases.at[name], f"{name} has no commands; add some or remove the phase"
            for key in ("commands", "finally"):
                steps = dig(phase, key) if isinstance(dig(phase, key), list) else []
                for index, step in enumerate(steps):
                    if not isinstance(step, str) or not step.strip():
                        yield *steps.at[index], f"{step!r} is no command; quote or remove it"


def unknown_keys(node: Map, whole: str, known: dict, path: str = "") -> Iterator[Finding]:
    """Keys that the whole does not have, and values where it needs keys."""
    for key, value in node.items():
        below = known.get(key, known.get("*"))
        if key not in known and "*" not in known:
            yield *node.at[key], f"{whole} has no key {path}{key}; {suggest(str(key), known)}"
        elif isinstance(value, Map) and below:
            yield from unknown_keys(value, whole, below, f"{path}{key}.")
        elif isinstance(value, Map) and below is None:
            yield *node.at[key], f"{path}{key} holds keys; {whole}'s reference has its form"
        elif below and not (isinstance(value, Map | None) or str(value).startswith("${")):
            yield *node.at[key], f"{path}{key} holds no keys; {whole}'s reference has its form"


# ---- The bundle --------------------------------------------------------------------------------

PATHS = {"notebook_path", "python_file", "root_path", "include", "paths"}
ELSEWHERE = re.compile(r"/|\$|\w+:")  # in the workspace, where a variable says, behind a URL


def paths_and_references(repo: Repository) -> Iterator[Finding]:
    """Relative paths lead to files; ${var.x} and ${resources.kind.key} to what is declared."""
    variables = dig(repo.bundle, "variables").keys()
    declared = {f"{kind}.{key}" for _, kind, key, _ in repo.resources()}
    for file in repo.yaml.keys() - repo.included:
        if file.startswith("resources/"):
            yield file, 1, "databricks.yml does not include this file; add it to include:"
    for name, value, (file, line) in leaves(repo.bundle):
        if not isinstance(value, str):
            continue
        relative = value.startswith(("./", "../")) or (name in PATHS and not ELSEWHERE.match(value))
        built = name == "build" or "dist" in Path(value).parts
        built |= "git_source:" in repo.text[file]  # that job's paths are in another repository
        found = glob.iglob(f"{glob.escape(str((repo.root / file).parent))}/{value}", recursive=True)
        if relative and not built and not any(Path(path).exists() for path in found):
            yield file, line, f"{name}: {value} leads nowhere from here; mend the path"
        for used in set(re.findall(r"\$\{var\.([\w-]+)", value)) - variables:
            yield file, line, f"the bundle has no variable {used}; {suggest(used, variables)}"
        for used in set(re.findall(r"\$\{resources\.(\w+\.[\w-]+)", value)) - declared:
            yield file, line, f"the bundle has no resource {used}; {suggest(used, declared)}"


def keys_and_hosts(repo: Repository) -> Iterator[Finding]:
    """The bundle's files have a bundle's keys; what deploys to production says where."""
    for file in repo.bundle_files:
        yield from unknown_keys(dig(repo.yaml, file), "a bundle", KEYS["a bundle"])
    built = {target for build in repo.builds for target in build.targets}
    for name, target in dig(repo.bundle, "targets").items():
        where = {*dig(target, "workspace")}
        where |= set() if name in built else {*dig(repo.bundle, "workspace")}  # as preflight.py
        if dig(target, "mode") == "production" and not where & {"host", "profile"}:
            yield *target.at["mode"], f"{name} has no host; add workspace: host:"


def tasks_fit(repo: Repository) -> Iterator[Finding]:
    """Tasks name what their job has, and a package and an entry point that pyproject.toml has."""
    project = dig(repo.toml, "pyproject.toml", "project")
    wheel = re.sub(r"[-.]+", "_", str(dig(project, "name"))).lower()
    functions = re.findall(r"\b(?:def|import) (\w+)", repo.text.get(f"src/{wheel}/__init__.py", ""))
    known = {"entry_point": [*dig(project, "scripts"), *functions], "package_name": [wheel]}
    for job in (job for _, kind, _, job in repo.resources() if kind == "jobs"):
        for key in ("task", "environment", "job_cluster"):
            known[f"{key}_key"] = [dig(one, f"{key}_key") for one in each(dig(job, f"{key}s"))]
        for task in maps(dig(job, "tasks")):
            package = re.sub(r"[-.]+", "_", str(dig(task, "package_name"))).lower()
            alone = re.sub(r"[-.]+", "_", str(job)).lower().count(package) == 1  # in no library
            keys = ["environment_key", "job_cluster_key", *["package_name"] * alone]
            used = [(key, task) for key in [*keys, *["entry_point"] * (package == wheel)]]
            used += [("task_key", other) for other in each(dig(task, "depends_on"))]
            for key, node in used:
                value = str(node.get(key, "$"))
                if value not in known[key] and "$" not in value:
                    yield *node.at[key], f"no {key} {value}; {suggest(value, known[key])}"


def schemas(repo: Repository) -> Iterator[Finding]:
    """Each resource, as each target deploys it, is one that Databricks' own package can load."""
    import databricks.bundles
    from databricks.bundles.core import Resource

    known = [module.name for module in pkgutil.iter_modules(databricks.bundles.__path__)]
    for target, kind, name, resource in repo.resources():
        kinds = repo.targets[target]
        if kind not in known:  # the package lacks some kinds that the CLI has
            if near := difflib.get_close_matches(kind, known, 1):
                yield *kinds.at[kind], f"no kind of resource; did you mean {near[0]}?"
            continue
        members = vars(importlib.import_module(f"databricks.bundles.{kind}")).values()
        (cls,) = (c for c in members if isinstance(c, type) and issubclass(c, Resource))
        try:
            loaded = cls.from_dict(resource)
        except (ValueError, TypeError, AttributeError) as error:
            yield stopped(error, kinds[kind].at[name], f"{kind}.{name}")
        else:
            yield from made_into_words(resource, loaded.as_dict())


def made_into_words(written: Map, loaded: dict) -> Iterator[Finding]:
    """Keys or lists that the package took for one word, as it does without complaint."""
    for key, value in written.items() if isinstance(written, Map) else enumerate(written):
        taken = loaded[key] if isinstance(loaded, list) else dig(loaded, key)
        if isinstance(value, Map | Seq) and isinstance(taken, str):
            yield *written.at[key], f"{key} wants one word, not keys or a list; indent it right"
        elif isinstance(value, Map | Seq):
            yield from made_into_words(value, taken)


def stopped(error: Exception, at: Place, name: str) -> Finding:
    """What the package said, and where: its own frames hold the mapping and the key it was at."""
    reading, fields = Map(), ()
    for frame, _ in traceback.walk_tb(error.__traceback__):
        seen = frame.f_locals
        at = reading.at.get(getattr(seen.get("field"), "name", None), at)
        if isinstance(seen.get("value"), Map):
            fields = getattr(seen.get("cls"), "__dataclass_fields__", ())
            at = at if seen["value"] is reading else next(iter(seen["value"].at.values()), at)
            reading = seen["value"]
    if unexpected := re.search(r"Unexpected field '(.+)' for", str(error)):
        at = reading.at.get(unexpected[1], at)
        return *at, f"{name}: {error}; {suggest(unexpected[1], fields)}"
    return *at, f"{name}: {error}; give it what the resource's reference asks for"


# ---- That the files agree ----------------------------------------------------------------------

SCRIPT = re.compile(r"(?<![\w./:$}-])(?:\./)?([\w-]+/[\w./-]+\.(?:py|sh|env))\b")
RUN = re.compile(r"databricks bundle\b[^|;&]*?\srun\s([^|;&>)]*)")
RUN_OPTIONS = re.compile(r"(?:^|\s)(?:-[top]|--(?:target|output|profile|var|params|only))[ =]\S+")
MAKE = re.compile(r"(?:^|[;&|(]\s*|=\S*\s+)make\s([^;&|>]*)")
# What acts on a target; where it names none, on the default one.
VERBS = r"databricks bundle\b[^|;&]*?\s(?:validate|plan|deploy|summary|run|open|sync|destroy)\b"
ACTS = re.compile(rf"(?:{VERBS}|cicd/steps/(?:preflight\.py|run_nutter\.sh))(?!\S)[^|;&]*")
NAMED = re.compile(r"\s(?:-t|--target)|\.(?:py|sh)\s+[\"']?[\w$]")


def commands_fit(repo: Repository) -> Iterator[Finding]:
    """The scripts, targets, resources and make's own targets that commands name are there."""
    makefile = repo.text.get("Makefile", "")
    made = " ".join(re.findall(r"(?m)^([^\s#:=][^#:=]*):(?!=)", makefile)).split()
    made += ["*"] if re.search(r"(?m)^-?include\s", makefile) or "%" in "".join(made) else []
    for file, line, command in repo.script_lines():
        for script in SCRIPT.findall(command):
            if not (repo.root / script).is_file():
                yield file, line, f"names {script}, which is not there; mend the path"
        for words in MAKE.findall(command) if file in repo.buildspecs and "*" not in made else ():
            for word in re.findall(r"(?<!\S)[a-z][\w.-]*(?!\S)", words if "-" not in words else ""):
                if word not in made:
                    yield file, line, f"no make target {word}; {suggest(word, made)}"
        named = repo.TARGET.findall(command)
        for target in named:
            if target not in repo.targets:
                yield file, line, f"no target {target}; {suggest(target, repo.targets)}"
        for part in ACTS.findall(command) if file.startswith("cicd/") else ():
            if not NAMED.search(part):
                yield file, line, "names no target, so acts on the default one; add -t and a target"
        for arguments in RUN.findall(command):
            words = RUN_OPTIONS.sub(" ", arguments).split()
            key = next((word.strip("\"'") for word in words if word[0] != "-"), "$")
            keys = [k for t, _, k, _ in repo.resources() if t in (named or repo.targets)]
            if keys and re.fullmatch(r"[\w-]+", key) and key not in keys:
                where = f"the target {named[0]}" if named else "any target"
                yield file, line, f"runs {key}, which is not in {where}; {suggest(key, keys)}"


def builds_are_used(repo: Repository) -> Iterator[Finding]:
    """What is named is there, and what is there is named: buildspecs, projects, report groups."""
    named = {build.buildspec: build.at for build in repo.builds if "\n" not in build.buildspec}
    for file, line, (spec,) in repo.search(r"(cicd/buildspecs/[\w.-]+\.ya?ml)", ".py"):
        named[spec] = file, line
    for spec, at in named.items():
        if spec not in repo.text:
            yield *at, f"names the buildspec {spec}, which is not there; mend the path"
    for spec in repo.buildspecs.keys() - named.keys():
        yield spec, 1, "neither cicd/stack.yml nor ops/ names it; name it there, or remove it"
    actions = [*maps([*repo.stack_has("AWS::CodePipeline::Pipeline").values()])]
    artifacts = {dig(one, "Name") for act in actions for one in each(dig(act, "OutputArtifacts"))}
    for action in (one for one in actions if one.get("Namespace") in artifacts):
        name = action["Namespace"]
        yield *action.at["Namespace"], f"{name} is an artifact too, which AWS refuses; rename it"
    started = [plain(one["ProjectName"]) for one in actions if "ProjectName" in one]
    groups = [plain(dig(o, "Name")) for o in repo.stack_has("AWS::CodeBuild::ReportGroup").values()]
    for build in repo.builds:
        project = plain(dig(build.properties, "Name"))
        fed = started and dig(build.properties, "Source", "Type") == "CODEPIPELINE"
        if fed and not {build.name, project} & {*started, *names(started)}:
            yield *build.at, f"no action of the pipeline runs {build.name}; add its ProjectName"
        known = [name.split(f"{project}-")[1] for name in groups if f"{project}-" in name]
        for report, at in dig(repo.yaml, build.buildspec, "reports").at.items():
            if known and ":" not in report and report not in known:  # an ARN is another stack's
                yield *at, f"the stack has no report group for {report}; {suggest(report, known)}"


def pins_agree(repo: Repository) -> Iterator[Finding]:
    """What has to repeat a version of tools.env repeats it right."""
    packages = {"nutter": "NUTTER", "databricks-bundles": "DATABRICKS_CLI", "uv": "UV"}
    pinned = r"\b(nutter|databricks-bundles|uv)==(\d[\w.]*)"
    for file, line, (package, version) in repo.search(pinned):
        pin = repo.pins.get(f"{packages[package]}_VERSION", version)
        if version != pin:
            yield file, line, f"{version}, but cicd/tools.env pins {pin}; make them equal"
    for spec in repo.buildspecs.values():
        versions = dig(spec, "phases", "install", "runtime-versions")
        pin = repo.pins.get("PYTHON_VERSION")
        if pin and str(versions.get("python", pin)) != pin:
            yield *versions.at["python"], f"cicd/tools.env pins Python {pin}; make them equal"
    bundle, cli = dig(repo.bundle, "bundle"), repo.pins.get("DATABRICKS_CLI_VERSION", "")
    compare = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
    wanted = str(bundle.get("databricks_cli_version", ""))
    for sign, bound in re.findall(r"([<>=]*) ?([\d.]+)", wanted):
        number = [tuple(int(part) for part in re.findall(r"\d+", v)) for v in (cli, bound)]
        if not compare.get(sign, operator.eq)(*number):
            at = bundle.at["databricks_cli_version"]
            yield *at, f"refuses the {cli} that cicd/tools.env pins; change one of them"


def hosts_and_branch_agree(repo: Repository) -> Iterator[Finding]:
    """The stack, the bundle and the builds' preflight mean the same workspaces and branch."""
    parameters, targets = dig(repo.stack, "Parameters"), dig(repo.bundle, "targets")
    reader = repo.root / "cicd/steps/preflight.py"
    bundle_host = runpy.run_path(str(reader)).get("bundle_host") if reader.is_file() else None
    branch = dig(parameters, "BranchName")
    for name, target in targets.items():
        workspace, git = dig(target, "workspace"), dig(target, "git")
        host = workspace.get("host")
        if host and bundle_host and bundle_host(repo.text["databricks.yml"], name) != host:
            at = workspace.at["host"]
            yield *at, "cicd/steps/preflight.py does not find this host; write it in one plain line"
        if "branch" in git and git["branch"] != branch.get("Default", git["branch"]):
            default = branch["Default"]
            yield *git.at["branch"], f"BranchName in cicd/stack.yml is {default}; make them equal"
        for build in (one for one in repo.builds if host and list(one.targets) == [name]):
            value = next((value for v, value, *_ in build.variables if v == "DATABRICKS_HOST"), "")
            used = next(iter(names(value)), "")
            default = dig(parameters, used, "Default") or host
            if default != host and repo.environment(used) in (None, name):  # else said below
                equal = "but {2}'s host in {0}:{1} is {3}; make them equal"
                equal = equal.format(*workspace.at["host"], name, host)
                yield *parameters[used].at["Default"], f"{default}, {equal}"


def environments(repo: Repository) -> Iterator[Finding]:
    """Each build works on one target, with that environment's secrets, which no other can read."""
    if faults := list(torn(repo)):
        yield from faults  # and nothing more: all that follows would mislead
        return
    resources, secrets = dig(repo.stack, "Resources"), repo.stack_has("AWS::SecretsManager::Secret")
    users: dict[str, dict[str, Place]] = defaultdict(dict)
    for build in repo.builds:
        used = [(used, at) for _, value, _, at in build.variables for used in names(value)]
        for thing, at in [(build.name, build.at), (build.role, build.at), *used]:
            users[thing] |= dict.fromkeys(build.targets or [""], at)
    owners = {secret: repo.environment(secret) for secret in secrets}
    for thing, by in users.items():
        if thing in resources and len(by) == 1:
            owners[thing] = owners.get(thing) or min(by)
        elif thing in secrets and not owners[thing]:
            shared = " and ".join(target or "no target" for target in by)
            yield *max(by.values()), f"{thing} is shared by {shared}; give each its own"
    yield from credentials(repo, owners)
    for (role, thing), at in repo.rights.items():
        owner, by = owners.get(thing), users[role].keys()
        if owner and by != {owner} and (by or thing in secrets):
            may = f"{role} may {repo.RIGHTS[resources[thing]['Type']][1]} {thing}"
            yield *at, f"{may}; only a role of {owner}'s builds alone may"
    for role in (dig(resources, build.role, "Properties") for build in repo.builds):
        given = plain(dig(role, "ManagedPolicyArns"))
        own = {*repo.stack_has("AWS::IAM::ManagedPolicy"), "AWS"}  # AWS::NoValue
        if "arn:" in given or {*names(given)} - own:
            yield *role.at["ManagedPolicyArns"], "another's policy is not proved; use Policies"
    for one in maps([*repo.stack_has("AWS::SecretsManager::ResourcePolicy").values()]):
        if dig(one, "Effect") == "Allow":
            yield *one.at["Effect"], "opens a secret past the roles' own policies; allow it there"


def torn(repo: Repository) -> Iterator[Finding]:
    """Builds that work on two targets, or have the buildspec of another environment's."""
    for build in repo.builds:
        for (first, (_, line)), (target, at) in itertools.pairwise(build.targets.items()):
            yield *at, f"this build works on {first} (line {line}) and {target}; name one"
        used = {n for v, value, *_ in build.variables if "DATABRICKS_" in v for n in names(value)}
        owners = {repo.environment(name) for name in (build.name, *used)}
        if len(build.targets) == len(owners) == 1 and not owners & {None, *build.targets}:
            ((target, (_, line)),), (owner,) = build.targets.items(), owners
            does = f"{build.buildspec} works on {target} (line {line})"
            yield *build.at, f"{build.name} is {owner}'s, but {does}; name another buildspec"


def credentials(repo: Repository, owners: dict[str, str | None]) -> Iterator[Finding]:
    """What is wrong with the builds' variables that hold a secret, or should."""
    secrets = repo.stack_has("AWS::SecretsManager::Secret")
    for build, (name, value, hidden, at) in ((b, v) for b in repo.builds for v in b.variables):
        if not hidden and re.search("(TOKEN|SECRET|PASSWORD)$", name):
            yield *at, f"{name} is in the open; say Type: SECRETS_MANAGER"
        if hidden and not secrets.keys() & set(names(value)):
            yield *at, f"{plain(value)} is no secret of this stack; name one of its own by !Sub"
        for used in names(value):
            owner = owners.get(used) or repo.environment(used)
            if name.startswith("DATABRICKS_") and owner and owner not in build.targets:
                yield *at, f"{build.name} gets {used}, which is {owner}'s; give it its own"
                continue
            things = [used, *names(dig(secrets[used], "KmsKeyId"))] if used in secrets else []
            for thing in things if build.role else ():
                kind = str(dig(repo.stack, "Resources", thing, "Type"))
                action, verb, _ = repo.RIGHTS.get(kind, ("", "", ""))
                if action and (build.role, thing) not in repo.rights:
                    yield *at, f"{build.role} may not {verb} {thing}; allow it {action}"
        for used, key in re.findall(r"\$\{(\w+)\}:([\w-]+)", plain(value)):
            made = dig(secrets, used, "GenerateSecretString")
            if made and f'"{key}"' not in str(dig(made, "SecretStringTemplate")):
                yield *at, f"{used} has no key {key}; add it to its SecretStringTemplate"


EACH_FILE = (notebooks, buildspecs)
BUNDLE = (paths_and_references, keys_and_hosts, tasks_fit, schemas)
TOGETHER = (commands_fit, builds_are_used, pins_agree, hosts_and_branch_agree, environments)


# ---- cfn-lint, in a process of its own beside all this -----------------------------------------


def start_cfn_lint(repo: Repository) -> subprocess.Popen:
    """Starts cfn-lint on every CloudFormation template, informational findings included."""
    templates = [f for f, t in repo.text.items() if re.search("(?m)^AWSTemplateFormatVersion:", t)]
    main = "import sys; from cfnlint.runner import main; sys.exit(main())"
    command = [sys.executable, "-c", main, "--format", "json", "--include-checks", "I", "--"]
    pipe = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    command += templates
    return subprocess.Popen(command, cwd=repo.root, stdin=subprocess.DEVNULL, text=True, **pipe)


def cfn_lint_findings(lint: subprocess.Popen) -> Iterator[Finding]:
    """What cfn-lint found."""
    output, errors = lint.communicate()
    try:
        found = json.loads(output or "[]" if lint.returncode == 0 else output)
    except ValueError:
        said = (errors.strip().splitlines() or ["nothing"])[-1]
        yield "cicd/stack.yml", 1, f"cfn-lint stopped, saying {said!r}; run it by itself"
        return
    for one in found:
        line, rule = one["Location"]["Start"]["LineNumber"], one["Rule"]
        yield one["Filename"], line, f"{one['Message']} (cfn-lint {rule['Id']}, {rule['Source']})"


def inspect(repo: Repository) -> tuple[set[Finding], list[str]]:
    """The findings of everything but cfn-lint, and what was not checked."""
    repo.parse()
    findings, unread, not_checked = set(repo.broken), set(), []
    broken = {file for file, _, _ in findings}
    shaky = any(file.endswith((".yml", ".yaml", ".env")) for file in broken)  # all builds on these
    for one in EACH_FILE if shaky else (*EACH_FILE, *BUNDLE, *TOGETHER):
        try:
            findings.update(found for found in one(repo) if found[0] not in broken)
        except ImportError:
            what = "the bundle's resources against Databricks' schemas"
            not_checked.append(f"{what}, for want of databricks-bundles")
        except (AttributeError, LookupError, SyntaxError, TypeError, ValueError) as error:
            obj = getattr(error, "obj", None)  # what had not the shape that was expected
            read = [leaf for node in repo.yaml.values() for leaf in leaves(node) if leaf[1] is obj]
            read += leaves(obj) if isinstance(obj, Map | Seq) else []
            at = read[0][2] if read else ("ops/check.py", 1)
            unread.add((*at, f"{one.__name__} cannot read this: {error}; has it the right form?"))
    return findings or unread, not_checked


def main() -> int:
    """Checks the repository named on the command line, or the one around this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", nargs="?", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--strict", action="store_true", help="fail on what was not checked, too")
    options = parser.parse_args()
    repo = Repository(options.path.resolve())
    lint = start_cfn_lint(repo) if importlib.util.find_spec("cfnlint") else None
    findings, not_checked = inspect(repo)
    if lint:
        broken = {file for file, _, _ in repo.broken}
        findings.update(one for one in cfn_lint_findings(lint) if one[0] not in broken)
    else:
        not_checked.append("cicd/stack.yml against AWS's schemas, for want of cfn-lint")
    for file, line, message in sorted(findings):
        print(f"{file}:{line}: {message}")
    for what in not_checked:
        print(f"not checked: {what} (`make check` brings it)")
    if not findings:
        print(
            f"no findings in {len(repo.text)} files: {len(repo.buildspecs)} buildspecs,"
            f" {len(repo.stack['Resources'])} resources of the stack,"
            f" {len(list(repo.resources()))} resources in {len(repo.targets)} targets"
        )
    return 1 if findings or (options.strict and not_checked) else 0


if __name__ == "__main__":
    sys.exit(main())
