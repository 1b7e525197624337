"""The contract kit: our own plugins pass it, and every broken rule is named with a way to mend it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ConfigDict, Field
from torch import Tensor

import uce
from uce.core import AttentionMaps, Clusters, Concepts, Context, LearnedConcepts, StageInputError, TokenPlan, hookimpl
from uce.core.flow.plugin_info import PluginInfo
from uce.core.registry.manager import load_manager
from uce.testing import (
    ContractError,
    check_plugin,
    tiny_attention,
    tiny_backbone,
    tiny_concepts,
    tiny_labels,
    tiny_picture,
)

FAST: dict[str, dict[str, Any]] = {
    "masked-denoising": {"merge_step": 1, "alignment_iterations": 10},
    "lora": {"merge_step": 1, "lora_steps": 3},
    "break-a-scene": {"second_steps": 3},
    "kmeans": {"most": 4, "restarts": 1},
    "words": {"words": ["cup"]},  # has no default: nobody else knows what is in the picture
}


# Backbones whose check needs a transformer to load: tests/plugins/backbones/test_transformers.py runs it on tiny ones.
CHECKED_WITH_A_MODEL = {"flux", "stable-diffusion-3"}


def builtins() -> list[Any]:
    ours = [info for info in load_manager().plugins if info.distribution == "uce-concepts"]
    own = [info for info in ours if info.name not in CHECKED_WITH_A_MODEL]
    return [pytest.param(info, id=f"{'-'.join(info.stages)}-{info.name}") for info in own]


@pytest.mark.parametrize("info", builtins())
def test_our_own_plugins_keep_the_contract(info: PluginInfo, tmp_path: Path, tiny_pipeline_xl: Path) -> None:
    model = str(tiny_pipeline_xl) if info.name == "stable-diffusion-xl" else None
    settings = dict(FAST.get(info.name, {}))
    if "masks" in info.settings_class.model_fields:  # it works on files of the user's
        pixel_masks = tiny_picture().to_original(tiny_concepts().masks)
        for number, mask in enumerate(pixel_masks):
            Image.fromarray(mask.numpy()).save(tmp_path / f"mask{number}.png")
        settings["masks"] = str(tmp_path)
    assert check_plugin(info.obj, settings=settings, model=model).stages == info.stages


def broken(plugin: Any, rule: str, **options: Any) -> str:
    """The text of the error, which must be about `rule`."""
    with pytest.raises(ContractError) as caught:
        check_plugin(plugin, **options)
    assert caught.value.rule == rule, caught.value
    assert caught.value.mend in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def clusterer(cluster: Any, **members: Any) -> Any:
    """A documented clusterer class around a function of (attention, context)."""

    def uce_cluster(self: Any, attention: AttentionMaps, context: Context) -> Any:
        return cluster(attention, context)

    return type("Sample", (), {"__doc__": "A sample.", "uce_cluster": hookimpl(uce_cluster), **members})


def halves(attention: AttentionMaps, context: Context | None = None) -> Clusters:
    labels = torch.zeros(attention.grid, dtype=torch.int64)
    labels[:, attention.grid[1] // 2 :] = 1
    return Clusters(labels)


def test_a_good_plugin_passes_as_class_object_and_module() -> None:
    info = check_plugin(clusterer(halves))
    assert (info.name, info.stages) == ("sample", ("clusterer",))
    assert check_plugin(clusterer(halves, name="my-halves")()).name == "my-halves"
    function = hookimpl(lambda attention: halves(attention))
    module = type(uce)("my_package.halves", "A module.")
    module.uce_cluster = function  # type: ignore[attr-defined]
    assert check_plugin(module).name == "halves"


def test_a_plugin_that_changes_its_input() -> None:
    def sharpen(attention: AttentionMaps, context: Context) -> Clusters:
        attention.affinity.cpu().numpy()[:] *= 0.5
        return halves(attention)

    text = broken(clusterer(sharpen), "inputs unchanged")
    assert "it changed attention.affinity" in text and ".clone()" in text


def test_float_labels() -> None:
    text = broken(clusterer(lambda attention, context: Clusters(torch.zeros(attention.grid))), "valid data")
    assert "labels must be integers, found torch.float32; convert them with .long()" in text


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: float(torch.rand(())), "torch's random state"),
        (lambda: float(np.random.rand()), "numpy's random state"),
        (lambda: random.random(), "Python's random state"),
    ],
)
def test_randomness_from_elsewhere(draw: Any, named: str) -> None:
    text = broken(clusterer(lambda a, c: draw() and halves(a)), "nothing global")
    assert named in text and "context.generator()" in text


def test_ignored_seed() -> None:
    def guess(attention: AttentionMaps, context: Context) -> Clusters:
        return Clusters(np.random.default_rng().integers(0, 9, attention.grid))

    text = broken(clusterer(guess), "same seed, same bytes")
    assert "called twice with the same seed it gave another labels" in text


def test_state_between_calls() -> None:
    calls: list[int] = []

    def count(attention: AttentionMaps, context: Context) -> Clusters:
        calls.append(1)
        return Clusters(torch.full(attention.grid, len(calls)))

    assert "keep no state between calls" in broken(clusterer(count), "same seed, same bytes")


def test_randomness_from_the_context_is_fine() -> None:
    def guess(attention: AttentionMaps, context: Context) -> Clusters:
        return Clusters(torch.randint(0, 4, attention.grid, generator=context.generator()))

    check_plugin(clusterer(guess))


def test_overlapping_masks() -> None:
    class Overlapping:
        """Grows every mask."""

        @hookimpl
        def uce_refine_masks(self, concepts: Concepts) -> Concepts:
            return Concepts(torch.ones_like(concepts.masks), concepts.maps, concepts.scores)

    text = broken(Overlapping, "valid data")
    assert "refiner 'overlapping' (on three concepts)" in text
    assert "masks overlap; every cell belongs to at most one concept" in text


def test_a_forgotten_cell() -> None:
    text = broken(clusterer(lambda a, c: Clusters(halves(a).labels[1:])), "no cell forgotten")
    assert "labels are (7, 8), the grid has (8, 8) cells" in text and "-1 for unassigned" in text


def test_height_and_width_mixed_up() -> None:
    text = broken(clusterer(lambda a, c: Clusters(halves(a).labels.T)), "no cell forgotten")
    assert "on a 4 x 6 grid" in text


def test_nothing_assigned() -> None:
    assert "every cell is -1" in broken(clusterer(lambda a, c: Clusters(torch.full(a.grid, -1))), "some cluster")


@pytest.mark.parametrize("result", [None, "labels", torch.zeros(8, 8)])
def test_wrong_type(result: Any) -> None:
    text = broken(clusterer(lambda a, c: result), "returned type")
    assert f"it returned {type(result).__name__}" in text and "uce_cluster returns uce.core.Clusters" in text


def test_misspelt_hook_and_argument() -> None:
    sample = type("Sample", (), {"__doc__": "x", "uce_clustr": hookimpl(lambda self, attention: None)})
    assert "unknown hook 'uce_clustr'" in broken(sample, "known hooks")
    sample = type("Sample", (), {"__doc__": "x", "uce_cluster": hookimpl(lambda self, attentions: None)})
    assert "attentions" in broken(sample, "known hooks")
    assert "implements no hook" in broken(type("Empty", (), {"__doc__": "x"}), "known hooks")


class Undescribed(uce.Settings):
    sharpness: float = 1.0


class Lenient(uce.Settings):
    model_config = ConfigDict(extra="allow", frozen=True)


class Required(uce.Settings):
    folder: str = Field(description="where the masks lie")


@pytest.mark.parametrize(
    ("settings", "rule", "text"),
    [
        (Undescribed, "every setting described", "the setting 'sharpness' has no description"),
        (Lenient, "settings", "takes unknown keys"),
        (dict, "settings", "write class Settings(uce.Settings)"),
        (Required, "settings", "pass check_plugin(..., settings={...})"),
    ],
)
def test_settings(settings: Any, rule: str, text: str) -> None:
    assert text in broken(clusterer(halves, Settings=settings), rule)


def test_settings_that_are_needed_can_be_given() -> None:
    check_plugin(clusterer(halves, Settings=Required), settings={"folder": "masks"})
    assert "refused" in broken(clusterer(halves), "settings", settings={"folder": "masks"})


def test_name_and_docstring() -> None:
    assert "'My_Halves'" in broken(clusterer(halves, name="My_Halves"), "kebab-case name")
    assert "`uce plugins`" in broken(clusterer(halves, __doc__=None), "docstring")


def test_a_class_that_needs_arguments() -> None:
    def init(self: Any, clusters: int) -> None: ...

    assert "made without arguments" in broken(clusterer(halves, __init__=init), "made without arguments")


def refuse(error: Exception) -> Any:
    """A clusterer that takes two things and refuses maps without structure with `error`."""

    def cluster(attention: AttentionMaps, context: Context) -> Clusters:
        if attention.saliency.std(correction=0) == 0:
            raise error
        return halves(attention)

    return clusterer(cluster)


def test_refusals_of_degenerate_input() -> None:
    check_plugin(refuse(StageInputError("every row is the same; choose another picture")))
    assert "it raised IndexError: list index" in broken(refuse(IndexError("list index")), "error style")
    assert "raise a uce.core.StageInputError" in broken(refuse(uce.UceError("every row is the same")), "error style")
    assert "not one sentence" in broken(refuse(StageInputError("bad")), "error style")
    assert "not one sentence" in broken(refuse(StageInputError("bad things\nTraceback: ...")), "error style")


def test_refusal_of_ordinary_input() -> None:
    def cluster(attention: AttentionMaps, context: Context) -> Clusters:
        raise StageInputError("the grid needs 16 x 16 cells")

    assert "it refused: the grid needs 16 x 16 cells" in broken(clusterer(cluster), "works on ordinary input")


def test_a_picture_that_is_missing() -> None:
    class Reader:
        """Reads the picture."""

        @hookimpl
        def uce_cluster(self, attention: AttentionMaps, image: Any) -> Clusters:
            assert image.pixels is not None
            return halves(attention)

    assert "bare maps (image is None)" in broken(Reader, "error style")


def test_global_settings_stay() -> None:
    def cluster(attention: AttentionMaps, context: Context) -> Clusters:
        torch.set_grad_enabled(False)
        return halves(attention)

    assert "torch's gradient mode" in broken(clusterer(cluster), "nothing global")
    assert torch.is_grad_enabled()


def test_unknown_events() -> None:
    def cluster(attention: AttentionMaps, context: Context) -> Clusters:
        context.emit("half done")
        return halves(attention)

    assert "it emitted str" in broken(clusterer(cluster), "events")


def test_refiner_results() -> None:
    class Coarse:
        """Halves the grid."""

        @hookimpl
        def uce_refine_masks(self, concepts: Concepts) -> Concepts:
            masks = concepts.masks[:, ::2, ::2]
            return Concepts(masks, masks.flatten(1).float(), concepts.scores)

    class Small:
        """Pixel masks at the model's size."""

        @hookimpl
        def uce_refine_masks(self, concepts: Concepts) -> Concepts:
            pixels = torch.zeros(len(concepts), 32, 32, dtype=torch.bool)
            return Concepts(concepts.masks, concepts.maps, concepts.scores, pixels)

    assert "belong into pixel_masks" in broken(Coarse, "same grid")
    assert "(32, 32), the picture is (40, 48)" in broken(Small, "pixel masks at the picture's size")


