"""A stand-in for the `databricks` client, on folders that stand in for workspaces.

It does what builds call, with the real client's outputs and exit codes; all else fails loudly. It
follows tests/data/client-recordings.json, which are the real client's own answers, and
docs.databricks.com/aws/en/dev-tools/cli/{bundle-commands,reference/workspace-commands}.
"""

import argparse
import json
import os
import random
import re
import shlex
import shutil
import sys
import time
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from rehearsal.databricks.bundle import (
    VERSION,
    Bundle,
    Invalid,
    is_notebook,
    resource_class,
    user_id,
)
from rehearsal.databricks.workspace import (
    Deployment,
    Refused,
    Unreachable,
    Workspace,
    fault,
    sign_in,
)

CASCADE = (
    "Lakeflow Spark Declarative Pipelines along with the\nStreaming Tables (STs) and Materialized"
    " Views (MVs) managed by them. Set 'cascade_on_destroy: false' on a pipeline to retain datasets"
    " on pipeline deletion"
)
DESTROYED = {
    "schemas": "UC schemas. Any underlying data may be lost:",
    "pipelines": "Lakeflow Spark Declarative Pipelines along with the\nStreaming Tables (STs) and"
    " Materialized Views (MVs) managed by them. Recreating the pipelines will\nrestore the defined"
    " STs and MVs through full refresh. Note that recreation is necessary when pipeline\nproperties"
    " such as the 'catalog' or 'storage' are changed:",
    "volumes": "volumes. The files in managed volumes are lost:",
}
LOSS = (
    "\nDeleting data assets such as schemas, pipelines, or volumes may cause permanent data loss"
    " and should be carefully reviewed.\nTo proceed, use --auto-approve"
)
FAILED = "failed with message: Workload failed, see run output for details."


class Failed(Exception):
    """Ends a command with exit code 1 and a message, which may be empty."""


class Unknown(Exception):
    """The stand-in does not know what it is asked for."""


def say(text: str) -> None:
    """Prints to standard error, where the client tells what it does."""
    print(text, file=sys.stderr)


def show(value: Any) -> None:
    """Prints JSON to standard output."""
    print(json.dumps(value, indent=2))


