"""Full and read-only disks, folders that go away, clocks that jump, memory that runs out, losses that are none."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import uce
from faults.harness import Starter, leftovers, stable_bytes
from uce.core import DivergedError, OutOfMemoryError, RunFolderError
from uce.core.errors import is_out_of_memory
from uce.core.files.pictures import load_rgb
from uce.core.files.tensors import load_tensors

Cli = Callable[..., tuple[int, str, str]]
ROOT = Path(uce.__file__).parents[1]


def one_line(result: tuple[int, str, str]) -> str:
    code, _, err = result
    lines = [line for line in err.splitlines() if line.startswith("uce: ")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in err, (code, err)
    return lines[0]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`mount("size=200k")` gives a disk of that size; skipped where this process may not mount."""
    made: list[Path] = []

    def make(options: str) -> Path:
        path = tmp_path / f"disk{len(made)}"
        path.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("this process may not mount a tmpfs")
        made.append(path)
        return path

    if shutil.which("mount") is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    yield make
    for path in made:
        subprocess.run(["umount", "-l", path], check=False)


@pytest.mark.parametrize("kilobytes", [4, 12, 40, 60, 90])
def test_a_full_disk(cli: Cli, mount: Callable[[str], Path], picture: Path, toy: list[str], kilobytes: int) -> None:
    """One line; nothing half-written; once there is room, the same command with --resume makes the same bytes."""
    disk = mount(f"size={kilobytes}k")
    out = disk / "out"
    line = one_line(cli("run", picture, "-o", out, "--no-report", *toy))
    assert "No space left on device" in line and "free space" in line
    assert not leftovers(disk)
    subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
    code, _, err = cli("run", picture, "-o", out, "--no-report", "--resume", *toy)
    assert code == 0, err
    assert cli("run", picture, "-o", disk / "whole", "--no-report", *toy)[0] == 0
    assert stable_bytes(out) == stable_bytes(disk / "whole")


def test_a_full_disk_under_a_batch(cli: Cli, mount: Callable[[str], Path], picture: Path, toy: list[str]) -> None:
    disk = mount("size=400k")
    code, _, err = cli("batch", picture, ROOT / "examples" / "desk.png", "-o", disk / "out", *toy)
    assert code == 2 and "No space left on device" in err and "Traceback" not in err
    subprocess.run(["mount", "-o", "remount,size=30m", disk], check=True)
    code, _, err = cli("batch", picture, ROOT / "examples" / "desk.png", "-o", disk / "out", *toy)
    assert code == 0, err
    assert not leftovers(disk)


def test_a_read_only_disk(cli: Cli, mount: Callable[[str], Path], picture: Path, toy: list[str]) -> None:
    disk = mount("ro,size=1m")
    assert "Read-only file system" in one_line(cli("run", picture, "-o", disk / "out", *toy))
    assert "Read-only file system" in one_line(cli("batch", picture, "-o", disk / "out", *toy))


class Removing:
    """Removes the folder when a stage ends."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.folder, self.stage = folder, stage

    @uce.hookimpl
    def uce_stage_finished(self, event: Any) -> None:
        if event.stage == self.stage:
            shutil.rmtree(self.folder, ignore_errors=True)


def options_of(flags: list[str]) -> dict[str, Any]:
    """The toy's flags as keyword arguments."""
    pairs = list(zip(flags[::2], flags[1::2], strict=True))
    named = {name[2:]: value for name, value in pairs if name not in ("--set", "--plugin")}
    plugins = [value for name, value in pairs if name == "--plugin"]
    return {**named, "plugin": plugins, "set": [value for name, value in pairs if name == "--set"]}


@pytest.mark.parametrize("stage", ["extractor", "clusterer", "optimizer", "samples"])
def test_a_folder_that_is_removed_in_mid_run(picture: Path, toy: list[str], tmp_path: Path, stage: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunFolderError, match="was removed while uce worked in it; run again"):
        uce.run(picture, out, observers=[Removing(out, stage)], **options_of(toy))
    assert not out.exists(), sorted(out.rglob("*"))


def test_a_batch_whose_folder_is_removed(picture: Path, toy: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunFolderError, match="was removed while a batch worked in it; give the same command again"):
        uce.batch(picture, out, observers=[Removing(out, "optimizer")], **options_of(toy))


