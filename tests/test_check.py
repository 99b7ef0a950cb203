"""ops/check: each check finds what a change breaks, in its file and line, and nothing else."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml

from conftest import DEFAULT, ROOT

TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
sys.dont_write_bytecode = True  # what lies in the template's folder is rendered
sys.path.insert(0, str(TEMPLATE))

from ops import check  # noqa: E402
from ops.check.reading import CHECKS, Finding  # noqa: E402

QA, PRODUCTION, DESTROY = (
    f"cicd/buildspecs/{name}.yml" for name in ("qa", "production", "destroy")
)
STACK, BUNDLE, PINS = "cicd/stack.yml", "databricks.yml", "cicd/tools.env"
JOB, ETL = "resources/my_data_project.job.yml", "resources/my_data_project_etl.pipeline.yml"
NUTTER, NOTEBOOK = "resources/nutter.job.yml", "src/notebooks/sample_notebook.py"
MAKE, SCRIPT, PROJECT = "Makefile", "cicd/steps/run_nutter.sh", "pyproject.toml"
NAMES, PREFLIGHT = "cicd/steps/names.py", "cicd/steps/preflight.py"
X_BUILD = "cicd/buildspecs/x.yml"
IAM, ODD, CLASSIC = "aws-iam-serverless", "odd-but-legal", "pat-classic"
FIXTURE, RUNNER = "tests/nutter/sample_notebook_fixture.py", "tests/nutter/run_fixtures.py"
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
      root_path: /Workspace/Users/${workspace.current_user.userName}/.bundle/${bundle.target}
    presets: {trigger_pause_status: PAUSED}
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
    AllowedPattern: '^https://[a-z0-9.-]+$'

Mappings:
"""
STAGING_RESOURCES = """  StagingSecret:
    Type: AWS::SecretsManager::Secret
    Properties: {KmsKeyId: !GetAtt Key.Arn}
  StagingBuild:
    Type: AWS::CodeBuild::Project
    Properties:
      Name: !Sub "${AWS::StackName}-staging"
      EncryptionKey: !GetAtt Key.Arn
      TimeoutInMinutes: 60
      Artifacts: {Type: CODEPIPELINE}
      LogsConfig: {CloudWatchLogs: {Status: ENABLED, GroupName: !Ref BuildLogs, StreamName: s}}
      ServiceRole: !GetAtt StagingRole.Arn
      Source: {Type: CODEPIPELINE, BuildSpec: cicd/buildspecs/staging.yml}
      Environment:
        Image: aws/codebuild/amazonlinux-x86_64-standard:5.0
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
              Action: [secretsmanager:GetSecretValue, kms:Decrypt]
              Resource: [!Ref StagingSecret, !GetAtt Key.Arn]
              Condition: {StringEquals: {kms:ViaService: secretsmanager.us-east-1.amazonaws.com}}

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
MAY = "QaBuildRole may read ProdSecret; allow that only to a role of prod's builds"
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
MAY_ASSUME = "QaBuildRole may assume ProdBuildRole; allow that only to a role of prod's builds"
MAY_START = "QaBuildRole may start ProdBuild; allow that only to a role of prod's builds"
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
BY_QA = "names no target, so it acts on the default one"
SLACK = """  SlackSecret:
    Type: AWS::SecretsManager::Secret

Outputs:
"""
SLACK_TOKEN = "          - {Name: SLACK_TOKEN, Type: SECRETS_MANAGER, Value: !Ref SlackSecret}\n"
COMMENT = "# " + "x" * 97 + "\n"


@dataclass(frozen=True)
class Add:
    """A new file."""

    file: str
    text: str

    def apply(self, root: Path) -> None:
        """Writes the file."""
        path = root / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text, encoding="utf-8")


@dataclass(frozen=True)
class Edit:
    """The first `old` of a file becomes `text`."""

    file: str
    old: str
    text: str

    def apply(self, root: Path) -> None:
        """Edits the file; an edit that changes nothing is a fault of the test."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        assert self.old in text and self.old != self.text, f"{self.file} has no {self.old!r}"
        new = text.replace(self.old, self.text, 1)
        path.write_bytes(new.encode(errors="surrogateescape"))


@dataclass(frozen=True)
class Delete:
    """A file that is missing."""

    file: str
    text: str = ""

    def apply(self, root: Path) -> None:
        """Deletes the file."""
        (root / self.file).unlink()


class Edits(tuple[Edit, ...]):
    """Several edits; the first one's file is where the finding is."""

    @property
    def file(self) -> str:
        """The file of the finding."""
        return self[0].file

    text = ""

    def apply(self, root: Path) -> None:
        """Makes every edit."""
        for change in self:
            change.apply(root)


@dataclass(frozen=True)
class Row:
    """A change to a rendering, and what the check says of it."""

    change: Add | Edit | Delete | Edits
    says: str
    at: str = ""  # what the finding's line holds; by default the first line of the new text
    where: str = ""  # the finding's file, if it is not the changed one
    count: int = 1  # of findings in all
    variant: str = DEFAULT

    @property
    def file(self) -> str:
        """The finding's file."""
        return self.where or self.change.file

    @property
    def marker(self) -> str:
        """What the finding's line holds."""
        return self.at or "".join(self.change.text.strip().splitlines()[0:1])


