"""kill -9 at random moments, and the same command again: the same bytes as undisturbed, nothing lost, nothing half."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from faults.harness import Starter, Tally, kill_at_random, leftovers, stable_bytes, wait_for

SEED = int(os.environ.get("UCE_FAULT_SEED", "7"))


def undisturbed(starter: Starter, arguments: list[Any]) -> float:
    """Seconds of a command that nobody disturbs."""
    started = time.perf_counter()
    code, said = starter.run(arguments)
    assert code == 0, said
    return time.perf_counter() - started


def kill_run(starter: Starter, picture: Path, flags: list[str], tmp_path: Path, count: int) -> Tally:
    whole, out = tmp_path / "whole", tmp_path / "out"
    command = ["run", picture, "-o", out, "--no-report", "--resume", *flags]
    undisturbed(starter, ["run", picture, "-o", whole, "--no-report", *flags])
    duration = undisturbed(starter, command)
    expected = stable_bytes(whole)

    def check() -> None:
        assert stable_bytes(out) == expected and not leftovers(out)
        assert json.loads((out / "run.json").read_text())["status"] == "done"
        assert (out / "overlay.png").is_file() and len(list((out / "samples").glob("*.png"))) == 3

    shutil.rmtree(out)
    return kill_at_random(
        lambda: starter.start(command),
        check,
        lambda: shutil.rmtree(out),
        duration,
        count,
        SEED,
        "uce run, toy model" if "toy" in flags else "uce run, mini",
    )


def test_a_run_that_is_killed(starter: Starter, picture: Path, toy: list[str], tmp_path: Path) -> None:
    tally = kill_run(starter, picture, toy, tmp_path, 3)
    assert tally.tried == tally.survived == 3


@pytest.mark.faults
@pytest.mark.parametrize("model", ["toy", "mini"])
def test_runs_that_are_killed(
    starter: Starter, picture: Path, model: str, tmp_path: Path, kills: int, request: pytest.FixtureRequest
) -> None:
    tally = kill_run(starter, picture, request.getfixturevalue(model), tmp_path, kills)
    assert tally.survived == kills


@pytest.fixture
def pictures(tmp_path: Path, picture: Path) -> Path:
    """Three small pictures, no two alike."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    with Image.open(picture) as image:
        small = image.convert("RGB").resize((96, 96))
    for turns in range(3):
        small.rotate(90 * turns).save(folder / f"turned {turns}.png")
    return folder


def check_batch(out: Path, expected: dict[str, bytes]) -> None:
    assert stable_bytes(out) == expected and not leftovers(out)
    rows = [json.loads(line) for line in (out / "batch.jsonl").read_text().splitlines()]
    assert [(row["name"], row["status"]) for row in rows] == [(f"turned-{n}", "done") for n in range(3)]


def kill_batch(starter: Starter, pictures: Path, flags: list[str], tmp_path: Path, executor: str, count: int) -> Tally:
    whole, out = tmp_path / "whole", tmp_path / "out"
    command = ["batch", pictures, "-o", out, "--executor", executor, *flags]
    undisturbed(starter, ["batch", pictures, "-o", whole, *flags])
    expected = stable_bytes(whole)
    duration = undisturbed(starter, command)
    check_batch(out, expected)
    shutil.rmtree(out)
    return kill_at_random(
        lambda: starter.start(command),
        lambda: check_batch(out, expected),
        lambda: shutil.rmtree(out),
        duration,
        count,
        SEED,
        f"uce batch --executor {executor}",
    )


@pytest.mark.faults
@pytest.mark.parametrize("executor", ["local", "processes"])
def test_batches_that_are_killed(
    starter: Starter, pictures: Path, toy: list[str], tmp_path: Path, kills: int, executor: str
) -> None:
    tally = kill_batch(starter, pictures, toy, tmp_path, executor, kills)
    assert tally.survived == kills