class Client:
    """One call of the client: a method for each command, `bundle run` is bundle_run.

    The methods raise Failed, Invalid, Refused, Unreachable and Unknown.
    """

    def __init__(self, home: Path, options: argparse.Namespace) -> None:
        self.home, self.options, self.bundle = home, options, Bundle(Path.cwd())
        self.json = options.output == "json"

    def connect(self, host: str = "") -> str:
        """Signs in at a host, else at DATABRICKS_HOST; returns the user."""
        self.host = (host or os.environ.get("DATABRICKS_HOST", "")).rstrip("/")
        user = sign_in(self.home, self.host, os.environ).user_name
        self.workspace = Workspace(self.home, self.host, user)
        return user

    # ---- Commands without a bundle ---------------------------------------------------------------

    def version(self) -> None:
        """databricks --version"""
        print(f"Databricks CLI v{VERSION}")

    def current_user_me(self) -> None:
        """databricks current-user me"""
        try:
            user = self.connect()
        except Refused as refused:
            about, what = "", "Check your authentication credentials"
            if os.environ.get("DATABRICKS_AUTH_TYPE") == "pat":
                about = f"Host:      {self.host}\nAuth type: Personal Access Token (pat)\n"
                what = "Regenerate your access token"
            if refused.status == 403:
                what = "Verify you have the required permissions for this operation"
            steps = f"{what}\n  - Check your identity: databricks auth describe"
            steps += "\n  - Consider setting up a profile: databricks auth login --profile <name>"
            more = f"\n\n{about}\nNext steps:\n  - {steps}" if refused.status else ""
            raise Failed(refused.message + more) from None
        show({"id": user_id(user), "userName": user})

    def found(self, path: str) -> Path:
        """Where a path of the workspace is kept, which must be there."""
        self.connect()
        file = self.workspace.file(path)
        if not file.exists() or (is_notebook(file) and path.endswith(".py")):
            raise Failed(f"Path ({path}) doesn't exist.")
        return file

    def status(self, file: Path) -> dict:
        """What the workspace tells of a file."""
        notebook, path = is_notebook(file), f"/{file.relative_to(self.workspace.files)}"
        kind = "NOTEBOOK" if notebook else "DIRECTORY" if file.is_dir() else "FILE"
        path = path.removesuffix(".py") if notebook else path
        told = {"object_id": int(user_id(path)), "object_type": kind, "path": path}
        return {"language": "PYTHON"} | told if notebook else told

    def workspace_list(self, path: str) -> None:
        """databricks workspace list PATH -o json"""
        if not self.json:
            raise Unknown("workspace list without -o json")
        folder = self.found(path)
        show([self.status(f) for f in (sorted(folder.iterdir()) if folder.is_dir() else [folder])])

    def workspace_get_status(self, path: str) -> None:
        """databricks workspace get-status PATH"""
        show(self.status(self.found(path)))

    def workspace_export(self, path: str) -> None:
        """databricks workspace export PATH"""
        file = self.found(path)
        if file.is_dir():
            raise Unknown("workspace export of a directory")
        sys.stdout.write(file.read_text(encoding="utf-8"))

    def workspace_export_dir(self, source: str, target: str) -> None:
        """databricks workspace export-dir SOURCE TARGET --overwrite"""
        if not self.options.overwrite:
            raise Unknown("workspace export-dir without --overwrite")
        self.connect()
        print(f"Exporting files from {source}")
        folder = self.workspace.file(source)
        if not folder.is_dir():
            raise Failed(f"file does not exist: {source}")
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            to, path = Path(target, file.relative_to(folder)), self.status(file)["path"]
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
            print(f"{path} -> {to}")
        print("Export complete")

    def workspace_delete(self, path: str) -> None:
        """databricks workspace delete PATH [--recursive]"""
        file = self.found(path)
        if file.is_dir() and not self.options.recursive and any(file.iterdir()):
            raise Failed(f"Folder ({path}) is not empty")
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink()
        self.workspace.record("workspace delete", path)

    # ---- Bundle ----------------------------------------------------------------------------------

    def load(self) -> Bundle:
        """The bundle in this directory for a target; tells its warnings."""
        if not Path("databricks.yml").is_file():
            raise Invalid("Unable to locate the bundle root: databricks.yml not found.")
        for pair in self.options.var:
            if "=" not in pair:
                raise Invalid(f"unexpected flag value for variable assignment: {pair}")
        assigned = dict(pair.split("=", 1) for pair in self.options.var)
        target = self.options.target or os.environ.get("DATABRICKS_BUNDLE_TARGET")
        try:
            return self.bundle.load(target, assigned, self.connect)
        except Unreachable as unreachable:
            raise Invalid(str(unreachable)) from None
        except Refused as refused:
            status, message = refused.status, refused.message
            if not status:
                raise Invalid(f"failed during request visitor: {message}") from None
            reason = {401: "Unauthorized", 403: "Forbidden"}.get(status, "")
            raise Invalid(
                f"{message} ({status} {status})\n\n"
                f"Endpoint: GET {self.host}/api/2.0/preview/scim/v2/Me?\n"
                f"HTTP Status: {status} {reason}\nAPI error_code: {status}\nAPI message: {message}"
            ) from None
        finally:
            for warning in self.bundle.warnings:
                say(f"Warning: {warning}\n")

    def bundle_validate(self) -> None:
        """databricks bundle validate [--strict]"""
        error = None
        try:
            self.load()
        except Invalid as invalid:
            error = invalid
        warnings = len(self.bundle.warnings)
        counts = [f"{warnings} warning{'s'[: warnings > 1]}"] if warnings else []
        found = " and ".join(["1 error", *counts] if error else counts)
        if self.json:
            self.print_configuration()
        else:
            self.print_header()
            print(f"\nFound {found}" if found else "\nValidation OK!")
        if error:
            raise error
        if warnings and self.options.strict:
            was = "was" if warnings == 1 else "were"
            raise Failed(f"{found} {was} found. Warnings are not allowed in strict mode")

    def print_header(self) -> None:
        """Prints name, target and workspace of the bundle, as far as it was read."""
        bundle, section = self.bundle, self.bundle.config.get("workspace") or {}
        lines = {"Host": section.get("host"), "User": bundle.user, "Path": section.get("root_path")}
        if bundle.name:
            print(f"Name: {bundle.name}")
        if bundle.target:
            print(f"Target: {bundle.target}\nWorkspace:")
            print("".join(f"  {name}: {line}\n" for name, line in lines.items() if line), end="")

    def print_configuration(self) -> None:
        """Prints the resolved bundle as JSON."""
        show({key: value for key, value in sorted(self.bundle.config.items()) if value})

    def bundle_summary(self) -> None:
        """databricks bundle summary"""
        deployment = Deployment(self.load(), self.workspace)
        resources = self.bundle.section("resources")
        for kind, found in resources.items():
            for key, resource in found.items():
                if at := deployment.id(f"resources.{kind}.{key}"):
                    resource |= {"id": at, "url": f"{self.host}/{kind}/{at}"}
        if self.json:
            self.print_configuration()
            return
        self.print_header()
        print("Resources:")
        for kind, found in sorted(resources.items()):
            print(f"  {kind.replace('_', ' ').title()}:")
            for key, resource in sorted(found.items()):
                print(f"    {key}:\n      Name: {resource.get('name', key)}")
                print(f"      URL:  {resource.get('url', '(not deployed)')}")

    def bundle_plan(self) -> None:
        """databricks bundle plan"""
        self.load().place_libraries()
        plan = Deployment(self.bundle, self.workspace).plan()
        if self.json:
            show(plan)
            return
        actions = {key: entry["action"] for key, entry in plan["plan"].items()}
        for key, action in actions.items():
            if action != "skip":
                print(f"{action} {key.removeprefix('resources.')}")
        blank = "\n" if set(actions.values()) - {"skip"} else ""
        counts = "{} to add, {} to change, {} to delete, {} unchanged".format(*counted(plan))
        print(f"{blank}Plan: {counts}")

    def read_plan(self, name: str) -> dict:
        """The plan in a file. Raises Invalid where it is none."""
        try:
            text = Path(name).read_text(encoding="utf-8")
            plan = json.loads(text)
            format_, version = plan.get("plan_version", 0), plan.get("cli_version", "")
        except OSError as error:
            what = f"open {name}: {error.strerror.lower()}"
            raise Invalid(f"reading plan file: {what}") from None
        except json.JSONDecodeError as error:
            cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
            raise Invalid(f"parsing plan JSON: {'unexpected EOF' if cut else error}") from None
        except AttributeError:
            raise Invalid("parsing plan JSON: this is no plan") from None
        if format_ != 2:
            made = f'plan has version {format_} (generated with CLI "{version}")'
            raise Invalid(f"plan version mismatch: {made}, but current version is 2")
        if version != VERSION:
            other = f"CLI version {version} but current version is {VERSION}"
            say(f"Warn: Plan was created with {other}")
        return {"plan": {}} | plan

    def bundle_deploy(self) -> None:
        """databricks bundle deploy [--plan FILE] [--auto-approve]"""
        wheels = self.load().place_libraries()
        self.bundle.check_branch()
        deployment = Deployment(self.bundle, self.workspace)
        plan = self.read_plan(self.options.plan) if self.options.plan else deployment.plan()
        deployment.check(plan)
        counts = self.upload(wheels)
        self.workspace.record("bundle deploy", f"files: {counts}")
        refusal = self.refusal(plan)
        errors = [refusal] if refusal else deployment.apply(plan)
        for error in errors:
            say(f"Error: {error}\n")
        for key, entry in plan["plan"].items():
            if entry["action"] != "skip" and not errors:
                say(f"{entry['action'].capitalize()}d {key.removeprefix('resources.')}")
        say(f"Files: {counts}")
        if errors:
            raise Failed
        told = "{} created, {} changed, {} deleted, {} unchanged".format(*counted(plan))
        say(f"Resources: {told}")

    def upload(self, wheels: list[Path]) -> str:
        """Copies wheels and files into the workspace; returns how many files changed."""
        section = self.bundle.config["workspace"]
        internal = self.workspace.file(f"{section['artifact_path']}/.internal")
        if not self.bundle.section("experimental").get("skip_artifact_cleanup"):
            shutil.rmtree(internal, ignore_errors=True)
        for wheel in wheels:
            say(f"Uploading {wheel.relative_to(self.bundle.root)}...")
            internal.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(wheel, internal / wheel.name)
        say(f"Uploading bundle files to {section['file_path']}...")
        folder = self.workspace.file(section["file_path"])
        listed = self.workspace.file(f"{section['state_path']}/deployment.json")
        before = json.loads(listed.read_text()) if listed.exists() else []
        now, uploaded = self.bundle.files(), 0
        for name in now:
            content, to = (self.bundle.root / name).read_bytes(), folder / name
            if not to.is_file() or to.read_bytes() != content:
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(content)
                uploaded += 1
        gone = [name for name in before if name not in now and (folder / name).exists()]
        for name in gone:
            (folder / name).unlink()
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text(json.dumps(now))
        return f"{uploaded} uploaded, {len(gone)} deleted"

    def refusal(self, plan: dict) -> str:
        """Tells what would lose data; returns why it is not done, without --auto-approve."""
        lost = []
        for kind, message in DESTROYED.items():
            keys = [key for key in plan["plan"] if key.split(".")[1] == kind]
            actions = {key: plan["plan"][key]["action"] for key in keys if key.count(".") == 2}
            found = [f"  {a} {key}" for key, a in actions.items() if a in ("delete", "recreate")]
            if found:
                what = f"the deletion or recreation of the following {message}"
                say("\n".join([f"\nThis action will result in {what}", *found]))
            lost += found
        if not lost or self.options.auto_approve:
            return ""
        why = f"but the current console does not support prompting.{LOSS}"
        return f"the deployment requires destructive actions, {why} after reviewing the plan above."

    def bundle_destroy(self) -> None:
        """databricks bundle destroy [--auto-approve]"""
        deployment = Deployment(self.load(), self.workspace)
        root = self.bundle.config["workspace"]["root_path"]
        folder, keys = self.workspace.file(root), list(deployment.known)
        if not folder.exists():
            say("No active deployment found to destroy!")
            return
        if not self.options.auto_approve:
            what = "including workspace files in the deployment directory"
            every = "this command will destroy all resources deployed by this bundle"
            raise Failed(f"{every}, {what}.{LOSS}.")
        own = sorted(key for key in keys if key.count(".") == 2)  # no permissions
        if own:
            say("The following resources will be deleted:")
            say("".join(f"  delete {key}\n" for key in own))
        pipelines = [key for key in own if key.startswith("resources.pipelines.")]
        if pipelines:
            say(f"This action will result in the deletion of the following {CASCADE}:")
            say("".join(f"  delete {key}\n" for key in pipelines))
        say(f"All files and directories at the following location will be deleted: {root}\n")
        for key in keys:
            deployment.delete(key)
        shutil.rmtree(folder)
        self.workspace.record("bundle destroy", root)
        say(f"Destroy: {len(own)} deleted")

    # ---- Runs ------------------------------------------------------------------------------------

    def bundle_run(self, key: str) -> None:
        """databricks bundle run KEY [--params k=v,...]"""
        from rehearsal.databricks.spark import Compute  # late: no other command needs it

        pairs = [pair for given in self.options.params for pair in given.split(",")]
        for pair in pairs:
            if "=" not in pair:
                what = f'invalid argument "{pair}" for "--params" flag'
                raise Failed(f"{what}: {pair} must be formatted as key=value")
        resources = self.load().section("resources")
        kind = next((kind for kind, found in resources.items() if key in found), None)
        if kind is None:
            raise Failed(f'resource with key "{key}" not found')
        at = Deployment(self.bundle, self.workspace).id(f"resources.{kind}.{key}")
        settings = self.workspace.resources.get(kind, {}).get(at or "")
        if settings is None:
            hint = "Did you forget to run 'databricks bundle deploy'?"
            raise Invalid(f"resource not found or not yet deployed. {hint}")
        self.compute = Compute(self.home.parent, self.workspace.files)
        if kind != "jobs":
            raise Unknown(f"bundle run of {kind}")
        self.run_job(at, settings, dict(pair.split("=", 1) for pair in pairs))

    def run_job(self, at: str, job: dict, given: dict[str, str]) -> None:
        """Runs a job's tasks, each after those that it depends on."""
        parameters = {one["name"]: one["default"] for one in job.get("parameters", [])} | given
        state = f'"{job["name"]}"'
        say(f"Run URL: {self.host}/jobs/{at}/runs/{random.randrange(10**14, 10**15)}\n")
        say(f"{now()} {state} RUNNING")
        tasks = {task["task_key"]: task for task in job["tasks"]}
        needs = {k: [d["task_key"] for d in t.get("depends_on", [])] for k, t in tasks.items()}
        outputs, errors, skipped = {}, {}, set()
        for key in TopologicalSorter(needs).static_order():
            if skipped.intersection(needs[key]):
                skipped.add(key)
                continue
            ok, outputs[key], error = self.run_task(tasks[key], job, parameters)
            if not ok:
                errors[key] = error.strip().partition("\n")
                skipped.add(key)
        self.workspace.record("bundle run", f"{job['name']}: {'failed' if errors else 'succeeded'}")
        if errors:
            message = "; ".join(f"Task {key} {FAILED}" for key in errors)
            say(f"{now()} {state} INTERNAL_ERROR FAILED {message}")
            for key, (error, _, trace) in errors.items():
                say(f"Task {key} FAILED:\n{error}\n{trace}\n")
                say(f"Error: Task {key} failed!\nError:\n{error}\nTrace:\n{trace}")
            ended = "failed to reach TERMINATED or SKIPPED, got INTERNAL_ERROR"
            raise Failed(f"{ended}: {message}")
        say(f"{now()} {state} TERMINATED SUCCESS")
        if self.json:
            logs = {key: {"logs": text, "logs_truncated": False} for key, text in outputs.items()}
            told = [{"TaskKey": key, "Output": log, "EndTime": 0} for key, log in logs.items()]
            show({"task_outputs": told})
        elif len(outputs) == 1:
            print(*outputs.values())
        else:
            print("Output:")
            for key, text in outputs.items():
                print(f"=======\nTask {key}:\n{text}")

    def run_task(self, task: dict, job: dict, parameters: dict[str, str]) -> tuple[bool, str, str]:
        """Runs one task: whether it went well, its output, and why not.

        docs.databricks.com/aws/en/jobs/job-parameters: these take precedence over a task's own.
        """

        def fill(text: str) -> str:
            pattern = r"\{\{\s*job\.parameters\.\[?([\w.-]+?)\]?\s*\}\}"
            text = re.sub(pattern, lambda m: parameters.get(m[1], m[0]), text)
            if "{{" in text:
                raise Unknown(f"the dynamic value reference in {text}")
            return text

        broken = fault(self.home, self.host, "run")
        libraries = [one.get("whl") or one["pypi"]["package"] for one in task.get("libraries", [])]
        for one in job.get("environments", []):
            if one["environment_key"] == task.get("environment_key"):
                libraries += one["spec"].get("dependencies", [])
        for library in libraries:
            if library.startswith("/") and not self.workspace.file(library).is_file():
                broken = {"message": f"Library installation failed: {library} not found"}
        if broken:
            return False, "", broken["message"]
        if task.get("run_if", "ALL_SUCCESS") != "ALL_SUCCESS" or task.get("disabled"):
            raise Unknown(f"run_if or disabled of the task {task['task_key']}")
        match {key: value for key, value in task.items() if key.endswith("_task")}:
            case {"notebook_task": {"notebook_path": path, **rest}} if "source" not in rest:
                own = {k: fill(v) for k, v in rest.get("base_parameters", {}).items()}
                return self.compute.notebook(path, own | parameters, libraries)
            case {"python_wheel_task": {"package_name": package, "entry_point": entry, **rest}}:
                arguments = [fill(one) for one in rest.get("parameters", [])]
                if named := rest.get("named_parameters"):
                    pairs = {k: fill(v) for k, v in named.items()} | parameters
                    arguments = [f"--{name}={value}" for name, value in pairs.items()]
                return self.compute.wheel(package, entry, arguments, libraries)
            case {"pipeline_task": {"pipeline_id": at}}:
                pipeline = self.workspace.resources.get("pipelines", {}).get(at)
                if pipeline is None:
                    return False, "", f"The specified pipeline {at} was not found."
                return self.compute.pipeline(pipeline)
        raise Unknown(f"how to run the task {task['task_key']}")


