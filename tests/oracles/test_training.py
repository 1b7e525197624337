"""Losses, gradients and optimiser updates against the reference implementation's numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from uce.core import Concepts
from uce.core.training.alignment import Alignment
from uce.core.training.contrastive import supervised_contrastive
from uce.core.training.objective import Draws, Objective
from uce.core.training.options import TrainingOptions
from uce.core.training.rows import TokenRows
from uce.core.training.schedule import Schedule
from uce.core.training.sinkhorn import sinkhorn
from uce.core.training.views import Views

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "oracles"
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(not ORACLES.is_dir(), reason="the oracles folder ../shared/oracles is missing"),
]

K, S = 3, 5
UPDATES = (0, 4, 15, 18)  # those for which the reference's UNet inputs and attention maps are stored


def off(ours: Tensor, theirs: Any) -> float:
    """Largest difference, relative to the largest entry."""
    theirs = torch.as_tensor(theirs, dtype=torch.float64).reshape(ours.shape)
    return float((ours.detach().double() - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30))


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    return json.loads((ORACLES / "functions" / "function_cases.json").read_text())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sinkhorn_values_and_gradients(names, dtype):
    stored = np.load(ORACLES / "functions" / "wasser.npz")
    target, attention = (torch.from_numpy(stored[key]).to(dtype).flatten(1) for key in ("x1", "x2"))
    attention.requires_grad_()
    value = sinkhorn(target, attention, (16, 16))
    (gradient,) = torch.autograd.grad(value.sum(), attention)
    assert gradient.isfinite().all()
    tight = 1e-11 if dtype is torch.float64 else 1e-5
    for i, name in enumerate(names["wasser_pairs"]):
        # the reference's zeros in the attention are ours at a small floor: same value, and a gradient where it has none
        zeros_in_attention = "attention with exact zeros" in name
        allowed = 2e-4 if zeros_in_attention else 1e-5
        assert float(value[i].detach()) == pytest.approx(stored["value_f64"][i], rel=allowed, abs=1e-12), name
        assert float(value[i].detach()) == pytest.approx(float(stored["value"][i]), rel=2e-4, abs=1e-9), name
        if zeros_in_attention:
            assert np.isnan(stored["grad_x2"][i]).any()
            continue
        for key, bound in (("grad_x2_f64", tight), ("grad_x2", 5e-4)):
            size = np.abs(stored[key][i]).max()
            if size > 1e-9:
                assert off(gradient[i], stored[key][i]) < bound, (name, key)
            else:
                assert gradient[i].abs().max() < 1e-6, name


@pytest.mark.parametrize("case", range(7))
def test_contrastive_losses_and_gradients(names, case):
    stored = np.load(ORACLES / "functions" / "supcon.npz")
    vectors = torch.from_numpy(stored[f"emb{case}"]).requires_grad_()
    loss = supervised_contrastive(
        vectors, torch.from_numpy(stored[f"labels{case}"]), names["supcon"][case]["temperature"]
    )
    (gradient,) = torch.autograd.grad(loss, vectors)
    if names["supcon"][case]["S"] == 1:  # the reference: not a number
        assert float(loss.detach()) == 0 and gradient.abs().max() == 0
        return
    assert float(loss.detach()) == pytest.approx(float(stored[f"loss{case}"]), rel=1e-5)
    assert off(gradient, stored[f"grad_emb{case}"]) < 1e-5


class Reference:
    """The reference's own training run on tiny-sd, with our parts around the same inputs."""

    def __init__(self) -> None:
        from uce.plugins.backbones.stable_diffusion import StableDiffusionBackbonePlugin

        self.arrays = np.load(ORACLES / "train" / "train_steps.npz")
        self.updates = json.loads((ORACLES / "train" / "train_steps.json").read_text())["updates"]
        folder = str(ORACLES / "tiny-sd")
        self.backbone = StableDiffusionBackbonePlugin().uce_load_backbone(folder, None, "cpu", "float32")
        assert self.backbone is not None
        masks, maps = self.tensor("masks").bool(), self.tensor("feats")
        concepts = Concepts(masks=masks, maps=maps, scores=torch.ones(K))
        options = TrainingOptions()
        alignment = Alignment.prepare(self.backbone, concepts, self.backbone.tokenize(""), options)
        latent = self.tensor("latents_scaled")[1]  # of the doubled batch only the second half is trained on
        latents, both = torch.stack([latent, latent.flip(-1)]), torch.stack([masks, masks.flip(-1)]).float()
        self.objective = Objective(self.backbone, options, Views(latents[None], both[None]), alignment, micro_batch=4)
        self.alignment = alignment

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def num_rows(self, update: int) -> int:
        return K * S if self.updates[update]["state"] == "split" else K

    def rows(self, update: int) -> TokenRows:
        vectors = self.tensor("emb_before")[update][: self.num_rows(update)]
        return TokenRows({"clip": vectors.reshape(-1, K, vectors.shape[1]).transpose(0, 1)}, "cpu")

    def inputs(self, update: int) -> tuple[list[Any], list[tuple[int, ...]], Draws]:
        shown = tuple(self.updates[update]["token_indices"])
        words = {f"<asset{row}>": row for row in shown}
        prompt = self.backbone.tokenize("a photo of " + " and ".join(words), words)
        draws = Draws(self.tensor("timesteps")[update][1:], self.tensor("noise")[1:], torch.zeros(1, dtype=torch.bool))
        return [prompt], [shown], draws