def test_initializer_results() -> None:
    def initializer(plan: Any) -> Any:
        def uce_initialize_tokens(self: Any, concepts: Concepts, backbone: Any) -> TokenPlan:
            return plan(len(concepts), backbone)

        members = {"__doc__": "A sample.", "uce_initialize_tokens": hookimpl(uce_initialize_tokens)}
        return type("Sample", (), members)

    def tokens(count: int) -> tuple[str, ...]:
        return tuple(f"<t{k}>" for k in range(count))

    one = initializer(lambda k, backbone: TokenPlan(tokens(k), {"clip": torch.zeros(k, 1, 6)}))
    assert "loop over backbone.encoders" in broken(one, "every text encoder")
    wide = initializer(lambda k, b: TokenPlan(tokens(k), {e: torch.zeros(k, 1, 768) for e in b.encoders}))
    assert "backbone.embedding_table(encoder)" in broken(wide, "vectors of the encoder's width")
    few = initializer(lambda k, backbone: TokenPlan(("<t>",), {"clip": torch.zeros(1, 1, 6)}))
    assert "1 tokens for 3 concepts" in broken(few, "a token per concept")


def test_optimizer_results() -> None:
    def optimizer(change: Any) -> Any:
        def uce_optimize(self: Any, plan: TokenPlan, backbone: Any) -> LearnedConcepts:
            learned = {encoder: start.mean(dim=1, keepdim=True) for encoder, start in plan.starts.items()}
            return LearnedConcepts(**{"tokens": plan.tokens, "embeddings": learned, **change(plan, backbone)})

        return type("Sample", (), {"__doc__": "A sample.", "uce_optimize": hookimpl(uce_optimize)})

    check_plugin(optimizer(lambda plan, backbone: {}))
    renamed = optimizer(lambda plan, backbone: {"tokens": tuple(f"<x{k}>" for k in range(len(plan.tokens)))})
    assert "keep plan.tokens" in broken(renamed, "the plan's tokens")
    unnamed = optimizer(lambda plan, backbone: {"history": [{"loss": 1.0}]})
    assert "'update', 'phase'" in broken(unnamed, "history")
    tensors = optimizer(lambda plan, backbone: {"history": [{"update": 1, "phase": "", "loss": torch.ones(())}]})
    assert "float(value)" in broken(tensors, "history")

    def overwrite(plan: TokenPlan, backbone: Any) -> dict[str, Any]:
        backbone.embedding_table(backbone.encoders[0])[5] = 0
        return {}

    assert "it changed backbone.tables.clip" in broken(optimizer(overwrite), "inputs unchanged")


