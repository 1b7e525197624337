"""One model for many callers: threads take turns, folders have one writer, what is handed out is the user's."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import uce
from uce.core.errors import RunFolderError
from uce.core.files.locks import alone_in
from uce.core.work import models

STEPS = {"optimizer.steps": 2, "run.samples": 0, "run.threads": 1}


def scene(seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    picture = np.full((64, 64, 3), 210, dtype=np.uint8)
    picture[8:30, 8:30] = rng.integers(0, 256, 3)
    picture[36:58, 34:56] = rng.integers(0, 256, 3)
    return picture


def masks(model: Path, seed: int) -> bytes:
    found = uce.localize(scene(seed), model=str(model), refiner="none", clusterer="kmeans", set=STEPS)
    assert found.pixel_masks is not None
    return found.pixel_masks.numpy().tobytes()


def learned(model: Path, out: Path, **options: Any) -> bytes:
    uce.run(scene(), out, model=str(model), refiner="none", clusterer="kmeans", set=STEPS, **options)
    return (out / "embeddings.safetensors").read_bytes()


def settings_of_torch() -> tuple[Any, ...]:
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )


def test_threads_take_turns_and_get_what_each_gets_alone(tiny_pipeline: Path, tmp_path: Path) -> None:
    alone = [masks(tiny_pipeline, seed) for seed in range(4)]
    run_alone, before = learned(tiny_pipeline, tmp_path / "alone"), settings_of_torch()
    with ThreadPoolExecutor(5) as pool:
        run = pool.submit(learned, tiny_pipeline, tmp_path / "beside")
        found = list(pool.map(lambda seed: masks(tiny_pipeline, seed), range(4)))
        assert run.result() == run_alone
    assert found == alone
    assert settings_of_torch() == before


def test_asyncio_does_as_well(tiny_pipeline: Path) -> None:
    async def both() -> list[bytes]:
        return await asyncio.gather(*(asyncio.to_thread(masks, tiny_pipeline, seed) for seed in (0, 1)))

    assert asyncio.run(both()) == [masks(tiny_pipeline, 0), masks(tiny_pipeline, 1)]


def test_a_failure_does_not_outlive_its_call(tiny_pipeline: Path) -> None:
    alone, before = masks(tiny_pipeline, 0), settings_of_torch()

    class Fails:
        @uce.hookimpl
        def uce_stage_started(self, event: Any) -> None:
            raise ValueError("an observer that fails")

    with pytest.raises(Exception, match="an observer that fails"):
        uce.localize(scene(), model=str(tiny_pipeline), observers=[Fails()])
    assert settings_of_torch() == before
    with ThreadPoolExecutor(1) as pool:  # a turn that was kept would hang here
        assert pool.submit(masks, tiny_pipeline, 0).result(timeout=120) == alone


def test_settings_of_torch_are_as_before_also_after_an_error(tiny_pipeline: Path) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        before = settings_of_torch()
        masks(tiny_pipeline, 0)
        assert settings_of_torch() == before
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    "change",
    [
        lambda pipe: pipe.to(torch.float16),
        lambda pipe: pipe.enable_attention_slicing(1),
        lambda pipe: pipe.unet.load_state_dict({k: v * 0 for k, v in pipe.unet.state_dict().items()}),
        lambda pipe: pipe.vae.enable_tiling(),
        lambda pipe: pipe.text_encoder.requires_grad_(True),
    ],
    ids=["half", "slicing", "weights", "tiling", "gradients"],
)
def test_the_pipeline_that_is_handed_out_is_the_users(
    change: Callable[[Any], Any], tiny_pipeline: Path, tmp_path: Path
) -> None:
    before = learned(tiny_pipeline, tmp_path / "out")
    run = uce.load(tmp_path / "out")
    backbone = run.backbone("cpu")
    first, second = run.pipeline("cpu"), run.pipeline("cpu")
    change(first)
    assert learned(tiny_pipeline, tmp_path / "again") == before
    theirs, ours = second.unet.state_dict(), backbone.unet.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    assert second.unet.dtype == backbone.unet.dtype == torch.float32


def test_a_folder_has_one_writer(tiny_pipeline: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    message = r"out is being written by another uce right now; wait until that ends, or give another folder with -o"
    with alone_in(out), pytest.raises(RunFolderError, match=message):
        learned(tiny_pipeline, out, overwrite=True)
    assert not out.exists()
    learned(tiny_pipeline, out)
    with alone_in(out / ".." / "out"):
        for call in (
            lambda: uce.localize(scene(), out, overwrite=True, model=str(tiny_pipeline)),
            lambda: uce.learn(out, overwrite=True),
            lambda: uce.ablate(scene(), out, vary={"clusterer": ["kmeans"]}, overwrite=True),
            lambda: uce.benchmark(out, overwrite=True),
            lambda: uce.import_tokens(out / "tokens" / "asset0.safetensors", out, overwrite=True),
        ):
            with pytest.raises(RunFolderError, match="is being written by another uce right now"):
                call()
    with alone_in(tmp_path / "library" / "one"), pytest.raises(RunFolderError, match="is being written by another uce"):
        uce.Library(tmp_path / "library").add(uce.load(out), "one")
    assert {path.name for path in out.iterdir() if path.name.startswith(".")} == set()


def test_two_processes_one_folder(tiny_pipeline: Path, tmp_path: Path) -> None:
    """One ends with its own picture's files throughout, the other with one line."""
    from PIL import Image

    names = []
    for number in (0, 1):
        Image.fromarray(scene(number)).save(tmp_path / f"{number}.png")
        names.append(tmp_path / f"{number}.png")
    command = [sys.executable, "-m", "uce.cli", "-q", "localize"]
    options = ["--overwrite", "--model", str(tiny_pipeline), "--refiner", "none", "--clusterer", "kmeans"]
    runs = [
        subprocess.Popen(
            [*command, str(name), "-o", str(tmp_path / "out"), *options], stderr=subprocess.PIPE, text=True
        )
        for name in names
    ]
    errors = [run.communicate(timeout=300)[1] for run in runs]
    assert 0 in [run.returncode for run in runs] and {run.returncode for run in runs} <= {0, 2}
    for run, error in zip(runs, errors, strict=True):
        if run.returncode == 2:
            assert error.count("\n") == 1 and "is being written by another uce right now" in error
    name = uce.load(tmp_path / "out").info["input"]["name"]
    assert np.array_equal(
        np.asarray(Image.open(tmp_path / "out" / "input.png")), np.asarray(Image.open(tmp_path / name))
    )


FORK = """
import multiprocessing, sys
import numpy as np, torch, uce
def work(queue=None):
    try:
        found = uce.localize(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8), model={model!r},
                             refiner="none", clusterer="kmeans", set={{"run.threads": {threads}}})
        text = str(len(found))
    except uce.UceError as error:
        text = str(error)
    return queue.put(text) if queue else text
here = work()
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=work, args=(queue,))
child.start()
text = queue.get(timeout=200)
print("as here" if text == here else text)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("threads", "wanted"), [(1, "as here"), (2, "multiprocessing.get_context('spawn')")])
def test_a_forked_child_works_or_is_told(threads: int, wanted: str, tiny_pipeline: Path) -> None:
    assert "fork" in multiprocessing.get_all_start_methods()
    code = FORK.format(model=str(tiny_pipeline), threads=threads)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert wanted in done.stdout.strip(), done.stderr


def test_nothing_of_the_lock_survives_a_fork() -> None:
    holder = models._Holder()
    thread = threading.Thread(target=holder.turn.acquire)
    thread.start()
    thread.join()
    holder.in_child()
    assert holder.turn.acquire(timeout=1)