def kill_ablation(starter: Starter, pictures: Path, flags: list[str], tmp_path: Path, count: int) -> Tally:
    whole, out = tmp_path / "whole", tmp_path / "out"
    vary = ["--vary", "seed=0,1", "--vary", "optimizer.attention_weight=0,1e-5"]
    command = ["ablate", *sorted(pictures.iterdir())[:2], *vary, *flags]
    duration = undisturbed(starter, [*command, "-o", whole])
    expected = {path.relative_to(whole): path.read_bytes() for path in whole.rglob("embeddings.safetensors")}
    means = [{**row, "measures": known(row)} for row in json.loads((whole / "ablation.json").read_text())["means"]]

    def check() -> None:
        assert {path.relative_to(out): path.read_bytes() for path in out.rglob("embeddings.safetensors")} == expected
        document = json.loads((out / "ablation.json").read_text())
        assert document["finished"] and [row["status"] for row in document["results"]] == ["done"] * 8
        for row, wanted in zip(document["means"], means, strict=True):
            assert known(row) == wanted["measures"] and row["difference"] == wanted["difference"]
        assert not leftovers(out)

    return kill_at_random(
        lambda: starter.start([*command, "-o", out, "--resume"]), check, lambda: shutil.rmtree(out), duration, count,
        SEED, "uce ablate",
    )  # fmt: skip


def known(row: dict[str, Any]) -> dict[str, float]:
    """The measures that do not depend on the clock."""
    return {name: value for name, value in row["measures"].items() if not name.startswith("seconds")}


def test_an_ablation_that_is_killed(starter: Starter, pictures: Path, toy: list[str], tmp_path: Path) -> None:
    tally = kill_ablation(starter, pictures, toy, tmp_path, 3)
    assert tally.tried == tally.survived == 3


@pytest.mark.faults
def test_ablations_that_are_killed(
    starter: Starter, pictures: Path, toy: list[str], tmp_path: Path, kills: int
) -> None:
    assert kill_ablation(starter, pictures, toy, tmp_path, kills).survived == kills


@pytest.fixture
def truths(pictures: Path, tmp_path: Path) -> Path:
    """The same pictures with a true mask each, as a benchmark takes them."""
    folder = tmp_path / "truths"
    (folder / "truth").mkdir(parents=True)
    truth = Image.new("L", (96, 96))
    truth.paste(1, (8, 24, 40, 72))
    for number, path in enumerate(sorted(pictures.iterdir())[:2]):
        shutil.copy(path, folder / f"{number}.png")
        truth.save(folder / "truth" / f"{number}.png")
    rows = [{"name": str(number), "labels": ["turned"]} for number in (0, 1)]
    (folder / "index.json").write_text(json.dumps({"scenes": rows}))
    return folder


