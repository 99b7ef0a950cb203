"""cicd/steps/bundle.py: what a bundle could make the real client run, read or send elsewhere.

Each attack is played twice: the client alone falls for it, and bundle.py refuses it before. The
first half needs the Databricks client on PATH, and skips without it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from loopback import Answer, Request, serve
from steps import STEPS, load
from test_bundle import CLIENT

needs_client = pytest.mark.skipif(CLIENT is None, reason="no `databricks` client on PATH")

CANARY = "dapi-canary-0123"
ME = {"id": "1", "userName": "builder"}
BUNDLE = """\
bundle:
  name: shop
include:
  - resources/*.yml
targets:
  prod:
    mode: production
    workspace:
      host: HOST
      root_path: /Workspace/Users/builder/.bundle
"""
JOB = """\
resources:
  jobs:
    job:
      name: job
"""
TASK = """\
      tasks:
        - task_key: main
          existing_cluster_id: x
          python_wheel_task: {package_name: shop, entry_point: main}
          libraries:
            - whl: ../dist/*.whl
"""
RAN = 'open("ran", "w")'
PYTHON = f"#!{sys.executable}\n{RAN}\n"


class Attack(NamedTuple):
    """A commit: what is added to databricks.yml, other files, and how it is refused."""

    more: str
    says: str
    files: Mapping[str, str] = MappingProxyType({})
    bundle: str = BUNDLE
    links: Mapping[str, str] = MappingProxyType({})


RUNS = {
    "postinit": Attack(
        "experimental:\n  scripts:\n    postinit: touch ran\n",
        "databricks.yml:12: experimental.scripts runs code of the commit",
    ),
    "preinit": Attack(
        "experimental:\n  scripts:\n    preinit: touch ran\n", "experimental.scripts runs code"
    ),
    "prebuild": Attack(
        "experimental:\n  scripts:\n    prebuild: touch ran\n", "experimental.scripts runs code"
    ),
    "python": Attack(
        "python:\n  resources: ['run:load']\n",
        "databricks.yml:11: python runs code of the commit",
    ),
    "experimental python": Attack(
        "experimental:\n  python:\n    resources: ['run:load']\n",
        "experimental.python runs code of the commit",
    ),
    "artifact": Attack(
        "artifacts:\n  a:\n    build: touch ran\n    path: .\n", "artifacts runs code of the commit"
    ),
    "artifact of the target": Attack(
        "    artifacts:\n      a:\n        build: touch ran\n        path: .\n",
        "databricks.yml:11: targets.prod.artifacts runs code of the commit",
    ),
    "artifact in an included file": Attack(
        "",
        "resources/x.yml:1: artifacts runs code of the commit",
        {"resources/x.yml": "artifacts: {a: {build: touch ran, path: ..}}\n"},
    ),
    "artifact in a hidden file": Attack(
        "",
        "resources/.x.yml:1: artifacts runs code of the commit",
        {"resources/.x.yml": "artifacts: {a: {build: touch ran, path: ..}}\n"},
    ),
    "wheel without a build": Attack(
        "artifacts:\n  a:\n    type: whl\n    path: lib\n",
        "artifacts runs code of the commit",
        {"lib/setup.py": RAN},
    ),
    "setup.py": Attack(
        "",
        "setup.py:1: the client runs it",
        {"setup.py": RAN, "resources/job.yml": JOB + TASK},
    ),
    "old name of targets": Attack(
        "",
        "databricks.yml:5: environments is an old name; call it targets",
        bundle=BUNDLE.replace("targets:", "environments:")
        + "    artifacts:\n      a:\n        build: touch ran\n        path: .\n",
    ),
    "flow style": Attack(
        "",
        "resources/x.yml:1: this file needs keys on lines of their own",
        {"resources/x.yml": '{"experimental": {"scripts": {"postinit": "touch ran"}}}\n'},
    ),
    "JSON": Attack(
        "",
        "includes resources/x.json, which is no .yml file",
        {"resources/x.json": '{"experimental": {"scripts": {"postinit": "touch ran"}}}\n'},
        bundle=BUNDLE.replace("*.yml", "*.json"),
    ),
    "escape": Attack(
        '"\\x61rtifacts":\n  a:\n    build: touch ran\n    path: .\n',
        "databricks.yml:11: the key '\"\\\\x61rtifacts\"' needs to be a plain word",
    ),
    "merged": Attack(
        "",
        "resources/x.yml:7: the key '<<' needs to be a plain word",
        {
            "resources/x.yml": "variables:\n  v:\n    default: &v\n      artifacts:\n"
            "        a: {build: touch ran, path: ..}\n    type: complex\n<<: *v\n"
        },
    ),
    "alias": Attack(
        "variables:\n  v:\n    type: complex\n    default: &v\n"
        "      scripts: {postinit: touch ran}\nexperimental: *v\n",
        "databricks.yml:16: experimental is an alias",
    ),
    "key of several lines": Attack(
        "? artifacts\n: a: {build: touch ran, path: .}\n",
        "databricks.yml:11: this line looks like a key",
    ),
    "tag": Attack(
        "!!str artifacts:\n  a:\n    build: touch ran\n    path: .\n",
        "databricks.yml:11: has a tag",
    ),
    "second key": Attack(
        "targets:\n  prod:\n    workspace: {host: HOST}\n"
        "    artifacts:\n      a: {build: touch ran, path: .}\n",
        "databricks.yml:11: this key is no word, or occurs twice",
    ),
    "second document": Attack(
        "    artifacts:\n      a: {build: touch ran, path: .}\n---\ntargets: {}\n",
        "databricks.yml:13: cannot be read: but found another document",
    ),
    "terraform": Attack(
        "",
        "databricks.yml:3: bundle.terraform runs code of the commit",
        {"terraform.sh": "#!/bin/sh\ntouch ran\n"},
        bundle=BUNDLE.replace(
            "  name: shop\n",
            "  name: shop\n  terraform:\n    exec_path: ROOT/terraform.sh\n  engine: terraform\n",
        ),
    ),
    "pattern of Go's": Attack(
        "",
        "databricks.yml:4: include needs paths in this repository",
        {"resources/x1.yml": "artifacts: {a: {build: touch ran, path: ..}}\n"},
        bundle=BUNDLE.replace("*.yml", "x[0-9].yml"),
    ),
}


@pytest.fixture
def commit(tmp_path: Path):
    """A function: writes an attack's commit for a host, and returns its folder."""

    def write(attack: Attack, host: str = "https://prod.example.com") -> Path:
        root = tmp_path / "commit"
        up = os.path.relpath("/", root / "resources")
        files = {"resources/job.yml": JOB, "dist/shop-1-py3-none-any.whl": "", "run.py": RAN}
        files |= {"databricks.yml": attack.bundle + attack.more} | {**attack.files}
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            text = text.replace("HOST", host).replace("UP", up).replace("ROOT", str(root))
            (root / name).write_text(text)
            (root / name).chmod(0o755 if name.endswith(".sh") else 0o644)
        for name, target in attack.links.items():
            (root / name).symlink_to(target)
        return root

    return write


def workspace(request: Request) -> Answer:
    """An empty workspace."""
    path = request.path.partition("?")[0]
    if path == "/api/2.0/preview/scim/v2/Me":
        return Answer(200, json.dumps(ME).encode())
    if path in ("/.well-known/databricks-config", "/api/2.0/workspace/mkdirs", "/telemetry-ext"):
        return Answer()
    return Answer(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}')


def plan(root: Path, host: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the client's plan as the build does, with none of this machine's own settings."""
    (root.parent / "home").mkdir(exist_ok=True)
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(root.parent / "home"),
        "DATABRICKS_HOST": host,
        "DATABRICKS_TOKEN": CANARY,
        "DATABRICKS_BUNDLE_ENGINE": "direct",
    }
    command = [CLIENT, "bundle", "plan", "-t", "prod", "-o", "json", *arguments]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=60)


def refusal(root: Path) -> str:
    """What bundle.py says of a commit that it refuses."""
    command = [sys.executable, "-B", STEPS / "bundle.py", "prod"]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    (line,) = ran.stderr.splitlines()
    return line


@needs_client
@pytest.mark.parametrize("name", RUNS)
def test_the_client_runs_code_of_the_commit(commit, name: str) -> None:
    with serve(workspace) as (host, _):
        root = commit(RUNS[name], host)
        ran = plan(root, host)
    assert [*root.rglob("ran")], ran.stderr


@pytest.mark.parametrize("name", RUNS)
def test_what_would_run_is_refused(commit, name: str) -> None:
    assert RUNS[name].says in refusal(commit(RUNS[name]))


def at_host(line: str, keep: bool = True) -> str:
    """A bundle with another line below the workspace, with or without its host."""
    host = "      host: HOST\n"
    return BUNDLE.replace(host, f"{host if keep else ''}      {line}\n")


# EVIL is another host, to which the client sends the credential.
SENDS = {
    "host in flow style": Attack(
        "",
        "databricks.yml:8: targets.prod.workspace. needs keys on lines of their own",
        bundle=BUNDLE[: BUNDLE.index("    workspace:")] + "    workspace: {host: EVIL}\n",
    ),
    "host in an included file": Attack(
        "",
        "resources/x.yml:4: targets.prod.workspace.host belongs in databricks.yml",
        {"resources/x.yml": "targets:\n  prod:\n    workspace:\n      host: EVIL\n"},
    ),
    "host for all targets": Attack(
        "workspace:\n  host: EVIL\n",
        "databricks.yml:12: workspace.host belongs in databricks.yml, below the target",
        bundle=at_host("# no host", keep=False),
    ),
    "two hosts": Attack(
        "", "databricks.yml:10: this key is no word, or occurs twice", bundle=at_host("host: EVIL")
    ),
    "merged host": Attack(
        "",
        "databricks.yml:14: the key '<<' needs to be a plain word",
        bundle="variables:\n  v:\n    type: complex\n    default: &v\n      host: EVIL\n"
        + at_host("<<: *v", keep=False),
    ),
    "host on a line of its own": Attack(
        "",
        "databricks.yml:9: this line looks like a key",
        bundle=at_host('? host\n      : "EVIL"', keep=False),
    ),
}


@needs_client
@pytest.mark.parametrize("name", SENDS)
def test_the_client_sends_the_credential_elsewhere(commit, name: str) -> None:
    with serve(workspace) as (host, _), serve(workspace) as (evil, seen):
        root = commit(SENDS[name], host)
        for file in root.rglob("*.yml"):
            file.write_text(file.read_text().replace("EVIL", evil))
        plan(root, host)
    assert f"Bearer {CANARY}" in {request.headers.get("Authorization") for request in seen}


@pytest.mark.parametrize("name", SENDS)
def test_a_host_elsewhere_is_refused(commit, name: str) -> None:
    assert SENDS[name].says in refusal(commit(SENDS[name]))


DASHBOARD = """\
resources:
  dashboards:
    d:
      display_name: d
      warehouse_id: w
      file_path: PATH
"""


def dashboard(path: str, more: str = "") -> dict[str, str]:
    """An included file with a dashboard, and what else it has."""
    return {"resources/x.yml": DASHBOARD.replace("PATH", path) + more}


ENVIRONMENT = "proc/self/environ"
OVERRIDES = ".databricks/bundle/prod/variable-overrides.json"
# The client's plan shows the credential, or what nobody sees in the YAML.
SHOWS = {
    "sync": Attack(
        "",
        "resources/x.yml:8: UP leads out of the repository",
        dashboard(f"UP/{ENVIRONMENT}", "sync:\n  paths: [UP]\n"),
    ),
    "genie space": Attack(
        "",
        "leads out of the repository",
        {
            "resources/x.yml": "resources:\n  genie_spaces:\n    g:\n      title: g\n"
            f"      warehouse_id: w\n      file_path: UP/{ENVIRONMENT}\n"
            "sync:\n  paths: [UP]\n"
        },
    ),
    "link": Attack(
        "",
        "resources/d.json:1: is a symbolic link",
        dashboard("d.json"),
        links={"resources/d.json": f"/{ENVIRONMENT}"},
    ),
    "overrides": Attack(
        "variables:\n  name:\n    default: harmless\n",
        ".databricks:1: the client takes variables and its state from it",
        {
            "resources/x.yml": "resources:\n  jobs:\n    j:\n      name: ${var.name}\n",
            OVERRIDES: json.dumps({"name": CANARY}),
        },
    ),
}


@needs_client
@pytest.mark.parametrize("name", SHOWS)
def test_the_plan_shows_what_it_must_not(commit, name: str) -> None:
    with serve(workspace) as (host, _):
        ran = plan(commit(SHOWS[name], host), host)
    assert CANARY in ran.stdout


@pytest.mark.parametrize("name", SHOWS)
def test_what_would_be_shown_is_refused(commit, name: str) -> None:
    root = commit(SHOWS[name])
    up = os.path.relpath("/", root / "resources")
    assert SHOWS[name].says.replace("UP", up) in refusal(root)


PATHS = [
    *("/etc/x.json", "/workspace/x.json", "~/x.json", "${var.file}", "[x.json]", "d/${var.file}"),
    *("/Workspace/../etc/x.json", "/Workspace/${var.file}"),
]


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_the_plan_shows_is_named_by_a_plain_path(commit, path: str) -> None:
    line = refusal(commit(Attack("", "", dashboard(path))))
    assert line == (
        "bundle.py: resources/x.yml:6: file_path needs the relative path of a file in this"
        " repository, literally"
    )


@pytest.mark.parametrize("path", ["/Workspace/Shared/d.lvdash.json", "d.json", "../src/d.json"])
def test_such_a_file_is_in_the_repository_or_in_a_workspace(commit, path: str) -> None:
    root = commit(Attack("", "", dashboard(path)))
    assert load("bundle").read(root, "prod").files[2] == "resources/x.yml"


def test_such_a_file_is_not_behind_a_link(commit) -> None:
    attack = Attack("", "", dashboard("d.json"), links={"resources/d.json": "job.yml"})
    with pytest.raises(load("bundle").Refused, match="file_path needs the relative path"):
        load("bundle").read(commit(attack), "prod")


def settings(key: str, value: str = "x") -> dict[str, str]:
    """An included file that sets one more key below the target's workspace."""
    lines = "targets:", "  prod:", "    workspace:", f"      {key}: {value}"
    return {"resources/x.yml": "\n".join(lines) + "\n"}


SIGN_IN = (
    "profile auth_type metadata_service_url client_id google_service_account account_id"
    " azure_workspace_resource_id azure_use_msi azure_client_id azure_tenant_id azure_environment"
    " azure_login_app_id experimental_is_unified_host workspace_id"
).split()
FORMS = {
    "byte order mark": ("\ufeff", "databricks.yml:1: has the invisible character U+FEFF"),
    "tab": ("\t# tab", "has the invisible character U+0009"),
    "carriage return": ("# a\rexperimental: {}", "has the invisible character U+000D"),
    "next line": ("# a\x85experimental: {}", "has the invisible character U+0085"),
    "line separator": ("# a\u2028experimental: {}", "has the invisible character U+2028"),
    "right to left": ("# \u202e", "has the invisible character U+202E"),
    "directive": ("%YAML 1.1\n---", "has a tag (!) or a directive (%)"),
    "tag directive": ("%TAG ! tag:x,2000:\n---", "or a directive (%)"),
    "broken": ("a: [", "cannot be read: "),
    "deep": (f"x: {'[' * 900}{']' * 900}", "is nested too deeply"),
    "unknown key": ("secrets:", "databricks.yml:1: secrets is no key that builds accept"),
    "quoted key": ('"sync":', "the key '\"sync\"' needs to be a plain word"),
    "anchor on a key": ("&a sync:", "needs to be a plain word"),
    "scalar over lines": ('sync: "a\nb"', "databricks.yml:2: this line looks like a key"),
    "engine": ("", "bundle.engine is no key that builds accept"),
    "path in a list out of the repository": (
        "sync: {include: [[../x.yml]]}",
        "databricks.yml:1: ../x.yml leads out of the repository",
    ),
    "out of the repository": (
        "sync:\n  paths:\n    - ../..",
        "databricks.yml:3: ../.. leads out of the repository",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_other_forms_are_refused(commit, name: str) -> None:
    first, says = FORMS[name]
    engine = BUNDLE.replace("name: shop", "name: shop\n  engine: terraform")
    bundle = f"{first}\n{BUNDLE}" if first else engine
    assert says in refusal(commit(Attack("", "", bundle=bundle)))


@pytest.mark.parametrize("key", SIGN_IN)
def test_another_way_to_sign_in_is_refused(commit, key: str) -> None:
    line = refusal(commit(Attack("", "", settings(key))))
    assert line.startswith(f"bundle.py: resources/x.yml:4: targets.prod.workspace.{key} is no key")


@pytest.mark.parametrize(
    "path",
    ["/etc/x.yml", "resources/../x.yml", "a/**/../x.yml", "${var.x}", "r?.yml", "{a.yml}", "~"],
)
def test_a_path_that_is_not_plain_is_not_included(commit, path: str) -> None:
    bundle = BUNDLE.replace("resources/*.yml", path)
    assert "include needs paths in this repo" in refusal(commit(Attack("", "", bundle=bundle)))


