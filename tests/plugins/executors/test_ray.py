"""Executor ray; the parts that need Ray are skipped where it is not installed."""

from __future__ import annotations

import builtins
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import uce
from uce.core import PluginError, RunFolderError
from uce.core.flow.jobs import Assignment, Job, Outcome
from uce.plugins.executors.ray import RayExecutor, _apart_from_ray, _connect, _Crew
from uce.testing import check_plugin

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: extra [ray]")


def test_contract() -> None:
    assert check_plugin(RayExecutor).stages == ("executor",)


def test_without_ray_it_says_how_to_get_it(
    pictures: Path, base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PluginError, match=r"needs Ray .*pip install 'uce-concepts\[ray\]'"):
        uce.batch(pictures, tmp_path / "out", executor="ray", localize_only=True, **base)


@needs_ray
def test_dead_actors_are_replaced_and_bytes_are_those_of_local(
    pictures: Path, base: dict[str, Any], stable_bytes: Callable[[Path], dict[str, bytes]], tmp_path: Path
) -> None:
    base["set"] |= {"clusterer.fault": "die", "clusterer.diary": str(tmp_path / "diary")}
    names = sorted(pictures.iterdir())
    lines = [{"image": str(path), "clusterer.deaths": deaths} for path, deaths in zip(names, (0, 1, 0, 2), strict=True)]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    own = base | {"set": {**base["set"], "executor.retries": 1}}
    done = uce.batch(tmp_path / "list.jsonl", tmp_path / "out", executor="ray", workers=2, **own)
    assert [row["status"] for row in done.rows] == ["done", "done", "done", "failed"]
    assert "its worker died 2 times" in done.failures[0]["error"]
    # the fourth has died as often as it will: now it can be done, and by anybody
    again = uce.batch(tmp_path / "list.jsonl", tmp_path / "out", **base)
    assert again.document["worked_on"] == 1 and again.document["counts"] == {"done": 4}
    local = uce.batch(tmp_path / "list.jsonl", tmp_path / "local", **base)
    assert {row["status"] for row in local.rows} == {"done"}
    assert stable_bytes(tmp_path / "out") == stable_bytes(tmp_path / "local")