@pytest.mark.faults
def test_benchmarks_that_are_killed(starter: Starter, truths: Path, toy: list[str], tmp_path: Path, kills: int) -> None:
    """The table of an undisturbed benchmark, whatever was killed; seconds alone are others."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    method = "extractor=toy,clusterer=toy,refiner=none"
    flags = [*toy[: toy.index("--extractor")], *toy[toy.index("--set") :]]
    command = ["benchmark", "--pictures", truths, "--methods", f"toy={method}", "lower-bound", "-n", "1", *flags]
    duration = undisturbed(starter, [*command, "-o", whole])

    def numbers(folder: Path) -> list[dict[str, str]]:
        with (folder / "pictures.csv").open() as file:
            return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in csv.DictReader(file)]

    def check() -> None:
        assert numbers(out) == numbers(whole) and len(numbers(out)) == 4 and not leftovers(out)

    tally = kill_at_random(
        lambda: starter.start([*command, "-o", out, "--resume"]), check, lambda: shutil.rmtree(out), duration, kills,
        SEED, "uce benchmark",
    )  # fmt: skip
    assert tally.survived == kills


TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
"""Newer Rays let nobody join who does not bring it."""


class Cluster:
    """A Ray cluster of our own on this machine."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "RAY_worker_niceness": "0", "RAY_ADDRESS": "", **TOKEN}
        port = 20000 + os.getpid() % 20000
        command = [shutil.which("ray") or "ray", "start", "--head", "--block", "--num-cpus", "2", f"--port={port}"]
        command += ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"]
        self.address = f"127.0.0.1:{port}"
        self.log = (folder / "ray.txt").open("w")
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def actors(self) -> list[int]:
        """Processes of this cluster's actors: descendants of what we started, by /proc."""
        parents: dict[int, int] = {}
        names: dict[int, str] = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                stat = (path / "stat").read_text()
                names[int(path.name)] = (path / "cmdline").read_bytes().decode(errors="replace")
                parents[int(path.name)] = int(stat.rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue

        def ours(pid: int) -> bool:
            while pid > 1:
                if pid == self.process.pid:
                    return True
                pid = parents.get(pid, 0)
            return False

        return [pid for pid, name in names.items() if name.startswith("ray::_Actor") and ours(pid)]

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    pytest.importorskip("ray")
    folder = Path("/tmp") / f"uce-ray-{os.getpid()}"  # sockets below it: the path must be short
    folder.mkdir(exist_ok=True)
    found = Cluster(folder)
    for name, value in {**TOKEN, "RAY_ADDRESS": found.address}.items():
        monkeypatch.setenv(name, value)
    try:
        wait_for(lambda: "Ray runtime started" in (folder / "ray.txt").read_text(), 120)
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="finds actors by /proc")
def test_ray_batches_whose_driver_or_actors_are_killed(
    cluster: Cluster, pictures: Path, toy: list[str], tmp_path: Path, kills: int, starter: Starter
) -> None:
    """Every other kill is an actor's: Ray replaces it, and the driver goes on; the others are the driver's own."""
    import random

    chance, tally, out = random.Random(SEED), Tally(), tmp_path / "out"
    undisturbed(starter, ["batch", pictures, "-o", tmp_path / "whole", *toy])
    expected = stable_bytes(tmp_path / "whole")
    command = [sys.executable, "-m", "uce.cli", "batch", str(pictures), "-o", str(out), "--executor", "ray"]
    command += ["--workers", "2", "--set", "executor.retries=50", *toy]
    since_check, actor_kills = 0, 0
    while tally.tried < kills or since_check:
        with (tmp_path / "driver.txt").open("w") as log:
            driver = subprocess.Popen(command, stdout=log, stderr=log)
        while tally.tried < kills and driver.poll() is None:
            time.sleep(chance.uniform(0, 8))
            actors = cluster.actors()
            if driver.poll() is not None:
                break
            if tally.tried % 2 == 0 and actors:
                os.kill(chance.choice(actors), signal.SIGKILL)
                actor_kills += 1
            elif tally.tried % 2:
                driver.kill()
                driver.wait()
            else:
                continue
            tally.tried += 1
            since_check += 1
        if driver.wait(600) == -signal.SIGKILL:
            continue
        assert driver.returncode == 0, (tmp_path / "driver.txt").read_text()[-2000:]
        check_batch(out, expected)
        tally.survived += since_check
        since_check = 0
        tally.report(f"uce batch --executor ray ({actor_kills} of them of actors)")
        shutil.rmtree(out)
    assert tally.survived == kills


def test_terminated_is_said_and_resumed(starter: Starter, picture: Path, toy: list[str], tmp_path: Path) -> None:
    """SIGTERM, as schedulers send it: exit code 130, one line, and the rest is learned later with the same bytes."""
    out = tmp_path / "out"
    flags = [*toy, "--set", "optimizer.steps=150"]
    command = ["run", picture, "-o", out, "--no-report", *flags]
    process = starter.start(command)
    wait_for(lambda: (out / "stages" / "checkpoint.safetensors").is_file())
    os.kill(process.pid or 0, signal.SIGTERM)
    process.join(60)
    said = [line for line in starter.errors.read_text().splitlines() if line.startswith("uce: ")]
    assert process.exitcode == 130 and len(said) == 1 and f"--resume ({out} keeps the checkpoint)" in said[0]
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert starter.run([*command, "--resume"])[0] == 0
    assert starter.run(["run", picture, "-o", tmp_path / "whole", "--no-report", *flags])[0] == 0
    assert stable_bytes(out) == stable_bytes(tmp_path / "whole")
