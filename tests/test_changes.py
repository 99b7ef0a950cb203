"""cicd/steps/release.py changes: what a reviewer reads of files, wheel and author."""

import hashlib
import json
import shlex
import stat
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from conftest import DEFAULT  # noqa: F401  puts this environment's programs first
from steps import STEPS

METADATA = "Metadata-Version: 2.4\nName: demo\nVersion: {}\nRequires-Dist: pyyaml\n"
# AWS's CLI, for this: answers each call by its query, from whole documents; copies artifacts.
AWS = """#!{python}
import json, pathlib, shutil, sys
import jmespath
here = pathlib.Path({here!r})
words = sys.argv[1:]
if words[:3] == ["s3api", "get-object", "--bucket"]:
    bucket, flag, key, file, *rest = words[3:]
    assert (bucket, flag, rest) == ("b", "--key", ["--output", "json"]), words
    if not (here / key).exists():
        sys.exit("An error occurred (NoSuchKey)")
    shutil.copy(here / key, file)
else:
    *call, flag, query, last, form = words
    assert (flag, last, form) == ("--query", "--output", "json"), words
    documents = json.loads((here / "account.json").read_text())
    print(json.dumps(jmespath.search(query, documents[" ".join(call)])))
"""
ACTIONS = "codepipeline list-action-executions --pipeline-name p"


def stored(name: str, key: str) -> dict[str, Any]:
    """An artifact, as CodePipeline tells of it."""
    return {"name": name, "s3location": {"bucket": "b", "key": key}}


def action(stage: str, name: str, status: str = "Succeeded", **more: Any) -> dict[str, Any]:
    """What an action did."""
    return {"stageName": stage, "actionName": name, "status": status, **more}


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    """A member of an archive, as CodePipeline writes it."""
    item = zipfile.ZipInfo(name)
    item.external_attr = mode << 16
    return item