@pytest.mark.parametrize(
    ("host", "line"),
    [("${var.host}", 9), ("https://a b", 9), ("", 9), ("[https://a]", 9), ("user@a", 9)],
)
def test_a_host_is_literal(commit, host: str, line: int) -> None:
    bundle = BUNDLE.replace("HOST", host)
    says = f"databricks.yml:{line}: targets.prod.workspace needs host: https:// and the workspace"
    assert says in refusal(commit(Attack("", "", bundle=bundle)))


def test_include_is_a_list_of_files_of_yaml(commit) -> None:
    root = commit(Attack("", "", {"resources/y.yaml": JOB.replace("job:", "y:")}))
    assert len(load("bundle").read(root, "prod").files) == 2
    bundle = BUNDLE.replace("HOST", "https://a")
    for text, files in (("*.yaml", ("resources/y.yaml",)), ("none*.yml", ())):
        (root / "databricks.yml").write_text(bundle.replace("*.yml", text))
        assert load("bundle").read(root, "prod").files[1:] == files
    (root / "databricks.yml").write_text(bundle.replace("  - resources/*.yml", "  a: b"))
    assert refusal(root) == "bundle.py: databricks.yml:4: include needs a list of paths"


def test_a_section_may_be_empty_and_a_file_too(commit) -> None:
    root = commit(Attack("sync:\n", "", {"resources/empty.yml": "", "resources/e2.yml": "# a\n"}))
    assert len(load("bundle").read(root, "prod").files) == 4


