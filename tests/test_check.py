"""ops/check.py: one break per check, each found in its file and line, and nothing else found."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml

from conftest import DEFAULT, ROOT

TOOLS = ROOT / "{{cookiecutter.project_slug}}"
sys.path.insert(0, str(TOOLS))
sys.dont_write_bytecode = True
QA, PRODUCTION, DESTROY = (
    f"cicd/buildspecs/{name}.yml" for name in ("qa", "production", "destroy")
)
STACK, BUNDLE, PINS = "cicd/stack.yml", "databricks.yml", "cicd/tools.env"
JOB, ETL = "resources/my_data_project.job.yml", "resources/my_data_project_etl.pipeline.yml"
NUTTER, NOTEBOOK = "resources/nutter.job.yml", "src/notebooks/sample_notebook.py"
MAKE, SCRIPT, PROJECT = "Makefile", "cicd/steps/run_nutter.sh", "pyproject.toml"
X_BUILD = "cicd/buildspecs/x.yml"
IAM, ODD, CLASSIC = "aws-iam-serverless", "odd-but-legal", "pat-classic"
FIXTURE = "tests/nutter/sample_notebook_fixture.py"
ATTACHED = """
  Attached:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      Roles: [!Ref PipelineRole]
      PolicyDocument: {Statement: {Effect: Allow, Action: "*", Resource: !Ref ProdSecret}}

Outputs:
"""
PATTERN = 'Resource: !Sub "arn:${AWS::Partition}:secretsmanager:*:*:secret:${AWS::StackName}-*"'
# A third environment, as a team would add one.
STAGING_TARGET = """
  staging:
    mode: production
    workspace:
      host: https://staging.cloud.databricks.com
      root_path: /Workspace/Users/me/.bundle/${bundle.name}/${bundle.target}
    variables:
      catalog: staging
"""
STAGING_BUILD = """version: 0.2
phases:
  build:
    commands:
      - python cicd/steps/preflight.py staging
      - databricks bundle deploy -t staging
"""
STAGING_PARAMETER = """  StagingHost:
    Type: String
    Default: https://staging.cloud.databricks.com

Mappings:
"""
STAGING_RESOURCES = """  StagingSecret:
    Type: AWS::SecretsManager::Secret
  StagingBuild:
    Type: AWS::CodeBuild::Project
    Properties:
      ServiceRole: !GetAtt StagingRole.Arn
      Source: {Type: CODEPIPELINE, BuildSpec: cicd/buildspecs/staging.yml}
      Environment:
        EnvironmentVariables:
          - {Name: DATABRICKS_HOST, Value: !Ref StagingHost}
          - {Name: DATABRICKS_TOKEN, Type: SECRETS_MANAGER, Value: !Sub "${StagingSecret}:token"}
  StagingRole:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyDocument:
            Statement:
              Effect: Allow
              Action: ["secretsmanager:Get*", "kms:Decrypt"]
              Resource: [!Ref StagingSecret, !GetAtt Key.Arn]

Outputs:
"""


STAGING_STAGE = """        - Name: Staging
          Actions:
            - Name: Deploy
              ActionTypeId: {Category: Build, Owner: AWS, Provider: CodeBuild, Version: "1"}
              Configuration: {ProjectName: !Ref StagingBuild}
        - Name: Review
