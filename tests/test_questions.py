"""The answers: what is refused, with which mending, and what is left behind (nothing)."""

import importlib.util
import json
import os
import pty
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

QUESTIONS = [
    name
    for name in json.loads((ROOT / "cookiecutter.json").read_text())
    if not name.startswith("_")
]
FREE = [name for name in QUESTIONS if name not in ("auth", "compute")]


def refused(text: str) -> dict[str, str]:
    """The fix by question, as the hook prints them."""
    return dict(re.findall(r"^  (\w+) = .*\n    .*\n    would do: (.*)$", text, re.MULTILINE))


def left_behind(tmp_path: Path) -> list[str]:
    """Whatever is in the output folder."""
    out = tmp_path / "out"
    return sorted(path.name for path in out.iterdir()) if out.exists() else []


def test_there_are_twelve_questions_and_each_has_a_prompt() -> None:
    prompts = json.loads((ROOT / "cookiecutter.json").read_text())["__prompts__"]
    assert len(QUESTIONS) == 12
    assert list(prompts) == QUESTIONS
    assert set(prompts["auth"]) == {"__prompt__", "pat", "oauth-m2m", "aws-iam"}
    assert set(prompts["compute"]) == {"__prompt__", "serverless", "classic"}


BAD = {
    "project_name": ["", " ", "a" * 61, 'a"b', "a\\b", "a\nb", "a\tb", "$(id)", "`id`", "a\u202eb"],
    "project_slug": [
        *["", "ab", "A-b", "1abc", "-abc", "abc-", "a--b", "a_b", "a/b", "../abc", "a" * 41],
        *["a\nb", "ünï", "tests", "json", "import", "pyspark", "runtime", "data bricks", "cli"],
    ],
    "repo_name": ["", "a b", "a/b", "a" * 101, "x.git", "x.git.git", "ü", "$(id)", "a\n"],
    "branch": [
        *["", "-x", "a b", "a..b", "a/", "/a", "a//b", "a.lock", "a.lock/b", ".a", "a/.b", "HEAD"],
        *["a~1", "a^", "a:b", "a?", "a*", "a[", "@", "a@{b", "a\\b", "a.", "ä", "a" * 256, "$(id)"],
    ],
    "aws_region": ["", "us-east", "US-EAST-1", "us_east_1", "us-east-1\n", "$(id)", "Ireland"],
    "qa_workspace_host": [
        *["", "https://", "qa.example.com", "http://qa.example.com", "https://qa.example.com/x"],
        *["https://qa.example.com:443", "https://u@qa.example.com", "https://u:p@qa.example.com"],
        *["https://https://qa.example.com", "https://qa.example.com/browse?o=1", "https://qa"],
        *["https://qa.example.com https://x.example.com", "https://qa_x.example.com", "ftp://a.b"],
        *["https://-qa.example.com", "https://qa..example.com", "https://$(id).example.com"],
    ],
    "qa_catalog": ["", "a b", "a.b", "a/b", "-a", "a'b", "a`b", 'a"b', "ä", "a" * 256, "a\n"],
    "notification_email": ["nobody", "a@b", "a b@c.de", "a@b@c.de", "@c.de", "a@.de", 'a"@b.de'],
}
BAD["prod_workspace_host"] = BAD["qa_workspace_host"]
BAD["prod_catalog"] = BAD["qa_catalog"]
CASES = [(name, value) for name, values in BAD.items() for value in values]


@pytest.fixture(scope="module")
def hook():
    """A function: what the pre-gen hook, rendered as cookiecutter renders it, finds wrong."""
    from cookiecutter.environment import StrictEnvironment

    context = json.loads((ROOT / "cookiecutter.json").read_text())
    environment = StrictEnvironment(context={"cookiecutter": context})
    source = (ROOT / "hooks/pre_gen_project.py").read_text()

    def run(**answers: str):
        given = {name: value for name, value in context.items() if isinstance(value, str)} | answers
        rendered: dict[str, str] = {}
        for name, value in given.items():
            asked = name in answers  # an answer is taken as it is; a default is a template
            rendered[name] = (
                value if asked else environment.from_string(value).render(cookiecutter=rendered)
            )
        code = environment.from_string(source).render(cookiecutter=rendered)
        module = importlib.util.module_from_spec(
            importlib.util.spec_from_loader("pre_gen_project", loader=None)
        )
        exec(code, module.__dict__)
        return module.problems()

    return run


@pytest.mark.parametrize(("question", "value"), CASES)
def test_a_bad_answer_is_refused_with_a_fix_that_passes(hook, question: str, value: str) -> None:
    found = hook(**{question: value})
    assert question in found, found
    what, fix = found[question]
    assert what
    assert question not in hook(**{question: fix}), fix


