"""Measures what validation costs and how long rehearsals take; exits 1 above a limit.

The rehearsals: quick and full, quick with 200 more jobs, and both quick ones with the real client
where it is on PATH.

A validated bake is compared with a plain one plus `cfn-lint` as a command. The two alternate, so
that other load on the machine slows both; their medians are compared.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conftest import ROOT
from rehearsal import play
from rehearsal.databricks import real_client, spark
from rehearsal.screen import times
from rehearsing import APPROVED, decide

PAIRS = 7
LIMIT = 1.2
REHEARSALS = {"quick": 15, "full": 90, "200 jobs": 60}  # seconds
JOB = """\
    job_{number}:
      name: job {number}
      permissions:
        - group_name: users
          level: CAN_VIEW
      tasks:
        - task_key: notebook
          notebook_task:
            notebook_path: ../src/notebooks/sample_notebook.py
        - task_key: after
          depends_on:
            - task_key: notebook
          notebook_task:
            notebook_path: ../src/notebooks/sample_notebook.py
"""
BIN = Path(sys.executable).parent


def seconds(*commands: list[str | Path]) -> float:
    """How long the commands take, one after the other."""
    started = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def validation() -> bool:
    """Prints every pair and the ratio of the medians; returns whether it is within the limit."""
    print(f"{'pair':>4}  {'validated bake':>14}  {'plain bake + cfn-lint':>21}  {'ratio':>5}")
    validated, plain = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for pair in range(PAIRS + 1):
            out = Path(scratch, str(pair))
            bake = [BIN / "cookiecutter", "--no-input", "--default-config", ROOT, "-o"]
            stack = out / "plain/my-data-project/cicd/stack.yml"
            with_check = seconds([*bake, out / "validated"])
            with_lint = seconds(
                [*bake, out / "plain", "--accept-hooks", "no"], [BIN / "cfn-lint", "--", stack]
            )
            if pair == 0:
                continue  # the first pair fills the caches
            validated.append(with_check)
            plain.append(with_lint)
            ratio = with_check / with_lint
            print(f"{pair:>4}  {with_check:>12.2f} s  {with_lint:>19.2f} s  {ratio:>5.2f}")
    medians = statistics.median(validated), statistics.median(plain)
    ratio = medians[0] / medians[1]
    print(f"   =  {medians[0]:>12.2f} s  {medians[1]:>19.2f} s  {ratio:>5.2f}  (limit {LIMIT})")
    return ratio <= LIMIT


def repository(scratch: str, kind: str) -> Path:
    """A rendering with the default answers, with 200 more jobs if the rehearsal is about them."""
    seconds([BIN / "cookiecutter", "--no-input", "--default-config", ROOT, "-o", scratch])
    root = Path(scratch, "my-data-project")
    if kind == "200 jobs":
        jobs = "".join(JOB.format(number=number) for number in range(200))
        (root / "resources/many.job.yml").write_text(f"resources:\n  jobs:\n{jobs}")
    return root


def rehearsal(kind: str, client: Path | None = None) -> bool:
    """Prints the times of a rehearsal by stage; returns whether it is within its limit."""
    with tempfile.TemporaryDirectory() as scratch:
        root, quick = repository(scratch, kind), kind != "full"
        started = time.perf_counter()
        with play.opened(root, quick=quick, client=client) as played:
            opened = time.perf_counter()
            played.put_secrets()
            played.seconds["secrets"] = time.perf_counter() - opened
            decide(played, APPROVED)
            assert played.push().status == "Succeeded"
            table = times(played)
        took = time.perf_counter() - started
    stages = "  ".join(f"{name} {value:.1f} s" for name, value in table.items())
    name = f"{kind}, {'the real client' if client else 'stand-in'}"
    print(f"{name:<25}  {took:>5.1f} s  (limit {REHEARSALS[kind]} s)  {stages}")
    return took <= REHEARSALS[kind]


def main() -> int:
    """Every measure; Spark's only where there is Java."""
    within = [validation()]
    if spark.java_version() >= spark.JAVA:
        rehearsal("full")  # the first one fills the caches
        within.append(rehearsal("full"))
    rehearsal("quick")
    with tempfile.TemporaryDirectory() as scratch:
        client = real_client.installed(real_client.pinned(repository(scratch, "quick")))
    for kind in ("quick", "200 jobs"):
        within += [rehearsal(kind, which) for which in dict.fromkeys([None, client])]
    return int(not all(within))


if __name__ == "__main__":
    sys.exit(main())