class FakeRay:
    """As much of Ray as hands out work: each call is answered by what is next in `answers`."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            pass

    def __init__(self, answers: list[Any], **found: float) -> None:
        self.answers, self.found, self.asked = answers, found, dict[str, Any]()
        self.made, self.killed, self.called = 0, 0, list[str]()

    def remote(self, **options: Any) -> Any:
        self.asked = options
        return lambda kind: SimpleNamespace(remote=self._actor)

    def _actor(self, *_: str) -> Any:
        self.made += 1
        ready, do = (SimpleNamespace(remote=lambda job="", n=name: (n, job, object())) for name in ("ready", "do"))
        return SimpleNamespace(ready=ready, do=do)

    def cluster_resources(self) -> dict[str, float]:
        return self.found

    def wait(self, calls: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        assert timeout > 0
        return calls[:num_returns], calls[num_returns:]

    def get(self, call: Any) -> Any:
        name, job, _ = call
        self.called.append(name)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        done = ("ready", "") if name == "ready" else ("outcome", Outcome(Job.from_text(job).name, "done").to_text())
        return answer or done

    def kill(self, _: Any) -> None:
        self.killed += 1


def outcomes(fake: FakeRay, device: str = "cpu", **settings: int) -> list[Outcome]:
    assignment = Assignment("/out", "token", {"run": {"threads": 2, "device": device}})
    crew = _Crew(fake, [Job("a", "a.png"), Job("b", "b.png")], assignment, RayExecutor.Settings(**settings))
    found = list(crew.work())
    crew.stop()
    return found


def test_a_picture_whose_actor_died_is_done_again_by_another() -> None:
    died = FakeRay.exceptions.RayError("the actor died")
    fake = FakeRay([None, died], CPU=2)
    assert [(o.name, o.status, o.attempts) for o in outcomes(fake)] == [("a", "done", 2), ("b", "done", 1)]
    assert fake.made == 2 and fake.killed == 2, "the lost one is ended, too: Ray may only have lost sight of it"
    assert fake.called == ["ready", "do", "ready", "do", "do"]
    found = outcomes(FakeRay([None, died, None, died], CPU=2), retries=1)
    assert [(o.name, o.status, o.attempts) for o in found] == [("a", "failed", 2), ("b", "done", 1)]
    assert "its worker died 2 times (RayError)" in str(found[0].error)


def test_an_actor_that_waits_for_room_keeps_no_picture_waiting() -> None:
    """Two actors, one of which never finds a place: the other does both pictures, and the batch ends."""

    class Crowded(FakeRay):
        def wait(self, calls: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
            self.first = getattr(self, "first", calls[0])
            return super().wait([call for call in calls if call is not self.first], num_returns, timeout)

    fake = Crowded([], CPU=4)
    assert [o.name for o in outcomes(fake)] == ["a", "b"] and fake.made == 2 and fake.called == ["ready", "do", "do"]
    assert fake.killed == 2


def test_what_is_wrong_with_the_cluster_ends_the_batch() -> None:
    for error in (
        FakeRay.exceptions.RayTaskError("ray::_Actor.do()\nImportError: no uce here"),
        FakeRay.exceptions.RayError("The actor died because of an error raised in its creation task\nno uce here"),
    ):
        with pytest.raises(PluginError, match=r"an actor cannot work: .*no uce here; every machine needs"):
            outcomes(FakeRay([error], CPU=4))
    with pytest.raises(PluginError, match="an actor cannot work: out of memory"):
        outcomes(FakeRay([FakeRay.exceptions.RayError("out of memory")] * 99, CPU=4))
    with pytest.raises(RunFolderError, match="taken over"):
        outcomes(FakeRay([None, None, ("refused", "taken over by process 7")], CPU=4))


@pytest.mark.parametrize("alive", [True, False])
def test_a_cluster_without_a_machine_ends_the_batch_and_a_slow_one_does_not(alive: bool) -> None:
    class Silent(FakeRay):
        waits = 0

        def wait(self, calls: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
            self.waits += 1
            return ([], calls) if self.waits == 2 else super().wait(calls, num_returns, timeout)

        def nodes(self) -> list[dict[str, bool]]:
            return [{"Alive": False}, {"Alive": alive}]

    if alive:
        assert [o.name for o in outcomes(Silent([], CPU=4))] == ["a", "b"]
    else:
        with pytest.raises(PluginError, match="the cluster has no machine left; finished pictures are kept"):
            outcomes(Silent([], CPU=4))


def test_what_ray_has_to_say_is_no_part_of_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with _apart_from_ray():
        thread = threading.Thread(target=print, args=("a node is gone",), name="ray_listen_error_messages")
        thread.start()
        thread.join()
        print("{}")
    assert sys.stdout is before
    out, err = capsys.readouterr()
    assert (out, err) == ("{}\n", "a node is gone\n")


@pytest.mark.parametrize(("slow", "told"), [(3, False), (4, True)])
def test_a_busy_machine_is_given_time_to_start_ray(slow: int, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [RuntimeError("The current node timed out during startup.")] * slow

    def init(**_: Any) -> None:
        if answers:
            raise answers.pop()

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_worker_niceness", "0")
    fake = SimpleNamespace(init=init, shutdown=lambda: None)
    if told:
        with pytest.raises(PluginError, match=r"cannot reach or start a cluster: .*timed out during startup"):
            _connect(fake)
    else:
        _connect(fake)
    assert not answers


def test_what_an_actor_is_given() -> None:
    fake = FakeRay([], CPU=8, GPU=1)
    outcomes(fake, "cuda", per_gpu=2)
    assert fake.asked == {"num_gpus": 0.5, "num_cpus": 1} and fake.made == 2
    fake = FakeRay([], CPU=8)
    outcomes(fake, workers=1)
    assert fake.asked == {"num_cpus": 2} and fake.made == 1
    with pytest.raises(PluginError, match=r"a worker needs 0\.5 GPU and 1 CPU, the cluster has 8 CPU and 0 GPU"):
        outcomes(FakeRay([], CPU=8), "cuda", per_gpu=2)


@needs_ray
@pytest.mark.slow
def test_a_cluster_of_its_own_is_joined(
    pictures: Path, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    port, folder = "6399", Path(tempfile.mkdtemp(prefix="r-", dir="/tmp"))  # Ray's sockets need a short path
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    # A cluster asks for a token wherever an earlier one left it in ~/.ray; those who join by address must be told to
    # bring it, or they are turned away for a minute.
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)
    monkeypatch.setenv("RAY_worker_niceness", "0")
    start = [*ray, "start", "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--block"]
    said = tmp_path / "ray.txt"
    with (
        said.open("w") as log,
        subprocess.Popen([*start, f"--temp-dir={folder}"], stdout=log, stderr=subprocess.STDOUT) as cluster,
    ):
        try:
            end = time.monotonic() + 120
            while "Ray runtime started" not in said.read_text():
                assert cluster.poll() is None and time.monotonic() < end, said.read_text()
                time.sleep(0.5)
            monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
            command = [sys.executable, "-m", "uce.cli", "batch", str(pictures), "-o", str(tmp_path / "out"), *flags]
            command += ["--localize-only", "--executor", "ray", "--json"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["counts"] == {"localized": 4}
            assert cluster.poll() is None, "the cluster goes on"
        finally:
            cluster.terminate()
            shutil.rmtree(folder, ignore_errors=True)