def test_extractor_results() -> None:
    class Flat:
        """Sees nothing."""

        @hookimpl
        def uce_extract_attention(self, backbone: Any) -> AttentionMaps:
            return tiny_attention((8, 8), things=0)

    assert "every row of affinity is the same" in broken(Flat, "affinity of this picture")


def test_tiny_inputs() -> None:
    maps = tiny_attention((4, 6), things=2)
    assert maps.grid == (4, 6) and torch.equal(maps.affinity, tiny_attention((4, 6), things=2).affinity)
    inside = tiny_labels((4, 6)) > 0
    assert float(maps.saliency[inside].min()) > float(maps.saliency[~inside].max())
    assert len(tiny_concepts()) == 3 and tiny_picture().size == (40, 48)


@pytest.mark.parametrize("encoders", [("clip",), ("clip_l", "clip_g")])
def test_tiny_backbone(encoders: tuple[str, ...]) -> None:
    backbone = tiny_backbone(encoders)
    tokens = {"<a>": {e: torch.ones(1, backbone.embedding_table(e).shape[1]) for e in encoders}}
    first, again, plain = (backbone.generate(["a photo of <a>"], t, seeds=[3], steps=2) for t in (tokens, tokens, None))
    assert first[0].tobytes() == again[0].tobytes() != plain[0].tobytes()
    with pytest.raises(StageInputError, match="the text has 30 tokens, this model reads 22"):
        backbone.tokenize("word " * 30)


def test_gradient_reaches_vectors_through_the_tiny_backbone() -> None:
    backbone: Any = tiny_backbone()
    vectors: dict[str, Tensor] = {"clip": torch.ones(1, 6, requires_grad=True)}
    prompt = backbone.tokenize("a photo of <a>", {"<a>": 0})
    latents = backbone.encode_image(tiny_picture().pixels[None])
    prediction = backbone.predict(latents, torch.tensor([500]), backbone.encode_prompts([prompt], vectors))
    prediction.square().sum().backward()
    assert vectors["clip"].grad is not None and float(vectors["clip"].grad.abs().sum()) > 0


def test_uce_testing_is_there_without_import() -> None:
    assert uce.testing.check_plugin is check_plugin