def now() -> str:
    """The time, as runs tell it."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def counted(plan: dict) -> tuple[int, int, int, int]:
    """How many resources a plan creates, changes, deletes and leaves."""
    actions = Counter(entry["action"] for entry in plan["plan"].values())
    again = actions["recreate"]
    return actions["create"] + again, actions["update"], actions["delete"] + again, actions["skip"]


# ---- The command line ----------------------------------------------------------------------------

BUNDLE = {"target", "var"}
COMMANDS = {  # how many arguments a command takes, and which options
    "version": (0, set()),
    "current-user me": (0, {"output"}),
    "workspace list": (1, {"output"}),
    "workspace get-status": (1, {"output"}),
    "workspace export": (1, set()),
    "workspace export-dir": (2, {"overwrite"}),
    "workspace delete": (1, {"recursive"}),
    "bundle validate": (0, BUNDLE | {"output", "strict"}),
    "bundle summary": (0, BUNDLE | {"output"}),
    "bundle plan": (0, BUNDLE | {"output"}),
    "bundle deploy": (0, BUNDLE | {"plan", "auto_approve"}),
    "bundle destroy": (0, BUNDLE | {"auto_approve"}),
    "bundle run": (1, BUNDLE | {"output", "params"}),
}


class Parser(argparse.ArgumentParser):
    """Raises Unknown instead of ending the program."""

    def error(self, message: str) -> None:
        """Raises Unknown."""
        raise Unknown(message)


def parse(arguments: list[str]) -> tuple[str, list[str], argparse.Namespace]:
    """The command, its arguments and its options, which may stand anywhere. Raises Unknown."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-t", "--target")
    parser.add_argument("-o", "--output", choices=["text", "json"])
    parser.add_argument("--plan")
    parser.add_argument("--var", action="append", default=[])
    parser.add_argument("--params", action="append", default=[])
    parser.add_argument("-v", "--version", action="store_true")
    for name in ("strict", "auto-approve", "overwrite", "recursive"):
        parser.add_argument(f"--{name}", action="store_true")
    options = parser.parse_intermixed_args(arguments)
    words = options.words or (["version"] if options.version else [])
    for command, (count, known) in COMMANDS.items():
        rest = words[len(command.split()) :]
        if [*command.split(), *rest] == words and len(rest) == count:
            given = {name for name, value in vars(options).items() if value}
            if extra := given - known - {"words", "version"}:
                raise Unknown(f"{command} with {', '.join(sorted(extra))}")
            return command, rest, options
    raise Unknown("no such command, or other arguments")


def warm_up() -> None:
    """Imports what most commands need, for all of them at once (see warm.py)."""
    import rehearsal.databricks.spark  # noqa: F401

    for kind in ("jobs", "pipelines", "schemas", "volumes"):
        resource_class(kind)


def main(arguments: list[str], home: str | Path) -> int:
    """Runs one command on the workspaces in home, and returns the real client's exit code.

    What it does not know ends with 1 and says so; it never pretends.
    """
    try:
        command, rest, options = parse(arguments)
        getattr(Client(Path(home), options), re.sub("[ -]", "_", command))(*rest)
    except (Unknown, NotImplementedError) as unknown:
        shown = shlex.join(arguments)
        for name in ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET"):
            shown = shown.replace(os.environ.get(name) or "\0", "***")
        say(f"Error: the rehearsal's stand-in client does not know: databricks {shown} ({unknown})")
    except Invalid as invalid:  # a finding on the bundle: with an empty line after it
        say(f"Error: {invalid}\n")
    except (Failed, Refused, Unreachable) as failed:
        if str(failed):
            say(f"Error: {failed}")
    else:
        return 0
    return 1