NASTY = [
    *[
        "'",
        '"',
        "\\",
        "'''",
        '"""',
        "\\n",
        "a'''b",
        "\n",
        "\r\n",
        "\x00",
        "é",
        "😀",
        "$(id)",
        "`id`",
    ],
    *["{{", "}}", "{% raw %}", "{#", "--", "-rf", "a" * 300, "%s", "${HOME}", "<b>", "&amp;"],
]


HARMLESS = {
    *(("project_name", value) for value in ("'", "'''", "a'''b", "é", "😀", "--", "-rf", "%s")),
    *(("project_name", "&amp;"), ("repo_name", "--"), ("repo_name", "-rf")),
}


@pytest.mark.parametrize("question", FREE)
@pytest.mark.parametrize("value", NASTY)
def test_no_answer_breaks_the_hook(hook, question: str, value: str) -> None:
    """Whatever it is, the hook still runs, and refuses it or takes it as harmless."""
    assert (question in hook(**{question: value})) is ((question, value) not in HARMLESS)


def test_all_wrong_answers_are_listed_at_once_and_nothing_is_left(bake, capfd, tmp_path) -> None:
    result = bake(**{name: values[-1] for name, values in BAD.items()})
    assert result.exit_code != 0
    assert set(refused(capfd.readouterr().err)) == set(BAD)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("slug", ["a/b", "../outside", "/tmp/outside", "x" * 300, ".", "", "a\nb"])
def test_a_slug_that_is_a_path_leaves_nothing_anywhere(bake, capfd, tmp_path, slug: str) -> None:
    result = bake(project_slug=slug)
    assert result.exit_code != 0
    assert "project_slug" in refused(capfd.readouterr().err)
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("value", ["{{", "{% if", "{{ 7 * 7 }} {{"])
@pytest.mark.parametrize("question", FREE)
def test_template_syntax_in_an_answer_leaves_nothing(bake, tmp_path, question, value) -> None:
    """cookiecutter renders answers given on its command line, and stops at these by itself."""
    assert bake(**{question: value}).exit_code != 0
    assert left_behind(tmp_path) == []


def test_template_syntax_typed_at_the_prompt_is_refused(tmp_path: Path) -> None:
    """cookiecutter does not render what is typed; the hook sees it and says so."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [Path(sys.executable).parent / "cookiecutter", ROOT, "-o", tmp_path / "out"],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    os.write(leader, b"Data {{ 7 * 7 }} $(id)\nmy-data\n" + b"\n" * 10)
    said, _ = process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    assert process.returncode != 0
    assert refused(said) == {"project_name": "Data  7 * 7  (id)"}
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("https://qa.example.com/", "https://qa.example.com"),
        ("https://qa.example.com/?o=1234", "https://qa.example.com"),
        ("https://qa.example.com?o=1234#job/1", "https://qa.example.com"),
        (" https://QA.Example.com ", "https://qa.example.com"),
    ],
)
def test_an_address_from_the_browser_is_trimmed_with_a_note(hook, capfd, given, taken) -> None:
    assert hook(qa_workspace_host=given) == {}
    assert capfd.readouterr().err == f"note: qa_workspace_host: {given!r} is taken as {taken}\n"


def test_an_unknown_region_is_a_warning(hook, capfd) -> None:
    assert hook(aws_region="us-eats-1") == {}
    said = "warning: aws_region: us-eats-1 is not known to have CodeCommit; is us-east-1 meant?\n"
    assert capfd.readouterr().err == said


def test_a_region_without_codecommit_is_a_warning(hook, capfd) -> None:
    assert hook(aws_region="mx-central-1") == {}
    assert "mx-central-1 is not known to have CodeCommit" in capfd.readouterr().err


GOOD_BRANCHES = ["main", "release/1.0", "a_b", "feature/JIRA-1.x", "v1", "a" * 255, "x/y/z"]


@pytest.mark.parametrize("name", [*GOOD_BRANCHES, *BAD["branch"]])
def test_a_branch_that_passes_is_one_for_git(hook, name: str) -> None:
    passes = "branch" not in hook(branch=name)
    git = subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True)
    assert passes is (name in GOOD_BRANCHES)
    assert git.returncode == 0 or not passes


@pytest.mark.parametrize("letter", string.punctuation)
def test_a_name_with_any_punctuation_is_refused_or_rendered_whole(hook, letter: str) -> None:
    assert bool(hook(project_name=f"a{letter}b")) is (letter in '"\\`{}$<>')


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Data Project", "my-data-project"),
        ("Zoë's Daten", "zoe-s-daten"),
        ("x " * 30, "x-" * 19 + "x"),
    ],
)
def test_the_slug_follows_from_the_name(bake, name: str, slug: str) -> None:
    result = bake(project_name=name.strip())
    assert result.exit_code == 0
    assert result.project_path.name == slug[:40].strip("-")
