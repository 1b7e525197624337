"""What crosses to workers: one line of text each, and back as it was."""

from __future__ import annotations

import pytest

from uce.core.flow.jobs import Assignment, Job, Outcome, lost


@pytest.mark.parametrize(
    "value",
    [
        Assignment("/out", "t0", {"run": {"threads": 2, "device": "cpu"}}, True, ["a.py"], ["b"]),
        Job("é 1", "https://example.org/a b.png?x=1", {"names": ["cup"], "seed": 3}),
        Outcome("a", "failed", "line one\nline two \u2028", True, 1.5, 3),
    ],
)
def test_one_line_there_and_back(value: Assignment | Job | Outcome) -> None:
    text = value.to_text()
    assert len(text.splitlines()) == 1 and text.isascii()
    assert type(value).from_text(text) == value


def test_what_holds_for_every_picture() -> None:
    assignment = Assignment("/out", "t0", {"run": {"threads": 2, "device": "cuda:1"}})
    assert (assignment.threads, assignment.device) == (2, "cuda:1")


@pytest.mark.parametrize(("attempts", "times"), [(1, "once"), (3, "3 times")])
def test_a_lost_job_says_how_often(attempts: int, times: str) -> None:
    outcome = lost(Job("a", "a.png"), attempts, "exit code -9")
    assert (outcome.name, outcome.status, outcome.attempts, outcome.empty) == ("a", "failed", attempts, False)
    assert f"its worker died {times} (exit code -9); memory may be short" in (outcome.error or "")
