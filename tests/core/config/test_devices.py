"""What "auto" means on this machine: the device, the precision, and the threads that are free."""

from __future__ import annotations

import pytest
import torch

from uce.core import ConfigError
from uce.core.config.devices import allowed_threads, resolve_device, resolve_run
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


@pytest.mark.parametrize(("torchs", "allowed", "threads"), [(4, 4, 4), (4, 2, 2), (2, 4, 2), (1, 4, 1)])
def test_threads_are_what_torch_and_the_container_allow(
    torchs: int, allowed: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: torchs)
    monkeypatch.setattr("joblib.cpu_count", lambda: allowed)
    assert allowed_threads() == threads == resolve_run(RunSettings(device="cpu")).threads


def test_what_the_user_says_is_not_second_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr("joblib.cpu_count", lambda: pytest.fail("asked all the same"))
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert resolve_run(RunSettings(device="cpu")).threads == 4
    assert resolve_run(RunSettings(device="cpu", threads=7)).threads == 7
