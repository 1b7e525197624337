"""Commands that are killed: started in processes that are warm already, at moments that a seed decides."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

STABLE = ("concepts.json", "masks/*.png", "embeddings.safetensors", "tokens/*.safetensors", "history.csv")
TOY_PLUGIN = Path(__file__).resolve().parents[1] / "toy_plugin.py"
TOY = ["--model", "toy", "--plugin", str(TOY_PLUGIN), "--extractor", "toy", "--clusterer", "toy", "--refiner", "none"]
"""The test suite's model of a few hundred numbers: kills meet the writing of files more often than the arithmetic."""
TINY = [
    "optimizer.steps=4",
    "optimizer.merge_step=2",
    "optimizer.alignment_iterations=20",
    "initializer.split_tokens=2",
    "run.sample_steps=1",
    "run.threads=1",
    "run.checkpoint_every=2",
    "extractor.cells=16",
]
"""Settings with which the embedded model learns in seconds, two checkpoints on the way."""


def settings(assignments: Sequence[str]) -> list[str]:
    """As flags of the command line."""
    return [text for assignment in assignments for text in ("--set", assignment)]


def stable_bytes(folder: Path) -> dict[str, bytes]:
    """The byte-stable files of a run folder, or of all run folders of a batch."""
    runs = sorted((folder / "runs").iterdir()) if (folder / "runs").is_dir() else [folder]
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for run in runs
        for pattern in STABLE
        for path in sorted(run.glob(pattern))
    }
    assert found, f"{folder} holds no results"
    return found


def leftovers(folder: Path) -> list[str]:
    """What a write that was cut off left behind."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.part"))


def _command(arguments: Sequence[str], errors: str) -> None:
    """In a process of its own: the command, its words on stderr kept in a file."""
    with Path(errors).open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
        os.dup2(file.fileno(), 1)
    os.setpgid(0, 0)
    from uce.cli import main

    main([str(argument) for argument in arguments])


class Starter:
    """Starts commands from a process that has imported everything, so that a start costs milliseconds."""

    def __init__(self, folder: Path) -> None:
        self.errors = folder / "stderr.txt"
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["torch", "faults.warm"])

    def start(self, arguments: Sequence[str]) -> BaseProcess:
        self.errors.write_text("")
        process = self.context.Process(target=_command, args=(list(map(str, arguments)), str(self.errors)))
        process.start()
        return process

    def run(self, arguments: Sequence[str], timeout: float = 600) -> tuple[int, str]:
        """(exit code, what it said) of a command that nobody disturbs."""
        process = self.start(arguments)
        process.join(timeout)
        if process.exitcode is None:
            kill(process)
            raise AssertionError(f"hangs: {arguments}")
        return process.exitcode, self.errors.read_text(encoding="utf-8")


def kill(process: BaseProcess) -> bool:
    """SIGKILL; whether it still lived."""
    alive = process.exitcode is None
    if alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    return alive and process.exitcode == -signal.SIGKILL


@dataclass
class Tally:
    """What a long run of kills came to."""

    tried: int = 0
    survived: int = 0

    def report(self, name: str) -> None:
        """A line in the file that UCE_FAULT_REPORT names, so that an unfinished long run has its counts, too."""
        if os.environ.get("UCE_FAULT_REPORT"):
            with Path(os.environ["UCE_FAULT_REPORT"]).open("a", encoding="utf-8") as file:
                print(f"{name}: {self.tried} kills, {self.survived} survived", file=file)


def kill_at_random(
    begin: Callable[[], BaseProcess],
    check: Callable[[], None],
    again: Callable[[], None],
    duration: float,
    count: int,
    seed: int,
    name: str,
) -> Tally:
    """Kill a command `count` times, each start of it at a random moment of its life.

    Args:
        begin: starts the command, or continues it.
        check: called when it ended by itself: asserts that the results are the undisturbed ones.
        again: makes room for the next one.
        duration: seconds that it takes undisturbed.
        name: what the report calls it.
    """
    chance, tally = random.Random(seed), Tally()
    since_check = 0
    while tally.tried < count or since_check:
        process = begin()
        if tally.tried < count:
            process.join(chance.uniform(0, duration))
            if kill(process):
                tally.tried += 1
                since_check += 1
                continue
        process.join(600)
        assert process.exitcode == 0, f"exit code {process.exitcode} after {since_check} kills"
        check()
        tally.survived += since_check
        since_check = 0
        tally.report(name)
        again()
    return tally


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
