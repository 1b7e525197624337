"""What "auto" means on this machine: the device, the precision, and the threads that are free."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from uce.core import ConfigError
from uce.core.config import devices
from uce.core.config.devices import free_threads, resolve_device, resolve_run
from uce.core.flow.run_settings import RunSettings


def having(monkeypatch: pytest.MonkeyPatch, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(("cuda", "mps", "found"), [(0, False, "cpu"), (1, False, "cuda"), (0, True, "mps"),
                                                    (1, True, "cuda")])  # fmt: skip
def test_auto_takes_the_best(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, found: str) -> None:
    having(monkeypatch, cuda, mps)
    assert resolve_device("auto") == found


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "gpu", "", "cpu:x", "meta"])
def test_what_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    having(monkeypatch)
    with pytest.raises(ConfigError, match=r"is not on this machine; available: auto, cpu$"):
        resolve_device(name)


def test_a_second_gpu_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch, cuda=2)
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError, match="'cuda:2' is not on this machine; available: auto, cpu, cuda"):
        resolve_device("cuda:2")


def test_what_is_given_stays_and_the_rest_is_decided() -> None:
    found = resolve_run(RunSettings(device="cpu", threads=3, precision="bfloat16"))
    assert (found.device, found.threads, found.precision) == ("cpu", 3, "bfloat16")
    decided = resolve_run(RunSettings(device="cpu"))
    assert decided.precision == "float32" and decided.threads >= 1
    assert resolve_run(decided) == decided


@pytest.fixture(autouse=True)
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    free_threads.cache_clear()
    yield
    free_threads.cache_clear()


@pytest.mark.parametrize(("busy", "threads"), [(0.0, 4), (0.4, 4), (0.9, 3), (3.0, 1), (4.0, 1)])
def test_cores_that_others_keep_busy_are_left_to_them(
    busy: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_busy_cores", lambda: busy)
    assert resolve_run(RunSettings(device="cpu")).threads == threads


def test_a_containers_quota_counts_as_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    monkeypatch.setattr(devices, "_busy_cores", lambda: 0.0)
    assert free_threads() == 2


def test_what_the_user_says_is_not_second_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_busy_cores", lambda: pytest.fail("measured all the same"))
    assert resolve_run(RunSettings(device="cpu", threads=7)).threads == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert resolve_run(RunSettings(device="cpu")).threads == 4


def test_all_runs_of_a_process_get_the_same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([0.0, 3.0])
    monkeypatch.setattr(devices, "_busy_cores", lambda: next(loads))
    assert [resolve_run(RunSettings(device="cpu")).threads for _ in range(2)] == [4, 4]


def test_the_measured_load_is_a_number_of_cores() -> None:
    import os

    assert 0 <= devices._busy_cores(0.05) <= (os.cpu_count() or 1)