"""
LINT_BUILD = "version: 0.2\nphases: {build: {commands: [make lint]}}\n"
MAY = "QaBuildRole may read ProdSecret; only a role of prod's builds alone may"
MAY_NOT = "QaBuildRole may not read QaSecret; allow it secretsmanager:GetSecretValue"
NO_KEY = "QaBuildRole may not decrypt with Key; allow it kms:Decrypt"
ONE = "QaBuildRole may not read ProdSecret"
FOREIGN = "QaBuild gets ProdClientId, which is prod's; give it its own"
# Ways to another environment's secret that are not the role's own policy for it.
SECRET_OF_QA = "              - Sid: SecretOfQa\n"
ASSUME = (
    "              - {Effect: Allow, Action: sts:AssumeRole, Resource: !GetAtt ProdBuildRole.Arn}\n"
)
ASSUME_ANY = '              - {Effect: Allow, Action: "sts:*", Resource: "*"}\n'
START = "              - {Effect: Allow, Action: codebuild:*, Resource: !GetAtt ProdBuild.Arn}\n"
MAY_ASSUME = "QaBuildRole may assume ProdBuildRole; only a role of prod's builds alone may"
MAY_START = "QaBuildRole may start ProdBuild; only a role of prod's builds alone may"
OTHER_TASK = "depends_on:\n            - task_key: "
OF_QA, OF_PROD = (
    f"      Description: Builds that {what}\n"
    for what in ("deploy to qa", "plan for prod, deploy to it and compare it")
)
IN_VPC = "      ManagedPolicyArns: !If [HasVpc, [!Ref VpcAccess], !Ref AWS::NoValue]\n"
MANAGED = "      ManagedPolicyArns: [arn:aws:iam::aws:policy/ReadOnlyAccess]\n"
TRUST = """      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: {Service: codebuild.amazonaws.com}
"""
TRUST_QA = TRUST.replace("Service: codebuild.amazonaws.com", "AWS: !GetAtt QaBuildRole.Arn")
OPENED = """
  Opened:
    Type: AWS::SecretsManager::ResourcePolicy
    Properties:
      SecretId: !Ref ProdSecret
      ResourcePolicy:
        Statement: {Effect: Allow, Principal: "*", Action: "*", Resource: "*"}

Outputs:
"""
JOINED = 'Resource: !Join ["", ["arn:aws:secretsmanager:eu-west-1:1:secret:", "*"]]'
BY_QA = "names no target, so acts on the default one"
SLACK = """  SlackSecret:
    Type: AWS::SecretsManager::Secret

