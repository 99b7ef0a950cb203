"""Every rendering: exact files, clean text, real tools. A damaged template renders nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from conftest import CHECK, DEFAULT, ROOT, TEMPLATE, VARIANTS, load_hook
from sources import DEFAULTS, sources
from sources import answer as sources_answer

BIN = Path(sys.executable).parent


def answer(rendered: Path, question: str) -> str:
    """What the variant that this rendering belongs to answers to a question."""
    return sources_answer(rendered.parent.name, question)


def files(root: Path) -> set[str]:
    """Every file below a rendering, less git's own."""
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return {name for name in names if not name.startswith(".git/")}


def run(root: Path, *command: str | Path) -> subprocess.CompletedProcess:
    """Runs a tool in a rendering, leaving no cache there."""
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "RUFF_NO_CACHE": "true"}
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)


# ---- The matrix ----------------------------------------------------------------------------------


CHOICES = {name: choices for name, choices in DEFAULTS.items() if isinstance(choices, list)}


@pytest.mark.parametrize("question", CHOICES)
def test_every_choice_occurs_in_a_variant(question: str) -> None:
    choices = CHOICES[question]
    answers = {variant.get(question, choices[0]) for variant in VARIANTS.values()}
    assert answers == set(choices)


def test_every_pair_of_choices_is_a_variant() -> None:
    pairs = {f"{auth}-{compute}" for auth in CHOICES["auth"] for compute in CHOICES["compute"]}
    assert pairs <= set(VARIANTS)
    assert VARIANTS[DEFAULT] == {}


# ---- Every rendering -----------------------------------------------------------------------------


def test_the_exact_files(rendered: Path) -> None:
    expected = set(sources(rendered.parent.name, rendered))
    assert files(rendered) == expected
    tracked = run(rendered, "git", "ls-files", "--others", "--exclude-standard").stdout
    assert set(tracked.splitlines()) == expected


def test_it_is_a_git_repository_on_the_pipelines_branch(rendered: Path) -> None:
    head = run(rendered, "git", "symbolic-ref", "HEAD").stdout
    assert head == f"refs/heads/{answer(rendered, 'branch')}\n"


MARKERS = re.compile(r"cookiecutter|jinja|\{%|%\}|\{#|\{\{|uncomment|TODO|FIXME", re.I)


def test_clean_text(rendered: Path) -> None:
    for name in files(rendered):
        text = (rendered / name).read_bytes().decode("utf-8")
        lines = text.split("\n")
        assert "\r" not in text, name
        assert [line for line in lines if line != line.rstrip()] == [], name
        assert "\n\n\n\n" not in text, name
        assert text.endswith("\n") and not text.endswith("\n\n"), name
        assert not text.startswith("\n"), name
        assert [line for line in lines if MARKERS.search(line)] == [], name


# What a rendering may say only where its answers chose it.
TRACES = {
    ("auth", "pat"): r"personal access token|dapi|DATABRICKS_TOKEN\b|auth/pat",
    ("auth", "oauth-m2m"): r"m2m|CLIENT_SECRET|client_secret|OAuth secret",
    ("auth", "aws-iam"): r"file-oidc|OIDC_TOKEN|federation|WebIdentity|mint_token|ClientId|aws-iam",
    ("compute", "serverless"): r"environment_version|serverless: true",
    ("compute", "classic"): r"node_type|spark_version|new_cluster|job_cluster",
}


@pytest.mark.parametrize(("question", "choice"), TRACES)
def test_no_trace_of_a_choice_that_was_not_made(rendered: Path, question, choice) -> None:
    trace = re.compile(TRACES[question, choice], re.I)
    # check proves any repository, and a plan may be of any: they know every choice
    known = ("ops/check", *(f"cicd/steps/{name}.py" for name in ("fields", "hiding", "report")))
    names = {name for name in files(rendered) if not name.startswith(known)}
    traces = {name for name in names if trace.search((rendered / name).read_text())}
    assert bool(traces) is (answer(rendered, question) == choice), traces


def test_no_trace_of_an_email_that_was_not_given(rendered: Path) -> None:
    email = answer(rendered, "notification_email")
    jobs = "".join(path.read_text() for path in (rendered / "resources").glob("*.yml"))
    assert ("email_notifications" in jobs) is bool(email)
    assert ("notification_email" in (rendered / "databricks.yml").read_text()) is bool(email)


