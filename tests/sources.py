"""Which file of the template each rendered file comes from."""

import json
import re
import subprocess
from pathlib import Path

from conftest import ROOT, TEMPLATE, VARIANTS

DEFAULTS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
# The files that only some answers render: the question, and those of its choices.
ONLY_FOR = {
    "ops/secrets.py": ("auth", {"pat", "oauth-m2m"}),
    "cicd/steps/mint_token.sh": ("auth", {"aws-iam"}),
}
# A file x.py may have versions for the other ways to sign in; one is rendered, as x.py.
VERSION = {"pat": "", "oauth-m2m": "_oauth_m2m", "aws-iam": "_aws_iam"}


def template_files() -> list[Path]:
    """What git knows or would take: no cache, no editor's copy."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", TEMPLATE.name]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = {ROOT / name for name in result.stdout.split("\0") if name}
    return sorted(path for path in paths if path.exists())


def answer(variant: str, question: str) -> str:
    """What a variant answers to a question; the first choice is the default."""
    default = DEFAULTS[question]
    first = default[0] if isinstance(default, list) else default
    return str(VARIANTS[variant].get(question, first))


def is_rendered(name: str, variant: str) -> bool:
    """Whether a variant's answers need an optional file."""
    question, choices = ONLY_FOR.get(name, ("auth", VERSION))
    return answer(variant, question) in choices


def sources(variant: str, root: Path) -> dict[str, Path]:
    """The source of each file of a variant's rendering, by its path in there."""
    package = root.name.replace("-", "_")
    named = {
        path.relative_to(TEMPLATE).as_posix().replace("{{cookiecutter.__pkg}}", package): path
        for path in template_files()
    }
    for name in [*named]:
        if match := re.fullmatch(r"(.*)(_oauth_m2m|_aws_iam)(\.py)", name):
            version = named.pop(name)
            if match[2] == VERSION[answer(variant, "auth")]:
                named[match[1] + match[3]] = version
    return {name: path for name, path in named.items() if is_rendered(name, variant)}


def has_jinja(source: Path) -> bool:
    """Whether rendering changes the file's text."""
    return re.search(r"\{[{%#]", source.read_text(encoding="utf-8")) is not None