Outputs:
"""
SLACK_TOKEN = "          - {Name: SLACK_TOKEN, Type: SECRETS_MANAGER, Value: !Ref SlackSecret}\n"


class Break(NamedTuple):
    """One break: `old` becomes `new` in `file`. No old: the file is made; no new: it is deleted."""

    name: str
    file: str
    old: str | None
    new: str | None
    says: str
    at: str = ""  # what the finding's line holds; the new text, where nothing is said
    where: str = ""  # the finding's file, if it is not the broken one
    count: int = 1  # of findings in all
    variant: str = DEFAULT


EACH_FILE = [
    Break("missing", PINS, "", None, "missing, but the builds need it"),
    Break("yaml", JOB, "      name:", "\tname:", "cannot be read: "),
    Break("yaml-key", JOB, "  jobs:\n", "  jobs:\n    [a]: b\n", "key is not a word", "[a]"),
    Break(
        "duplicate", BUNDLE, "  name:", "  name: x\n  name:", "'name' is in line 3 too", 'name: "my'
    ),
    Break("two", BUNDLE, "\ninclude:", "\n---\ninclude:", "a second document is not", "include:"),
    Break(
        "two", ETL, "resources:", "a: b\n---\nresources:", "a second document is not", "resources"
    ),
    Break("two", QA, "\nenv:", "\n---\nenv:", "a second document is not read", "env:"),
    Break(
        "two", STACK, "\nParameters:", "\n---\nParameters:", "a second document is", "Parameters:"
    ),
    Break(
        "item", STACK, "Variables:\n", "Variables:\n          - ~\n", "an empty item of a", "- ~"
    ),
    Break("in-a-package", "src/build/x.py", None, "def", "cannot be read: invalid syntax"),
    Break(
        "not-utf-8", ETL, "serverless:", "serverless\udce9:", "this line is not UTF-8", "serverless"
    ),
    Break("crlf", SCRIPT, "pipefail\n", "pipefail\r\n", "this line has CRLF; save the file"),
    Break("python", NOTEBOOK, "\nfrom ", "\nfrom from ", "cannot be read: invalid syntax"),
    Break("json", "src/conf/x.json", None, '{\n"a": }', "cannot be read: Expecting value", '"a"'),
    Break("toml", "pyproject.toml", "\nname =", "\nname = =", "cannot be read: Invalid value"),
    Break(
        "%run", FIXTURE, "%run ../../src", "%run ../src", "the notebook ../src/notebooks/sample_"
    ),
]
BUILDSPECS = [
    Break("version", QA, "version: 0.2", "version: 0.1", "say version: 0.2"),
    Break("no-phases", X_BUILD, None, "version: 0.2", "has no phases", count=2),
    Break(
        "phase",
        QA,
        "  pre_build:",
        "  prebuild:",
        "no key phases.prebuild; did you mean pre_build?",
    ),
    Break("key", QA, "base-directory: reports\n", "base-dir: x\n", "no key reports.unit.base-dir"),
    Break("keys", QA, "  shell: bash", "  shell: {a: b}", "env.shell holds keys"),
    Break(
        "no-keys",
        QA,
        "  unit:\n",
        "  old: unit.xml\n  unit:\n",
        "reports.old holds no keys",
        "old:",
        count=2,
    ),
    Break(
        "secret",
        QA,
        "  variables:\n",
        "  secrets-manager: {TOKEN: x}\n  variables:\n",
        "TOKEN is a secret; its place is the build's project",
        "{TOKEN: x}",
    ),
    Break("version-number", QA, '"3.12"', "3.12", "python is read as the number 3.12; quote it"),
    Break("version-integer", QA, "java: corretto17", "java: 17", "read as the number 17; quote it"),
    Break("number", QA, '"true"', "3.10", "is read as the number 3.1; quote it"),
    Break("mapping", QA, "- . cicd", "- run: . cicd", "is no command; quote or remove it"),
    Break("empty", QA, "- . cicd/tools.env", "- ''", "'' is no command"),
    Break(
        "idle", QA, "  build:\n    commands:", "  build:\n    finally:", "no commands", "  build:"
    ),
]
BUNDLES = [
    Break("field", JOB, "depends_on:", "depend_on:", "for class Task; did you mean depends_on?"),
    Break("field-in-target", NUTTER, "default: ${", "defualt: ${", "did you mean default?"),
    Break("value", ETL, "serverless: true", "serverless: 7", "serverless is 7"),
    Break(
        "choice", JOB, "timezone_id: UTC", "pause_status: NO", "'False' is not a valid PauseStatus"
    ),
    Break("field-missing", JOB, "        timezone_id: UTC\n", "", "'timezone_id'", "quartz"),
    Break(
        "word", ETL, "catalog: $", "catalog:\n        x: $", "catalog wants one word", "catalog:"
    ),
    Break("kind", JOB, "  jobs:", "  job:", "no kind of resource; did you mean jobs?"),
    Break(
        "path", JOB, "/sample_notebook.py", "/gone.py", "notebook_path: ../src/notebooks/gone.py"
    ),
    Break("glob", ETL, "/transformations/**", "/gone/**", "leads nowhere from here"),
    Break("root", ETL, "root_path: ../src", "root_path: ../sources", "root_path: ../sources leads"),
    Break("sync", BUNDLE, "    - src\n", "    - sources\n", "paths: sources leads nowhere"),
    Break(
        "included", "resources/a/b.yml", None, "a: b", "databricks.yml does not include this file"
    ),
    Break(
        "variable", JOB, "${var.schema}", "${var.shema}", "no variable shema; did you mean schema?"
    ),
    Break("root-key", BUNDLE, "experimental:", "experimentel:", "did you mean experimental?"),
    Break(
        "target-key", BUNDLE, "presets:", "preset:", "no key targets.qa.preset; did you mean pre"
    ),
    Break("list", JOB, "    my_data", "    - my_data", "resources.jobs holds no keys", "jobs:"),
    Break(
        "host",
        BUNDLE,
        "    workspace:\n      host: https://qa-workspace.cloud.databricks.com\n",
        "    workspace:\n",
        "qa has no host; add workspace: host:",
        "mode:",
    ),
    Break(
        "depends",
        JOB,
        OTHER_TASK + "notebook",
        OTHER_TASK + "ntebook",
        "no task_key ntebook; did",
        "ntebook",
    ),
    Break(
        "environment", JOB, "y: main\n\n", "y: man\n\n", "no environment_key man; did you mean main"
    ),
    Break("cluster", JOB, "y: main\n\n", "y: man\n\n", "no job_cluster_key man", variant=CLASSIC),
    Break("package", JOB, 'name: "my_data_', 'name: "my_dta_', "no package_name my_dta_project"),
    Break(
        "entry-point", JOB, "point: main", "point: mian", "no entry_point mian; did you mean main?"
    ),
    Break(
        "resource", JOB, "data_project_etl.id}", "data_project_elt.id}", "no resource pipelines."
    ),
]
COMMANDS = [
    Break("target", QA, "deploy -t qa", "deploy -t q", "no target q; did you mean qa?"),
    Break(
        "preflight", QA, "preflight.py qa", "preflight.py qaa", "no target qaa; did you mean qa?"
    ),
    Break(
        "nutter", QA, "nutter.sh qa", "nutter.sh test", "no target test; there are: development,"
    ),
    Break("make", MAKE, "run -t development", "run -t dev", "no target dev"),
    Break("run", PRODUCTION, 'prod "$JOB"', "prod nutter", "not in the target prod"),
    Break("run-in-script", SCRIPT, '"$target" nutter', '"$target" nuter', "not in any target"),
    Break(
        "script",
        QA,
        "bash cicd/steps/install_cli.sh",
        "bash cicd/steps/install.sh",
        "names cicd/steps/install.sh",
    ),
    Break(
        "dot-script",
        QA,
        "bash cicd/steps/install_cli.sh",
        "./cicd/steps/cli.sh",
        "names cicd/steps/cli.sh, which",
    ),
    Break("no-target", QA, "deploy -t qa", "deploy", BY_QA),
    Break("no-target", SCRIPT, 'summary -t "$target"', "summary", BY_QA),
    Break("no-target-preflight", QA, "preflight.py qa", "preflight.py", BY_QA),
    Break("made", QA, "lint test ", "lint tests ", "no make target tests; did you mean test?"),
    Break("report", QA, "\n  unit:", "\n  units:", "no report group for units; did you mean unit?"),
    Break("torn", PRODUCTION, "run -t prod", "run -t qa", "and qa; name one"),
    Break(
        "swapped",
        STACK,
        "buildspecs/qa",
        "buildspecs/production",
        "QaBuild is qa's, but cicd/buildspecs/production.yml works on prod (line",
        count=2,  # and nothing names qa.yml
    ),
    Break(
        "no-buildspec",
        STACK,
        ", BuildSpec: cicd/buildspecs/qa.yml",
        "",
        "buildspec.yml, which",
        count=2,
        at="QaBuild:",
    ),
    Break(
        "not-run",
        STACK,
        ": !Ref ProdBuild\n",
        ": !Ref QaBuild\n",
        "runs ProdBuild",
        "production.yml",
    ),
    Break(
        "namespace",
        STACK,
        "Namespace: PlanVariables",
        "Namespace: Plan",
        "Plan is an artifact too, which AWS refuses; rename it",
    ),
    Break("tool", MAKE, "-m ops check", "-m ops chek", "no command chek"),
    Break("stack-names", PRODUCTION, "", None, "which does not exist", "production.yml", STACK),
    Break("tool-names", DESTROY, "", None, "which does not exist", "destroy.yml", "ops/destroy.py"),
    Break("unnamed", X_BUILD, None, LINT_BUILD, "neither cicd/stack.yml nor ops/ names it"),
]
AGREEMENTS = [
    Break("nutter", NUTTER, "==0.1.35", "==0.1.34", "pins 0.1.35; make them equal"),
    Break("bundles", PROJECT, "bundles==1.22.1", "bundles==1.22.0", "pins 1.22.1; make them equal"),
    Break("python", QA, '"3.12"', '"3.11"', "cicd/tools.env pins Python 3.12; make them equal"),
    Break(
        "client", BUNDLE, ">= 1.22.1", ">= 1.23.0", "refuses the 1.22.1 that cicd/tools.env pins"
    ),
    Break("bundle-host", BUNDLE, "//qa-", "//q-", "qa's host in databricks.yml:", "//qa-", STACK),
    Break("stack-host", STACK, "//prod-", "//p-", "prod's host in databricks.yml:"),
    Break("reader", BUNDLE, "host: ", "host: >-\n        ", "does not find this host"),
    Break("branch", BUNDLE, 'branch: "', 'branch: "x', "BranchName in cicd/stack.yml is main"),
]
ENVIRONMENTS = [
    Break("other-secret", STACK, "${QaSecret}:", "${ProdSecret}:", "ProdSecret, which is prod's"),
    Break("json-key", STACK, "QaSecret}:token", "QaSecret}:tokn", "QaSecret has no key tokn"),
    Break(
        "in-the-open",
        STACK,
        "DATABRICKS_TOKEN, Type: SECRETS_MANAGER,",
        "DATABRICKS_TOKEN,",
        "open",
    ),
    Break("unreadable", STACK, "ger:GetSecretValue", "ger:Describe", MAY_NOT, "${QaSecret}:"),
    Break("every-secret", STACK, "Resource: !Ref QaSecret", 'Resource: "*"  # all', MAY),
    Break("secrets-by-pattern", STACK, "Resource: !Ref QaSecret", PATTERN, MAY),
    Break("joined", STACK, "Resource: !Ref QaSecret", JOINED, MAY),
    Break(
        "managed",
        STACK,
        OF_QA + IN_VPC,
        OF_QA + MANAGED,
        "another's policy is not proved",
        "ReadOnlyAccess",
    ),
    Break(
        "managed-own",
        STACK,
        "- ec2:DescribeVpcs",
        "- secretsmanager:GetSecretValue",
        MAY,
        'Resource: "*"',
        count=4,  # each of the three roles, to each secret that is not its own
    ),
    Break("assume", STACK, SECRET_OF_QA, ASSUME + SECRET_OF_QA, MAY_ASSUME, "sts:AssumeRole"),
    Break("assume-any", STACK, SECRET_OF_QA, ASSUME_ANY + SECRET_OF_QA, MAY_ASSUME, "sts:*"),
    Break(
        "trust",
        STACK,
        OF_PROD + IN_VPC + TRUST,
        OF_PROD + IN_VPC + TRUST_QA,
        MAY_ASSUME,
        "AWS: !GetAtt",
    ),
    Break("start", STACK, SECRET_OF_QA, START + SECRET_OF_QA, MAY_START, "codebuild:*"),
    Break(
        "opened", STACK, "\nOutputs:\n", OPENED, "opens a secret past the roles", "Effect: Allow"
    ),
    Break(
        "literal", STACK, '!Sub "${QaSecret}:', '"prod:', "prod:token is no secret of this stack"
    ),
    Break(
        "key", STACK, "[kms:Decrypt, kms:GenerateDataKey]", "[kms:Encrypt]", NO_KEY, "${QaSecret}:"
    ),
    Break("two-secrets", STACK, ": !Ref QaSecret", ": [!Ref QaSecret, !Ref ProdSecret]", MAY),
    Break("attached", STACK, "\nOutputs:\n", ATTACHED, "PipelineRole may read", 'Action: "*"'),
    Break(
        "one-role", STACK, "ProdBuildRole.Arn", "QaBuildRole.Arn", ONE, "${ProdSecret}:", count=2
    ),
    Break("other-host", STACK, "Value: !Ref QaW", "Value: !Ref ProdW", "gets ProdWorkspaceHost"),
    Break("other-client", STACK, "Value: !Ref QaC", "Value: !Ref ProdC", FOREIGN, variant=IAM),
    # Both environments in one workspace: only the names can tell.
    Break("same-host", STACK, "Value: !Ref QaW", "Value: !Ref ProdW", "gets Prod", variant=ODD),
    Break(
        "oauth", STACK, "${QaSecret}:client_id", "${ProdSecret}:client_id", "prod's", variant=ODD
    ),
]
BREAKS = [*EACH_FILE, *BUILDSPECS, *BUNDLES, *COMMANDS, *AGREEMENTS, *ENVIRONMENTS]


@pytest.fixture
def inspect(monkeypatch):
    """check.py's own function, on the repository in a folder; everything but cfn-lint."""
    from ops.check import Files, prove

    def run(root: Path) -> list[tuple[str, int, str]]:
        report = prove(Files(root))
        assert report.not_checked == []
        return sorted({f[:3] for r in report.findings.values() for f in r if not f.warning})

    return run


