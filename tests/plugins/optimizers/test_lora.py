"""Tokens, then LoRA: on the doubles, on a diffusers model, and through the command line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

import uce
from uce.core import (
    Concepts,
    ConfigError,
    Context,
    LearnedConcepts,
    StageInputError,
    Step,
    TokenPlan,
    TrainedWeights,
    use_weights,
)
from uce.core.files.writing import write_safetensors
from uce.core.training.model_weights import ModelWeights
from uce.core.training.rows import TokenRows
from uce.plugins.optimizers.lora import LoraOptimizer
from uce.plugins.optimizers.masked_denoising import MaskedDenoisingOptimizer
from uce.testing import check_plugin, tiny_backbone, tiny_concepts, tiny_picture
from uce.testing.cases import tiny_plan

FEW: dict[str, Any] = {"steps": 3, "merge_step": 1, "lora_steps": 4}


def learn(backbone: Any = None, concepts: Concepts | None = None, plan: TokenPlan | None = None, **given: Any) -> Any:
    """Train on the double of uce.testing, or on another model. `given`: context fields and settings."""
    backbone = backbone or tiny_backbone()
    concepts = tiny_concepts() if concepts is None else concepts
    fields = {key: given.pop(key) for key in ("seed", "checkpoint", "checkpoint_every", "emit") if key in given}
    context = Context(stage="optimizer", **fields)
    plan = plan or tiny_plan(backbone, len(concepts), 2)
    picture = tiny_picture(side=backbone.picture_side)
    settings = LoraOptimizer.Settings(**(FEW | given))
    return LoraOptimizer().uce_optimize(plan, concepts, backbone, picture, settings, context)


def raw(learned: LearnedConcepts) -> bytes:
    tensors = [*learned.embeddings.values(), *(learned.weights or {}).values()]
    return b"".join(value.numpy().tobytes() for value in tensors)


def test_keeps_the_contract():
    assert check_plugin(LoraOptimizer, settings=FEW).stages == ("optimizer",)


def test_tokens_learn_at_their_own_rate_in_the_second_phase(monkeypatch: pytest.MonkeyPatch):
    rates: list[float] = []
    update = TokenRows.update

    def record(self: TokenRows, learning_rate: float, *rest: Any) -> None:
        rates.append(learning_rate)
        update(self, learning_rate, *rest)

    monkeypatch.setattr(TokenRows, "update", record)
    learn(learning_rate=0.5, rate_unit="absolute", token_rate=0.1, cool_down=0.0)
    assert rates == pytest.approx([0.5] * 3 + [0.05] * 4)
    rates.clear()
    learn(learning_rate=0.5, rate_unit="absolute", token_rate=0.0, cool_down=0.0)
    assert rates == [0.5] * 3, "0 keeps them"


def test_first_phase_is_masked_denoising():
    settings = LoraOptimizer.Settings(**FEW)
    same = MaskedDenoisingOptimizer.Settings(
        **{
            key: value
            for key, value in settings.model_dump().items()
            if key in MaskedDenoisingOptimizer.Settings.model_fields
        }
    )
    backbone, concepts = tiny_backbone(), tiny_concepts()
    plan, picture = tiny_plan(backbone, 3, 2), tiny_picture(side=backbone.picture_side)
    wanted = MaskedDenoisingOptimizer().uce_optimize(
        plan, concepts, backbone, picture, same, Context(stage="optimizer")
    )
    found = learn(lora_steps=0)
    assert raw(found) == raw(wanted) and found.history == wanted.history and found.weights is None
    assert learn().history[: len(wanted.history)] == wanted.history


def test_events_and_history_count_through_both_phases():
    events: list[Step] = []
    learned = learn(emit=events.append)
    assert [event.update for event in events] == list(range(1, 8)) and {event.total for event in events} == {7}
    assert [event.phase for event in events] == [row["phase"] for row in learned.history]
    assert Counter(event.phase for event in events) == {"split": 1, "merged": 2, "lora": 4}
    assert [row["update"] for row in learned.history] == list(range(1, 8))
    assert [row["step"] for row in learned.history] == list(range(1, 8))


def test_second_phase_lowers_the_masked_error():
    learned = learn(steps=10, lora_steps=80, lora_rate=0.02, flip=0.0)
    errors = [row["masked_mse"] for row in learned.history if row["phase"] == "lora"]
    assert sum(errors[-20:]) < 0.8 * sum(errors[:20])


def test_tokens_can_be_kept_in_the_second_phase():
    tokens, kept, moved = learn(lora_steps=0), learn(token_rate=0), learn()
    assert torch.equal(kept.embeddings["clip"], tokens.embeddings["clip"])
    assert not torch.equal(moved.embeddings["clip"], tokens.embeddings["clip"])
    assert any(value.abs().max() > 0 for name, value in kept.weights.items() if name.endswith("up.weight"))


def test_same_seed_same_bytes():
    assert raw(learn(seed=4)) == raw(learn(seed=4)) != raw(learn(seed=5))


@pytest.mark.parametrize("stop", [2, 3, 4, 6, 7])
@pytest.mark.parametrize("every", [1, 2])
def test_resumed_run_ends_with_the_same_bytes(doubles, stop, every):
    whole, checkpoint = learn(), doubles.Checkpoint()

    def kill(event: Step) -> None:
        if event.update == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(checkpoint=checkpoint, checkpoint_every=every, emit=kill)
    seen: list[int] = []
    resumed = learn(checkpoint=checkpoint, checkpoint_every=every, emit=lambda event: seen.append(event.update))
    assert raw(resumed) == raw(whole) and resumed.history == whole.history
    if every == 1:
        assert seen == list(range(stop, 8))  # what was saved is not done again, the first phase neither


def test_checkpoint_of_another_training_is_not_taken_up(doubles):
    checkpoint = doubles.Checkpoint()
    learn(checkpoint=checkpoint, checkpoint_every=1)
    assert raw(learn(checkpoint=checkpoint, rank=2)) == raw(learn(rank=2))


@pytest.mark.parametrize("num", [1, 5])
def test_any_number_of_concepts_and_two_text_encoders(num):
    backbone = tiny_backbone(("clip_l", "clip_g"))
    masks = torch.zeros(num, 8, 8, dtype=torch.bool)
    for k in range(num):
        masks[k, k] = True
    concepts = Concepts(masks, masks.float().flatten(1) + 0.1, torch.ones(num))
    learned = learn(backbone, concepts)
    assert set(learned.embeddings) == {"clip_l", "clip_g"} and len(learned.tokens) == num and learned.weights


def test_no_concepts_and_modules_that_the_model_lacks():
    with pytest.raises(StageInputError, match="there is no concept to learn"):
        learn(concepts=tiny_concepts().select([]), plan=TokenPlan((), {"clip": torch.zeros(0, 1, 6)}))
    events: list[Step] = []
    with pytest.raises(StageInputError, match=r"unknown module 'atn2'; available: attn1, .* Did you mean 'attn2'\?"):
        learn(modules=["atn2"], emit=events.append)
    assert events == []


def test_weights_that_are_not_finite_are_an_error():
    bad = {"unet.attn1.to_v.lora.up.weight": torch.tensor([[float("nan")]])}
    weights = ModelWeights(TrainedWeights({}, lambda: bad), 1e-3)
    with pytest.raises(StageInputError, match=r"attn1\S+ is not finite; try a lower learning rate"):
        weights.export()


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"alpha": 0}, {"lora_rate": 0}, {"token_rate": 2}, {"lora_step": 1}])
def test_bad_settings(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LoraOptimizer.Settings(**wrong)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_on_a_diffusers_model(load_backbone, tiny_pipeline, precision):
    """Nothing but tokens and LoRA learns, in every precision, and the model is left as it was found."""
    backbone = load_backbone(tiny_pipeline, precision=precision)
    before = {name: value.clone() for name, value in backbone.unet.state_dict().items()}
    modules = {name: id(module) for name, module in backbone.unet.named_modules()}
    learned = learn(backbone, steps=1, merge_step=0, lora_steps=2)
    assert {name: id(module) for name, module in backbone.unet.named_modules()} == modules
    assert all(torch.equal(value, before[name]) for name, value in backbone.unet.state_dict().items())
    parts = (backbone.unet, backbone.vae, backbone.text_encoder)
    assert not any(value.requires_grad or value.grad is not None for part in parts for value in part.parameters())
    ups = [value for name, value in learned.weights.items() if name.endswith(".lora.up.weight")]
    assert len(ups) == len(learned.weights) / 2 > 0
    assert all(value.dtype is torch.float32 and value.abs().max() > 0 for value in ups)


def test_diffusers_own_loader_reads_the_file(tmp_path, tiny_pipeline, tiny_backbone):
    """A fresh pipeline draws with our file what we draw with it, whatever alpha was, and another picture without."""
    from diffusers import StableDiffusionPipeline

    learned = learn(tiny_backbone, lora_rate=0.05, rank=2, alpha=6.0)
    write_safetensors(tmp_path / "weights.safetensors", learned.weights)
    pipe = StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    pipe.set_progress_bar_config(disable=True)

    def draw() -> Any:
        generator = torch.Generator().manual_seed(0)
        return pipe("a photo of a cat", num_inference_steps=2, generator=generator, output_type="np").images[0]

    without = draw()
    pipe.load_lora_weights(tmp_path, weight_name="weights.safetensors")
    assert np.abs(draw() - without).max() > 1e-3
    ids = pipe.tokenizer("a cat", return_tensors="pt", padding="max_length").input_ids
    states = pipe.text_encoder(ids)[0]
    noisy, time = torch.randn(1, 4, 16, 16), torch.tensor([400])
    with torch.no_grad(), use_weights(tiny_backbone, learned.weights):
        theirs = pipe.unet(noisy, time, encoder_hidden_states=states).sample
        ours = tiny_backbone.unet(noisy, time, encoder_hidden_states=states).sample
    assert torch.allclose(theirs, ours, atol=1e-5)


def test_run_generate_and_pipeline_draw_with_the_weights(tmp_path, tiny_pipeline, cli):
    """The whole way through the command line; learning again without LoRA takes the weights away."""
    picture, out = tmp_path / "picture.png", tmp_path / "out"
    Image.fromarray(np.asarray(tiny_picture((64, 64)).original)).save(picture)
    stages = [
        "--foreground",
        "none",
        "--clusterer",
        "kmeans",
        "--refiner",
        "none",
        "--concepts",
        "0,1",
        "--model",
        tiny_pipeline,
    ]
    flags = [part for key in ("steps=2", "lora_steps=3", "lora_rate=0.1") for part in ("--set", f"optimizer.{key}")]
    fast = ["--set", "run.sample_steps=2"]
    code, _, err = cli("run", picture, "-o", out, *stages, "--optimizer", "lora", *flags, *fast)
    assert code == 0, err
    run = uce.load(out)
    assert run.weights and run.summary()["files"]["weights"] == "weights.safetensors"
    token = run.concepts[0].token

    def drawn(name: str) -> bytes:
        code, _, err = cli("generate", f"a {token}", "--run", out, "-o", tmp_path / name, "--steps", "2")
        assert code == 0, err
        return next((tmp_path / name).glob("*.png")).read_bytes()

    with_weights, sample = drawn("with"), (out / "samples" / "all.png").read_bytes()
    pipe = run.pipeline("cpu")
    assert pipe.get_active_adapters() and hasattr(pipe.unet, "peft_config")
    weights = (out / "weights.safetensors").read_bytes()
    (out / "weights.safetensors").unlink()
    assert drawn("without") != with_weights
    (out / "weights.safetensors").write_bytes(b"no tensors")
    code, _, err = cli("generate", "a", "--run", out, "-o", tmp_path / "broken")
    assert code == 2 and "weights.safetensors is not readable" in err
    (out / "weights.safetensors").write_bytes(weights)
    code, _, err = cli(
        "learn", out, "--overwrite", "--optimizer", "masked-denoising", "--set", "optimizer.steps=1", *fast
    )
    assert code == 0, err
    assert not (out / "weights.safetensors").exists() and (out / "samples" / "all.png").read_bytes() != sample
    code, _, err = cli("learn", out, "--overwrite", "--optimizer", "lora", "--set", "optimizer.modules=[atn]", *fast)
    assert code == 2 and "unknown module 'atn'" in err and len(err.strip().splitlines()[-1]) < 400


def test_settings_of_the_second_phase_are_keys_of_set(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"optimizer.rank: found 0"):
        uce.run(tmp_path / "none.png", tmp_path / "out", optimizer="lora", set={"optimizer.rank": 0})


def test_picture_is_all_that_training_needs():
    """A picture object with pixels alone, as other tests of optimizers use."""
    backbone, concepts = tiny_backbone(), tiny_concepts()
    picture = SimpleNamespace(pixels=torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    settings = LoraOptimizer.Settings(**FEW)
    plan = tiny_plan(backbone, 3, 1)
    assert LoraOptimizer().uce_optimize(plan, concepts, backbone, picture, settings, Context()).weights
