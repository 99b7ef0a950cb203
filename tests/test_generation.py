"""Every rendering: exact files, clean text, real tools. A damaged template renders nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from conftest import DEFAULT, ROOT, VARIANTS

BIN = Path(sys.executable).parent
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"

FILES = """
    .gitattributes .gitignore Makefile README.md databricks.yml pyproject.toml
    cicd/steps/comment.py cicd/steps/deploy.py cicd/steps/drift.sh cicd/steps/install_cli.sh
    cicd/steps/names.py cicd/steps/plan.py cicd/steps/preflight.py
    cicd/steps/release.py cicd/steps/run_nutter.sh cicd/stack.yml cicd/tools.env
    cicd/buildspecs/destroy.yml cicd/buildspecs/plan.yml cicd/buildspecs/production.yml
    cicd/buildspecs/pull_request.yml cicd/buildspecs/qa.yml
    docs/architecture.svg docs/operations.md docs/security.md
    resources/nutter.job.yml resources/{pkg}.job.yml resources/{pkg}_etl.pipeline.yml
    src/notebooks/sample_notebook.py
    src/{pkg}/__init__.py src/{pkg}/main.py src/{pkg}/trips.py
    src/{pkg}_etl/transformations/trips.py
    tests/nutter/harness.py tests/nutter/run_fixtures.py tests/nutter/sample_notebook_fixture.py
    tests/unit/conftest.py tests/unit/test_main.py tests/unit/test_nutter_fixtures.py
    tests/unit/test_trips.py
    ops/approval.py ops/aws_stack.py ops/check.py ops/delete_stack.py ops/destroy.py
    ops/doctor.py ops/drift.py ops/logs.py ops/pin_cli.py ops/pipeline.py
    ops/releases.py ops/repository.py ops/rollback.py ops/screen.py
    ops/stack_parameters.py ops/start.py ops/status.py ops/wheel_version.py
    ops/probes/__init__.py ops/probes/account.py ops/probes/machine.py
    ops/probes/project.py ops/probes/rights.py ops/probes/workspaces.py
""".split()
OF_AUTH = {
    "pat": {"ops/put_secret.py"},
    "oauth-m2m": {"ops/put_secret.py"},
    "aws-iam": {"cicd/steps/mint_token.sh"},
}


def answers(rendered: Path, name: str) -> str:
    """What the variant that this rendering belongs to answers to a question."""
    variant = next(item for item in VARIANTS if rendered.parent.name.startswith(item))
    default = json.loads((ROOT / "cookiecutter.json").read_text())[name]
    return VARIANTS[variant].get(name, default[0] if isinstance(default, list) else default)


def files(root: Path) -> set[str]:
    """Every file below a rendering, less git's own."""
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return {name for name in found if not name.startswith(".git/")}


def run(root: Path, *command: str | Path) -> subprocess.CompletedProcess:
    """Runs a tool in a rendering, leaving no cache there."""
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "RUFF_NO_CACHE": "true"}
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)


# ---- The matrix ----------------------------------------------------------------------------------


def test_every_choice_occurs_in_a_variant() -> None:
    questions = json.loads((ROOT / "cookiecutter.json").read_text())
    for name, choices in questions.items():
        if isinstance(choices, list):
            given = {variant.get(name, choices[0]) for variant in VARIANTS.values()}
            assert given == set(choices), name


def test_every_pair_of_choices_is_a_variant() -> None:
    questions = json.loads((ROOT / "cookiecutter.json").read_text())
    pairs = {f"{auth}-{compute}" for auth in questions["auth"] for compute in questions["compute"]}
    assert pairs <= set(VARIANTS)
    assert VARIANTS[DEFAULT] == {}


# ---- Every rendering -----------------------------------------------------------------------------


def test_the_exact_files(rendered: Path) -> None:
    package = rendered.name.replace("-", "_")
    told = {name.format(pkg=package) for name in FILES} | OF_AUTH[answers(rendered, "auth")]
    assert files(rendered) == told
    taken = run(rendered, "git", "ls-files", "--others", "--exclude-standard").stdout
    assert set(taken.splitlines()) == told


