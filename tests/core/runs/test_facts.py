"""What is written down about a run."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest
import torch

from uce.core.runs.facts import command_line, now, versions
from uce.version import __version__


def test_versions_of_what_a_result_depends_on() -> None:
    found = versions()
    assert found["uce"] == __version__ and found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert all(isinstance(value, str) and value for value in found.values())


def test_time_is_utc_to_the_second() -> None:
    stamp = datetime.fromisoformat(now())
    assert stamp.tzinfo == UTC and abs((datetime.now(UTC) - stamp).total_seconds()) < 60 and stamp.microsecond == 0


@pytest.mark.parametrize(("program", "text"), [("/usr/bin/uce", "uce run a.png"), ("notebook", "python")])
def test_the_command_as_typed(monkeypatch: pytest.MonkeyPatch, program: str, text: str) -> None:
    monkeypatch.setattr(sys, "argv", [program, "run", "a.png"])
    assert command_line() == text
