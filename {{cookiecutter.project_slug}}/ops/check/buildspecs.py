"""The commands of the builds: none hides a failure, and each gate is there, in its order."""

import re

from ops.check.files import Files
from ops.check.reading import Findings, Place, check, items, maps
from ops.check.stack import plain

# What makes a failure pass, shows a secret, or brings in what nobody has pinned.
BAD = {
    r"\|\|\s*(true|:|exit 0)(?![\w/])": "hides a failure; remove {}",
    r"\|\|\s*(echo|printf)\b(?!.*(exit|return) [1-9])": "hides a failure; remove {}",
    r";\s*(true|:|exit 0)\s*$": "hides a failure; remove {}",
    r"(^|[;&]\s*)exit 0\s*$": "hides a failure; return the exit code, not {}",
    r"\bset \+(e|o pipefail)\b": "hides failures; remove {}",
    r"\bset -x\b|\bset -o xtrace\b|(^|[;&|]\s*)(printenv|env|export -p)\s*($|[|>;&])": (
        "shows secrets in the log; remove {}"
    ),
    r"--(extra-)?index-url\b|--find-links\b|--trusted-host\b|\bgit\+\w+": (
        "takes packages from elsewhere; set PackageIndexUrl in cicd/stack.yml, not {}"
    ),
    r"\b(curl|wget)\b.*\|\s*(ba|z)?sh\b": "runs what nobody has read; keep it here, not {}",
    r"\bpython -c\b": "imports modules of the commit's folder; write python -I -c for {}",
    r"--insecure\b|\bcurl\b.*\s-k\b|--no-check-certificate\b": (
        "asks nobody who answers; remove {}"
    ),
}


@check
def commands_hide_nothing(files: Files) -> Findings:
    """No command of the builds or their scripts passes over a failure or shows a secret."""
    for file in files.text:
        is_script = file.startswith("cicd/") and file.endswith(".sh")
        for command in files.commands(file) if is_script or file in files.buildspecs else ():
            text = re.sub(r"'[^']*'", "''", command.text) if is_script else command.text
            for pattern, message in BAD.items():
                if match := re.search(pattern, text):
                    yield command.place, message.format(f"`{match[0].strip(' ;&')}`")


@check
def failed_phases_stop_their_build(files: Files) -> Findings:
    """A phase that fails ends its build: `on-failure: CONTINUE` is nowhere."""
    for spec in files.buildspecs.values():
        for part in maps(spec):
            if part.get("on-failure", "ABORT") != "ABORT":
                message = (
                    f"on-failure is {plain(part['on-failure'])}, which hides a failure; remove it"
                )
                yield part.at["on-failure"], message


@check
def scripts_stop_at_a_failure(files: Files) -> Findings:
    """Each shell script of the builds stops at a failure, in a pipe too."""
    for file, text in files.text.items():
        if re.fullmatch(r"cicd/.*\.sh", file) and not re.search(r"(?m)^set -euo pipefail$", text):
            yield Place(file, 1), "goes on after a failure; start it with `set -euo pipefail`"


