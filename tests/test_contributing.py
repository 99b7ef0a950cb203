"""CONTRIBUTING.md: each recipe, followed to the letter in a copy, passes the tests it concerns."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import DEFAULT, ROOT, TEMPLATE

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


class Copy:
    """A copy of the template, to follow a recipe in."""

    def __init__(self, root: Path) -> None:
        self.root, self.project = root, root / TEMPLATE.name

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces a text that occurs once."""
        path = self.root / file.replace("PROJECT", TEMPLATE.name)
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def add(self, file: str, text: str) -> None:
        """Adds a file, or lines at the end of one."""
        path = self.root / file.replace("PROJECT", TEMPLATE.name)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)

    def run(self, *arguments: str) -> None:
        """Runs Python in the copy; its output is the test's message if it fails."""
        # A pytest that runs this one has told its workers where they share renderings.
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        env |= {"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, *arguments]
        result = subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr

    def keep(self, *variants: str) -> None:
        """Deletes the other variants: each takes seconds to render, and `make test` renders all."""
        for path in (self.root / "tests/variants").glob("*.json"):
            if path.stem not in variants:
                path.unlink()

    def make_golden(self) -> None:
        """`make golden`, for the default answers."""
        self.keep(DEFAULT)
        self.run("tests/golden.py")

    def test(self, *files: str, names: str = "test") -> None:
        """Runs the tests of these files whose name fits. No test at all is a failure."""
        pytest = ["-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-k", names]
        self.run(*pytest, *(f"tests/{file}.py" for file in files))


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A copy of what git knows of this repository, or would take."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    root = tmp_path / "template"
    for name in filter(None, names.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return Copy(root)


COST_CENTER = '''

def cost_center(name: str) -> Problem | None:
    """Letters and digits, as the accounting system has it."""
    if re.fullmatch(r"[A-Za-z0-9]{1,20}", name):
        return None
    return Problem("must be 1 to 20 letters and digits", "none")


def choice('''


def test_add_a_question(copy: Copy) -> None:
    # Room for it: one question becomes a constant.
    questions = json.loads((copy.root / "cookiecutter.json").read_text())
    sentence = questions["__prompts__"]["prod_catalog"]
    copy.edit("cookiecutter.json", f',\n    "prod_catalog": "{sentence}"', "")
    copy.edit("cookiecutter.json", '  "__pkg"', '  "__prod_catalog": "prod",\n  "__pkg"')
    for file in ("databricks.yml", "README.md"):
        path = copy.project / file
        text = path.read_text().replace("cookiecutter.prod_catalog", "cookiecutter.__prod_catalog")
        path.write_text(text)
    copy.edit("README.md", "| `qa_catalog`, `prod_catalog` | qa, prod |", "| `qa_catalog` | qa |")
    # The question.
    copy.edit(
        "cookiecutter.json", '"prod_catalog": "prod",\n  "not', '"cost_center": "none",\n  "not'
    )
    writes = f'"qa_catalog": "{questions["__prompts__"]["qa_catalog"]}",'
    copy.edit("cookiecutter.json", writes, f'{writes}\n    "cost_center": "Who pays",')
    copy.edit("hooks/pre_gen_project.py", "\n\ndef choice(", COST_CENTER)
    rule = '    "prod_catalog": catalog,\n'
    copy.edit("hooks/pre_gen_project.py", rule, '    "cost_center": cost_center,\n')
    copy.edit(
        "PROJECT/Makefile",
        "TAGS := project=",
        "TAGS := payer={{ cookiecutter.cost_center }} project=",
    )
    bad = 'BAD["prod_catalog"] = BAD["qa_catalog"]'
    copy.edit("tests/test_questions.py", bad, 'BAD["cost_center"] = ["", "a b", "a" * 21]')
    odd = '  "prod_catalog": "_prod2"'
    copy.edit("tests/variants/odd-but-legal.json", odd, '  "cost_center": "4711"')
    row = "| `compute` |"
    copy.edit("README.md", row, f"| `cost_center` | none | 1 to 20 letters and digits |\n{row}")

    copy.make_golden()

    of_questions = (
        "twelve or lists_every or has_a_rule or every_fix or (bad_answer and cost_center)"
    )
    copy.test("test_questions", "test_golden", names=f"{of_questions} or test_golden")


BUILDSPEC = """# Nightly: says that the night is over.
version: 0.2

phases:
  build:
    commands:
      - date
"""
BUILD = """  NightlyRule:
    Type: AWS::Events::Rule
    Properties:
      ScheduleExpression: cron(0 1 * * ? *)
      Targets: [{Id: build, Arn: !GetAtt NightlyBuild.Arn, RoleArn: !GetAtt BuildRuleRole.Arn}]

  NightlyBuild:
    Type: AWS::CodeBuild::Project
    Properties:
      Name: !Sub "${AWS::StackName}-nightly"
      Description: Runs every night
      ServiceRole: !GetAtt NightlyBuildRole.Arn
      EncryptionKey: !GetAtt Key.Arn
      Source:
        Type: CODECOMMIT
        Location: !GetAtt Repository.CloneUrlHttp
        BuildSpec: cicd/buildspecs/nightly.yml
      Artifacts: {Type: NO_ARTIFACTS}
{{- machine() }}
          - {Name: REPOSITORY_NAME, Value: !GetAtt Repository.Name}
{{- package_index() }}
{{- logs_and_network("nightly") }}
      TimeoutInMinutes: 60
      QueuedTimeoutInMinutes: 60

  NightlyBuildRole:
{{- role() }}
      ManagedPolicyArns: !If [HasVpc, [!Ref VpcAccess], !Ref AWS::NoValue]
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal: {Service: codebuild.amazonaws.com}
            Action: sts:AssumeRole
            Condition:
              StringEquals:
                aws:SourceArn: !Sub "ARN:codebuild:PLACE:project/${AWS::StackName}-nightly"
      Policies:
        - PolicyName: build
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Sid: Logs
                Effect: Allow
                Action: [logs:CreateLogStream, logs:PutLogEvents]
                Resource: !Sub "ARN:logs:PLACE:log-group:${BuildLogs}:log-stream:nightly/*"
              - Sid: Code
                Effect: Allow
                Action: codecommit:GitPull
                Resource: !GetAtt Repository.Arn

"""
BUILD = BUILD.replace("ARN:", "arn:${AWS::Partition}:")
BUILD = BUILD.replace("PLACE", "${AWS::Region}:${AWS::AccountId}")
RIGHTS = """

def test_the_nightly_build_reads_the_repository_only(stack) -> None:
    actions = {str(item["Action"]) for item in statements(stack("pat"), "NightlyBuildRole")}
    assert actions == {"codecommit:GitPull", "['logs:CreateLogStream', 'logs:PutLogEvents']"}
"""


def test_add_a_build(copy: Copy) -> None:
    copy.add("PROJECT/cicd/buildspecs/nightly.yml", BUILDSPEC)
    copy.edit("PROJECT/cicd/stack.yml", "  BuildRuleRole:\n", BUILD + "  BuildRuleRole:\n")
    started = "[!GetAtt PullRequestBuild.Arn, !GetAtt DriftBuild.Arn"
    copy.edit("PROJECT/cicd/stack.yml", started, f"{started}, !GetAtt NightlyBuild.Arn")
    row = "| `PipelineRole` |"
    role = "| `NightlyBuildRole` | none | none | streams `nightly/` | read the repository |"
    copy.edit("PROJECT/docs/security.md", row, f"{role}\n{row}")
    logs = '    "pull-request": "PullRequestBuild",\n'
    copy.edit("PROJECT/ops/builds.py", logs, f'{logs}    "nightly": "NightlyBuild",\n')
    tested = '    "PullRequestBuild": Build('
    row = '    "NightlyBuild": Build("Nightly", "nightly", "BuildRuleRole"),\n'
    copy.edit("tests/test_stack.py", tested, row + tested)
    copy.add("tests/test_stack.py", RIGHTS)

    copy.make_golden()

    files = ("test_stack", "test_golden", "test_documents", "test_check", "test_generation")
    of_files = "exact_files or yaml_and_toml or clean_text or a_rendering_has_no_finding"
    of_stack = "build or log_stream or role or starts or leaves_room or two_stacks"
    names = f"(test_stack and ({of_stack})) or test_golden or test_documents or {of_files}"
    copy.test(*files, names=f"({names}) and not oauth and not iam and not wrong_parameter")


CHECK = '''

@check
def notebooks_are_small(files: Files) -> Findings:
    """A notebook has at most 1,000 lines: more belongs into the package."""
    for file, text in files.text.items():
        if file.startswith("src/notebooks/") and text.count("\\n") > 1000:
            yield Place(file, 1), "has more than 1,000 lines; move functions into the package"
'''
ROW = """    "notebooks_are_small": [
        Row(Add("src/notebooks/large.py", "\\n" * 1001), says="more than 1,000 lines"),
    ],
    "notebooks_exist": [
"""


def test_add_a_check(copy: Copy) -> None:
    copy.add("PROJECT/ops/check/files.py", CHECK)
    copy.edit("tests/test_check.py", '    "notebooks_exist": [\n', ROW)

    copy.test("test_check", names="notebooks or every_check")


def test_add_a_package(copy: Copy) -> None:
    copy.edit("PROJECT/pyproject.toml", "dependencies = []", 'dependencies = ["humanize==4.14.0"]')
    copy.edit("hooks/pre_gen_project.py", "    cicd cli common", "    humanize cicd cli common")

    copy.make_golden()

    copy.test("test_questions", names="depends_on_is_taken")
    copy.test("test_golden", names="default")


def test_add_an_optional_file(copy: Copy) -> None:
    copy.add("PROJECT/docs/clusters.md", "# Clusters\n\nHow large they are.\n")
    optional = "OPTIONAL = {\n"
    row = '    "docs/clusters.md": ANSWERS["compute"] == "classic",\n'
    copy.edit("hooks/post_gen_project.py", optional, optional + row)
    only = "ONLY_FOR = {\n"
    copy.edit(
        "tests/sources.py", only, f'{only}    "docs/clusters.md": ("compute", {{"classic"}}),\n'
    )

    copy.keep(DEFAULT, "pat-classic")

    copy.test("test_generation", "test_golden", names="exact_files or equals_its_source")


# ---- The guide itself ----------------------------------------------------------------------------


def test_every_recipe_has_its_test() -> None:
    recipes = re.findall(r"(?m)^### (Add .+)$", GUIDE)
    follows: dict[str, Callable[..., None]] = {
        "Add a question": test_add_a_question,
        "Add a build": test_add_a_build,
        "Add a check": test_add_a_check,
        "Add a Python package to the rendered repository": test_add_a_package,
        "Add an optional file": test_add_an_optional_file,
    }
    assert recipes == list(follows)


def test_every_test_file_is_in_the_table() -> None:
    listed = set(re.findall(r"tests/(test_\w+)\.py", GUIDE.partition("## Recipes")[0]))
    assert listed == {path.stem for path in (ROOT / "tests").glob("test_*.py")}
