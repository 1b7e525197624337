"""Each prompt and seed is drawn once, a few at a time, and whoever looks on hears how far it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from uce.evaluation.drawing import BATCH, Drawer, Wanted, _portions, read_kept
from uce.evaluation.settings import EvaluationSettings


@settings(max_examples=60, deadline=None)
@given(st.sets(st.tuples(st.sampled_from("abcde"), st.integers(0, 30)), max_size=60))
def test_portions_cover_what_is_missing_once(missing: set[tuple[str, int]]) -> None:
    found = [
        (prompt, seed + number)
        for prompts, seed, count in _portions(list(missing))
        for prompt in prompts
        for number in range(count)
    ]
    assert sorted(found) == sorted(missing)
    assert all(len(prompts) * count <= BATCH for prompts, _, count in _portions(list(missing)))


def test_prompts_that_lack_the_same_seeds_are_asked_for_together() -> None:
    missing = [(prompt, seed) for prompt in ("a", "b", "c") for seed in (0, 1, 2)] + [("d", 7)]
    assert list(_portions(missing)) == [(["a", "b"], 0, 3), (["c"], 0, 3), (["d"], 7, 1)]


def test_nothing_is_drawn_twice_and_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def draw(prompts: list[str], run: Any, *, count: int, seed: int, **more: Any) -> Any:
        pairs = [(prompt, seed + number) for prompt in prompts for number in range(count)]
        asked.extend(pairs)
        return SimpleNamespace(pictures=[Image.new("RGB", (4, 4), (len(p), s, 0)) for p, s in pairs])

    monkeypatch.setattr("uce.evaluation.drawing.api.draw", draw)
    heard: list[tuple[int, int]] = []
    run: Any = SimpleNamespace(path=tmp_path)
    drawer = Drawer(run, EvaluationSettings(seed=3), "digest")
    sets = [
        Wanted("cup", "a <cup>", 5),
        Wanted("cat", "the <cat>", 5),
        Wanted("both", "a <cup>", 5),
    ]  # the last: the same
    drawer.draw(sets, lambda done, total: heard.append((done, total)))
    assert sorted(asked) == sorted((prompt, 3 + n) for prompt in ("a <cup>", "the <cat>") for n in range(5))
    assert heard == [(0, 10), (5, 10), (10, 10)]
    assert [picture[0, 0].tolist() for picture in drawer.read(sets[1])] == [[9, seed, 0] for seed in range(3, 8)]
    drawer.paths(sets[0])[2].write_bytes(b"no picture")
    drawer.draw(sets)  # the same lies under another name
    assert len(asked) == 10 and read_kept(drawer.paths(sets[0])[2]) is not None
    drawer.paths(sets[0])[2].write_bytes(b"no picture")
    del asked[:], heard[:]
    drawer.draw(sets[:2], lambda done, total: heard.append((done, total)))
    assert asked == [("a <cup>", 5)] and heard == [(0, 1), (1, 1)]
    drawer.draw(sets[:2])
    assert len(asked) == 1
    assert read_kept(tmp_path / "nowhere.png") is None


def test_what_pictures_depend_on_is_in_their_names() -> None:
    run: Any = SimpleNamespace(path=Path("run"))
    one = Drawer(run, EvaluationSettings(), "digest").paths(Wanted("cup", "a <cup>", 2))
    assert [path.name.rsplit("-", 1)[0] for path in one] == ["cup-s0", "cup-s1"]
    others = [
        Drawer(run, EvaluationSettings(steps=3), "digest").paths(Wanted("cup", "a <cup>", 2)),
        Drawer(run, EvaluationSettings(), "other tokens").paths(Wanted("cup", "a <cup>", 2)),
        Drawer(run, EvaluationSettings(), "digest").paths(Wanted("cup", "the <cup>", 2)),
    ]
    assert len({str(paths[0]) for paths in [one, *others]}) == 4
    assert np.unique([str(path) for path in one]).size == 2
