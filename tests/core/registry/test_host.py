"""A plugin cannot hurt its host."""

from __future__ import annotations

import os
import random
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from uce.core.registry.host import ExitedError, kept, kept_between


def wreck(folder: Path) -> None:
    """All that a careless plugin does."""
    os.chdir(folder)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(not torch.is_grad_enabled())
    torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())
    warnings.simplefilter("ignore")
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


def state() -> list[object]:
    return [
        Path.cwd(), torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(), list(warnings.filters), random.getstate(),
        np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
    ]  # fmt: skip


@pytest.mark.parametrize("error", [None, ValueError("x"), SystemExit(0)])
def test_everything_is_as_it_was(tmp_path: Path, error: BaseException | None) -> None:
    before = state()
    try:
        with kept():
            wreck(tmp_path)
            changed = state()
            if error is not None:
                raise error
    except (ValueError, ExitedError):
        pass
    assert all(a != b for a, b in zip(before, changed, strict=True)), "or this would prove nothing"
    assert state() == before


def test_a_filter_that_was_put_back_counts() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with kept():
            warnings.simplefilter("ignore")
            warnings.warn("unheard", UserWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="heard"):
            warnings.warn("heard", UserWarning, stacklevel=1)


def test_print_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with kept():
        print("a plugin")
        with kept():
            print("inside")
        print("still")
    print("we")
    assert tuple(capsys.readouterr()) == ("we\n", "a plugin\ninside\nstill\n")


def test_two_threads_in_any_order_give_standard_output_back() -> None:
    before, first, second = sys.stdout, threading.Event(), threading.Event()

    def early() -> None:
        with kept():
            first.set()
            second.wait(10)

    thread = threading.Thread(target=early)
    thread.start()
    first.wait(10)
    with kept():
        second.set()
        thread.join()
        assert sys.stdout is sys.stderr
    assert sys.stdout is before


@pytest.mark.parametrize(("code", "text"), [(None, r"sys.exit\(\)"), (0, r"sys.exit\(0\)"), ("no", r"sys.exit\(no\)")])
def test_exit_is_an_error_with_the_traceback_of_who_called(code: object, text: str) -> None:
    def leave() -> None:
        sys.exit(code)  # type: ignore[arg-type]

    with pytest.raises(ExitedError, match=text) as caught, kept():
        leave()
    assert caught.traceback[-1].name == "leave"


def test_an_interruption_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt), kept():
        raise KeyboardInterrupt


def test_a_generator_is_watched_between_its_values(tmp_path: Path) -> None:
    closed = []

    def values() -> object:
        try:
            wreck(tmp_path)
            yield 1
            yield 2
        finally:
            closed.append(True)

    before = state()
    for value in kept_between(values()):  # type: ignore[arg-type]
        assert state() == before
        if value == 1:
            break
    assert state() == before and closed == [True]


def test_a_folder_that_is_gone_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with kept():
        os.chdir(tmp_path)
    assert Path.cwd() == tmp_path