def slack_for(secret: str) -> list[Edit]:
    """Edits that give the builds with a secret the one of Slack, too."""
    variable = (
        '          - {Name: DATABRICKS_TOKEN, Type: SECRETS_MANAGER, Value: !Sub "${' + secret
    )
    return [
        Edit(STACK, variable, SLACK_TOKEN + variable),
        Edit(STACK, f"Resource: !Ref {secret}", f"Resource: [!Ref {secret}, !Ref SlackSecret]"),
    ]


# The checks of security have their rows in weakenings.py; what breaks a build may weaken it, too.
SECURITY = "buildspecs facts gate leaks people rights targets trust".split()
WEAKENED = {
    check.__name__ for check in CHECKS if check.__module__.removeprefix("ops.check.") in SECURITY
}

# What each check finds, by the check's name.
ROWS = {
    "files_can_be_read": [
        Row(Delete(PINS), says="missing, but the builds need it"),
        Row(Edit(JOB, "      name:", "\tname:"), says="cannot be read: found character"),
        Row(Edit(JOB, "  jobs:\n", "  jobs:\n    [a]: b\n"), says="key is not a word", at="[a]"),
        Row(
            Edit(BUNDLE, "  name:", "  name: x\n  name:"),
            says="'name' is in line 3 too",
            at='name: "my',
        ),
        Row(
            Edit(BUNDLE, "\ninclude:", "\n---\ninclude:"),
            says="a second document is not",
            at="include:",
        ),
        Row(
            Edit(ETL, "resources:", "a: b\n---\nresources:"),
            says="a second document is not",
            at="resources",
        ),
        Row(Edit(QA, "\nenv:", "\n---\nenv:"), says="a second document is not read", at="env:"),
        Row(
            Edit(STACK, "\nParameters:", "\n---\nParameters:"),
            says="a second document is",
            at="Parameters:",
        ),
        Row(
            Edit(STACK, "Variables:\n", "Variables:\n          - ~\n"),
            says="an empty item of a",
            at="- ~",
        ),
        Row(Add("src/build/x.py", "def"), says="cannot be read: invalid syntax"),
        Row(
            Edit(ETL, "serverless:", "serverless\udce9:"),
            says="this line is not UTF-8",
            at="serverless",
        ),
        Row(Edit(SCRIPT, "pipefail\n", "pipefail\r\n"), says="this line has CRLF; save the file"),
        Row(Edit(NOTEBOOK, "\nfrom ", "\nfrom from "), says="cannot be read: invalid syntax"),
        Row(Add("src/conf/x.json", '{\n"a": }'), says="cannot be read: Expecting value", at='"a"'),
        Row(Edit("pyproject.toml", "\nname =", "\nname = ="), says="cannot be read: Invalid value"),
    ],
    "notebooks_exist": [
        Row(
            Edit(FIXTURE, "%run ../../src", "%run ../src"),
            says="the notebook ../src/notebooks/sample_",
        ),
    ],
    "nutter_fixtures_are_run": [
        Row(
            Edit(RUNNER, "# MAGIC %run ./sample_notebook_fixture\n", ""),
            says="run_fixtures.py does not %run it",
            at="# Databricks notebook source",
            where=FIXTURE,
        ),
        Row(
            Edit(RUNNER, "[SampleNotebookFixture]", "[]"),
            says="run_fixtures.py does not name SampleNotebookFixture",
            at="# Databricks notebook source",
            where=FIXTURE,
        ),
        Row(
            Edit(FIXTURE, "class SampleNotebookFixture(NutterFixture):", "if True:"),
            says="has no fixture class; add one, or remove the file",
            at="# Databricks notebook source",
        ),
    ],
    "buildspecs_have_known_keys": [
        Row(Edit(QA, "version: 0.2", "version: 0.1"), says="set version: 0.2"),
        Row(
            Edit(QA, "  pre_build:", "  prebuild:"),
            says="no key phases.prebuild; did you mean pre_build?",
        ),
        Row(
            Edit(QA, "base-directory: reports\n", "base-dir: x\n"),
            says="no key reports.unit.base-dir",
        ),
        Row(
            Edit(QA, "  shell: bash", "  shell: {a: b}"),
            says="env.shell has keys, but needs one value",
        ),
        Row(
            Edit(QA, "  unit:\n", "  old: unit.xml\n  unit:\n"),
            says="reports.old needs keys",
            at="old:",
            count=2,
        ),
        Row(
            Edit(QA, "  variables:\n", "  secrets-manager: {TOKEN: x}\n  variables:\n"),
            says="TOKEN is a secret; declare it in the build's project",
            at="{TOKEN: x}",
        ),
    ],
    "versions_are_quoted": [
        Row(Edit(QA, '"3.12"', "3.12"), says="python is read as the number 3.12; quote it"),
        Row(Edit(QA, "java: corretto17", "java: 17"), says="read as the number 17; quote it"),
        Row(Edit(QA, '"true"', "3.10"), says="is read as the number 3.1; quote it"),
    ],
    "phases_have_commands": [
        Row(Add(X_BUILD, "version: 0.2"), says="has no phases", count=2),
        Row(Edit(QA, "- bash", "- run: bash"), says="is not a command; quote or remove it"),
        Row(Edit(QA, "- make check lint test build", "- ''"), says="'' is not a command"),
        Row(
            Edit(QA, "  build:\n    commands:", "  build:\n    finally:"),
            says="no commands",
            at="  build:",
        ),
    ],
    "bundle_has_known_keys": [
        Row(
            Edit(BUNDLE, "experimental:", "experimentel:"),
            says="did you mean experimental?",
            count=2,
        ),
        Row(Edit(BUNDLE, "presets:", "preset:"), says="no key targets.qa.preset; did you", count=2),
        Row(
            Edit(JOB, "    my_data", "    - my_data"),
            says="resources.jobs needs keys",
            at="jobs:",
        ),
    ],
    "resource_files_are_included": [
        Row(Add("resources/a/b.yml", "a: b"), says="databricks.yml does not include this file"),
    ],
    "paths_exist": [
        Row(
            Edit(JOB, "/sample_notebook.py", "/gone.py"),
            says="notebook_path: ../src/notebooks/gone.py",
        ),
        Row(
            Edit(ETL, "/transformations/**", "/gone/**"),
            says="does not exist, relative to this file",
        ),
        Row(
            Edit(ETL, "root_path: ../src", "root_path: ../sources"),
            says="root_path: ../sources does not exist",
        ),
        Row(Edit(BUNDLE, "    - src\n", "    - sources\n"), says="paths: sources does not exist"),
        Row(
            Edit(BUNDLE, "sync:\n", "sync:\n  include: [gone/**]\n"),
            says="include: gone/** does",
            at="gone",
        ),
        Row(
            Edit(BUNDLE, "  - resources/*.yml\n", "  - resources/*.yml\n  - more/*.yml\n"),
            says="include: more/*.yml does not exist",
            at="more",
        ),
    ],
    "references_are_declared": [
        Row(
            Edit(JOB, "${var.schema}", "${var.shema}"),
            says="no var.shema; did you mean var.schema?",
        ),
        Row(
            Edit(JOB, "data_project_etl.id}", "data_project_elt.id}"),
            says="no resources.pipelines.",
        ),
    ],
    "tasks_fit_their_job": [
        Row(
            Edit(JOB, OTHER_TASK + "notebook", OTHER_TASK + "ntebook"),
            says="no task_key ntebook; did",
            at="ntebook",
        ),
        Row(
            Edit(JOB, "environment_key: main\n          d", "environment_key: man\n          d"),
            says="no environment_key man; did you mean main",
        ),
        Row(Edit(JOB, "y: main\n\n", "y: man\n\n"), says="no job_cluster_key man", variant=CLASSIC),
    ],
    "wheel_tasks_fit_the_package": [
        Row(Edit(JOB, 'name: "my_data_', 'name: "my_dta_'), says="no package_name my_dta_project"),
        Row(  # the project has another name now
            Edit(PROJECT, 'name = "my_data_project"', 'name = "trips"'),
            says="no package_name my_data_project",
            at="package_name",
            where=JOB,
        ),
        Row(
            Edit(JOB, "point: main", "point: mian"), says="no entry_point mian; did you mean main?"
        ),
    ],
    "resources_fit_their_schemas": [
        Row(
            Edit(JOB, "depends_on:", "depend_on:"), says="for class Task; did you mean depends_on?"
        ),
        Row(Edit(NUTTER, "default: ${", "defualt: ${"), says="did you mean default?"),
        Row(Edit(ETL, "serverless: true", "serverless: 7"), says="<class 'bool'> for '7'"),
        Row(
            Edit(JOB, "timezone_id: UTC", "pause_status: NO"),
            says="'False' is not a valid PauseStatus",
        ),
        Row(Edit(JOB, "        timezone_id: UTC\n", ""), says="'timezone_id'", at="quartz"),
        Row(
            Edit(ETL, "catalog: $", "catalog:\n        x: $"),
            says="catalog needs one value",
            at="catalog:",
        ),
        Row(
            Edit(JOB, "  jobs:", "  job:"), says="job is not a kind of resource; did you mean jobs?"
        ),
    ],
    "template_fits_cloudformation": [
        Row(
            Edit(STACK, "\nParameters:", "\n" + COMMENT * 12_000 + "Parameters:"),
            says="CloudFormation accepts 1,000,000; remove some",
            at="AWSTemplate",
        ),
        Row(
            Edit(STACK, "\nParameters:", "\n" + COMMENT * 520 + "Parameters:"),
            says="a new stack takes 51,200; an update takes this one too",
            at="AWSTemplate",
        ),
    ],
    "namespaces_differ_from_artifacts": [
        Row(
            Edit(STACK, "Namespace: PlanVariables", "Namespace: Plan"),
            says="Plan is an artifact too, which AWS refuses; rename it",
        ),
    ],
    "pipeline_runs_its_builds": [
        Row(
            Edit(STACK, ": !Ref PlanBuild\n", ": !Ref QaBuild\n"),
            says="runs PlanBuild",
            at="plan.yml",
        ),
    ],
    "report_groups_exist": [
        Row(
            Edit(QA, "\n  unit:", "\n  units:"),
            says="no report group for units; did you mean unit?",
        ),
    ],
    "scripts_exist": [
        Row(
            Edit(QA, "bash cicd/steps/install_cli.sh", "bash cicd/steps/install.sh"),
            says="names cicd/steps/install.sh",
        ),
        Row(
            Edit(QA, "bash cicd/steps/install_cli.sh", "./cicd/steps/cli.sh"),
            says="names cicd/steps/cli.sh, which",
        ),
    ],
    "make_targets_exist": [
        Row(Edit(QA, "lint test ", "lint tests "), says="no make target tests; did you mean test?"),
    ],
    "ops_commands_exist": [
        Row(Edit(MAKE, "-m ops check", "-m ops chek"), says="no command chek"),
    ],
    "targets_exist": [
        Row(Edit(QA, "deploy -t qa", "deploy -t q"), says="no target q; did you mean qa?"),
        Row(
            Edit(QA, "preflight.py qa", "preflight.py qaa"), says="no target qaa; did you mean qa?"
        ),
        Row(
            Edit(QA, "nutter.sh qa", "nutter.sh test"),
            says="no target test; there are: development,",
        ),
        Row(Edit(MAKE, "run_job.sh development", "run_job.sh dev"), says="no target dev"),
    ],
    "builds_name_their_target": [
        Row(Edit(QA, "deploy -t qa", "deploy"), says=BY_QA),
        Row(Edit(SCRIPT, 'summary -t "$target"', "summary"), says=BY_QA),
        Row(Edit(QA, "preflight.py qa", "preflight.py"), says=BY_QA),
    ],
    "what_is_run_exists": [
        Row(
            Edit(
                PRODUCTION,
                'bash "$STEPS/run_job.sh" prod',
                "databricks bundle run -t prod nutter",
            ),
            says="runs nutter, which is not in the target prod",
        ),
        Row(Edit(SCRIPT, '"$target" nutter', '"$target" nuter'), says="not in any target"),
    ],
    "what_follows_a_deployment_exists": [
        Row(
            Edit(BUNDLE, "default: my_data_project_job", "default: my_data_project_jb"),
            says="job names my_data_project_jb, which is not in the target qa",
            count=3,
        ),
        Row(
            Edit(BUNDLE, "default: my_data_project_job", "default: nutter"),
            says="job names nutter, which is not in the target prod",
        ),
        Row(
            Edit(BUNDLE, '      catalog: "prod"\n', '      catalog: "prod"\n      job: nutter\n'),
            says="job names nutter, which is not in the target prod",
            at="job: nutter",
        ),
    ],
    "buildspecs_are_those_named": [
        Row(
            Edit(STACK, ", BuildSpec: cicd/buildspecs/qa.yml", ""),
            says="buildspec.yml, which",
            at="QaBuild:",
            count=2,
        ),
        Row(Delete(PRODUCTION), says="which does not exist", at="production.yml", where=STACK),
        Row(Delete(DESTROY), says="which does not exist", at="destroy.yml", where="ops/destroy.py"),
        Row(Add(X_BUILD, LINT_BUILD), says="neither cicd/stack.yml nor ops/ uses this file"),
    ],
    "versions_are_the_pinned_ones": [
        Row(Edit(NUTTER, "==0.1.35", "==0.1.34"), says="pins 0.1.35; make them equal"),
        Row(
            Edit(PROJECT, "bundles==1.22.1", "bundles==1.22.0"), says="pins 1.22.1; make them equal"
        ),
        Row(Edit(QA, '"3.12"', '"3.11"'), says="cicd/tools.env pins Python 3.12; make them equal"),
    ],
    "client_comes_from_its_place": [
        Row(Edit(PINS, "https://github", "http://github"), says="needs https://, a host and a pa"),
        Row(Edit(PINS, "https://github", "https://github@a"), says="needs https://, a host and a"),
        Row(
            Edit(PINS, "//github.com", "//github.com.evil.example"),
            says="github.com.evil.example only looks like github.com",
        ),
        Row(Edit(PINS, "//github", "//g1thub"), says="g1thub.com only looks like github.com"),
    ],
    "bundle_accepts_the_client": [
        Row(
            Edit(BUNDLE, ">= 1.22.1", ">= 1.23.0"),
            says="refuses the 1.22.1 that cicd/tools.env pins",
        ),
    ],
    "production_targets_have_hosts": [
        Row(
            Edit(
                BUNDLE,
                "    workspace:\n      host: https://qa-workspace.cloud.databricks.com\n",
                "    workspace:\n",
            ),
            says="qa has no host; add workspace: host:",
            at="mode:",
            count=2,
        ),
    ],
    "hosts_are_equal": [
        Row(
            Edit(BUNDLE, "//qa-", "//q-"),
            says="qa's host in databricks.yml:",
            at="//qa-",
            where=STACK,
        ),
        Row(Edit(STACK, "//prod-", "//p-"), says="prod's host in databricks.yml:"),
    ],
    "branches_are_equal": [
        Row(Edit(BUNDLE, 'branch: "', 'branch: "x'), says="BranchName in cicd/stack.yml is main"),
    ],
    "builds_accept_the_bundle": [
        Row(
            Edit(BUNDLE, "experimental:\n", "experimental:\n  scripts: {postinit: make}\n"),
            says="experimental.scripts runs code of the commit",
            at="scripts: {",
        ),
    ],
    "shared_names_are_the_pipelines": [
        Row(Edit(NAMES, '"Review"', '"Revue"'), says="has no Revue; did you mean Review?"),
        Row(Edit(NAMES, '"Wheel"', '"Wheels"'), says="has no Wheels; did you mean Wheel?"),
        Row(
            Edit(STACK, "- Name: Production\n", "- Name: Prod\n"),
            says="has no Production; there are: Source,",
            at='"Production"',
            where=NAMES,
        ),
    ],
    "placeholders_are_equal": [
        Row(
            Edit(STACK, '{"token": "not-set"}', '{"token": "todo"}'),
            says="the placeholder 'not-set' of cicd/steps/names.py",
        ),
        Row(
            Edit(
                STACK,
                "Default: not-set\n    AllowedPattern: '^(not-set|",
                "Default: todo\n    AllowedPattern: '^(todo|",
            ),
            says="the placeholder 'not-set' of cicd/steps/names.py",
            at="QaClientId:",
            variant=IAM,
        ),
    ],
    "builds_work_on_one_target": [
        Row(Edit(PRODUCTION, 'run_job.sh" prod', 'run_job.sh" qa'), says="and qa; name one"),
        Row(
            Edit(STACK, "buildspecs/qa", "buildspecs/production"),
            says="QaBuild is qa's, but cicd/buildspecs/production.yml works on prod (line",
            count=2,
        ),
    ],
    "secrets_are_not_shared": [
        Row(
            Edits(
                [
                    Edit(STACK, "\nOutputs:\n", "\n" + SLACK),
                    *slack_for("QaSecret"),
                    *slack_for("ProdSecret"),
                ]
            ),
            says="SlackSecret is shared by qa and prod; give each its own",
            at="SLACK_TOKEN",
        ),
    ],
    "secrets_are_hidden": [
        Row(
            Edit(STACK, "DATABRICKS_TOKEN, Type: SECRETS_MANAGER,", "DATABRICKS_TOKEN,"),
            says="as plain text",
        ),
        Row(
            Edit(STACK, '!Sub "${QaSecret}:', '"prod:'),
            says="prod:token is not a secret of this stack",
        ),
        Row(Edit(STACK, "QaSecret}:token", "QaSecret}:tokn"), says="QaSecret has no key tokn"),
    ],
    "credentials_are_the_builds_own": [
        Row(Edit(STACK, "${QaSecret}:", "${ProdSecret}:"), says="ProdSecret, which is prod's"),
        Row(Edit(STACK, "Value: !Ref QaW", "Value: !Ref ProdW"), says="gets ProdWorkspaceHost"),
        Row(Edit(STACK, "Value: !Ref QaC", "Value: !Ref ProdC"), says=FOREIGN, variant=IAM),
        Row(Edit(STACK, "Value: !Ref QaW", "Value: !Ref ProdW"), says="gets Prod", variant=ODD),
        Row(
            Edit(STACK, "${QaSecret}:client_id", "${ProdSecret}:client_id"),
            says="prod's",
            variant=ODD,
        ),
    ],
    "builds_may_use_what_they_get": [
        Row(Edit(STACK, "ger:GetSecretValue", "ger:Describe"), says=MAY_NOT, at="${QaSecret}:"),
        Row(
            Edit(STACK, "[kms:Decrypt, kms:GenerateDataKey]", "[kms:GenerateDataKey]"),
            says=NO_KEY,
            at="${QaSecret}:",
            count=4,
        ),
        Row(
            Edit(STACK, "ProdBuildRole.Arn", "QaBuildRole.Arn"),
            says=ONE,
            at="${ProdSecret}:",
            count=2,
        ),
    ],
    "rights_end_at_the_environment": [
        Row(Edit(STACK, "Resource: !Ref QaSecret", 'Resource: "*"  # all'), says=MAY),
        Row(Edit(STACK, "Resource: !Ref QaSecret", PATTERN), says=MAY),
        Row(Edit(STACK, "Resource: !Ref QaSecret", JOINED), says=MAY),
        Row(
            Edit(STACK, "ec2:DescribeVpcs]", "secretsmanager:GetSecretValue]"),
            says=MAY,
            at='Resource: "*"',
            count=4,
        ),
        Row(Edit(STACK, SECRET_OF_QA, ASSUME + SECRET_OF_QA), says=MAY_ASSUME, at="sts:AssumeRole"),
        Row(Edit(STACK, SECRET_OF_QA, ASSUME_ANY + SECRET_OF_QA), says=MAY_ASSUME, at="sts:*"),
        Row(
            Edit(STACK, OF_PROD + IN_VPC + TRUST, OF_PROD + IN_VPC + TRUST_QA),
            says=MAY_ASSUME,
            at="AWS: !GetAtt",
        ),
        Row(Edit(STACK, SECRET_OF_QA, START + SECRET_OF_QA), says=MAY_START, at="codebuild:*"),
        Row(Edit(STACK, ": !Ref QaSecret", ": [!Ref QaSecret, !Ref ProdSecret]"), says=MAY),
        Row(Edit(STACK, "\nOutputs:\n", ATTACHED), says="PipelineRole may read", at='Action: "*"'),
    ],
    "keys_are_defined_once": [
        Row(
            Add("resources/x.job.yml", "resources:\n  jobs:\n    my_data_project_job: {name: x}\n"),
            says="resources/my_data_project.job.yml:4 defines jobs.my_data_project_job too",
            at="my_data_project_job:",
        ),
        Row(
            Add("resources/x.job.yml", "resources:\n  jobs:\n    my_data_project_etl: {name: x}\n"),
            says="pipelines.my_data_project_etl too",
            at="my_data_project_etl:",
        ),
    ],
    "variables_have_values": [
        Row(
            Edit(
                BUNDLE,
                '  catalog: "qa"\n      schema',
                '  catalog: "qa"\n      shema: x\n      schema',
            ),
            says="no variable shema; did you mean schema?",
            at="shema",
        ),
        Row(
            Edit(BUNDLE, '      catalog: "prod"\n', "      schema: x\n"),
            says="prod has no value for catalog",
            at="prod:",
        ),
        Row(
            Edit(BUNDLE, "targets:\n", "targets:\n  empty:\n"),
            says="empty has no value",
            at="empty",
        ),
    ],
    "identities_are_one": [
        Row(
            Edit(
                BUNDLE,
                "      identity:",
                "      identity: {user_name: a, service_principal_name: b}\n#",
            ),
            says="user_name and service_principal_name: only one can be meant",
            at="identity:",
            count=1,
        ),
    ],
    "schedules_exist": [
        Row(Edit(JOB, "timezone_id: UTC", "timezone_id: Europe/Berln"), says="mean Europe/Berlin?"),
        Row(Edit(JOB, '"0 0 6 * * ?"', '"0 6 * * ?"'), says="it has 5 fields", at="quartz"),
        Row(
            Edit(JOB, '"0 0 6 * * ?"', '"0 0 25 * * ?"'),
            says="'25' cannot be its hours",
            at="quartz",
        ),
        Row(
            Edit(JOB, '"0 0 6 * * ?"', '"0 0 6-25 * * ?"'),
            says="'6-25' cannot be its hours",
            at="quartz",
        ),
        Row(Edit(JOB, '"0 0 6 * * ?"', '"0 0 6 * * *"'), says="has to be ?", at="quartz"),
        Row(Edit(JOB, '"0 0 6 * * ?"', '"0 0 6 ? * MOD"'), says="'MOD' cannot be", at="quartz"),
    ],
    "builds_sign_in_one_way": [
        Row(
            Edit(
                STACK, "DATABRICKS_AUTH_TYPE, Value: pat", "DATABRICKS_AUTH_TYPE, Value: oauth-m2m"
            ),
            says="oauth-m2m needs DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, but",
            at="oauth-m2m",
        ),
        Row(
            Edit(
                STACK,
                "          - {Name: DATABRICKS_TOKEN",
                "          - {Name: DATABRICKS_CLIENT_ID, Value: x}\n"
                "          - {Name: DATABRICKS_TOKEN",
            ),
            says="there is CLIENT_ID and TOKEN",
            at="DATABRICKS_AUTH_TYPE",
        ),
    ],
    "policies_are_the_stacks_own": [
        Row(
            Edit(STACK, OF_QA + IN_VPC, OF_QA + MANAGED),
            says="a policy from outside this file cannot be checked",
            at="ReadOnlyAccess",
        ),
    ],
    "no_resource_policy_opens_a_secret": [
        Row(
            Edit(STACK, "\nOutputs:\n", OPENED),
            says="gives access to a secret outside the roles",
            at="Effect: Allow",
        ),
    ],
}


