"""Which prompts are drawn for whom, and what is said where nobody can judge them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from uce.evaluation.judging import NO_READER, Judging
from uce.evaluation.pictures import prompts_for
from uce.evaluation.prompts import read_prompts
from uce.evaluation.settings import EvaluationSettings

PROMPTS = read_prompts("default")


def run_of(model: str) -> Any:
    return SimpleNamespace(info={"model": {"name": model}})


def chosen(*, reads: bool) -> Any:
    loaded = SimpleNamespace(description="", encode=lambda pictures: None)
    if reads:
        loaded.encode_texts = lambda texts: None
    return [SimpleNamespace(name="mine", load=lambda device: loaded)]


@pytest.mark.parametrize(
    ("model", "reads", "count"), [("sd2.1", True, 20), ("mini", True, 20), ("mini", False, 7), ("sd2.1", False, 0)]
)
def test_only_what_somebody_can_judge_is_asked(model: str, reads: bool, count: int) -> None:
    found = prompts_for(run_of(model), PROMPTS, reads)
    assert len(found) == count
    assert reads or all(prompt.background for prompt in found)


def test_who_reads_no_texts_is_told_once() -> None:
    assert Judging.of(chosen(reads=False), EvaluationSettings(), "cpu", ()).notes == [NO_READER]
    assert Judging.of(chosen(reads=True), EvaluationSettings(), "cpu", ()).notes == []
    assert Judging.of(chosen(reads=False), EvaluationSettings(prompts="none"), "cpu", ()).notes == []


def test_without_encoders_nothing_is_looked_at() -> None:
    assert Judging(EvaluationSettings(), {}).see(run_of("mini")) == {}
