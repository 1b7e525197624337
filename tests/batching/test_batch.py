"""A batch at work: same bytes whoever works, failures, exactly once, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import uce
from uce.core import ConfigError, ModelError, PluginError, RunFolderError

Options = dict[str, Any]
Bytes = Callable[[Path], dict[str, bytes]]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "batch.jsonl").read_text(encoding="utf-8").splitlines()]


def diary(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def test_same_bytes_whoever_works(pictures: Path, base: Options, stable_bytes: Bytes, tmp_path: Path) -> None:
    one = uce.batch(pictures, tmp_path / "one", **base)
    two = uce.batch(sorted(pictures.iterdir(), reverse=True), tmp_path / "two", executor="processes", workers=2, **base)
    assert [row["name"] for row in one.rows] == ["scene-0", "scene-1", "scene-2", "scene-3"]
    assert {row["status"] for row in one.rows + two.rows} == {"done"}
    assert stable_bytes(tmp_path / "one") == stable_bytes(tmp_path / "two")
    assert len({row["digest"] for row in one.rows}) == 4 and one.rows[0]["concepts"] == 2
    alone = uce.run(pictures / "scene 2.png", tmp_path / "alone", **{**base, "set": {**base["set"], "run.threads": 1}})
    name = "embeddings.safetensors"
    assert (alone.path / name).read_bytes() == (one.run("scene-2").path / name).read_bytes()
    assert not list((tmp_path / "two" / "work").glob("worker-*")), "workers leave no locks behind"
    page = (tmp_path / "one" / "batch.html").read_text(encoding="utf-8")
    assert page.count("<figure class=") == 4 and 'src="runs/scene-2/overlay.png"' in page


def test_a_failure_is_written_down_and_the_rest_done(pictures: Path, base: Options, tmp_path: Path) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    lines = [{"image": str(path)} for path in sorted(pictures.iterdir())]
    lines[1]["clusterer.fault"], lines[2]["clusterer.fault"] = "raise", "nothing"
    lines.append({"image": "missing.png", "name": "gone"})
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = uce.batch(tmp_path / "list.jsonl", tmp_path / "out", **base)
    by_name = {row["name"]: row for row in done.rows}
    assert [row["status"] for row in done.rows] == ["failed", "failed", "failed", "done", "done", "failed"]
    assert "not a picture in a format" in by_name["broken"]["error"]
    assert "does not exist" in by_name["gone"]["error"]
    assert "ZeroDivisionError: a <b>mess</b>; traceback in" in by_name["scene-0"]["error"]
    assert by_name["scene-1"]["empty"] and not by_name["broken"]["empty"]
    assert done.document["counts"] == {"done": 2, "failed": 4} and len(done.failures) == 4
    page = (tmp_path / "out" / "batch.html").read_text(encoding="utf-8")
    assert "a &lt;b&gt;mess" in page and "<b>mess" not in page


def test_failures_are_tried_again_and_finished_pictures_never(pictures: Path, base: Options, tmp_path: Path) -> None:
    base["set"]["clusterer.diary"] = str(tmp_path / "diary")
    good = (pictures / "scene 1.png").read_bytes()
    (pictures / "scene 1.png").write_bytes(good[:50])
    first = uce.batch(pictures, tmp_path / "out", localize_only=True, **base)
    assert first.document["counts"] == {"failed": 1, "localized": 3}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").rglob("*.png")}
    (pictures / "scene 1.png").write_bytes(good)
    again = uce.batch(pictures, tmp_path / "out", localize_only=True, **base)
    assert again.document["counts"] == {"localized": 4} and again.document["worked_on"] == 1
    assert len(diary(tmp_path / "diary")) == len(set(diary(tmp_path / "diary"))) == 4
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    added = pictures / "another.png"
    added.write_bytes((pictures / "scene 3.png").read_bytes())
    more = uce.batch(pictures, tmp_path / "out", localize_only=True, **base)
    assert [row["name"] for row in more.rows][-1] == "another" and more.document["worked_on"] == 1


def test_a_line_that_a_kill_cut_off_is_mended(pictures: Path, base: Options, tmp_path: Path) -> None:
    base["set"]["clusterer.diary"] = str(tmp_path / "diary")
    uce.batch(pictures, tmp_path / "out", localize_only=True, **base)
    index = tmp_path / "out" / "batch.jsonl"
    whole = [{**row, "seconds": 0} for row in rows_of(tmp_path / "out")]
    index.write_bytes(index.read_bytes()[:-40])
    uce.batch(pictures, tmp_path / "out", localize_only=True, **base)
    assert [{**row, "seconds": 0} for row in rows_of(tmp_path / "out")] == whole
    assert len(diary(tmp_path / "diary")) == 4


def test_a_killed_driver_loses_nothing(
    pictures: Path, base: Options, flags: list[str], stable_bytes: Bytes, tmp_path: Path
) -> None:
    """kill -9 in mid-batch: its workers end by themselves, and the next start does what is missing, same bytes."""
    flags += ["--set", "clusterer.pause=0.3", "--set", f"clusterer.diary={tmp_path / 'diary'}"]
    command = [sys.executable, "-m", "uce.cli", "batch", str(pictures), "-o", str(tmp_path / "out"), *flags]
    driver = subprocess.Popen([*command, "--executor", "processes", "--workers", "2"], stderr=subprocess.DEVNULL)
    runs = tmp_path / "out" / "runs"
    wait_for(lambda: any('"done"' in path.read_text() for path in runs.glob("*/run.json")))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    finished = [path.parent.name for path in runs.glob("*/run.json") if '"status": "done"' in path.read_text()]
    begun = len(diary(tmp_path / "diary"))
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    summary = json.loads(again.stdout)
    assert summary["counts"] == {"done": 4} and summary["worked_on"] <= 4 - len(finished)
    assert len(diary(tmp_path / "diary")) - begun <= 4 - len(finished), "a finished picture was done again"
    base["set"] |= {"clusterer.pause": 0.3, "clusterer.diary": str(tmp_path / "diary")}
    uce.batch(pictures, tmp_path / "whole", **base)
    assert stable_bytes(tmp_path / "out") == stable_bytes(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob("*.part"))


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_other_settings_are_refused_with_the_difference(pictures: Path, base: Options, tmp_path: Path) -> None:
    out = tmp_path / "out"
    uce.batch(pictures, out, localize_only=True, **base)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(ConfigError, match=r"begun with other settings: run\.seed=0, now 3; ask for the same, give"):
        uce.batch(pictures, out, localize_only=True, seed=3, **base)
    with pytest.raises(ConfigError, match=r"--localize-only=True, now False"):
        uce.batch(pictures, out, **base)
    with pytest.raises(ConfigError, match=r"run\.threads=1, now 2"):
        uce.batch(pictures, out, localize_only=True, **base | {"set": {**base["set"], "run.threads": 2}})
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == stamps, "a refusal changes nothing"
    replaced = uce.batch(pictures, out, localize_only=True, seed=3, overwrite=True, **base)
    assert replaced.document["config"]["run"]["seed"] == 3 and replaced.document["worked_on"] == 4


def test_a_picture_with_other_options_is_refused(pictures: Path, base: Options, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(f"image,seed\n{pictures / 'scene 0.png'},1\n")
    uce.batch(file, tmp_path / "out", localize_only=True, **base)
    file.write_text(f"image,seed\n{pictures / 'scene 0.png'},2\n")
    with pytest.raises(ConfigError, match=r"scene 0\.png was begun with seed=1, now 2"):
        uce.batch(file, tmp_path / "out", localize_only=True, **base)
    file.write_text(f"image,seed,name\n{pictures / 'scene 0.png'},2,second\n{pictures / 'scene 0.png'},1,\n")
    both = uce.batch(file, tmp_path / "out", localize_only=True, **base)
    assert [(row["name"], row["options"]) for row in both.rows] == [("scene-0", {"seed": 1}), ("second", {"seed": 2})]


def test_two_at_once_are_refused(pictures: Path, base: Options, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[str] = []

    class Second:
        @uce.hookimpl
        def uce_run_started(self, event: Any) -> None:
            with pytest.raises(RunFolderError) as refused:
                uce.batch(pictures, out, localize_only=True, **base)
            seen.append(str(refused.value))

    uce.batch(pictures, out, localize_only=True, observers=[Second()], **base)
    assert f"is being worked on by process {os.getpid()} on " in seen[0] and len(seen) == 4
    with FileLock(out / "work" / "batch.lock"), pytest.raises(RunFolderError, match="worked on by another process"):
        uce.batch(pictures, out, localize_only=True, **base)


def test_a_stale_lock_holds_nobody_up(pictures: Path, base: Options, tmp_path: Path) -> None:
    work = tmp_path / "out" / "work"
    work.mkdir(parents=True)
    (work / "batch.lock").touch()
    (work / "worker-0.lock").touch()
    (work / "owner.json").write_text('{"pid": 1, "host": "elsewhere", "since": "long ago", "token": "x"}')
    assert len(uce.batch(pictures, tmp_path / "out", localize_only=True, **base)) == 4


def test_a_worker_of_an_earlier_start_does_not_work(pictures: Path, tmp_path: Path) -> None:
    from uce.core.flow.jobs import Assignment
    from uce.core.work.worker import Worker

    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "owner.json").write_text('{"pid": 7, "host": "there", "token": "new"}')
    with pytest.raises(RunFolderError, match="taken over by process 7 on there"):
        Worker(Assignment(str(tmp_path), "old", {}))
    assert not list((tmp_path / "work").glob("worker-*"))


def test_what_is_wrong_is_said_before_anything_is_written(pictures: Path, base: Options, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cases: list[tuple[type[Exception], str, Options]] = [
        (PluginError, "unknown executor 'lokal'; .*Did you mean 'local'", {"executor": "lokal"}),
        (ConfigError, r"unknown key .executor\.workers.", {"workers": 2}),
        (ConfigError, "executor.retries: found -1", {"executor": "processes", "set": {"executor.retries": -1}}),
        (PluginError, "unknown clusterer", {"clusterer": "nothing"}),
        (ModelError, "no-model. does not exist", {"model": str(tmp_path / "no-model")}),
    ]
    for kind, text, changed in cases:
        with pytest.raises(kind, match=text):
            uce.batch(pictures, out, **base | changed)
        assert not out.exists()
    (tmp_path / "list.jsonl").write_text('{"image": "a.png", "optimizer.stepz": 3}')
    with pytest.raises(ConfigError, match=r"a\.png in the list: .*optimizer\.stepz"):
        uce.batch(tmp_path / "list.jsonl", out, **base)
    assert not out.exists()
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.txt").touch()
    with pytest.raises(RunFolderError, match=r"holds 'thesis\.txt', which is not a batch's"):
        uce.batch(pictures, tmp_path / "used", **base)


def test_command(pictures: Path, flags: list[str], cli: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, err = cli("batch", pictures, "-o", tmp_path / "out", "--localize-only", *flags, "--json")
    document = json.loads(out)
    assert code == 0 and document["counts"] == {"localized": 4} and document["failures"] == []
    assert "[1/4] scene-0  localized" in err
    (pictures / "x.png").touch()
    code, out, err = cli("batch", pictures, "-o", tmp_path / "out", "--localize-only", *flags)
    assert code == 2 and "5 pictures: 1 failed, 4 localized; 1 worked on" in out
    assert "4 of 5 pictures were finished before" in err and "failed: x: " in err
    code, _, err = cli("batch", pictures, "-o", tmp_path / "out", "--localize-only", *flags, "--seed", 1)
    assert code == 2 and err.count("\n") == 1 and "run.seed=0, now 1" in err
