"""Proves this repository without a cloud: each file by itself, and that the files agree.

Usage: uv run tools/check.py [--strict] [PATH]

Prints each finding as `file:line: what, and how to mend it`, and exits 1 if there is one. What a
missing package leaves unchecked is a line `not checked: ...`; with --strict that exits 1 too.
"""

import argparse
import difflib
import glob
import importlib
import importlib.util
import json
import operator
import pkgutil
import re
import runpy
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.dont_write_bytecode = True  # a check leaves nothing behind
from repository import Finding, Map, Place, Repository, Seq, dig, leaves, names, plain  # noqa: E402


def suggest(word: str, known: Iterable[str]) -> str:
    """What may have been meant."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"


# ---- Notebooks and buildspecs, each by itself --------------------------------------------------

NOTEBOOK = r"""(?m)(?:^# MAGIC %run |dbutils\.notebook\.run\()["']?(\.[^"'\s,)]+)"""
STEP = dict.fromkeys(["run-as", "on-failure", "commands", "finally"])
FILES = dict.fromkeys(["files", "name", "base-directory", "discard-paths", "exclude-paths"])
FILES |= dict.fromkeys(["enable-symlinks", "s3-prefix"])
BATCH = ["fast-fail", "build-list", "build-matrix", "build-graph", "build-fanout"]
ANY = {"*": None}
# Every key of a buildspec, as the CodeBuild user guide lists them; None: no keys below.
BUILDSPEC = {
    "version": None,
    "run-as": None,
    "env": {
        **dict.fromkeys(["shell", "exported-variables", "git-credential-helper"]),
        **dict.fromkeys(["variables", "parameter-store", "secrets-manager"], ANY),
    },
    "proxy": dict.fromkeys(["upload-artifacts", "logs"]),
    "batch": dict.fromkeys(BATCH),
    "phases": {
        "install": {**STEP, "runtime-versions": ANY},
        **dict.fromkeys(["pre_build", "build", "post_build"], STEP),
    },
    "reports": {"*": dict.fromkeys(["files", "base-directory", "discard-paths", "file-format"])},
    "artifacts": {**FILES, "secondary-artifacts": {"*": FILES}},
    "cache": dict.fromkeys(["key", "fallback-keys", "action", "paths"]),
}


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
        yield from unknown_keys(spec, BUILDSPEC)
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


def unknown_keys(node: Map, known: dict, path: str = "") -> Iterator[Finding]:
    """Keys that a buildspec does not have, and values where it needs keys."""
    for key, value in node.items():
        below = known.get(key, known.get("*"))
        if key not in known and "*" not in known:
            yield *node.at[key], f"a buildspec has no key {path}{key}; {suggest(str(key), known)}"
        elif isinstance(value, Map) and below:
            yield from unknown_keys(value, below, f"{path}{key}.")
        elif isinstance(value, Map) or below:
            wrong = "holds keys" if isinstance(value, Map) else "holds no keys"
            yield *node.at[key], f"{path}{key} {wrong}; see the buildspec reference for its form"


# ---- The bundle --------------------------------------------------------------------------------

PATHS = {"notebook_path", "python_file", "root_path", "include", "paths"}
ELSEWHERE = re.compile(r"/|\$|\w+:")  # in the workspace, where a variable says, behind a URL


def paths_and_references(repo: Repository) -> Iterator[Finding]:
    """Relative paths lead to files; ${var.x} and ${resources.kind.key} to what is declared."""
    variables = dig(repo.bundle, "variables")
    kinds = [(kind, found) for target in repo.targets.values() for kind, found in target.items()]
    declared = {f"{kind}.{key}" for kind, found in kinds for key in found}
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
        for used in re.findall(r"\$\{var\.([\w-]+)", value):
            if used not in variables:
                yield file, line, f"the bundle has no variable {used}; {suggest(used, variables)}"
        for used in re.findall(r"\$\{resources\.(\w+\.[\w-]+)", value):
            if used not in declared:
                yield file, line, f"the bundle has no resource {used}; {suggest(used, declared)}"


def schemas(repo: Repository) -> Iterator[Finding]:
    """Each resource, as each target deploys it, is one that Databricks' own package can load."""
    import databricks.bundles
    from databricks.bundles.core import Resource

    known = [module.name for module in pkgutil.iter_modules(databricks.bundles.__path__)]
    for resources in repo.targets.values():
        for kind, found in resources.items():
            if kind not in known:  # the package lacks some kinds that the CLI has
                if near := difflib.get_close_matches(kind, known, 1):
                    yield *resources.at[kind], f"no kind of resource; did you mean {near[0]}?"
                continue
            module = vars(importlib.import_module(f"databricks.bundles.{kind}")).values()
            (cls,) = (c for c in module if isinstance(c, type) and issubclass(c, Resource))
            for name, resource in found.items():
                try:
                    loaded = cls.from_dict(resource)
                except (ValueError, TypeError, AttributeError) as error:
                    yield stopped(error, found.at[name], f"{kind}.{name}")
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

SCRIPT = re.compile(r"(?<![\w./:$}-])([\w-]+/[\w./-]+\.(?:py|sh|env))\b")
RUN = re.compile(r"databricks bundle\b[^|;&]*?\srun\s([^|;&>)]*)")
RUN_OPTIONS = re.compile(r"(?:^|\s)(?:-[top]|--(?:target|output|profile|var|params|only))[ =]\S+")


def commands_fit(repo: Repository) -> Iterator[Finding]:
    """The scripts, targets and resources that commands name are there."""
    for file, line, command in repo.script_lines():
        for script in SCRIPT.findall(command):
            if not (repo.root / script).is_file():
                yield file, line, f"names {script}, which is not there; mend the path"
        named = repo.TARGET.findall(command)
        for target in named:
            if target not in repo.targets:
                yield file, line, f"no target {target}; {suggest(target, repo.targets)}"
        for arguments in RUN.findall(command):
            words = RUN_OPTIONS.sub(" ", arguments).split()
            key = next((word.strip("\"'") for word in words if word[0] != "-"), "$")
            kinds = [k for t in named or repo.targets for k in repo.targets.get(t, Map()).values()]
            keys = [name for kind in kinds for name in kind]
            if keys and re.fullmatch(r"[\w-]+", key) and key not in keys:
                where = f"the target {named[0]}" if named else "any target"
                yield file, line, f"runs {key}, which is not in {where}; {suggest(key, keys)}"


def buildspecs_are_used(repo: Repository) -> Iterator[Finding]:
    """Each buildspec that is named is there, and each that is there is named."""
    named = {build.buildspec: build.at for build in repo.builds if "\n" not in build.buildspec}
    for file, line, (spec,) in repo.search(r"(cicd/buildspecs/[\w.-]+\.ya?ml)", ".py"):
        named[spec] = file, line
    for spec, at in named.items():
        if spec not in repo.text:
            yield *at, f"names the buildspec {spec}, which is not there; mend the path"
    for spec in repo.buildspecs.keys() - named.keys():
        yield spec, 1, "neither cicd/stack.yml nor tools/ names it; name it there, or remove it"


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
    reader = repo.root / "cicd/preflight.py"
    bundle_host = runpy.run_path(str(reader)).get("bundle_host") if reader.is_file() else None
    branch = dig(parameters, "BranchName")
    for name, target in targets.items():
        workspace, git = dig(target, "workspace"), dig(target, "git")
        host = workspace.get("host")
        if host and bundle_host and bundle_host(repo.text["databricks.yml"], name) != host:
            at = workspace.at["host"]
            yield *at, "cicd/preflight.py does not find this host; write it in one plain line"
        if "branch" in git and git["branch"] != branch.get("Default", git["branch"]):
            default = branch["Default"]
            yield *git.at["branch"], f"BranchName in cicd/stack.yml is {default}; make them equal"
        for build in (one for one in repo.builds if host and name in one.targets):
            for variable in build.variables:
                used = next(iter(names(dig(variable, "Value"))), "")
                parameter = dig(parameters, used)
                default = parameter.get("Default", host)
                foreign = repo.environment(used) not in (None, name)  # said below
                if dig(variable, "Name") == "DATABRICKS_HOST" and default != host and not foreign:
                    other = f"{workspace.at['host'][0]}:{workspace.at['host'][1]}"
                    equal = f"but {name}'s host in {other} is {host}; make them equal"
                    yield *parameter.at["Default"], f"{default}, {equal}"


def environments_stay_apart(repo: Repository) -> Iterator[Finding]:
    """Each build signs in with its own environment's credential, which no other role can read."""
    resources = dig(repo.stack, "Resources")
    owners = {secret: repo.environment(secret) for secret in repo.secrets}
    readers = {(role, name): at for role, name, at in repo.secret_readers()}
    for build in repo.builds:
        for variable in build.variables:
            name, value = str(dig(variable, "Name")), dig(variable, "Value")
            at = variable.at.get("Value", build.at)
            hidden = dig(variable, "Type") == "SECRETS_MANAGER"
            if not hidden and re.search("(TOKEN|SECRET|PASSWORD)$", name):
                yield *at, f"{name} is in the open; say Type: SECRETS_MANAGER"
            for used in names(value):
                owner = owners.get(used) or repo.environment(used)
                if hidden and used in owners and len(build.targets) == 1:
                    owner = owners[used] = owner or min(build.targets)  # the first to use it has it
                if name.startswith("DATABRICKS_") and owner and owner not in build.targets:
                    yield *at, f"{build.name} gets {used}, which is {owner}'s; give it its own"
                elif used in owners and build.role and (build.role, used) not in readers:
                    allow = "allow it secretsmanager:GetSecretValue"
                    yield *at, f"{build.role} may not read {used}; {allow}"
            for used, key in re.findall(r"\$\{(\w+)\}:([\w-]+)", plain(value)):
                made = dig(resources, used, "Properties", "GenerateSecretString")
                if made and f'"{key}"' not in str(dig(made, "SecretStringTemplate")):
                    yield *at, f"{used} has no key {key}; add it to its SecretStringTemplate"
    for (role, secret), at in readers.items():
        owner = owners[secret]
        served = [build.targets or {""} for build in repo.builds if build.role == role]
        if owner and set().union(*served) != {owner}:
            yield *at, f"{role} may read {secret}; only a role of {owner}'s builds alone may"


CHECKS = (
    notebooks,
    buildspecs,
    paths_and_references,
    commands_fit,
    buildspecs_are_used,
    pins_agree,
    hosts_and_branch_agree,
    environments_stay_apart,
)


# ---- cfn-lint, in a process of its own beside all this -----------------------------------------


def start_cfn_lint(repo: Repository) -> subprocess.Popen:
    """Starts cfn-lint on every CloudFormation template, informational findings included."""
    templates = [f for f, t in repo.text.items() if re.search("(?m)^AWSTemplateFormatVersion:", t)]
    main = "import sys; from cfnlint.runner import main; sys.exit(main())"
    command = [sys.executable, "-c", main, "--format", "json", "--include-checks", "I", "--"]
    return subprocess.Popen(
        [*command, *templates],
        cwd=repo.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


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
    if repo.broken:  # whatever depends on the broken file would be found guilty too
        return set(repo.broken), []
    findings: set[Finding] = set()
    for one in CHECKS:
        try:
            findings.update(one(repo))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            what = f"{one.__name__} met a shape that it cannot read ({error!r})"
            findings.add(("tools/check.py", 1, f"{what}; is a list where keys belong?"))
    try:
        findings.update(schemas(repo))
    except ImportError:
        what = "the bundle's resources against Databricks' schemas"
        return findings, [f"{what}, for want of databricks-bundles"]
    return findings, []


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
        resources = [key for t in repo.targets.values() for kind in t.values() for key in kind]
        print(
            f"no findings in {len(repo.text)} files: {len(repo.buildspecs)} buildspecs,"
            f" {len(repo.stack['Resources'])} resources of the stack,"
            f" {len(resources)} resources in {len(repo.targets)} targets"
        )
    return 1 if findings or (options.strict and not_checked) else 0


if __name__ == "__main__":
    sys.exit(main())
