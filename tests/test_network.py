"""No call that the user did not name: the main job with the network switched off, and with every address refused."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import uce

ROOT = Path(uce.__file__).parents[1]
SMALL = {
    "optimizer.steps": 2,
    "optimizer.merge_step": 1,
    "run.sample_steps": 1,
    "run.threads": 1,
    "extractor.cells": 16,
}


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("unshare") is None, reason="unshare is Linux's")
def test_the_main_job_without_a_network(tmp_path: Path) -> None:
    """In a network namespace that holds nothing, not even a way to itself."""
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this process may not make a network namespace")
    settings = [text for key, value in SMALL.items() for text in ("--set", f"{key}={value}")]
    command = ["unshare", "-n", sys.executable, "-m", "uce.cli", "run", ROOT / "examples" / "meadow.png"]
    # whatever switches libraries off the network elsewhere in this suite must not help here
    environment = {key: value for key, value in os.environ.items() if "OFFLINE" not in key}
    done = subprocess.run(
        [*map(str, command), "-o", str(tmp_path / "out"), "--concepts", "0", *settings],
        capture_output=True, text=True, check=False, env={**environment, "PYTHONPATH": str(ROOT)}, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "embeddings.safetensors").is_file()


def test_no_socket_leaves_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Localise, learn, draw, export: nobody connects, sends, or looks up a name."""
    called: list[str] = []

    def refuse(name: str) -> Any:
        def guard(*arguments: Any, **more: Any) -> Any:
            called.append(f"{name}{arguments!r:.100}")
            raise AssertionError(called[-1])

        return guard

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse(name))
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse(name))
    run = uce.run(ROOT / "examples" / "meadow.png", tmp_path / "out", set={**SMALL, "run.samples": 0}, concepts=[0])
    uce.generate(f"a photo of {run.concepts[0].token}", run, steps=1)
    uce.export(run, "diffusers", tmp_path / "export")
    assert not called