def test_clocks_that_jump(picture: Path, toy: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back and forth by years, between any two looks: nothing depends on the time of day, and durations stay small."""
    import time

    uce.run(picture, tmp_path / "whole", **options_of(toy))
    true_time, looks = time.time, iter(range(1_000_000))
    monkeypatch.setattr(time, "time", lambda: true_time() + (-1) ** next(looks) * 3e8)
    out = tmp_path / "out"

    class Interrupt:
        @uce.hookimpl
        def uce_step(self, event: Any) -> None:
            if event.update == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        uce.run(picture, out, observers=[Interrupt()], **options_of(toy))
    for path in out.rglob("*"):  # as if written in 2100
        os.utime(path, (4.1e9, 4.1e9))
    run = uce.run(picture, out, resume=True, **options_of(toy))
    assert stable_bytes(out) == stable_bytes(tmp_path / "whole")
    assert all(0 <= stage["seconds"] < 1000 for stage in run.info["stages"])


_LIMITED = """
import resource, sys
import torch, uce.cli, faults.warm
from uce.core.config.options import Options
with open("/proc/self/statm") as file:
    pages = int(file.read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
uce.cli.main(sys.argv[2:])
"""


def limited(megabytes: int, *arguments: Any) -> tuple[int, str, str]:
    """A command that may take so much memory more than its libraries took when they were imported."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(megabytes), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=500,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS, /proc")
@pytest.mark.parametrize("megabytes", [5, 50, 100, 150, 200, 300])
def test_memory_that_runs_out_for_real(picture: Path, mini: list[str], tmp_path: Path, megabytes: int) -> None:
    """RLIMIT_AS: one line that names what to lower, wherever it strikes; or it was enough."""
    out = tmp_path / "out"
    code, _, err = limited(megabytes, "run", picture, "-o", out, "--no-report", *mini)
    if code != 0:
        line = one_line((code, "", err))
        helps = (
            "run.micro_batch",
            "extractor.cells",
            "smaller",
            "close other programs",
        )  # the last two: nothing is read yet
        assert "memory ran out" in line and any(text in line for text in helps), line
        assert not leftovers(tmp_path)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def hungry(toy: list[str], tmp_path: Path) -> dict[str, Any]:
    source = (
        "import uce\nclass Hungry:\n    name = 'hungry'\n    @uce.hookimpl(wrapper=True)\n"
        "    def uce_optimize(self, context):\n        if context.micro_batch > 2:\n"
        '            raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried to allocate 8 GB")\n'
        "        return (yield)\n"
    )
    path = tmp_path / "hungry.py"
    path.write_text(source)
    options = options_of(toy)
    return {**options, "plugin": [*options["plugin"], str(path)], "set": [*options["set"], "run.micro_batch=8"]}


def test_memory_that_runs_out_names_the_setting(picture: Path, toy: list[str], tmp_path: Path) -> None:
    options = hungry(toy, tmp_path)
    with pytest.raises(OutOfMemoryError) as told:
        uce.run(picture, tmp_path / "out", **options)
    assert str(told.value) == (
        "memory ran out in the optimizer 'masked-denoising'; lower run.micro_batch (now 8; --set run.micro_batch=4), "
        "or allow that with --set run.shrink=true"
    )
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "failed"


def test_a_smaller_micro_batch_where_it_is_allowed(picture: Path, toy: list[str], tmp_path: Path) -> None:
    """Twice halved, recorded, and the bytes of a run that was asked for the smaller number."""
    options = hungry(toy, tmp_path)
    options["set"].append("run.shrink=true")
    run = uce.run(picture, tmp_path / "out", **options)
    assert run.info["shrunk"] == [{"micro_batch": 8, "now": 4}, {"micro_batch": 4, "now": 2}]
    again = uce.run(picture, tmp_path / "again", config=run.path / "config.yaml", plugin=options["plugin"])
    assert "shrunk" not in again.info
    asked = uce.run(picture, tmp_path / "asked", **{**options, "set": [*options["set"], "run.micro_batch=2"]})
    assert stable_bytes(run.path) == stable_bytes(again.path) == stable_bytes(asked.path)
    rows = uce.batch(picture, tmp_path / "batch", **options).rows
    assert [row["status"] for row in rows] == ["done"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        OSError(12, "Cannot allocate memory"),
        ImportError("libx.so: failed to map segment from shared object"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_what_counts_as_memory(error: BaseException) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(ValueError("out of memory is not what this says"))
    assert not is_out_of_memory(None) and not is_out_of_memory(RuntimeError("another"))


def test_a_good_picture_is_not_called_damaged_where_memory_ran_out(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(OutOfMemoryError, match=r"memory ran out while picture '.*' was read; make it smaller"):
        load_rgb(picture)


_DIVERGING = """
import torch, uce
class Poison:
    name = "poison"
    count = 0
    @uce.hookimpl(wrapper=True)
    def uce_optimize(self, backbone, context):
        predict = backbone.predict
        def poisoned(*arguments, **more):
            Poison.count += 1
            value = predict(*arguments, **more)
            return value * float("nan") if Poison.count == {at} else value
        backbone.predict = poisoned
        try:
            return (yield)
        finally:
            backbone.predict = predict
"""


def test_a_loss_that_is_no_number(picture: Path, toy: list[str], tmp_path: Path) -> None:
    """Found in its own update; names the plugin and the update; the checkpoint before it is kept, and is good."""
    path = tmp_path / "poison.py"
    path.write_text(_DIVERGING.format(at=9))
    options, out = options_of(toy), tmp_path / "out"
    heard: list[int] = []

    class Listening:
        @uce.hookimpl
        def uce_step(self, event: Any) -> None:
            heard.append(event.update)

    options["set"] += ["run.checkpoint_every=3", "optimizer.attention_weight=0"]
    with pytest.raises(DivergedError) as told:
        uce.run(picture, out, observers=[Listening()], **{**options, "plugin": [*options["plugin"], str(path)]})
    number = heard[-1] + 1
    who = f"optimizer 'masked-denoising' (uce-concepts {uce.__version__})"
    assert f"{who}: the loss of update {number} is not finite" in str(told.value)
    assert f"the last good state is kept in {out / 'stages' / 'checkpoint.safetensors'}" in str(told.value)
    assert json.loads((out / "run.json").read_text())["status"] == "failed"
    found = load_tensors(out / "stages" / "checkpoint.safetensors")
    assert found is not None and found[1]["values"]["update"] == 3 * (heard[-1] // 3)
    assert all(torch.isfinite(value).all() for value in found[0].values())
    assert not (out / "embeddings.safetensors").exists()


def test_started_without_a_warm_process(starter: Starter, picture: Path, toy: list[str], tmp_path: Path) -> None:
    """The harness forks; a plain process gives the same bytes."""
    command = ["run", str(picture), "--no-report", *toy, "-o"]
    assert starter.run([*command, tmp_path / "warm"])[0] == 0
    subprocess.run([sys.executable, "-m", "uce.cli", *command, tmp_path / "cold"], check=True, capture_output=True)
    assert stable_bytes(tmp_path / "warm") == stable_bytes(tmp_path / "cold")
