"""What validation costs: a validated bake against a plain one and `cfn-lint` as a command.

Runs pairs in turn, so that whatever else the machine does falls on both, and compares medians.
Exits 1 above the limit.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conftest import ROOT

PAIRS = 7
LIMIT = 1.2
BIN = Path(sys.executable).parent


def seconds(*commands: list[str | Path]) -> float:
    """How long the commands take, one after the other."""
    started = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    """Prints every pair and the ratio of the medians."""
    print(f"{'pair':>4}  {'validated bake':>14}  {'plain bake + cfn-lint':>21}  {'ratio':>5}")
    validated, plain = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for pair in range(PAIRS + 1):
            out = Path(scratch, str(pair))
            bake = [BIN / "cookiecutter", "--no-input", "--default-config", ROOT, "-o"]
            stack = out / "plain/my-data-project/cicd/stack.yml"
            one = seconds([*bake, out / "validated"])
            other = seconds(
                [*bake, out / "plain", "--accept-hooks", "no"], [BIN / "cfn-lint", "--", stack]
            )
            if pair == 0:
                continue  # the first pair fills the caches
            validated.append(one)
            plain.append(other)
            print(f"{pair:>4}  {one:>12.2f} s  {other:>19.2f} s  {one / other:>5.2f}")
    medians = statistics.median(validated), statistics.median(plain)
    ratio = medians[0] / medians[1]
    print(f"   =  {medians[0]:>12.2f} s  {medians[1]:>19.2f} s  {ratio:>5.2f}  (limit {LIMIT})")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