@pytest.fixture(scope="module")
def reference() -> Reference:
    if not ORACLES.is_dir():
        pytest.skip("the oracles folder ../shared/oracles is missing")
    return Reference()


def test_schedule_visits_the_papers_prompts(reference):
    schedule = Schedule(steps=2, merge_step=1, num_concepts=K, num_splits=S, batched=False, groups=(tuple(range(K)),))
    ours = [(update.phase, list(update.prompts[0])) for update in schedule.updates()]
    assert ours == [(update["state"], update["token_indices"]) for update in reference.updates]


def test_attention_is_read_from_the_papers_layers(reference):
    assert reference.alignment.grid == (16, 16)
    assert sorted(name.split(".attentions")[0] for name in reference.alignment.layers) == (
        ["down_blocks.2"] * 2 + ["up_blocks.1"] * 3
    )
    for update in UPDATES:
        targets = reference.alignment.targets[0][[row % K for row in reference.updates[update]["token_indices"]]]
        assert off(targets, reference.tensor(f"u{update}_feat16")) < 1e-6


@pytest.mark.parametrize("update", UPDATES)
def test_one_update_term_by_term(reference, update):
    known = reference.updates[update]
    num_rows = reference.num_rows(update)
    rows = reference.rows(update)
    vectors = rows.vectors["clip"]
    prompts, shown, draws = reference.inputs(update)
    mse, attention, _ = reference.objective.losses(rows, prompts, shown, draws)
    assert float(mse.detach()) == pytest.approx(known["masked_mse"], rel=1e-5)
    (gradient,) = torch.autograd.grad(mse, vectors, retain_graph=True)
    assert off(gradient, reference.tensor("grad_mse")[update][:num_rows]) < 5e-4
    assert float(attention.detach()) == pytest.approx(known["attn_unweighted"], rel=1e-4)
    (gradient,) = torch.autograd.grad(attention, vectors)
    assert off(gradient, reference.tensor("grad_attn_unweighted")[update][:num_rows]) < 5e-4
    terms = reference.objective.backward(rows, prompts, shown, draws, split=known["state"] == "split")
    assert float(terms[2]) == pytest.approx(known["contrastive"] or 0.0, rel=1e-5)
    assert float(terms[3]) == pytest.approx(known["total"], rel=1e-5)
    assert off(vectors.grad, reference.tensor("grad_total")[update][:num_rows]) < 5e-4


@pytest.mark.parametrize("update", UPDATES)
def test_attention_term_on_the_stored_maps(reference, update):
    known = reference.updates[update]
    attention = reference.tensor(f"u{update}_attn16").flatten(1).requires_grad_()
    targets = reference.alignment.targets[0][[row % K for row in known["token_indices"]]]
    values = reference.alignment.distances(targets, attention)
    assert values.tolist() == pytest.approx(known["attn_each"], rel=1e-4)
    (gradient,) = torch.autograd.grad(values.sum(), attention)
    assert off(gradient, reference.tensor(f"u{update}_attn16_grad_unweighted")) < 5e-4


def test_contrastive_term_of_every_split_update(reference):
    for update in range(K * S):
        rows = reference.rows(update)
        loss = reference.objective._contrastive(rows)
        (gradient,) = torch.autograd.grad(loss, rows.vectors["clip"])
        assert float(loss.detach()) == pytest.approx(reference.updates[update]["contrastive"], rel=1e-5)
        assert off(gradient, reference.tensor("grad_contrastive")[update][: K * S]) < 5e-4


def test_adamw_and_merge_replay_to_the_last_bit(reference):
    """Its gradients through our AdamW, with our merge, are its embeddings before every update and at the end."""
    rows = reference.rows(0)
    for update, known in enumerate(reference.updates):
        if known["state"] == "merged" and rows.num_rows > K:
            assert torch.equal(rows.vectors["clip"], reference.tensor("emb_pre_merge")[: K * S])
            rows.merge()
        number = rows.num_rows
        assert torch.allclose(rows.vectors["clip"], reference.tensor("emb_before")[update][:number], rtol=0, atol=1e-9)
        rows.vectors["clip"].grad = reference.tensor("grad_total")[update][:number].clone()
        rows.update(5e-4, 1e-2, clip=1.0)
    assert torch.allclose(rows.vectors["clip"], reference.tensor("emb_final")[:K], rtol=0, atol=1e-9)