def pack(path: Path, files: dict[str, bytes], modes: dict[str, int]) -> None:
    """Writes an archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(entry(name, modes.get(name, stat.S_IFREG | 0o644)), content)


def wheel(folder: Path, version: str, more: dict[str, bytes], metadata: str = METADATA) -> Path:
    """Writes a wheel."""
    path = folder / f"demo-{version}-py3-none-any.whl"
    own = f"demo-{version}.dist-info"
    text = metadata.format(version).encode()
    files = {"demo/__init__.py": b"", f"{own}/METADATA": text, f"{own}/RECORD": version.encode()}
    pack(path, files | {name.replace("OWN", own): content for name, content in more.items()}, {})
    return path


class Review:
    """A release, and a commit that is in review."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "dist").mkdir()
        program = folder / "bin/aws"
        program.write_text(AWS.format(python=sys.executable, here=str(folder)))
        program.chmod(0o755)
        self.has_release, self.variables, self.author = True, "", "Ada"
        self.sources({}, {})
        self.wheels({}, {})

    def sources(
        self,
        old: dict[str, bytes],
        new: dict[str, bytes],
        modes: tuple[dict[str, int], dict[str, int]] = ({}, {}),
    ) -> None:
        """Sets the files of both commits, and the modes of those that are no plain files."""
        pack(self.folder / "old.zip", old, modes[0])
        pack(self.folder / "new.zip", new, modes[1])

    def wheels(
        self, old: dict[str, bytes], new: dict[str, bytes], metadata: str = METADATA
    ) -> None:
        """Sets both wheels."""
        for path in self.folder.glob("dist/*"):
            path.unlink()
        (self.folder / "wheel.zip").unlink(missing_ok=True)
        before = wheel(self.folder, "0.1+1", old)
        self.approve(hashlib.sha256(before.read_bytes()).hexdigest())
        with zipfile.ZipFile(self.folder / "wheel.zip", "w") as archive:
            archive.write(before, f"dist/{before.name}")
        before.unlink()
        wheel(self.folder / "dist", "0.1+2", new, metadata)

    def approve(self, checksum: str) -> None:
        """Sets the checksum that the last release was approved with."""
        variables = [
            {"name": "PLAN_SHA256", "value": "0"},
            {"name": "WHEEL_SHA256", "value": checksum},
        ]
        self.variables = json.dumps(variables)

    def actions(self) -> list[dict[str, Any]]:
        """What the pipeline did, newest first: the last deployment is not the last action."""
        inputs = [stored("Source", "old.zip"), stored("Wheel", "wheel.zip")]
        taken = {"inputArtifacts": inputs}
        if self.variables:
            taken["resolvedConfiguration"] = {"EnvironmentVariables": self.variables}
        other = {"input": {"inputArtifacts": [stored("Source", "other.zip")]}}
        deployed = [action("Production", "Deploy", input=taken)] if self.has_release else []
        return [
            action("QA", "DeployAndTest", **other),
            action("Production", "Run", **other),
            action("Production", "Deploy", "Failed", **other),
            *deployed,
            action("QA", "Deploy", **other),
        ]

    def documents(self) -> dict[str, Any]:
        """AWS's whole answers, by call."""
        stages = [
            {"stageName": "Review", "latestExecution": {"pipelineExecutionId": "e-2"}},
            {"stageName": "Production", "latestExecution": {"pipelineExecutionId": "e-1"}},
        ]
        artifacts = [stored("Cicd", "other.zip"), stored("Source", "new.zip")]
        commit = "codecommit get-commit --repository-name repository --commit-id 0123abcd"
        return {
            "codepipeline get-pipeline-state --name p": {"stageStates": stages},
            ACTIONS: {"actionExecutionDetails": self.actions()},
            f"{ACTIONS} --filter pipelineExecutionId=e-2": {
                "actionExecutionDetails": [
                    action("Review", "Plan", output={"outputArtifacts": []}),
                    action("Source", "Source", output={"outputArtifacts": artifacts}),
                ]
            },
            commit: {"commit": {"author": {"name": self.author}}},
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """Runs a step beside the wheel."""
        (self.folder / "account.json").write_text(json.dumps(self.documents()))
        return subprocess.run(
            [sys.executable, "-B", STEPS / arguments[0], *arguments[1:]],
            cwd=self.folder,
            env={"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )

    def parts(self) -> tuple[list[str], list[str]]:
        """What is said about the files, and about the wheel."""
        result = self.run("release.py", "changes", "p")
        assert result.returncode == 0, result.stderr
        files, _, inside = result.stdout.partition("\n## In the wheel: ")
        assert files.startswith("## Files, since the last release\n\n")
        return files.splitlines()[2:], inside.splitlines()[2:]


@pytest.fixture
def review(tmp_path: Path) -> Review:
    """A release and a commit, without any difference."""
    return Review(tmp_path)


def forged(content: bytes, checksum: int) -> bytes:
    """The content with four more bytes, which give it another content's CRC-32."""
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0xEDB88320 if number & 1 else 0)
        table.append(number)
    by_top = {value >> 24: index for index, value in enumerate(table)}
    indexes, register = [], checksum ^ 0xFFFFFFFF
    for _ in range(4):
        index = by_top[register >> 24]
        indexes.insert(0, index)
        register = (register ^ table[index]) << 8 & 0xFFFFFFFF
    register, suffix = zlib.crc32(content) ^ 0xFFFFFFFF, b""
    for index in indexes:
        suffix += bytes([(register ^ index) & 0xFF])
        register = table[index] ^ register >> 8
    return content + suffix


def test_nothing_has_changed(review: Review) -> None:
    assert review.parts() == (["- nothing"], ["- nothing"])


def test_a_forged_checksum_hides_no_change(review: Review) -> None:
    good = b"print('report')\n"
    evil = forged(b"import os; os.system('evil')  # ", zlib.crc32(good))
    assert zlib.crc32(evil) == zlib.crc32(good) and evil != good
    review.sources({"src/main.py": good}, {"src/main.py": evil})
    review.wheels({"demo/main.py": good}, {"demo/main.py": evil})
    assert review.parts() == (["- changed src/main.py"], ["- changed demo/main.py"])


@pytest.mark.parametrize(
    "name",
    [
        "src/demo_etl/transformations/dist/evil.py",
        "src/__pycache__/main.cpython-312.pyc",
        ".databricks/bundle/prod/variable-overrides.json",
        "resources/dist/evil.job.yml",
        "src/changed.md",
        "dist/evil.whl",
        "plan.json",
    ],
)
def test_no_name_hides_a_file(review: Review, name: str) -> None:
    review.sources({}, {name: b"evil"})
    assert review.parts()[0] == [f"- added {name}"]


def test_what_the_build_makes_is_not_the_commits(review: Review) -> None:
    (review.folder / "plan.json").write_text("{}")
    assert review.parts()[0] == ["- nothing"]


def test_what_decides_about_production_is_first_and_not_pushed_off(review: Review) -> None:
    many = {f"a/{number:04}.sql": b"" for number in range(500)}
    deciding = ["cicd/stack.yml", "databricks.yml", "resources/x.yml", "accepted_differences.yml"]
    deciding += [".databricks/x", "pyproject.toml", "uv.lock"]
    review.sources({}, many | dict.fromkeys(deciding, b"x"))
    lines = review.parts()[0]
    assert lines[:7] == [f"- added {name}" for name in deciding]
    assert lines[-1] == "- ... and 400 more files in a/"


@pytest.mark.parametrize(
    "name",
    ["ops/stack.py", "Makefile", "GNUmakefile", "more/x.yml", "a/x.yaml", "\n.yml", "z.pth"],
)
def test_all_that_decides_is_shown_to_the_last(review: Review, name: str) -> None:
    many = {f"{name.rpartition('/')[0] or '.'}/{number:04}": b"" for number in range(200)}
    yml = {f"a/{number:04}.yml": b"" for number in range(200)}
    review.sources({}, many | yml | {name: b"x"})
    lines = review.parts()[0]
    assert any(line.endswith((name, '\\n.yml"')) for line in lines[:203])
    assert "- added a/0199.yml" in lines


def test_many_new_files_push_off_no_changed_or_removed_one(review: Review) -> None:
    old = {f"src/{number:04}.py": b"good" for number in range(150)}
    changed = {name: b"evil" for name in list(old)[1:]}
    new = {f"a/{number:04}.txt": b"" for number in range(101)} | {"b/evil.py": b""}
    review.sources(old, changed | new)
    lines = review.parts()[0]
    assert lines[0] == "- removed src/0000.py" and "- changed src/0149.py" in lines
    assert lines[-2:] == ["- ... and 1 more files in a/", "- added b/evil.py"]
    review.wheels(old, changed | new)
    assert review.parts()[1] == lines


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x\n\n# Nothing", r'"x\n\n# Nothing"'),
        ("a b", '"a b"'),
        ("`a`", r'"\u0060a\u0060"'),
        ("\u202egpj.x", r'"\u202egpj.x"'),
        ("\u0441icd/x", r'"\u0441icd/x"'),  # looks like cicd/
        ("\x1b[2K", r'"\u001b[2K"'),
        ('"a"', r'"\"a\""'),
    ],
)
def test_names_are_quoted(review: Review, name: str, shown: str) -> None:
    review.sources({}, {name: b""})
    assert review.parts()[0] == [f"- added {shown}"]