@pytest.fixture
def copy(rendering, tmp_path):
    """A function that copies a variant's rendering, to be broken."""

    def make(variant: str = DEFAULT) -> Path:
        return shutil.copytree(
            rendering(variant), tmp_path / "copy", ignore=shutil.ignore_patterns(".git")
        )

    return make


def edit(path: Path, old: str | None, new: str | None) -> None:
    """Makes one break; an edit that changes nothing is a fault of the test."""
    if new is None:
        path.unlink()
    elif old is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(new, encoding="utf-8")
    else:
        text = path.read_text(encoding="utf-8")
        assert old in text and old != new, f"{path.name} has no {old!r} to break"
        path.write_bytes(text.replace(old, new, 1).encode(errors="surrogateescape"))


def run_check(*arguments: str, python: tuple[str, ...] = (sys.executable,), **options):
    """check.py as a command."""
    command = [*python, "-B", "-m", "ops", "check", *arguments]
    return subprocess.run(command, cwd=TOOLS, capture_output=True, text=True, **options)


def parameter(broken: Break):
    """A break as a test's parameter; those of a rarer variant go where that is baked."""
    group = [] if broken.variant == DEFAULT else [pytest.mark.xdist_group(broken.variant)]
    return pytest.param(broken, marks=group, id=f"{broken.name}-{broken.file}")