@pytest.fixture
def copy(rendering, tmp_path) -> Callable[..., Path]:
    """A function that copies a variant's rendering and makes changes to it."""

    def make(*changes: Add | Edit | Delete | Edits, variant: str = DEFAULT) -> Path:
        root = tmp_path / "copy"
        shutil.copytree(rendering(variant), root, ignore=shutil.ignore_patterns(".git"))
        for change in changes:
            change.apply(root)
        return root

    return make


def findings_by_check(root: Path) -> dict[str, set[Finding]]:
    """The findings of every check but cfn-lint's."""
    report = check.prove(check.Files(root))
    assert report.not_checked == []
    return report.findings


def findings(root: Path) -> list[Finding]:
    """The findings of all checks but cfn-lint's, in order."""
    return sorted(set().union(*findings_by_check(root).values()))


def line_of(root: Path, finding: Finding) -> str:
    """The line that a finding is about; of a file that is missing, nothing."""
    path = root / finding.place.file
    lines = path.read_text(errors="replace").splitlines() if path.exists() else [""]
    return lines[finding.place.line - 1]


def run_check(*arguments: str, python: tuple[str, ...] = (sys.executable,), **options):
    """The check as a command."""
    command = [*python, "-B", "-m", "ops", "check", *arguments]
    return subprocess.run(command, cwd=TEMPLATE, capture_output=True, text=True, **options)


