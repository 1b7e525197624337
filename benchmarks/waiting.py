"""What a run takes alone, two at once and beside a busy loop: with threads that spin while they wait, and that sleep.

    python benchmarks/waiting.py --quick
    python benchmarks/waiting.py --write

"before" is what a process gets that sets nothing (libgomp spins), "now" is what `import uce` sets (uce/waiting.py). A
case is run with 1, with 2 and with as many threads as uce itself chooses. Times are seconds of the clock for the whole
command, start of Python included, the slower one where there are two; on a machine with other work they say little.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measuring import machine, machine_line, markdown, write_results

from uce.waiting import QUIET

EXAMPLE = Path(__file__).parents[1] / "examples" / "beach.png"
CASES = ("alone", "two at once", "beside a busy loop")
LIMIT_S = 900


def environment(policy: str, threads: int) -> dict[str, str]:
    """As a shell has it in which nobody set anything."""
    plain = {name: value for name, value in os.environ.items() if name not in (*QUIET, "OMP_NUM_THREADS")}
    if policy == "before":
        plain["KMP_BLOCKTIME"] = "200"  # the default of runtimes that know it; uce then leaves all of them alone
    return plain | ({"OMP_NUM_THREADS": str(threads)} if threads else {})


@contextlib.contextmanager
def busy_loop(wanted: bool) -> Iterator[None]:
    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if loop is not None:
            loop.kill()
            loop.wait()


def measure(case: str, policy: str, threads: int, steps: int) -> float:
    """Seconds until the last run of `case` has ended."""
    with tempfile.TemporaryDirectory() as folder, busy_loop(case == "beside a busy loop"):
        begun = time.perf_counter()
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "uce.cli", "-q", "run", str(EXAMPLE), "-o", f"{folder}/{number}",
                 "--set", f"optimizer.steps={steps}", "--set", f"run.threads={threads}"],
                env=environment(policy, threads), stdout=subprocess.DEVNULL,
            )
            for number in range(2 if case == "two at once" else 1)
        ]  # fmt: skip
        try:
            codes = [run.wait(LIMIT_S) for run in runs]
        except subprocess.TimeoutExpired:
            return float("inf")
        finally:
            for run in runs:
                run.kill()
        assert not any(codes), f"{case}, {policy}, {threads} threads: a run failed"
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the training")
    parser.add_argument("--write", action="store_true", help="keep the numbers in README.md and results/")
    chosen = parser.parse_args()
    steps = 25 if chosen.quick else 250
    facts = machine("cpu")
    rows, seconds = [], {}
    for case in CASES:
        for threads in (1, 2, 0):
            found = {policy: measure(case, policy, threads, steps) for policy in ("before", "now")}
            seconds[f"{case}, {threads or 'automatic'}"] = found
            rows.append([case, str(threads or "automatic"), *(f"{value:.0f}" for value in found.values())])
            print(*rows[-1], sep="\t", file=sys.stderr, flush=True)
    text = markdown(["case", "threads", "before, s", "now, s"], rows)
    print(text)
    if chosen.write:
        write_results("waiting", {"machine": facts, "steps": steps, "seconds": seconds},
                      f"{machine_line(facts)} {steps} steps.\n\n{text}")  # fmt: skip


if __name__ == "__main__":
    main()
