"""Loaded models: the tiny ones and a diffusers model keep the rules, and each broken member is found by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import uce
from uce.core import Conditioning
from uce.testing import ContractError, check_backbone, check_plugin, tiny_backbone
from uce.testing.backbone import TinyBackbone
from uce.testing.backbones import METHODS


def broken(backbone: Any, rule: str) -> str:
    with pytest.raises(ContractError, match="breaks the rule") as caught:
        check_backbone(backbone)
    assert caught.value.rule == rule, caught.value
    return str(caught.value)


@pytest.mark.parametrize("encoders", [("clip",), ("clip_l", "clip_g")])
def test_tiny_models_keep_the_rules(encoders: tuple[str, ...]) -> None:
    check_backbone(tiny_backbone(encoders))


@pytest.mark.parametrize("fixture", ["tiny_backbone", "tiny_backbone_v"])
def test_diffusers_models_keep_the_rules(request: pytest.FixtureRequest, fixture: str) -> None:
    check_backbone(request.getfixturevalue(fixture))


@pytest.mark.parametrize("name", [*METHODS, "fingerprint", "latent_side", "encoders"])
def test_a_missing_member_is_named(name: str) -> None:
    inner = tiny_backbone()

    class Lacks:
        def __getattr__(self, asked: str) -> Any:
            if asked == name:
                raise AttributeError(asked)
            return getattr(inner, asked)

    assert f"it has no {name}" in broken(Lacks(), "all members")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("description", "two\nlines", "description is 'two"),
        ("latent_side", 8.0, "latent_side is 8.0"),
        ("precision", "double", "precision is 'double'"),
        ("encoders", ["clip"], r"encoders is ['clip']"),
    ],
)
def test_members_of_another_type(name: str, value: Any, text: str) -> None:
    backbone = tiny_backbone()
    setattr(backbone, name, value)
    assert text in broken(backbone, "all members")


Method = Callable[..., Any]


def changed(name: str, change: Callable[[Method], Method]) -> TinyBackbone:
    """The tiny model with one method made otherwise."""
    backbone = tiny_backbone()
    setattr(backbone, name, change(getattr(backbone, name)))
    return backbone


def sampled(encode: Method) -> Method:
    return lambda pixels: encode(pixels) + 0.01 * torch.randn(1)


def swallowing(tokenize: Method) -> Method:
    return lambda text, slots=None: tokenize(" ".join(text.split()[:10]), slots)


def everywhere(tokenize: Method) -> Method:
    def make(text: str, slots: Any = None) -> Any:
        prompt = tokenize(text, slots)
        return replace(prompt, slots={e: places.clamp_min(0) for e, places in prompt.slots.items()})

    return make


def deaf(encode: Method) -> Method:
    return lambda prompts, vectors=None: encode(prompts)


def dropout(predict: Method) -> Method:
    return lambda *given: predict(*given) * (torch.rand(1) + 0.5)


def cut_off(predict: Method) -> Method:
    return lambda noisy, steps, text: predict(noisy, steps, Conditioning(text.states.detach()))


@pytest.mark.parametrize(
    ("name", "change", "rule"),
    [
        ("encode_image", sampled, "same picture, same latents"),
        ("encode_image", lambda own: lambda pixels: own(pixels)[:, :3], "latents of the told size"),
        ("decode", lambda own: lambda latents: 3 * own(latents), "pixels of the told size"),
        ("tokenize", swallowing, "text that is too long"),
        ("tokenize", everywhere, "slots"),
        ("encode_prompts", deaf, "error style"),
        ("embedding_table", lambda own: lambda e: own(e).clone().requires_grad_(), "no gradient without vectors"),
        ("word_ids", lambda own: lambda word, e: [10**6], "word ids"),
        ("words", lambda own: lambda e: {"cup</w>": 1}, "words"),
        ("add_noise", lambda own: lambda x, noise, t: own(x, noise, 999 - t), "noise grows"),
        ("target", lambda own: lambda x, noise, t: noise[:, :1], "target"),
        ("predict", dropout, "same pass, same bits"),
        ("predict", cut_off, "error style"),
        ("predict", lambda own: lambda *given: own(*given)[..., :4], "prediction"),
    ],
)
def test_broken_methods(name: str, change: Any, rule: str) -> None:
    if name == "embedding_table":
        backbone = tiny_backbone()
        backbone.tables = {e: table.requires_grad_() for e, table in backbone.tables.items()}
        broken(backbone, rule)
        return
    broken(changed(name, change), rule)


class Loads:
    """Loads the tiny model under a name of its own."""

    name = "tiny-loader"

    @uce.hookimpl
    def uce_load_backbone(self, model: str) -> Any:
        return tiny_backbone() if model in ("tiny-loader", "another") else None


def test_a_plugin_that_loads_a_model_by_its_own_name_or_a_given_one() -> None:
    assert check_plugin(Loads).stages == ("backbone",)
    check_plugin(Loads, model="another")


def test_a_plugin_that_loads_nothing_that_is_known() -> None:
    with pytest.raises(ContractError, match=r"it loads none of 'nothing'.*check_plugin\(\.\.\., model=\.\.\.\)"):
        check_plugin(Loads, model="nothing")


def test_a_plugin_that_claims_every_name() -> None:
    class Greedy:
        """Takes any name."""

        @uce.hookimpl
        def uce_load_backbone(self, model: str) -> Any:
            return tiny_backbone()

    with pytest.raises(ContractError, match="it claims the model 'no-such-model-of-anybody'"):
        check_plugin(Greedy)