def parameter(name: str, row: Row):
    """A row as a test's parameter; those of a rarer variant go where that is baked."""
    group = [] if row.variant == DEFAULT else [pytest.mark.xdist_group(row.variant)]
    return pytest.param(name, row, marks=group, id=f"{name}-{row.says}")


def test_a_rendering_has_no_finding(rendered):
    assert findings(rendered) == []


def test_every_check_has_a_row():
    alone = ["templates_pass_cfn_lint"]  # a process of its own, with a test of its own
    names = {check.__name__ for check in CHECKS} - WEAKENED
    assert sorted([*ROWS, *alone]) == sorted(names)
    assert all(ROWS.values())


@pytest.mark.parametrize(
    ("name", "row"), [parameter(name, row) for name, rows in ROWS.items() for row in rows]
)
def test_a_change_is_found_where_it_is(copy, name, row):
    root = copy(row.change, variant=row.variant)
    by_check = findings_by_check(root)
    (finding,) = [each for each in by_check[name] if row.says in each.message]
    others = [found for each, found in by_check.items() if each not in WEAKENED]
    assert len(set().union(*others)) == row.count
    assert finding.place.file == row.file
    assert row.marker in line_of(root, finding)
    assert "\n" not in finding.message


STAGING = [
    Edit(BUNDLE, "\ntargets:\n", "\ntargets:" + STAGING_TARGET),
    Add("cicd/buildspecs/staging.yml", STAGING_BUILD),
    Edit(STACK, "\nMappings:\n", STAGING_PARAMETER),
    Edit(STACK, "Outputs:\n", STAGING_RESOURCES),
    Edit(STACK, "        - Name: Review\n", STAGING_STAGE),
]


