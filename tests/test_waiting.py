"""Threads that wait must not spin: set before torch is loaded, and never against the user's own setting."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from uce.waiting import QUIET, wait_quietly


def child(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own in which nobody set anything but `variables`."""
    plain = {name: value for name, value in os.environ.items() if name not in (*QUIET, "OMP_NUM_THREADS")}
    return subprocess.run(
        [sys.executable, "-c", code], env={**plain, **variables}, capture_output=True, text=True, check=True
    )


SHOW = "import os, sys; {}; assert 'torch' not in sys.modules; print({{n: os.environ.get(n) for n in {names}}})"


@pytest.mark.parametrize("module", ["uce", "uce.cli", "uce.ui.launch", "uce.core.flow.jobs"])
def test_every_door_sets_them_before_torch_is_imported(module: str) -> None:
    names = [*QUIET]
    assert child(SHOW.format(f"import {module}", names=names)).stdout.strip() == str(QUIET)


@pytest.mark.parametrize("name", [*QUIET])
def test_the_users_own_setting_stays_and_decides_for_all(name: str) -> None:
    found = child(SHOW.format("import uce", names=[*QUIET]), **{name: "7"}).stdout
    assert found.strip() == str({one: "7" if one == name else None for one in QUIET})


def test_torchs_runtime_obeys() -> None:
    shown = child("import uce, torch; torch.ones(2) + 1", OMP_DISPLAY_ENV="VERBOSE").stderr
    if "GOMP_SPINCOUNT" not in shown:
        pytest.skip("this torch has another runtime than libgomp")
    assert "GOMP_SPINCOUNT = '0'" in shown and "OMP_WAIT_POLICY = 'PASSIVE'" in shown


def test_where_torch_is_loaded_already_nothing_is_promised() -> None:
    assert "torch" in sys.modules or __import__("torch")
    before = dict(os.environ)
    assert wait_quietly() is False
    assert dict(os.environ) == before