SECRETS = re.compile(
    r"dapi[0-9a-f]{32}|AKIA[0-9A-Z]{16}|-----BEGIN|ghp_\w{36}|eyJ[\w-]{20}|[0-9a-f]{40}|dose[0-9a-f]+"
)


def test_nothing_looks_like_a_secret(rendered: Path) -> None:
    texts = {name: (rendered / name).read_text() for name in files(rendered)}
    pinned = re.compile(r"--hash=sha256:[0-9a-f]{64}")
    assert [name for name, text in texts.items() if SECRETS.search(pinned.sub("", text))] == []
    assert SECRETS.search("dapi" + "0123456789abcdef" * 2)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_hook_has_checked_everything(printed, name: str) -> None:
    """The rendering would not be there if its own check had found anything."""
    assert ": rendered and checked; a git repository on the branch " in printed(name)
    assert "not checked:" not in printed(name)


@pytest.mark.parametrize("name", [DEFAULT, "odd-but-legal"])
def test_its_own_check_finds_nothing(rendering, name: str) -> None:
    result = run(rendering(name), *CHECK, "--strict")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("no findings in ")


def test_yaml_and_toml_parse(rendered: Path) -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda *_: "")
    names = [name for name in files(rendered) if name.endswith(".yml")]
    assert {"databricks.yml", "cicd/stack.yml", "cicd/buildspecs/qa.yml"} <= set(names)
    for name in names:
        assert isinstance(yaml.load((rendered / name).read_text(), Loader), dict), name
    project = tomllib.loads((rendered / "pyproject.toml").read_text())["project"]
    assert project["description"] == answer(rendered, "project_name")


def test_cfn_lint_passes(rendering) -> None:
    """All stacks at once: cfn-lint takes longer to start than to read one."""
    stacks = [rendering(name) / "cicd/stack.yml" for name in VARIANTS]
    result = run(ROOT, BIN / "cfn-lint", "--include-checks", "I", "--", *stacks)
    assert (result.returncode, result.stdout) == (0, "")


def test_ruff_passes(rendered: Path) -> None:
    check = run(rendered, BIN / "ruff", "check")
    assert check.returncode == 0, check.stdout
    layout = run(rendered, BIN / "ruff", "format", "--diff")
    assert layout.returncode == 0, layout.stdout


def test_shellcheck_passes(rendered: Path) -> None:
    scripts = sorted(rendered.rglob("*.sh"))
    assert scripts
    result = run(rendered, BIN / "shellcheck", *scripts)
    assert (result.returncode, result.stdout) == (0, "")


def test_checkov_fails_nothing(rendering) -> None:
    stacks = [rendering(f"{auth}-serverless") / "cicd/stack.yml" for auth in CHOICES["auth"]]
    checkov = ROOT / ".venv/checkov/bin/checkov"
    options = "--framework cloudformation --compact --skip-download --output json --file".split()
    result = subprocess.run([checkov, *options, *stacks], capture_output=True, text=True)
    report = json.loads(result.stdout)
    summary, results = report["summary"], report["results"]
    assert (summary["failed"], summary["parsing_errors"]) == (0, 0)
    passed = Counter(check["file_abs_path"] for check in results["passed_checks"])
    assert set(passed) == {str(stack) for stack in stacks}
    assert min(passed.values()) > 50
    skipped = Counter(check["file_abs_path"] for check in results["skipped_checks"])
    assert max(skipped.values()) <= 2


# ---- A damaged template --------------------------------------------------------------------------


class Damage(NamedTuple):
    """A change to a file of the template, the file that is named for it, a word of the finding."""

    file: str
    old: str
    new: str
    named: str
    word: str


JOB = "resources/{{cookiecutter.__pkg}}.job.yml"
RENDERED_JOB = "resources/my_data_project.job.yml"
NUTTER = "resources/nutter.job.yml"
BUNDLE = "databricks.yml"
QA = "cicd/buildspecs/qa.yml"
PRODUCTION = "cicd/buildspecs/production.yml"
STACK = "cicd/stack.yml"
TOOLS = "cicd/tools.env"
NOTEBOOK = "src/notebooks/sample_notebook.py"
FIXTURES = "tests/nutter/run_fixtures.py"
PULL_REQUEST = "cicd/buildspecs/pull_request.yml"