@pytest.mark.parametrize(
    "elsewhere", ["/Workspace/Shared/x", "${var.source_table}", "dbfs:/x.py", "../dist/x.py"]
)
def test_a_path_that_is_not_in_the_repository_is_no_finding(copy, elsewhere):
    root = copy(Edit(JOB, "../src/notebooks/sample_notebook.py", elsewhere))
    assert findings(root) == []


def test_an_environment_of_the_team_own_is_no_finding(copy):
    assert findings(copy(*STAGING)) == []


def test_an_environment_of_the_team_own_is_kept_apart(copy):
    allowed = "[!Ref StagingSecret, !GetAtt"
    more = "[!Ref StagingSecret, !Ref QaSecret, !GetAtt"
    (finding,) = findings(copy(*STAGING, Edit(STACK, allowed, more)))
    assert finding.place.file == STACK
    assert (
        finding.message == "StagingRole may read QaSecret; allow that only to a role of qa's builds"
    )


FOREIGN_FILES = [
    Add("mkdocs.yml", "slugify: !!python/name:pymdownx.slugs.uslugify\n"),
    Add("web/tsconfig.json", '{"strict": true,}  // a comment'),
    Add("deploy/k8s.yml", "a: 1\n---\na: 2\n"),
    Add("templates/x.yml", "{% raw %}"),
    Add("docs/Makefile", "html:\n\tbash scripts/html.sh\r\n"),
    Add("build/lib/x.py", "def"),
    Add("venv/x.py", "def"),
]