@pytest.mark.parametrize("key", ["ünder", "a b", "a:b"])
def test_a_key_is_a_plain_word(commit, key: str) -> None:
    line = refusal(commit(Attack(f"{key}: 1\n", "")))
    assert line.startswith(f"bundle.py: databricks.yml:11: the key '{key}' needs to be a plain")


@pytest.mark.parametrize("name", ["databricks.yaml", "bundle.yml", "bundle.yaml"])
def test_there_is_one_databricks_yml(commit, name: str) -> None:
    line = refusal(commit(Attack("", "", {name: BUNDLE})))
    assert f"{name}:1: the client could take it for databricks.yml" in line


def test_what_is_included_is_no_link(commit) -> None:
    root = commit(Attack("", "", {"other/x.yml": JOB}))
    (root / "more").symlink_to("other")
    (root / "databricks.yml").write_text(BUNDLE.replace("resources", "more"))
    with pytest.raises(load("bundle").Refused, match="is behind a symbolic link"):
        load("bundle").read(root, "prod")


def test_a_missing_file_target_or_folder_has_a_line(commit) -> None:
    root = commit(Attack("", "", bundle=BUNDLE.replace("prod", "dev")))
    assert "databricks.yml:1: has no target prod; add it" in refusal(root)
    (root / "databricks.yml").write_text(BUNDLE.replace("*.yml", "none.yml"))
    assert "databricks.yml:4: resources/none.yml does not exist" in refusal(root)
    (root / "databricks.yml").unlink()
    assert "databricks.yml:1: cannot be read as UTF-8" in refusal(root)


