"""Two at once, again and again: processes on one folder, threads on one model. One's files throughout, or one line."""

from __future__ import annotations

import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import uce
from faults.harness import Starter, Tally, leftovers, stable_bytes
from faults.test_kills import SEED, undisturbed
from faults.test_surroundings import options_of


@pytest.fixture
def two(tmp_path: Path, picture: Path) -> list[Path]:
    """Two pictures in which other things are found."""
    with Image.open(picture) as image:
        small = image.convert("RGB").resize((96, 96))
    paths = [tmp_path / "first.png", tmp_path / "second.png"]
    small.save(paths[0])
    small.rotate(90).save(paths[1])
    return paths


def race(two: list[Path], flags: list[str], tmp_path: Path, command: str, count: int) -> Tally:
    """Both commands with --overwrite on one folder, the second after a random part of the first one's time."""
    starters = [Starter(folder) for folder in (tmp_path / "a", tmp_path / "b")]
    for starter in starters:
        starter.errors.parent.mkdir()
    more = [*flags, "--overwrite", *(["--no-report"] if command == "run" else [])]
    durations, whole = [], {}
    for path in two:
        durations.append(undisturbed(starters[0], [command, path, "-o", tmp_path / path.stem, *more]))
        whole[path.name] = stable_of(tmp_path / path.stem)
    chance, tally, out = random.Random(SEED), Tally(), tmp_path / "out"
    for tally.tried in range(1, count + 1):
        first = starters[0].start([command, two[0], "-o", out, *more])
        time.sleep(chance.uniform(0, 1.1 * max(durations)))
        second = starters[1].start([command, two[1], "-o", out, *more])
        codes = []
        for starter, process in zip(starters, (first, second), strict=True):
            process.join(600)
            codes.append(process.exitcode)
            said = [line for line in starter.errors.read_text().splitlines() if line.startswith("uce: ")]
            assert (codes[-1], len(said)) in ((0, 0), (2, 1)), (codes, said)
            assert not said or "is being written by another uce right now; wait until that ends" in said[0]
        assert 0 in codes, codes
        assert stable_of(out) == whole[uce.load(out).info["input"]["name"]] and not leftovers(out)
        tally.survived += 1
        tally.report(f"two uce {command} on one folder")
    shutil.rmtree(out)
    return tally


def stable_of(folder: Path) -> dict[str, bytes]:
    """The byte-stable files, and what else shows which picture it was."""
    return stable_bytes(folder) | {name: (folder / name).read_bytes() for name in ("input.png", "overlay.png")}


def test_two_commands_on_one_folder(two: list[Path], toy: list[str], tmp_path: Path) -> None:
    assert race(two, toy, tmp_path, "localize", 2).survived == 2


@pytest.mark.faults
@pytest.mark.parametrize("command", ["run", "localize"])
def test_two_commands_on_one_folder_often(
    two: list[Path], toy: list[str], tmp_path: Path, kills: int, command: str
) -> None:
    assert race(two, toy, tmp_path, command, kills).survived == kills


@pytest.mark.faults
def test_threads_on_one_model_often(two: list[Path], mini: list[str], tmp_path: Path, kills: int) -> None:
    """Each thread finds what it finds alone, however they meet; and so does the one who comes afterwards."""
    options = options_of([flag for flag in mini if flag not in ("--concepts", "0,1")])
    alone = [uce.localize(path, **options) for path in two]
    chance, tally = random.Random(SEED), Tally()
    for tally.tried in range(1, kills + 1):
        found: dict[int, Any] = {}

        def work(index: int, wait: float, found: dict[int, Any] = found) -> None:
            time.sleep(wait)
            found[index] = uce.localize(two[index], **options)

        threads = [threading.Thread(target=work, args=(index, chance.uniform(0, 0.2))) for index in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(600)
        for index, concepts in enumerate(alone):
            assert np.array_equal(found[index].masks, concepts.masks) and np.array_equal(
                found[index].maps, concepts.maps
            )
        tally.survived += 1
        tally.report("two threads on one model")
    assert tally.survived == kills
