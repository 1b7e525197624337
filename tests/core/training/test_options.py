"""The numbers of a training: the paper's by default, and a digest that knows each of them."""

from __future__ import annotations

import dataclasses

import pytest

from uce.core.training.options import TrainingOptions, require_one_place


def test_the_papers_numbers() -> None:
    options = TrainingOptions()
    assert (options.steps, options.merge_step, options.learning_rate, options.weight_decay) == (500, 100, 5e-4, 1e-2)
    assert (options.attention_weight, options.contrastive_weight, options.temperature) == (1e-5, 1e-3, 0.07)
    assert (options.clip, options.flip, options.alignment, options.alignment_iterations) == (1, 0.5, "sinkhorn", 200)
    assert (options.schedule, options.loss_area, options.timesteps) == ("paper", "elements", "random")


@pytest.mark.parametrize("field", dataclasses.fields(TrainingOptions), ids=lambda field: field.name)
def test_the_digest_knows_every_number(field: dataclasses.Field[object]) -> None:
    value = field.default
    other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else f"{value} x"
    assert TrainingOptions().digest() == TrainingOptions().digest()
    assert dataclasses.replace(TrainingOptions(), **{field.name: other}).digest() != TrainingOptions().digest()


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "{} {x}", "{0}", "}{}"])
def test_a_template_has_one_place(template: str) -> None:
    with pytest.raises(ValueError, match="exactly once"):
        require_one_place(template)
    assert require_one_place("a {} here") == "a {} here"