TEAM = """\
---
# A bundle of a team that uses most of what there is.
bundle:
  name: shop
  databricks_cli_version: ">= 1.22.1"

include:
- ./resources/*.yml
- resources/**/*.yml

sync:
  paths: [src]
  exclude:
    - "**/*.md"

experimental:
  skip_artifact_cleanup: true

variables:
  catalog:
    description: >
      where tables go
  warehouse:
    lookup:
      warehouse: Shared
  cluster:
    type: complex
    default: &cluster
      num_workers: 1
      spark_conf: {spark.speculation: true}

presets:
  tags: {team: shop}

permissions:
  - {group_name: users, level: CAN_VIEW}

targets:
  development:
    mode: development
    default: true
    artifacts:
      wheel: {type: whl, build: uv build --wheel}
  qa: &qa {workspace: {host: HOST}}
  prod:
    mode: production
    git:
      branch: main
    run_as:
      service_principal_name: x
    presets:
      name_prefix: "[prod] "
    workspace:
      host: "HOST"
      root_path: /Workspace/Users/${workspace.current_user.userName}/.bundle
    variables:
      catalog: prod
      cluster:
        <<: *cluster
        num_workers: 4
    resources:
      jobs:
        job: {max_concurrent_runs: 1}
"""
MORE = """\
resources:
  jobs:
    a: &job
      name: "Zoë's job 🚀"
      tasks:
        - &task
          task_key: one
          notebook_task: {notebook_path: ../../src/a.py}
        - <<: *task
          task_key: two
    b: *job
  dashboards:
    d:
      display_name: d
      warehouse_id: ${var.warehouse}
      file_path: ../../src/d.lvdash.json
  alerts: {}
"""


def test_a_teams_bundle_passes(commit) -> None:
    files = {"resources/sales/more.yml": MORE, "src/d.lvdash.json": "{}"}
    root = commit(Attack("", "", files, TEAM))
    bundle = load("bundle").read(root, "prod")
    names = "databricks.yml", "resources/job.yml", "resources/sales/more.yml"
    assert bundle == ("prod", "https://prod.example.com", names)


def test_every_rendering_passes(rendered: Path) -> None:
    for target in ("qa", "prod"):
        assert load("bundle").read(rendered, target).host.startswith("https://")
        assert len(load("bundle").read(rendered, target).files) == 4
    load("bundle").check_files(rendered)


@pytest.mark.parametrize("arguments", [[], ["qa", "prod"]])
def test_it_needs_one_target(arguments: list[str]) -> None:
    command = [sys.executable, "-B", STEPS / "bundle.py", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "usage: python cicd/steps/bundle.py TARGET\n"


def test_it_says_where_the_bundle_goes(commit) -> None:
    command = [sys.executable, "-B", STEPS / "bundle.py", "prod"]
    root = commit(Attack("", ""))
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "bundle.py: 2 files deploy prod to https://prod.example.com\n"