def test_a_rendering_has_no_finding(rendered, inspect):
    assert inspect(rendered) == []


@pytest.mark.parametrize("broken", [parameter(broken) for broken in BREAKS])
def test_a_break_is_found_where_it_is(copy, inspect, broken):
    root = copy(broken.variant)
    edit(root / broken.file, broken.old, broken.new)
    found = inspect(root)
    told = [(file, line) for file, line, message in found if broken.says in message]
    assert len(told) == 1 and len(found) == broken.count, found
    ((file, line),) = told
    assert file == (broken.where or broken.file)
    path = root / file
    lines = path.read_text(errors="replace").splitlines() if path.exists() else [""]
    marker = broken.at or (broken.new or "").strip().splitlines()[0:1]
    assert "".join(marker) in lines[line - 1]


def extend(root: Path) -> None:
    """Adds a third environment: target, build, secret, role and parameter."""
    bundle = root / BUNDLE
    bundle.write_text(bundle.read_text(encoding="utf-8") + STAGING_TARGET, encoding="utf-8")
    edit(root / "cicd/buildspecs/staging.yml", None, STAGING_BUILD)
    edit(root / STACK, "\nMappings:\n", STAGING_PARAMETER)
    edit(root / STACK, "Outputs:\n", STAGING_RESOURCES)
    edit(root / STACK, "        - Name: Review\n", STAGING_STAGE)