DAMAGES = {
    "in one file": [
        Damage(NUTTER, "parameters:", "parameters: [", NUTTER, ""),
        Damage(BUNDLE, "name_prefix:", "trigger_pause_status:", BUNDLE, "trigger_pause_status"),
        Damage(QA, 'python: "3.12"', "python: 3.10", QA, "3.1"),
        Damage(QA, "    commands:", "    comands:", QA, "comands"),
        Damage(STACK, "EnableKeyRotation:", "EnableRotation:", STACK, "EnableRotation"),
        Damage(NOTEBOOK, "def profile(trips):", "def profile(trips:", NOTEBOOK, ""),
        Damage(FIXTURES, "./sample_notebook_fixture", "./gone", FIXTURES, "./gone"),
    ],
    "between files": [
        Damage(JOB, "schedule:", "shedule:", RENDERED_JOB, "shedule"),
        Damage(JOB, "sample_notebook.py", "gone.py", RENDERED_JOB, "gone.py"),
        Damage(BUNDLE, "{{ cookiecutter.__prod_host }}", "https://other.com", STACK, "other.com"),
        Damage(PRODUCTION, 'run_job.sh" prod', 'run_job.sh" production', PRODUCTION, "production"),
        Damage(STACK, PULL_REQUEST, "cicd/buildspecs/gone.yml", STACK, "gone.yml"),
        Damage(STACK, "Resource: !Ref {{", "Resource: !Ref QaSecret # {{", STACK, "QaSecret"),
        Damage(TOOLS, "NUTTER_VERSION=0.1.35", "NUTTER_VERSION=0.1.34", NUTTER, "0.1.34"),
    ],
}


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A copy of the template."""
    copy = tmp_path / "template"
    for folder in ("hooks", TEMPLATE.name):
        shutil.copytree(ROOT / folder, copy / folder)
    shutil.copy(ROOT / "cookiecutter.json", copy)
    return copy


@pytest.mark.parametrize("where", DAMAGES)
def test_a_damaged_template_renders_nothing_and_names_the_files(
    bake, capfd, template: Path, tmp_path: Path, where: str
) -> None:
    for damage in DAMAGES[where]:
        damaged = template / TEMPLATE.name / damage.file
        text = damaged.read_text()
        assert damage.old in text
        damaged.write_text(text.replace(damage.old, damage.new))
    result = bake(template)
    assert result.exit_code != 0
    assert list((tmp_path / "out").iterdir()) == []
    findings = capfd.readouterr().err
    for damage in DAMAGES[where]:
        finding = rf"^{re.escape(damage.named)}:\d+: \S.*{re.escape(damage.word)}"
        assert re.search(finding, findings, re.MULTILINE), (damage, findings)


# ---- The hook's last words -----------------------------------------------------------------------


def next_commands(text: str) -> list[str]:
    """The commands that the hook prints in the end."""
    return [line.strip() for line in text[text.index("Next:\n") :].splitlines()[1:5]]


@pytest.mark.parametrize(
    ("auth", "sign_in"),
    [("pat", "make secrets"), ("oauth-m2m", "make secrets"), ("aws-iam", "less docs/security.md")],
)
def test_the_next_four_commands(printed, auth: str, sign_in: str) -> None:
    text = printed(f"{auth}-serverless")
    assert next_commands(text) == [
        "cd my-data-project",
        "make stack",
        sign_in,
        "git add --all && git commit --message Start && make push",
    ]
    assert "rendered and checked; a git repository on the branch main" in text


@pytest.fixture
def finish(capfd, monkeypatch) -> Callable[[Path], str]:
    """A function: the post-gen hook without its check, in a folder; returns what it prints."""

    def run(root: Path, **answers: str) -> str:
        context = {"project_slug": "my-data-project", "branch": "release/1", "auth": "pat"}
        hook = load_hook("post_gen_project", context | answers)
        monkeypatch.setattr(hook, "check", lambda: [])
        monkeypatch.chdir(root)
        hook.main()
        return capfd.readouterr().out

    return run


@pytest.mark.parametrize("around", ["mono repo", "my-data-project"])
def test_inside_a_repository_it_says_how_to_get_out(
    render, finish, tmp_path: Path, around: str
) -> None:
    """A push from there would be a push of the repository around it."""
    top = tmp_path / "a" / around
    top.mkdir(parents=True)
    run(top, "git", "init", "--quiet")
    root = render().rename(top / "my-data-project")
    text = finish(root)
    assert not (root / ".git").exists()
    assert "inside another git repository" in text and "make push" not in text
    moved = run(tmp_path, "bash", "-ec", "\n".join([*next_commands(text)[:3], "pwd"]))
    assert moved.returncode == 0, moved.stderr
    new = Path(moved.stdout.splitlines()[-1])
    assert new.parent == tmp_path / "a" and (new / "README.md").exists()
    assert run(new, "git", "symbolic-ref", "HEAD").stdout == "refs/heads/release/1\n"
    assert run(new, "git", "rev-parse", "--show-toplevel").stdout == f"{new}\n"


def test_without_git_it_says_what_to_run(render, finish, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    text = finish(render())
    assert "git is not installed: install it, then run git init -b release/1 here" in text
    assert next_commands(text)[0] == "cd my-data-project"


def test_when_git_fails_it_says_why_and_what_to_run(render, finish, tmp_path, monkeypatch) -> None:
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\necho 'fatal: no space' >&2\nexit 1\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}:{os.environ['PATH']}")
    text = finish(render())
    assert "git failed (fatal: no space): run git init -b release/1 here" in text


@pytest.fixture(scope="module")
def bare_cookiecutter(tmp_path_factory) -> Path:
    """cookiecutter in an environment without cfn-lint and databricks-bundles."""
    venv = tmp_path_factory.mktemp("bare") / "venv"
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    (pin,) = (item for item in pins if item.startswith("cookiecutter=="))
    subprocess.run([BIN / "uv", "venv", "--quiet", venv], check=True)
    subprocess.run([BIN / "uv", "pip", "install", "--quiet", "--python", venv, pin], check=True)
    return venv / "bin/cookiecutter"


def test_without_the_libraries_it_says_what_was_not_checked(bare_cookiecutter, tmp_path) -> None:
    result = subprocess.run(
        [bare_cookiecutter, "--no-input", "-o", tmp_path, ROOT],
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert result.returncode == 0, result.stderr
    assert "rendered and partly checked" in result.stdout
    left_out = [line for line in result.stdout.splitlines() if line.startswith("not checked:")]
    assert len(left_out) == 2
    assert "cfn-lint" in "".join(left_out) and "databricks-bundles" in "".join(left_out)
    get = "uvx --with cfn-lint --with databricks-bundles cookiecutter gh:org/dabs-aws-cicd"
    assert get in result.stdout
    assert not list(tmp_path.rglob("__pycache__"))


def test_what_python_is_told_elsewhere_does_not_hide_the_repositorys_own_modules(
    bake, monkeypatch, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere/cicd"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(other.parent))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    result = bake()
    assert result.exit_code == 0, result.exception


# ---- Jobs ----------------------------------------------------------------------------------------


def jobs(rendered: Path) -> dict[str, dict]:
    """The jobs of a rendering, by key."""
    sample, nutter = sorted(
        (rendered / "resources").glob("*.job.yml"), key=lambda file: file.name == "nutter.job.yml"
    )
    development = yaml.safe_load(nutter.read_text())["targets"]["development"]
    found = yaml.safe_load(sample.read_text())["resources"]["jobs"]
    return found | development["resources"]["jobs"]


def test_a_failed_task_is_not_run_again_by_itself(rendered: Path) -> None:
    serverless = answer(rendered, "compute") == "serverless"
    tasks = [task for job in jobs(rendered).values() for task in job["tasks"]]
    assert len(tasks) == 4
    for task in tasks:
        # The service does not return the field of a pipeline task: each plan would show it.
        expected = serverless and "pipeline_task" not in task
        assert task.get("disable_auto_optimization", False) is expected, task["task_key"]


def test_every_job_has_a_time_limit(rendered: Path) -> None:
    assert {job["timeout_seconds"] for job in jobs(rendered).values()} == {3600}
