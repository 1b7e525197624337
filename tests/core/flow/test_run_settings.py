"""Settings of model and run: what is refused, and the advice for memory, which must help."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from uce.core.flow.run_settings import ModelSettings, RunSettings, what_to_lower


@pytest.mark.parametrize("value", ["../secret", "a/../b", "", "-x", "a b", "x" * 200])
@pytest.mark.parametrize("field", ["revision", "variant"])
def test_names_that_become_parts_of_paths(field: str, value: str) -> None:
    with pytest.raises(ValidationError, match="give a name of letters, digits"):
        ModelSettings(**{field: value})


def test_usual_names_are_taken() -> None:
    found = ModelSettings(revision="refs/pr/3", variant="fp16")
    assert (found.revision, found.variant) == ("refs/pr/3", "fp16")


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"seed": 2**63}, {"precision": "int8"}, {"fit": "squash"}, {"threads": -1},
              {"samples": 65}, {"guidance": 51}, {"unknown": 1}],
)  # fmt: skip
def test_bad_values(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        RunSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("now", "half"), [(8, 4), (2, 1), (3, 1)])
def test_the_advice_halves_the_micro_batch(now: int, half: int) -> None:
    text = what_to_lower(RunSettings(micro_batch=now), "optimizer")
    assert f"now {now}; --set run.micro_batch={half})" in text and "run.shrink=true" in text


def test_the_advice_does_not_lower_what_is_lowest() -> None:
    assert "1 already" in what_to_lower(RunSettings(micro_batch=1), "optimizer")
    run, model = RunSettings(micro_batch=8), SimpleNamespace(latent_side=16)
    assert "extractor.cells=16" in what_to_lower(run, "extractor", SimpleNamespace(cells=32), model)
    assert "extractor.cells" not in what_to_lower(run, "extractor", SimpleNamespace(cells=None), model)