def test_what_other_tools_read_is_no_finding(copy):
    assert findings(copy(*FOREIGN_FILES)) == []


@pytest.mark.parametrize("file", ["conf/x.yml", "ci/x.yml"])
def test_what_is_named_must_be_readable_wherever_it_is(copy, file):
    root = copy(Add(file, "a: ["))
    assert findings(root) == []
    Edit(BUNDLE, "  - resources/*.yml\n", "  - resources/*.yml\n  - conf/*.yml\n").apply(root)
    Edit(STACK, "cicd/buildspecs/qa.yml", "ci/x.yml").apply(root)
    assert file in [each.place.file for each in findings(root) if "cannot be read" in each.message]


def test_what_python_breaks_does_not_hide_the_rest(copy):
    root = copy(
        Edit(PREFLIGHT, "import os", "import import os"),
        Edit(QA, "deploy -t qa", "deploy -t q"),
    )
    assert [finding.place.file for finding in findings(root)] == [QA, QA, PREFLIGHT]


DEPLOY, TO_QA = "databricks bundle deploy -t qa", ": !Ref QaSecret"
PACKAGE = 'package_name: "my_data_project"'
ACME = Edit(JOB, "- ../dist/*.whl", "- ../dist/*.whl\n              - acme_tools==1.0")
LEGAL = [
    Edit(QA, DEPLOY, ">-\n          databricks bundle deploy\n          -t qa"),
    Edit(QA, DEPLOY, "|\n        databricks bundle deploy \\\n          -tqa"),
    Edit(
        QA,
        "      - make check lint",
        "      - make -C docs html && CI=1 make test V=1 >log 2>&1\n      - make check lint",
    ),
    Edit(QA, "bash cicd/steps/install_cli.sh", "./cicd/steps/install_cli.sh"),
    Edit(MAKE, ".DEFAULT_GOAL", "include other.mk\n.DEFAULT_GOAL"),
    Edit(QA, "\n  unit:", "\n  arn:aws:codebuild:eu-west-1:111122223333:report-group/all:"),
    Edit(JOB, PACKAGE, "package_name: acme-tools  # in dependencies"),
    Edit(JOB, PACKAGE, "package_name: my-data-project"),
    Edit(STACK, "\nOutputs:\n", OPENED.replace("Allow", "Deny")),
    Edit(STACK, TO_QA, ': [!Sub "${QaSecret}", !Sub ["${S}", {S: !Ref QaSecret}]]'),
]