def test_it_is_a_git_repository_on_the_pipelines_branch(rendered: Path) -> None:
    head = run(rendered, "git", "symbolic-ref", "HEAD").stdout
    assert head == f"refs/heads/{answers(rendered, 'branch')}\n"


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
    # check.py proves any repository, plan.py hides any secret: they know every choice
    names = {name for name in files(rendered) - {"ops/check.py", "cicd/steps/plan.py"}}
    found = {name for name in names if trace.search((rendered / name).read_text())}
    assert bool(found) is (answers(rendered, question) == choice), found


def test_no_trace_of_an_email_that_was_not_given(rendered: Path) -> None:
    email = answers(rendered, "notification_email")
    jobs = "".join(path.read_text() for path in (rendered / "resources").glob("*.yml"))
    assert ("email_notifications" in jobs) is bool(email)
    assert ("notification_email" in (rendered / "databricks.yml").read_text()) is bool(email)


SECRETS = re.compile(
    r"dapi[0-9a-f]{32}|AKIA[0-9A-Z]{16}|-----BEGIN|ghp_\w{36}|eyJ[\w-]{20}|[0-9a-f]{40}|dose[0-9a-f]+"
)


def test_nothing_looks_like_a_secret(rendered: Path) -> None:
    found = [name for name in files(rendered) if SECRETS.search((rendered / name).read_text())]
    assert found == []
    assert SECRETS.search("dapi" + "0123456789abcdef" * 2)


def test_its_own_check_finds_nothing(rendered: Path) -> None:
    result = run(rendered, sys.executable, "-B", "ops/check.py", "--strict")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("no findings in ")


def test_yaml_and_toml_parse(rendered: Path) -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda *_: "")
    names = [name for name in files(rendered) if name.endswith(".yml")]
    assert len(names) == 10
    for name in names:
        assert isinstance(yaml.load((rendered / name).read_text(), Loader), dict), name
    project = tomllib.loads((rendered / "pyproject.toml").read_text())["project"]
    assert project["description"] == answers(rendered, "project_name")


def test_cfn_lint_has_nothing_to_say(rendered: Path) -> None:
    result = run(rendered, BIN / "cfn-lint", "--include-checks", "I", "--", "cicd/stack.yml")
    assert (result.returncode, result.stdout) == (0, "")


def test_ruff_has_nothing_to_say(rendered: Path) -> None:
    check = run(rendered, BIN / "ruff", "check")
    assert check.returncode == 0, check.stdout
    layout = run(rendered, BIN / "ruff", "format", "--diff")
    assert layout.returncode == 0, layout.stdout


def test_shellcheck_has_nothing_to_say(rendered: Path) -> None:
    scripts = sorted(rendered.rglob("*.sh"))
    assert scripts
    result = run(rendered, BIN / "shellcheck", *scripts)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("auth", ["pat", "oauth-m2m", "aws-iam"])
def test_checkov_fails_nothing(rendering, auth: str) -> None:
    stack = rendering(f"{auth}-serverless") / "cicd/stack.yml"
    checkov = ROOT / ".venv/checkov/bin/checkov"
    options = "--framework cloudformation --compact --skip-download --output json --file".split()
    result = subprocess.run([checkov, *options, stack], capture_output=True, text=True)
    summary = json.loads(result.stdout)["summary"]
    assert (summary["failed"], summary["parsing_errors"]) == (0, 0)
    assert summary["skipped"] <= 2
    assert summary["passed"] > 50


# ---- A damaged template --------------------------------------------------------------------------