@pytest.mark.parametrize(
    "elsewhere", ["/Workspace/Shared/x", "${var.source_table}", "dbfs:/x.py", "../dist/x.py"]
)
def test_a_path_that_is_not_in_the_repository_is_no_finding(copy, inspect, elsewhere):
    root = copy()
    edit(root / JOB, "../src/notebooks/sample_notebook.py", elsewhere)
    assert inspect(root) == []


def test_an_environment_of_the_team_own_is_no_finding(copy, inspect):
    root = copy()
    extend(root)
    assert inspect(root) == []


def test_an_environment_of_the_team_own_is_kept_apart(copy, inspect):
    root = copy()
    extend(root)
    edit(
        root / STACK, "[!Ref StagingSecret, !GetAtt", "[!Ref StagingSecret, !Ref QaSecret, !GetAtt"
    )
    ((file, _, message),) = inspect(root)
    assert file == STACK
    assert message == "StagingRole may read QaSecret; only a role of qa's builds alone may"


FOREIGN_FILES = {
    "mkdocs.yml": "slugify: !!python/name:pymdownx.slugs.uslugify\n",
    "web/tsconfig.json": '{"strict": true,}  // a comment',
    "deploy/k8s.yml": "a: 1\n---\na: 2\n",
    "templates/x.yml": "{% raw %}",
    "docs/Makefile": "html:\n\tbash scripts/html.sh\r\n",
    "build/lib/x.py": "def",
    "venv/x.py": "def",
}


