"""Pictures per hour of the executors of `uce batch`, what each costs beside the pictures, and whether kills cost bytes.

    OMP_NUM_THREADS=1 python benchmarks/batch.py --scenes 100 --workers 2 -o OUT
    OMP_NUM_THREADS=1 python benchmarks/batch.py --scenes 100 --workers 2 --kill -o OUT   # local, then ray under fire

Scenes are those that ship with uce; beyond 48 the same again mirrored, then upside down. Every batch is the command
itself, in a process of its own. Few and cheap updates unless `--set` (repeatable) or `--full` says otherwise.

Measured per executor: pictures per hour of the whole command and without its start; seconds from the command to the
first picture begun; and the *overhead* of a picture: jobs that are finished already are handed to one worker, which
answers at once, so that what is left is the way there and back. `bytes` compares all byte-stable files with `local`.

`--kill` ends a random Ray actor every so many seconds (`--every`, exponential), with `executor.retries` raised so that
no picture runs out of tries. Without `--every` the mean is three times what `local` took to its first picture: actors
that are killed faster than they can start finish nothing, ever. For the same reason the killer holds back after three
kills until another picture ends. The exit code is 1 where a picture failed or a byte differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from uce.benchmarking.pictures import SHIPPED, read_pictures

CHEAP = ("optimizer.steps=4", "optimizer.merge_step=1", "run.samples=0")
STABLE = ("concepts.json", "masks/*.png", "embeddings.safetensors", "tokens/*.safetensors", "history.csv")
EXECUTORS = ("local", "processes", "ray")
PATIENCE = 3
"""Kills without a picture that ended between them."""


def write_scenes(folder: Path, count: int) -> Path:
    """So many scenes as PNG files, none twice."""
    folder.mkdir(parents=True, exist_ok=True)
    shipped = [entry for split in SHIPPED for entry in read_pictures(split).entries]
    turns = {"": lambda picture: picture, "-mirrored": ImageOps.mirror, "-upside-down": ImageOps.flip}
    named = [(f"{i:02d}-{entry.name}{end}", entry.path, turn)
             for end, turn in turns.items() for i, entry in enumerate(shipped)]  # fmt: skip
    if count > len(named):
        raise SystemExit(f"--scenes {count}: at most {len(named)}")
    for name, path, turn in named[:count]:
        with Image.open(path) as picture:
            turn(picture.convert("RGB")).save(folder / f"{name}.png")
    return folder


def environment() -> dict[str, str]:
    """Ray's workers at the same priority as everybody's."""
    return {"RAY_worker_niceness": "0", **os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def command(scenes: Path, out: Path, executor: str, workers: int, settings: Sequence[str]) -> list[str]:
    given = [sys.executable, "-m", "uce.cli", "batch", str(scenes), "-o", str(out), "--overwrite", "--json"]
    given += ["--executor", executor, *(["--workers", str(workers)] if executor != "local" else [])]
    return given + [part for setting in settings for part in ("--set", setting)]


def run_batch(
    scenes: Path, out: Path, executor: str, workers: int, settings: Sequence[str], killer: Killer | None = None
) -> dict[str, Any]:
    """One batch; what it did and how long that took."""
    started = time.monotonic()
    given = command(scenes, out, executor, workers, settings)
    with subprocess.Popen(
        given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as driver:
        assert driver.stderr is not None and driver.stdout is not None
        if killer is not None:
            killer.start(driver.pid)
        ends = []
        for line in driver.stderr:
            if line.startswith("["):
                ends.append(time.monotonic() - started)
                if killer is not None:
                    killer.since_picture = 0
                print(f"  {executor} {line.rstrip()}", file=sys.stderr, flush=True)
            else:
                print(f"  {line.rstrip()}", file=sys.stderr)
        document = driver.stdout.read()
    if killer is not None:
        killer.stop()
    wall = time.monotonic() - started
    if driver.returncode not in (0, 2) or not document:
        raise SystemExit(f"{executor} ended with code {driver.returncode}")
    rows = [json.loads(line) for line in (out / "batch.jsonl").read_text(encoding="utf-8").splitlines()]
    active = 1 if executor == "local" else workers
    return {
        "executor": executor,
        "workers": active,
        "counts": json.loads(document)["counts"],
        "wall_s": round(wall, 1),
        "per_hour": round(3600 * len(rows) / wall, 1),
        # those in work when the first one ends are counted out, or a short batch flatters many workers
        "per_hour_later": round(3600 * (len(ends) - active) / (ends[-1] - ends[active - 1]), 1)
        if len(ends) > 2 * active
        else None,
        "stage_s": round(sum(row["seconds"] for row in rows) / len(rows), 3),
        "first_s": round(ends[0], 1),
        "start_s": round(ends[0] - min(row["seconds"] for row in rows), 1),
        "attempts": sum(row["attempts"] for row in rows),
    }


class Killer(threading.Thread):
    """Ends random Ray actors of one driver with kill -9."""

    def __init__(self, every: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.every, self.random = every, random.Random(seed)
        self.over = threading.Event()
        self.kills = self.since_picture = 0

    def start(self, driver: int) -> None:  # type: ignore[override]
        self.driver = driver
        super().start()

    def run(self) -> None:
        while not self.over.wait(self.random.expovariate(1 / self.every)):
            actors = [pid for pid in descendants(self.driver) if is_actor(pid)]
            if actors and self.since_picture < PATIENCE:
                victim = self.random.choice(actors)
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.kills += 1
                self.since_picture += 1
                print(f"  killed actor {victim}, the {self.kills}th", file=sys.stderr, flush=True)

    def stop(self) -> None:
        self.over.set()
        self.join()


def descendants(root: int) -> list[int]:
    """Processes that `root` started, and those that they started (Linux)."""
    parents: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:  # the name, in brackets, may hold spaces
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, new = [], [root]
    while new:
        new = [pid for pid, parent in parents.items() if parent in new]
        found += new
    return found


def is_actor(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::_Actor")
    except OSError:
        return False


def measure_overhead(folder: Path, executor: str, jobs: int) -> dict[str, Any]:
    """Seconds per picture of handing it to one worker and hearing of it, with nothing to do."""
    given = [sys.executable, __file__, "--overhead-of", executor, "--jobs", str(jobs), "-o", str(folder)]
    done = subprocess.run(given, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def time_answers(folder: Path, executor: str, jobs: int) -> dict[str, Any]:
    """The same, within this process: the batch in `folder` is finished, so that every job ends at once."""
    from uce.batching.folder import BatchFolder
    from uce.batching.names import read_names
    from uce.core.flow.jobs import Assignment, Job
    from uce.core.registry.manager import load_manager

    manager, batch = load_manager(), BatchFolder(folder.absolute())
    names = [named.name for named in read_names(batch / "pictures.jsonl")]
    work = [Job(names[i % len(names)], "") for i in range(jobs)]
    info = manager.get("executor", executor)
    settings = info.settings_class(**({"workers": 1} if executor != "local" else {}))
    with batch.locked() as token:
        assignment = Assignment(str(batch.path), token, batch.read()["config"])
        call, times = manager.caller("executor", info), []
        for outcome in call(jobs=work, assignment=assignment, settings=settings, manager=manager):
            assert outcome.status == "done", outcome
            times.append(time.perf_counter())
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    return {
        "executor": executor,
        "jobs": jobs,
        "mean_ms": round(1000 * (times[-1] - times[0]) / (jobs - 1), 3),
        "median_ms": round(1000 * gaps[len(gaps) // 2], 3),
    }


def stable_files(out: Path) -> dict[str, bytes]:
    runs = out / "runs"
    return {str(path.relative_to(runs)): path.read_bytes() for p in STABLE for path in sorted(runs.glob(f"*/{p}"))}


def compare(reference: Path, other: Path) -> dict[str, Any]:
    """Byte-stable files of two batches."""
    one, two = stable_files(reference), stable_files(other)
    differ = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
    return {"files": len(one), "differ": differ}


def bytes_per_folder(out: Path) -> dict[str, int]:
    """Mean bytes of a run folder by what lies in it."""
    found: dict[str, int] = {}
    folders = [path for path in (out / "runs").iterdir() if path.is_dir()]
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                name = path.relative_to(folder).parts[0]
                found[name] = found.get(name, 0) + path.stat().st_size
    return {name: size // len(folders) for name, size in sorted(found.items(), key=lambda item: -item[1])}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="where the batches go")
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2, help="of processes and ray")
    parser.add_argument("--executors", default=",".join(EXECUTORS))
    parser.add_argument("--set", action="append", default=[], help="instead of the cheap settings")
    parser.add_argument("--full", action="store_true", help="the default settings instead of the cheap ones")
    parser.add_argument("--jobs", type=int, default=300, help="of the measurement of overhead")
    parser.add_argument("--kill", action="store_true", help="ray alone, its actors killed at random")
    parser.add_argument("--every", type=float, help="mean seconds between two kills; see above")
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--overhead-of", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Parse the command line, measure, print."""
    asked = parse()
    if asked.overhead_of:
        print(json.dumps(time_answers(asked.out, asked.overhead_of, asked.jobs)))
        return
    settings = asked.set or ([] if asked.full else CHEAP)
    scenes = write_scenes(asked.out / f"scenes-{asked.scenes}", asked.scenes)
    executors = ["local", "ray"] if asked.kill else asked.executors.split(",")
    document: dict[str, Any] = {"settings": list(settings), "scenes": asked.scenes}
    runs: list[dict[str, Any]] = []
    faults = 0
    for executor in executors:
        fire = asked.kill and executor == "ray"
        own = [*settings, "executor.retries=100"] if fire else settings
        out = asked.out / executor
        killer = Killer(asked.every or 3 * runs[0]["first_s"], asked.seed) if fire else None
        row = run_batch(scenes, out, executor, asked.workers, own, killer)
        if killer is not None:
            row |= {"kills": killer.kills, "every_s": round(killer.every, 1)}
        if executor != executors[0]:
            row["bytes"] = compare(asked.out / executors[0], out)
            faults += len(row["bytes"]["differ"])
        faults += asked.scenes - row["counts"].get("done", 0)
        runs.append(row)
        print(json.dumps(row), flush=True)
    document["runs"] = runs
    if not asked.kill:
        document["overhead"] = [measure_overhead(asked.out / executors[0], e, asked.jobs) for e in executors]
        print(json.dumps(document["overhead"]), flush=True)
    document["bytes_per_folder"] = bytes_per_folder(asked.out / executors[0])
    print(json.dumps(document["bytes_per_folder"]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