DAMAGE = [
    ("resources/nutter.job.yml", "parameters:", "parameters: ["),
    ("resources/{{cookiecutter.__pkg}}.job.yml", "schedule:", "shedule:"),
    ("resources/{{cookiecutter.__pkg}}.job.yml", "sample_notebook.py", "gone.py"),
    ("databricks.yml", "name_prefix:", "trigger_pause_status:"),
    ("databricks.yml", "{{ cookiecutter.__prod_host }}", "https://elsewhere.example.com"),
    ("cicd/buildspecs/qa.yml", 'python: "3.12"', "python: 3.10"),
    ("cicd/buildspecs/qa.yml", "    commands:", "    comands:"),
    ("cicd/buildspecs/production.yml", "bundle run -t prod", "bundle run -t production"),
    ("cicd/stack.yml", "EnableKeyRotation:", "EnableRotation:"),
    ("cicd/stack.yml", "cicd/buildspecs/{{ buildspec }}.yml", "cicd/buildspecs/{{ name }}.yml"),
    ("cicd/stack.yml", "Resource: !Ref {{ name }}Secret", "Resource: !Ref QaSecret"),
    ("cicd/tools.env", "NUTTER_VERSION=0.1.35", "NUTTER_VERSION=0.1.34"),
    ("src/notebooks/sample_notebook.py", "def profile(trips):", "def profile(trips:"),
    ("tests/nutter/run_fixtures.py", "./sample_notebook_fixture", "./gone"),
]
FOUND_IN = {
    "https://elsewhere.example.com": "cicd/stack.yml",
    # a disagreement of two files is named in one of them
    "cicd/tools.env": "resources/nutter.job.yml",
    "resources/{{cookiecutter.__pkg}}.job.yml": "resources/my_data_project.job.yml",
}


@pytest.mark.parametrize(("file", "old", "new"), DAMAGE)
def test_a_damaged_template_renders_nothing_and_names_the_file(
    bake, capfd, tmp_path: Path, file: str, old: str, new: str
) -> None:
    template = tmp_path / "template"
    for part in ("cookiecutter.json", "hooks", TEMPLATE.name):
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, _made(template) / part)
    damaged = template / TEMPLATE.name / file
    text = damaged.read_text()
    assert text.count(old)
    damaged.write_text(text.replace(old, new))
    result = bake(template)
    said = capfd.readouterr().err
    assert result.exit_code != 0
    assert re.search(
        rf"^{re.escape(FOUND_IN.get(new, FOUND_IN.get(file, file)))}:\d+: \S", said, re.M
    ), said
    assert list((tmp_path / "out").iterdir()) == []


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


# ---- The hook's last words -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "sign_in"),
    [("pat", "make secrets"), ("oauth-m2m", "make secrets"), ("aws-iam", "less docs/security.md")],
)
def test_the_next_four_commands(bake, capfd, auth: str, sign_in: str) -> None:
    assert bake(auth=auth).exit_code == 0
    said = capfd.readouterr().out
    commands = said[said.index("Next:\n") :].split("\n")[1:5]
    assert [line.strip() for line in commands] == [
        "cd my-data-project",
        "make stack",
        sign_in,
        "git add --all && git commit --message Start && make push",
    ]
    assert "rendered and checked; a git repository on the branch main" in said


@pytest.mark.parametrize("around", ["mono repo", "my-data-project"])
def test_inside_a_repository_it_says_how_to_get_out(bake, capfd, tmp_path: Path, around) -> None:
    """A push from there would be a push of the repository around it."""
    top = tmp_path / "a" / around
    top.mkdir(parents=True)
    run(top, "git", "init", "--quiet")
    (tmp_path / "out").symlink_to(top)
    result = bake(branch="release/1")
    assert result.exit_code == 0
    assert not (result.project_path / ".git").exists()
    said = capfd.readouterr().out
    assert "inside a git repository already" in said and "make push" not in said
    steps = said[said.index("Next:\n") :].split("\n")[1:5]
    moved = run(tmp_path, "bash", "-ec", "\n".join([*steps[:3], "pwd"]))
    assert moved.returncode == 0, moved.stderr
    new = Path(moved.stdout.splitlines()[-1])
    assert new.parent == tmp_path / "a" and (new / "README.md").exists()
    assert run(new, "git", "symbolic-ref", "HEAD").stdout == "refs/heads/release/1\n"
    assert run(new, "git", "rev-parse", "--show-toplevel").stdout == f"{new}\n"


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