@pytest.mark.parametrize("change", LEGAL)
def test_what_is_legal_is_no_finding(copy, change):
    assert findings(copy(ACME, change)) == []


def test_what_git_would_take_is_searched_for_secrets(copy):
    leak = f"glpat-{'x' * 20}\n"
    root = copy(Add("notes.txt", leak), Add("own/notes.txt", leak), Add("own/.gitignore", "*"))
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    assert [finding.place.file for finding in findings(root)] == ["notes.txt"]


def test_swapped_buildspecs_are_found_where_the_stack_names_them(copy):
    root = copy(
        Edit(STACK, "buildspecs/qa.yml", "buildspecs/x.yml"),
        Edit(STACK, "buildspecs/production.yml", "buildspecs/qa.yml"),
        Edit(STACK, "buildspecs/x.yml", "buildspecs/production.yml"),
    )
    found = findings(root)
    assert {finding.place.file for finding in found} == {STACK}
    assert len([item for item in found if "BuildSpec: " in line_of(root, item)]) == 2


# Values of a form that no check expects.
KEYS = "needs keys"
FORMS = [
    (
        Edit(QA, "    runtime-versions:\n", "    runtime-versions: [x]\n    old:\n"),
        "versions: [x]",
        KEYS,
    ),
    (
        Edit(STACK, "EnvironmentVariables:\n", "EnvironmentVariables:\n          - [x]\n"),
        "- [x]",
        KEYS,
    ),
    (
        Edit(STACK, "  BranchName:\n", "  BranchName: [x]\n  OldName:\n"),
        "BranchName: [x]",
        "narrow",
    ),
    (Edit(BUNDLE, "    git:\n      branch:", "    git: x\n    # "), "git: x", KEYS),
    (Edit(NUTTER, "nutter: &nutter\n", "nutter: [x]\n        old: &nutter\n"), "nutter: [x]", KEYS),
]