def test_what_other_tools_read_is_no_finding(copy, inspect):
    root = copy()
    for name, text in FOREIGN_FILES.items():
        edit(root / name, None, text)
    assert inspect(root) == []


@pytest.mark.parametrize("file", ["conf/x.yml", "ci/x.yml"])
def test_what_is_named_must_be_readable_wherever_it_is(copy, inspect, file):
    root = copy()
    edit(root / file, None, "a: [")
    assert inspect(root) == []
    edit(root / BUNDLE, "  - resources/*.yml\n", "  - resources/*.yml\n  - conf/*.yml\n")
    edit(root / STACK, "cicd/buildspecs/qa.yml", "ci/x.yml")
    assert file in [name for name, _, message in inspect(root) if "cannot be read" in message]


def test_what_python_breaks_does_not_hide_the_rest(copy, inspect):
    root = copy()
    edit(root / "cicd/steps/preflight.py", "import json", "import import json")
    edit(root / QA, "deploy -t qa", "deploy -t q")
    assert [file for file, _, _ in inspect(root)] == [QA, "cicd/steps/preflight.py"]


LEGAL = [
    (
        QA,
        "databricks bundle deploy -t qa",
        ">-\n          databricks bundle deploy\n          -t qa",
    ),
    (
        QA,
        "databricks bundle deploy -t qa",
        "|\n        databricks bundle deploy \\\n          -tqa",
    ),
    (QA, "make check lint test build", "make -C docs html && CI=1 make test VERBOSE=1 >log 2>&1"),
    (QA, "bash cicd/steps/install_cli.sh", "./cicd/steps/install_cli.sh"),
    (MAKE, ".DEFAULT_GOAL", "include other.mk\n.DEFAULT_GOAL"),
    (BUNDLE, "targets:\n", "definitions: &x {a: b}\ntargets:\n"),
    (
        BUNDLE,
        "targets:\n",
        "workspace: {host: https://x.com}\ntargets:\n  own: {mode: production}\n",
    ),
    (BUNDLE, "targets:\n", "targets:\n  empty:\n"),
    (JOB, 'package_name: "my_data_project"', "package_name: acme-tools  # in dependencies"),
    (JOB, 'package_name: "my_data_project"', "package_name: my-data-project"),
    (STACK, "\nOutputs:\n", OPENED.replace("Allow", "Deny")),
    (STACK, "[kms:Decrypt, kms:GenerateDataKey]", "kms:*"),
    (
        STACK,
        "Resource: !Ref QaSecret",
        'Resource: [!Sub "${QaSecret}", !Sub ["${S}", {S: !Ref QaSecret}]]',
    ),
]


@pytest.mark.parametrize(("file", "old", "new"), LEGAL)
def test_what_is_legal_is_no_finding(copy, inspect, file, old, new):
    root = copy()
    edit(root / JOB, "- ../dist/*.whl", "- ../dist/*.whl\n              - acme_tools==1.0")
    edit(root / file, old, new)
    assert inspect(root) == []


def test_a_secret_of_two_environments_is_refused_as_shared(copy, inspect):
    root = copy()
    edit(root / STACK, "\nOutputs:\n", "\n" + SLACK)
    for used in ("QaSecret", "ProdSecret"):
        value = '          - {Name: DATABRICKS_TOKEN, Type: SECRETS_MANAGER, Value: !Sub "${' + used
        edit(root / STACK, value, SLACK_TOKEN + value)
        edit(root / STACK, f"Resource: !Ref {used}", f"Resource: [!Ref {used}, !Ref SlackSecret]")
    ((file, line, message),) = inspect(root)
    assert (file, message) == (STACK, "SlackSecret is shared by qa and prod; give each its own")
    assert "SLACK_TOKEN" in (root / STACK).read_text().splitlines()[line - 1]


