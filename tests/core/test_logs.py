"""Logging: one logger per module, quiet by default, JSON lines where asked, inherited by workers."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from drawn import two_squares
from PIL import Image

from uce.core import logs

Cli = Callable[..., tuple[int, str, str]]
TOY = ["--model", "toy", "--plugin", str(Path(__file__).parents[1] / "toy_plugin.py"), "--extractor", "toy",
       "--clusterer", "toy", "--refiner", "none", "--set", "run.threads=1"]  # fmt: skip


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (logs.LEVEL, logs.JSON):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    yield
    logger = logging.getLogger("uce")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(two_squares(20, 24)).save(path)
    return path


def test_nothing_is_said_unless_asked(cli: Cli, picture: Path, tmp_path: Path) -> None:
    code, out, err = cli("localize", picture, "-o", tmp_path / "out", *TOY)
    assert code == 0 and err == "" and out.startswith("model tiny (cpu, float32)")


def test_verbose_says_what_happens(cli: Cli, picture: Path, tmp_path: Path) -> None:
    code, _, err = cli("-v", "localize", picture, "-o", tmp_path / "out", *TOY)
    lines = err.splitlines()
    assert code == 0 and all(line.startswith("uce INFO ") for line in lines)
    assert any(line.startswith("uce INFO core.work.pipeline: clusterer toy finished after ") for line in lines)
    assert lines[-1] == "uce INFO core.work.opening: run ended: localized"
    _, _, more = cli("-vv", "localize", picture, "-o", tmp_path / "out", "--overwrite", *TOY)
    assert "uce DEBUG core.work.pipeline: clusterer toy begins; key " in more


def test_quiet_leaves_results_and_errors(cli: Cli, picture: Path, tmp_path: Path) -> None:
    code, out, err = cli("-q", "localize", picture, "-o", tmp_path / "out", *TOY)
    assert code == 0 and err == "" and "<asset0>" in out and "model tiny" not in out
    code, _, err = cli("-q", "localize", tmp_path / "none.png", "-o", tmp_path / "other", *TOY)
    assert code == 2 and err.startswith("uce: picture ")


def test_json_lines_and_nothing_else(cli: Cli, picture: Path, tmp_path: Path) -> None:
    code, out, err = cli("-v", "--log-json", "localize", picture, "-o", tmp_path / "out", "--json", *TOY)
    records = [json.loads(line) for line in err.splitlines()]
    assert code == 0 and json.loads(out)["status"] == "localized" and len(records) > 3
    assert all(set(r) == {"time", "level", "logger", "message", "process"} for r in records)
    assert {r["logger"] for r in records} >= {"uce.core.work.pipeline", "uce.core.work.opening"}
    code, _, err = cli("--log-json", "localize", tmp_path / "none.png", "-o", tmp_path / "other", *TOY)
    (record,) = map(json.loads, err.splitlines())
    assert code == 2 and record["level"] == "ERROR" and "none.png" in record["message"]
    code, _, err = cli("--log-json", "batch", tmp_path / "none.txt", "-o", tmp_path / "many", *TOY)
    assert code == 2 and json.loads(err)["level"] == "ERROR"


def test_failures_of_a_batch_are_json_too(cli: Cli, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    code, _, err = cli("--log-json", "batch", tmp_path / "*.png", "-o", tmp_path / "many", "--localize-only", *TOY)
    messages = [json.loads(line)["message"] for line in err.splitlines()]
    assert code == 2 and messages[0].startswith("failed: bad: ") and "1 of 2 pictures failed" in messages[1]


def test_workers_do_as_they_were_told(picture: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uce.cli", "-v", "--log-json", "batch", str(picture), "-o", str(tmp_path / "out")]
    command += ["--executor", "processes", "--workers", "1", "--localize-only", *TOY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert len({record["process"] for record in records if record["message"]}) == 2
    assert any(r["logger"] == "uce.core.work.worker" and r["message"] == "picture localized" for r in records)


def test_a_library_user_configures_it_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="uce"):
        logging.getLogger("uce.core.work.pipeline").info("heard")
    assert "heard" in caplog.text
    logs.configure(verbosity=1)
    logs.configure(verbosity=5)
    assert len(logging.getLogger("uce").handlers) == 1 and os.environ[logs.LEVEL] == "DEBUG"
    os.environ[logs.LEVEL] = "NONSENSE"
    logs.configure_from_environment()
    assert logging.getLogger("uce").level == logging.WARNING
