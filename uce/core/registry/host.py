"""What a plugin may not change for others: everything of the process around it is afterwards as it was before."""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pluggy


class ExitedError(Exception):
    """A plugin called `sys.exit`, which is no way to end somebody else's run."""


@contextmanager
def kept() -> Iterator[None]:
    """Within the block `print` goes to stderr, and `sys.exit` is an error; after it the working folder, settings of
    torch, filters of warnings and random states are as they were. `KeyboardInterrupt` stays what it is.

    Raises:
        ExitedError: in the place of SystemExit, with the traceback of whoever called it.
    """
    _stdout.leave_alone()
    try:
        with restored():
            yield
    except SystemExit as error:
        code = "" if error.code is None else error.code
        raise ExitedError(f"sys.exit({code})").with_traceback(error.__traceback__) from error
    finally:
        _stdout.give_back()


@contextmanager
def restored() -> Iterator[None]:
    """After the block working folder, settings of torch, filters of warnings and random states are as before it."""
    put_back = [remember() for remember in _MEMORIES]
    try:
        yield
    finally:
        for restore in put_back:
            restore()


def kept_between(generator: Generator[Any, Any, Any]) -> Generator[Any, None, None]:
    """The same for everything that a generator does between two of its values."""
    try:
        while True:
            try:
                with kept():
                    value = next(generator)
            except StopIteration:
                return
            yield value
    finally:
        with kept():
            generator.close()


@dataclass(frozen=True)
class Call:
    """A hook that leaves the process as it found it, whatever the plugin does: see `kept`."""

    hook: pluggy.HookCaller

    def __call__(self, **arguments: Any) -> Any:
        with kept():
            result = self.hook(**arguments)
        return kept_between(result) if inspect.isgenerator(result) else result


class _Stdout:
    """Standard output, taken away as long as anybody in any thread is within a block."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.stream: TextIO | None = None

    def leave_alone(self) -> None:
        with self.lock:
            if self.depth == 0:
                self.stream, sys.stdout = sys.stdout, sys.stderr
            self.depth += 1

    def give_back(self) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                sys.stdout, self.stream = self.stream, None  # type: ignore[assignment]


_stdout = _Stdout()


def _folder() -> Callable[[], None]:
    try:
        before = Path.cwd()
    except OSError:  # somebody removed it
        return lambda: None

    def restore() -> None:
        with contextlib.suppress(OSError):
            now = None
            with contextlib.suppress(OSError):
                now = Path.cwd()
            if now != before:
                os.chdir(before)

    return restore


def _filters() -> Callable[[], None]:
    before = list(warnings.filters)

    def restore() -> None:
        if list(warnings.filters) != before:
            warnings.filters[:] = before  # type: ignore[index]
            with warnings.catch_warnings():  # leaving it makes Python look at the filters anew
                pass

    return restore


def _chance() -> Callable[[], None]:
    np: Any = sys.modules.get("numpy")  # nothing is imported for this: listing plugins must stay quick
    python, array = random.getstate(), np.random.get_state() if np else None

    def restore() -> None:
        random.setstate(python)
        if np:
            np.random.set_state(array)

    return restore


def _torch() -> Callable[[], None]:
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return lambda: None
    threads, dtype, grad = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    sums = _sums(torch)
    state = torch.get_rng_state()
    others = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None

    def restore() -> None:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if _sums(torch) != sums:
            torch.use_deterministic_algorithms(sums[0], warn_only=sums[1])
        torch.set_rng_state(state)
        if others is not None:
            torch.cuda.set_rng_state_all(others)

    return restore


def _sums(torch: Any) -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


_MEMORIES = (_folder, _filters, _chance, _torch)