def test_links_and_modes_are_shown(review: Review) -> None:
    link, program = stat.S_IFLNK | 0o777, stat.S_IFREG | 0o755
    review.sources(
        {"a": b"x", "b": b"x", "c": b"resources"},
        {"a": b"x", "b": b"x", "c": b"resources", "d": b"../etc\n"},
        ({"b": program}, {"a": program, "c": link, "d": link}),
    )
    assert review.parts()[0] == [
        "- changed a (executable)",
        "- changed b (no longer executable)",
        "- changed c (link to resources)",
        r'- added d (link to "../etc\n")',
    ]


def test_a_name_that_is_twice_in_an_archive_shows(review: Review) -> None:
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(next(review.folder.glob("dist/*")), "a") as archive,
    ):
        archive.writestr(entry("demo/__init__.py"), b"evil")
    assert '- added "demo/__init__.py (again: 2)"' in review.parts()[1]


def test_a_new_requirement_of_the_wheel_shows(review: Review) -> None:
    review.wheels({}, {}, METADATA.replace("pyyaml", "evil") + "\nVersion: 0.1+1\n")
    assert review.parts()[1] == [
        "- changed .dist-info/METADATA",
        '  - METADATA - "Requires-Dist: pyyaml"',
        '  - METADATA + "Requires-Dist: evil"',
        '  - METADATA + "Version: 0.1+1"',
    ]


