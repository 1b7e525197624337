"""Executor processes: replaces what dies, gives up after a while, ends its workers."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import uce
from uce.core import RunFolderError
from uce.core.flow.jobs import Assignment, Job
from uce.plugins.executors.processes import ProcessesExecutor
from uce.testing import check_plugin

Options = dict[str, Any]


def test_contract() -> None:
    assert check_plugin(ProcessesExecutor).stages == ("executor",)


def test_a_dead_worker_is_replaced(pictures: Path, base: Options, tmp_path: Path) -> None:
    base["set"] |= {"clusterer.fault": "die", "clusterer.diary": str(tmp_path / "diary")}
    lines = [{"image": str(path), "clusterer.deaths": n} for n, path in enumerate(sorted(pictures.iterdir())[:3])]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    base["set"]["executor.retries"] = 1
    done = uce.batch(tmp_path / "list.jsonl", tmp_path / "out", executor="processes", workers=1, **base)
    assert [(row["status"], row["attempts"]) for row in done.rows] == [("done", 1), ("done", 2), ("failed", 2)]
    assert "its worker died 2 times (signal 9)" in done.failures[0]["error"]
    again = uce.batch(tmp_path / "list.jsonl", tmp_path / "out", **base | {"set": without_executor(base["set"])})
    assert again.document["counts"] == {"done": 3} and again.document["worked_on"] == 1


def without_executor(settings: Options) -> Options:
    return {key: value for key, value in settings.items() if not key.startswith("executor.")}


def test_ctrl_c_ends_the_workers(pictures: Path, flags: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "uce.cli", "batch", str(pictures), "-o", str(out), "--executor", "processes"]
    command += ["--workers", "1", *flags, "--set", "clusterer.pause=600"]
    # a shell's background job, as CI may be, ignores the signal, and so would what it starts
    usual = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=usual)
    end = time.monotonic() + 240
    while not list((out / "runs").glob("*/run.json")):
        assert time.monotonic() < end
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert f"uce: interrupted; continue with the same command ({out} keeps the checkpoint)" in err
    assert [path.name for path in (out / "work").iterdir()] == ["batch.lock"]


def test_what_a_worker_refuses_ends_the_batch(tmp_path: Path) -> None:
    jobs, assignment = [Job("a", "a.png")], Assignment(str(tmp_path), "t", {"run": {"threads": 1, "device": "cpu"}})
    (tmp_path / "work").mkdir()
    with pytest.raises(RunFolderError, match="is not worked on, as seen from here"):
        list(ProcessesExecutor().uce_execute(jobs, assignment, ProcessesExecutor.Settings()))