def test_swapped_buildspecs_are_found_where_the_stack_names_them(copy, inspect):
    root = copy()
    edit(root / STACK, "buildspecs/qa.yml", "buildspecs/x.yml")
    edit(root / STACK, "buildspecs/production.yml", "buildspecs/qa.yml")
    edit(root / STACK, "buildspecs/x.yml", "buildspecs/production.yml")
    found = inspect(root)
    lines = (root / STACK).read_text().splitlines()
    assert [file for file, _, _ in found] == [STACK, STACK]
    assert ["BuildSpec: " in lines[line - 1] for _, line, _ in found] == [True, True]


SHAPES = [
    (
        QA,
        "    runtime-versions:\n",
        "    runtime-versions: [x]\n    old:\n",
        "runtime-versions: [x]",
    ),
    (STACK, "EnvironmentVariables:\n", "EnvironmentVariables:\n          - [x]\n", "- [x]"),
    (STACK, "  BranchName:\n", "  BranchName: [x]\n  OldBranchName:\n", "BranchName: [x]"),
    (BUNDLE, "    git:\n      branch:", "    git: x\n    # ", "git: x"),
    (
        NUTTER,
        "        nutter: &nutter\n",
        "        nutter: [x]\n        old: &nutter\n",
        "nutter: [x]",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "at"), SHAPES)
def test_a_shape_that_no_check_expects_is_a_finding_there(copy, inspect, file, old, new, at):
    root = copy()
    edit(root / file, old, new)
    found = [(file, line) for file, line, _ in inspect(root)]
    lines = (root / file).read_text().splitlines()
    assert (file, [at in line for line in lines].index(True) + 1) in found
    assert "ops/check.py" not in [file for file, _ in found]


def test_the_command_says_what_it_checked_and_leaves_nothing_behind(copy):
    root = copy()
    before = sorted(root.rglob("*"))
    result = run_check("--strict", str(root))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("no findings in ")
    assert sorted(root.rglob("*")) == before


def test_cfn_lint_findings_have_file_and_line(copy):
    root = copy()
    edit(root / STACK, "EnableKeyRotation:", "EnableKeyRotatio:")
    edit(root / STACK, "Description: !Sub", "Description: !Join ['', [!Ref AWS::StackName]]  #")
    lines = (root / STACK).read_text(encoding="utf-8").splitlines()
    join, rotation = (
        [word in text for text in lines].index(True) for word in ("!Join", "Rotatio:")
    )
    result = run_check(str(root))
    assert result.returncode == 1
    told = re.findall(r"^(.+):(\d+): .+ \(cfn-lint (\w+), https", result.stdout, re.MULTILINE)
    assert told == [
        (STACK, str(join + 1), "I1022"),  # informational
        (STACK, str(rotation + 1), "E3002"),
    ]


def test_a_break_fails_the_command(copy):
    root = copy()
    edit(root / QA, "version: 0.2", "version: 0.1")
    result = run_check(str(root))
    assert result.returncode == 1
    told = rf"{QA}:\d+: no buildspec 0.2; say version: 0.2\n"
    assert re.match(told, result.stdout)


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
def test_without_the_two_packages_it_says_what_it_did_not_check(copy, tmp_path, strict, code):
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "yaml").symlink_to(Path(yaml.__file__).parent)
    (packages / "click").symlink_to(Path(click.__file__).parent)
    bare = run_check(
        *strict,
        str(copy()),
        python=(sys.executable, "-S"),
        env={**os.environ, "PYTHONPATH": str(packages)},
    )
    assert (bare.returncode, bare.stderr) == (code, "")
    assert [line for line in bare.stdout.splitlines() if line.startswith("not checked: ")] == [
        "not checked: the bundle's resources against Databricks' schemas,"
        " because databricks-bundles is missing (`make check` installs it)",
        "not checked: cicd/stack.yml against AWS's schemas,"
        " because cfn-lint is missing (`make check` installs it)",
    ]