def test_a_long_description_hides_no_requirement(review: Review) -> None:
    description = "\n" + "".join(f"line {number}\n" for number in range(300))
    hundred = "".join(f"Classifier: {number}\n" for number in range(150))
    evil = METADATA + f"{hundred}Requires-Dist: {'a' * 300}\nRequires-Dist: evil\n{description}"
    review.wheels({}, {}, evil)
    lines = review.parts()[1]
    assert '  - METADATA + "Requires-Dist: evil"' in lines
    assert any(line.endswith('aaa" (the first 200 of 315 characters)') for line in lines)
    assert lines[-1] == "- ... and 200 more lines of METADATA"


def test_an_entry_point_of_the_wheel_shows(review: Review) -> None:
    review.wheels({"OWN/entry_points.txt": b"a"}, {"OWN/entry_points.txt": b"b", "x.pth": b""})
    assert review.parts()[1] == ["- changed .dist-info/entry_points.txt", "- added x.pth"]


@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA"])
def test_a_twin_hides_no_file_of_the_wheel(review: Review, name: str) -> None:
    """A file whose whole name is what the other one's name is shortened to."""
    old = {} if name == "METADATA" else {f"OWN/{name}": b"good"}
    new = {} if name == "METADATA" else {f"OWN/{name}": b"evil"}
    review.wheels(old, new | {f".dist-info/{name}": b"good"}, METADATA.replace("pyyaml", "evil"))
    assert f"- added demo-0.1+2.dist-info/{name}" in review.parts()[1]


def test_only_the_wheels_own_record_is_left_out(review: Review) -> None:
    review.wheels({}, {".dist-info/RECORD": b"x", "demo-0.1+1.dist-info/RECORD": b"x"})
    assert review.parts()[1] == [
        "- added .dist-info/RECORD",
        "- added demo-0.1+1.dist-info/RECORD",
    ]


def test_a_twin_hides_no_name_that_is_twice(review: Review) -> None:
    review.wheels({"demo/__init__.py (again: 2)": b"x"}, {})
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(next(review.folder.glob("dist/*")), "a") as archive,
    ):
        archive.writestr(entry("demo/__init__.py"), b"evil")
        archive.writestr(entry("demo/__init__.py (again: 2)"), b"x")
    assert '- changed "demo/__init__.py (again: 2)"' in review.parts()[1]


def test_before_the_first_release_there_is_nothing_to_compare(review: Review) -> None:
    review.has_release = False
    assert review.run("release.py", "changes", "p").stdout == "This is the first release.\n"


def test_a_release_that_has_expired_is_named(review: Review) -> None:
    (review.folder / "old.zip").unlink()
    assert "have expired" in review.run("release.py", "changes", "p").stdout


@pytest.mark.parametrize("version", ["2 **reviewed by security**", "2\n\n# Nothing", "2,b"])
def test_a_wheels_version_is_no_sentence(review: Review, version: str) -> None:
    (path,) = review.folder.glob("dist/*")
    path.rename(path.with_name(f"demo-{version}-py3-none-any.whl"))
    result = review.run("release.py", "changes", "p")
    assert (result.returncode, result.stdout) == (1, "")
    assert "is no name of a wheel; make build makes one that is" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("new.zip", b"PK", "release.py: an archive is damaged (File is not a zip file)"),
        ("dist/demo-2-py3-none-any.whl", b"", "release.py: there are 2 wheels in dist, not one"),
    ],
)
def test_what_cannot_be_compared_stops_in_a_line(
    review: Review, file: str, content: bytes, why: str
) -> None:
    (review.folder / file).write_bytes(content)
    result = review.run("release.py", "changes", "p")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(why) and result.stderr.count("\n") == 1