@pytest.mark.parametrize(("change", "line", "needed"), FORMS)
def test_a_value_of_another_form_is_a_finding_there(copy, change, line, needed):
    root = copy(change)
    found = [finding for finding in findings(root) if finding.place.file == change.file]
    messages = [finding.message for finding in found if line in line_of(root, finding)]
    assert any(needed in message for message in messages)


def test_a_variable_of_a_condition_is_checked_too(copy):
    hidden = (
        "!If [HasVpc, {Name: A, Type: SECRETS_MANAGER, Value: !Ref ProdSecret}, !Ref AWS::NoValue]"
    )
    root = copy(
        Edit(STACK, "EnvironmentVariables:\n", f"EnvironmentVariables:\n          - {hidden}\n")
    )
    (finding,) = findings(root)
    assert finding.message.startswith("QaBuildRole may not read ProdSecret")


def test_what_is_no_file_is_not_read(copy):
    root = copy()
    (root / "src/.#main.py").symlink_to("user@host.1234:5678")  # the lock of an editor
    (root / "src/loop.py").symlink_to("loop.py")
    os.mkfifo(root / "src/queue.sh")  # a read would wait for its writer
    assert findings(root) == []


def test_a_bug_of_the_check_is_no_finding(copy, monkeypatch, capsys):
    def broken(files):
        return files.no_such_attribute

    monkeypatch.setattr(check, "CHECKS", [broken])
    assert check.run(copy(), strict=False) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "no_such_attribute" in said.err
    assert said.err.endswith("This is a bug in ops/check: please report the lines above.\n")


def test_a_template_that_is_nearly_too_large_is_a_warning(copy):
    root = copy()
    size = (root / STACK).stat().st_size
    Edit(STACK, "\nParameters:", "\n" + "#" * (51_201 - size - 1) + "\nParameters:").apply(root)
    result = run_check("--strict", str(root))
    assert (result.returncode, result.stderr) == (0, "")
    warning, summary = result.stdout.splitlines()
    assert warning.startswith(f"{STACK}:1: warning: 51,201 bytes: a new stack takes 51,200;")
    assert summary.startswith("no findings in ")


def test_the_command_says_what_it_checked_and_leaves_nothing_behind(copy):
    root = copy()
    before = sorted(root.rglob("*"))
    result = run_check("--strict", str(root))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("no findings in ")
    assert sorted(root.rglob("*")) == before


def test_cfn_lint_findings_have_file_and_line(copy):
    root = copy(
        Edit(STACK, "EnableKeyRotation:", "EnableKeyRotatio:"),
        Edit(STACK, "Description: !Sub", "Description: !Join ['', [!Ref AWS::StackName]]  #"),
    )
    lines = (root / STACK).read_text(encoding="utf-8").splitlines()
    (join,) = [number for number, line in enumerate(lines, 1) if "!Join ['', [!Ref" in line]
    (rotation,) = [number for number, line in enumerate(lines, 1) if "Rotatio:" in line]
    result = run_check(str(root))
    assert result.returncode == 1
    pattern = r"^(.+):(\d+): .+ \(cfn-lint (\w+), https"
    assert re.findall(pattern, result.stdout, re.MULTILINE) == [
        (STACK, str(join), "I1022"),  # informational
        (STACK, str(rotation), "E3002"),
    ]


def test_a_finding_fails_the_command(copy):
    result = run_check(str(copy(Edit(QA, "version: 0.2", "version: 0.1"))))
    assert result.returncode == 1
    assert re.match(rf"{QA}:\d+: this is not a buildspec 0.2; set version: 0.2\n", result.stdout)


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
def test_without_the_two_packages_it_says_what_it_did_not_check(copy, tmp_path, strict, code):
    packages = tmp_path / "packages"
    packages.mkdir()
    for package in (click, yaml):
        folder = Path(package.__file__).parent
        (packages / folder.name).symlink_to(folder)
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