BY_HASH = r"pip install --quiet --require-hashes --only-binary :all: -r .*requirements\.txt"
WITH_UV = BY_HASH + r" -r cicd/uv\.txt"
# What a build or a script runs, in this order, each in a command whose failure counts. To take a
# gate away, or to move it, change it here too.
GATES = {
    "cicd/buildspecs/qa.yml": [
        WITH_UV,
        r"preflight\.py qa",
        *(f"make {gate}" for gate in ("check", "lint", "test", "build")),
        r"bundle validate --strict -t qa",
        r"bundle deploy -t qa",
        r"run_nutter\.sh qa",
    ],
    "cicd/buildspecs/plan.yml": [
        r"STEPS=\$CODEBUILD_SRC_DIR/cicd/steps",
        r"same_cicd\.py \$CODEBUILD_SRC_DIR_Source",
        BY_HASH,
        r"\$STEPS/preflight\.py prod",
        r"\$STEPS/take_wheel\.sh",
        r"\$STEPS/wheels\.py",
        r"bundle validate --strict -t prod",
        r"\$STEPS/resolved\.py",
        r"bundle plan -t prod",
        r"\$STEPS/release\.py changes",
        r"\$STEPS/plan\.py show",
        r"PLAN_SHA256=\$\(sha256sum plan\.json",
        r"WHEEL_SHA256=\$\(sha256sum .*dist/\*\.whl",
    ],
    "cicd/buildspecs/production.yml": [
        r"STEPS=\$CODEBUILD_SRC_DIR/cicd/steps",
        BY_HASH,
        r"\$STEPS/four_eyes\.py",
        r"\$STEPS/preflight\.py prod",
        r"\$STEPS/take_wheel\.sh",
        r"\$STEPS/deploy\.py \$CODEBUILD_SRC_DIR_Plan/plan\.json",
    ],
    "cicd/buildspecs/drift.yml": [
        r"STEPS=\$CODEBUILD_SRC_DIR/cicd/steps",
        BY_HASH,
        r"\$STEPS/drift\.sh",
    ],
    "cicd/buildspecs/destroy.yml": [r"preflight\.py \$TARGET", "bundle destroy -t"],
    "cicd/buildspecs/pull_request.yml": [
        WITH_UV,
        *(f"make {gate}" for gate in ("check", "lint", "test", "build")),
        r"comment\.py",
    ],
    "cicd/steps/drift.sh": [
        r"deployed\.py",
        r"preflight\.py prod",
        r"plan -t prod",
        r"plan\.py drift",
        r"aws sns publish",
    ],
    "Makefile": [
        r"uv run .*-m ops check$",
        r"^\s*uv run ruff check$",
        r"^\s*uv run ruff format --check$",
        r"^\s*uv run shellcheck",
        r"^\s*uv run pytest",
    ],
    "cicd/steps/install_cli.sh": [r"\$actual = \$published", r"DATABRICKS_CLI_SHA256", "unzip"],
    "cicd/steps/take_wheel.sh": [r"rm -rf dist", r"\.whl"],
}
# What a build must not run.
NEVER = {
    "cicd/buildspecs/plan.yml": r"bundle [^|;&]*\b(deploy|destroy|run)\b",
    "cicd/buildspecs/production.yml": r"bundle [^|;&]*\b(deploy|destroy)\b",
    "cicd/buildspecs/drift.yml": r"bundle [^|;&]*\b(deploy|destroy|run)\b",
    "cicd/buildspecs/pull_request.yml": r"\bdatabricks\b",
}


def sequence(files: Files, file: str) -> list[tuple[Place, str]]:
    """The commands of a file in the order in which they run, without quotes."""
    found = []
    for command in files.commands(file):
        text = " ".join(re.sub("[\"']", "", command.text).split())
        text = re.sub(r"(?<!\S)(-t|--target)[ =]?(?=[\w$])", "-t ", text)
        text = re.sub(r"^if \[ -[nz] \$RUN \]; then (.*); fi$", r"\1", text)  # one of two actions
        for words in re.findall(r"\bmake ((?:[a-z]+ ?)+)", text):  # make check lint is two gates
            text += "".join(f"\nmake {word}" for word in words.split())
        found.append((command.place, text))
    return found


@check
def gates_are_passed_in_order(files: Files) -> Findings:
    """The builds run what GATES has, in its order, and nothing of NEVER."""
    for file, gates in GATES.items():
        steps = sequence(files, file) if file in files.text else []
        position = 0
        for gate in gates if steps else ():
            # Two gates may stand in one line, so a line is looked at again.
            later = [n for n in range(position, len(steps)) if re.search(gate, steps[n][1])]
            if not later:
                words = re.sub(r"\\s\*|[\\^]|\$$", "", gate)
                before = any(re.search(gate, text) for _, text in steps)
                state = "comes too early" if before else "is not run"
                yield (
                    Place(file, 1),
                    f"`{words}` {state}; put it where ops/check/buildspecs.py has it",
                )
                continue
            position = later[0]
            if (
                re.search(r"\|\||;", re.sub(r"\$\(.*?\)", "", steps[position][1]))
                and file in files.buildspecs
            ):
                message = (
                    f"a failure of `{steps[position][1].splitlines()[0].strip()}` may not count"
                )
                yield steps[position][0], f"{message}; give it a command of its own"
    for file, pattern in NEVER.items():
        for place, text in sequence(files, file) if file in files.text else ():
            if match := re.search(pattern, text):
                yield place, f"this build must not run `{match[0]}`; remove it"


# What a build hands on.
OUTPUT = {"qa": ["dist/*.whl"], "plan": ["plan.json", "plan.md"]}


@check
def builds_hand_on_what_they_should(files: Files) -> Findings:
    """A build's artifact holds what the next build needs from it, and nothing else."""
    for file, spec in files.buildspecs.items():
        match = re.fullmatch(r"cicd/buildspecs/(qa|plan|production|drift|pull_request)\.yml", file)
        if not match:
            continue
        output = OUTPUT.get(match[1], [])
        artifacts = spec.mapping("artifacts")
        found = [plain(item) for item in items(artifacts.get("files"))]
        if set(found) - set(output) or "secondary-artifacts" in artifacts or (output and not found):
            place = artifacts.at.get("files", spec.at.get("artifacts", Place(file, 1)))
            expected = " and ".join(output) or "nothing"
            yield place, f"hands on {', '.join(found) or 'nothing'}; hand on {expected}"