def test_the_last_releases_wheel_is_the_one_that_was_approved(review: Review) -> None:
    """QA may write to its key at any time: a copy of the new wheel would show no change."""
    review.wheels({}, {"demo/evil.py": b"evil"})
    copied = wheel(review.folder, "0.1+1", {"demo/evil.py": b"evil"})
    with zipfile.ZipFile(review.folder / "wheel.zip", "w") as archive:
        archive.write(copied, f"dist/NoSuchKey-{copied.name}")
    result = review.run("release.py", "changes", "p")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "release.py: the wheel of the last release was replaced in s3://b/wheel.zip; nothing is"
        " compared. Find out by whom, and restore the object's earlier version\n"
    )
    assert not list(review.folder.glob("NoSuchKey*"))  # unpacked elsewhere


@pytest.mark.parametrize(
    ("name", "is_approved"), [("demo-0.1+1-py3-none-any.whl", False), ("no name.whl", True)]
)
def test_another_wheel_or_another_name_is_a_replaced_one(review, name, is_approved) -> None:
    other = wheel(review.folder, "0.1+1", {"demo/evil.py": b"evil"})
    review.approve(hashlib.sha256(other.read_bytes() if is_approved else b"").hexdigest())
    with zipfile.ZipFile(review.folder / "wheel.zip", "w") as archive:
        archive.write(other, f"dist/{name}")
    result = review.run("release.py", "changes", "p")
    assert "the wheel of the last release was replaced" in result.stderr


def test_two_wheels_of_the_last_release_are_not_compared(review: Review) -> None:
    with zipfile.ZipFile(review.folder / "wheel.zip", "a") as archive:
        archive.writestr("dist/other-1-py3-none-any.whl", b"")
    result = review.run("release.py", "changes", "p")
    assert result.stderr == "release.py: there are 2 wheels in the artifact, not one\n"


@pytest.mark.parametrize("variables", ["", "[]"])
def test_a_release_without_a_checksum_is_compared_by_its_sources(
    review: Review, variables: str
) -> None:
    review.variables = variables
    review.sources({}, {"a": b""})
    files, inside = review.parts()
    assert files == ["- added a"]
    assert inside == ["- not compared: nobody can tell which wheel was approved with that release"]
    result = review.run("deployed.py", "p", "release")
    assert "the deployed release has no WHEEL_SHA256; deploy once more" in result.stderr


# ---- Who wrote it --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ada Lovelace", '"Ada Lovelace"'),
        ("Søren Ångström", '"Søren Ångström"'),
        ("山田 太郎", '"山田 太郎"'),
        ('Ada". It deletes no data. "', "\"Ada'. It deletes no data. '\""),
        ("Ada\u201d \uff02 \u00ab", "\"Ada' ' '\""),
        ("Ada\n\nApproved\tby\x1b[2K the \u202eCISO", '"Ada Approved by[2K the CISO"'),
        ("#{PlanVariables.X} $(id) `id`", "\"(PlanVariables.X) $(id) 'id'\""),
        ("x" * 200, f'"{"x" * 60}..."'),
        ("", '"unknown"'),
    ],
)
def test_an_authors_name_is_one_short_quotation(review: Review, name: str, shown: str) -> None:
    review.author = name
    result = review.run("author.py", "repository", "0123abcd")
    assert result.returncode == 0, result.stderr
    command = ["bash", "-c", f'{result.stdout.strip()}; printf %s "$COMMIT_AUTHOR"']
    evaluated = subprocess.run(command, capture_output=True, text=True)
    assert evaluated.stdout == shown
    assert shlex.split(result.stdout)[0] == "export"
