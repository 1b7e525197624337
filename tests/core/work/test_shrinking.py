"""Memory that runs out: the same again with half the micro-batch where that is allowed, and told where it is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uce.core.config.options import Options
from uce.core.config.resolving import load_config_file
from uce.core.errors import OutOfMemoryError
from uce.core.flow.run_settings import RunSettings, what_to_lower
from uce.core.registry.manager import load_manager
from uce.core.runs.folder import RunFolder
from uce.core.work.pipeline import Work
from uce.core.work.shrinking import shrinking
from uce.testing import tiny_backbone


def work(folder: Path | None = None, micro_batch: int = 8, shrink: bool = True) -> Work:
    manager = load_manager()
    settings = {"run.micro_batch": micro_batch, "run.shrink": shrink, "run.device": "cpu"}
    config = Options(set=settings).resolve(manager)
    return Work(manager, config, tiny_backbone(), folder=None if folder is None else RunFolder(folder))


def body(fits: int, seen: list[int]) -> Any:
    def run(work: Work) -> int:
        seen.append(work.config.run.micro_batch)
        if seen[-1] > fits:
            raise OutOfMemoryError(f"memory ran out at {seen[-1]}")
        return seen[-1]

    return run


@pytest.mark.parametrize(("begin", "fits", "wanted"), [(8, 8, [8]), (8, 2, [8, 4, 2]), (7, 1, [7, 3, 1])])
def test_halves_until_it_fits(begin: int, fits: int, wanted: list[int]) -> None:
    seen: list[int] = []
    assert shrinking(work(micro_batch=begin), body(fits, seen)) == wanted[-1] and seen == wanted


@pytest.mark.parametrize(("begin", "allowed", "tries"), [(8, False, [8]), (1, True, [1]), (4, True, [4, 2, 1])])
def test_what_is_not_allowed_or_cannot_be_halved_is_raised(begin: int, allowed: bool, tries: list[int]) -> None:
    seen: list[int] = []
    with pytest.raises(OutOfMemoryError, match=f"memory ran out at {tries[-1]}$"):
        shrinking(work(micro_batch=begin, shrink=allowed), body(0, seen))
    assert seen == tries


def test_other_errors_are_nobodys_reason_to_shrink() -> None:
    def fails(work: Work) -> None:
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        shrinking(work(), fails)


def test_the_folder_says_what_happened_before_it_is_used(tmp_path: Path) -> None:
    first = work(tmp_path)
    RunFolder(tmp_path).update_run(status="running")
    stored: list[Any] = []

    def run(work: Work) -> None:
        if work is not first:
            stored.append(load_config_file(tmp_path / "config.yaml")["run"]["micro_batch"])
        body(2, [])(work)

    shrinking(first, run)
    assert stored == [4, 2] and first.config.run.micro_batch == 8
    assert RunFolder(tmp_path).read_run()["shrunk"] == [{"micro_batch": 8, "now": 4}, {"micro_batch": 4, "now": 2}]


@pytest.mark.parametrize(
    ("device", "precision", "backbone", "ways"),
    [
        ("cpu", "float32", None, ["bfloat16"]),
        ("cpu", "bfloat16", None, []),
        ("cpu", "bfloat16", SimpleNamespace(), []),
        ("cpu", "bfloat16", SimpleNamespace(checkpointing=False, offload=False), ["model.checkpointing=true"]),
        ("cuda:1", "float32", SimpleNamespace(checkpointing=False, offload=False),
         ["model.checkpointing=true", "model.offload=true", "bfloat16"]),
        ("cuda", "float16", SimpleNamespace(checkpointing=True, offload=True), []),
    ],
)  # fmt: skip
def test_ways_that_are_not_taken_yet(device: str, precision: Any, backbone: Any, ways: list[str]) -> None:
    run = RunSettings(device=device, precision=precision, micro_batch=1)
    said = what_to_lower(run, "optimizer", None, backbone)
    start, end = "run.micro_batch is 1 already: ", "use a smaller model, or a machine with more memory"
    assert said.startswith(start) and said.endswith(end)
    told = said[len(start) : -len(end)]
    assert told.count(", ") == len(ways) and all(f"{way}, " in told for way in ways)
