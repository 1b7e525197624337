"""Errors are sentences; what counts as "out of memory", whoever says so."""

from __future__ import annotations

import errno
import inspect

import pytest

from uce.core import errors
from uce.core.errors import OutOfMemoryError, UceError, is_out_of_memory, not_damaged, unknown_name


def test_everything_that_people_can_mend_is_a_uce_error() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]
    assert all(issubclass(kind, UceError) or kind is errors.UceWarning for kind in kinds)
    assert all(kind.__doc__ for kind in kinds)


def test_an_unknown_name_says_what_there_is_and_what_is_near() -> None:
    known = ["kmeans", "finch", "hdbscan"]
    assert unknown_name("clusterer", "hdbscn", known) == (
        "unknown clusterer 'hdbscn'; available: finch, hdbscan, kmeans. Did you mean 'hdbscan'?"
    )
    assert unknown_name("clusterer", "zzz", []) == "unknown clusterer 'zzz'; available: none."
    assert len(unknown_name("model", "x" * 10_000, known)) < 250


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 5 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        ImportError("libtorch.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        type("OutOfMemoryError", (RuntimeError,), {})(),
    ],
)
def test_memory_that_ran_out_is_known(error: BaseException) -> None:
    assert is_out_of_memory(error)
    outer = ValueError("damaged")
    outer.__cause__ = error
    assert is_out_of_memory(outer)
    with pytest.raises(OutOfMemoryError, match=r"a\.png"):
        not_damaged(outer, "a.png")


@pytest.mark.parametrize("error", [None, ValueError("out of memory"), OSError(errno.ENOENT, "no"), RuntimeError("no")])
def test_other_faults_are_not(error: BaseException | None) -> None:
    assert not is_out_of_memory(error)
    if error is not None:
        not_damaged(error, "a.png")


def test_errors_that_cause_each_other_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_out_of_memory(first)
