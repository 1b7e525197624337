"""The training of the preset `default`, whole, against one written out here in plain torch.

Nothing of `uce.core.training` computes the expected numbers: losses are loops over prompts and cells, AdamW is written
as in its paper, frames of words come from an eigendecomposition. Shared are only the model's face and where a run's
random numbers come from, which is part of the format of a run (same seed, same bytes).

Legend: K concepts; S split tokens; D width of a text encoder; n cells of the model's layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.ndimage import binary_dilation
from torch import Tensor

from uce.core import Capture, Concepts, Context, DenoisingSettings, LearnedConcepts, Picture
from uce.core.config.presets import DEFAULT
from uce.core.flow.picture import read_picture
from uce.core.training.loop import train
from uce.testing import tiny_backbone, tiny_concepts, tiny_picture
from uce.testing.cases import tiny_plan

K, S, STEPS, MERGE = 3, 2, 6, 2
SEED = 7
PRESET: dict[str, Any] = {key: value for key, value in DEFAULT["optimizer"].items() if key != "plugin"}
FEW: dict[str, Any] = PRESET | {"steps": STEPS, "merge_step": MERGE}
HEAVY = {"attention_weight": 0.7, "contrastive_weight": 0.4}
"""Weights at which a term that is wrong moves the tokens, not only the losses."""


class Oracle:
    """The training written out, one prompt at a time."""

    def __init__(self, backbone: Any, concepts: Concepts, picture: Picture, settings: Mapping[str, Any]) -> None:
        self.backbone, self.concepts, self.picture, self.settings = backbone, concepts, picture, settings
        self.context = Context(seed=SEED, stage="optimizer")
        self.tokens = [f"<asset{k}>" for k in range(K)]
        starts = tiny_plan(backbone, K, S).starts
        self.frames = {name: frame_of(words_of(backbone, name)) for name in backbone.encoders}
        self.points = {  # row s * K + k is split s of concept k
            name: torch.cat([to_frame(start[:, s], self.frames[name]) for s in range(S)]).requires_grad_()
            for name, start in starts.items()
        }
        self.moments = {name: [torch.zeros_like(points)] * 2 for name, points in self.points.items()}
        views = [(picture.pixels, concepts.masks.numpy()), *(enlarged(picture, concepts, k, 0.8) for k in range(K))]
        self.latents = [backbone.encode_image(pixels[None])[0] for pixels, _ in views]
        self.masks = [grown(masks) for _, masks in views]
        self.history: list[dict[str, float]] = []

    def run(self) -> dict[str, Tensor]:
        for step in range(1, STEPS + 1):
            split = step <= MERGE
            if step == MERGE + 1:
                self.merge()
            prompts = [(row,) for row in range(K * S if split else K)] + ([] if split else [tuple(range(K))])
            self.update(step, prompts, split)
        return {name: vectors.detach() for name, vectors in self.vectors().items()}

    def vectors(self) -> dict[str, Tensor]:
        return {name: frame[0] + self.points[name] @ frame[1] for name, frame in self.frames.items()}

    def update(self, step: int, prompts: list[tuple[int, ...]], split: bool) -> None:
        vectors = self.vectors()
        for value in vectors.values():
            value.retain_grad()
        times, noises = self.chance(step, prompts)
        drawn = zip(prompts, times, noises, strict=True)
        pairs = [self.of_prompt(vectors, *of_prompt) for of_prompt in drawn]
        mse, attention = (sum(column) / len(prompts) for column in zip(*pairs, strict=True))
        contrastive = sum(contrastive_of(v, K) for v in vectors.values()) / len(vectors) if split else torch.zeros(())
        total = mse + self.settings["attention_weight"] * attention
        total = total + self.settings["contrastive_weight"] * contrastive
        total.backward()
        terms = {"masked_mse": mse, "attention": attention, "contrastive": contrastive, "total": total}
        self.history.append({name: value.item() for name, value in terms.items()})
        self.descend(step, vectors)

    def descend(self, step: int, vectors: dict[str, Tensor]) -> None:
        """Clip the gradient of the vectors, take AdamW's step in coordinates, shorten what is too long."""
        norm = math.sqrt(sum(float(v.grad.square().sum()) for v in vectors.values()))  # type: ignore[union-attr]
        rate = 0.4 * min(1.0, (STEPS + 1 - step) / (0.5 * STEPS))
        for name, points in self.points.items():
            assert points.grad is not None
            grad = points.grad * min(1.0, 1.0 / (norm + 1e-6))
            first, second = self.moments[name]
            first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
            self.moments[name] = [first, second]
            move = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            with torch.no_grad():
                points.copy_(points * (1 - rate * 1e-2) - rate * move)
            points.grad = None
        for name, (mean, axes) in self.frames.items():
            longest = float(self.backbone.embedding_table(name).norm(dim=1).median())
            with torch.no_grad():
                moved = mean + self.points[name] @ axes
                moved = torch.stack([row * min(1.0, longest / float(row.norm())) for row in moved])
                self.points[name].copy_(to_frame(moved, (mean, axes)))

    def merge(self) -> None:
        """Splits become their mean; the moments of split 0 live on."""
        self.points = {
            name: torch.stack([points.detach()[k::K].mean(dim=0) for k in range(K)]).requires_grad_()
            for name, points in self.points.items()
        }
        self.moments = {name: [moment[:K] for moment in both] for name, both in self.moments.items()}

    def chance(self, step: int, prompts: list[tuple[int, ...]]) -> tuple[list[int], Tensor]:
        """Timesteps go by the golden ratio from each prompt's own start; noise comes from the update's own stream."""
        generator = self.context.generator(salt=f"update {step}")
        torch.randint(0, 1000, (len(prompts),), generator=generator)
        noises = torch.randn(len(prompts), *self.latents[0].shape, generator=generator)
        times = []
        for shown in prompts:
            start = float(torch.rand(1, generator=self.context.generator(salt=f"timesteps of {shown}")))
            times.append(math.floor(1000 * ((start + step * (math.sqrt(5) - 1) / 2) % 1)))
        return times, noises

    def of_prompt(
        self, vectors: Mapping[str, Tensor], shown: tuple[int, ...], time: int, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Masked squared error and alignment of one prompt: one token sees its enlarged view."""
        concepts = [row % K for row in shown]
        view = 1 + concepts[0] if len(shown) == 1 else 0
        latent, inside = self.latents[view], torch.from_numpy(self.masks[view][concepts].any(axis=0)).float()
        slots = {self.tokens[k]: row for k, row in zip(concepts, shown, strict=True)}
        prompt = self.backbone.tokenize("a photo of " + " and ".join(slots), slots)
        timestep = torch.tensor([time])
        noisy = self.backbone.add_noise(latent[None], noise[None], timestep)
        with self.backbone.capture(Capture("cross")) as maps:
            found = self.backbone.predict(noisy, timestep, self.backbone.encode_prompts([prompt], vectors))[0]
        error = ((found - noise) * inside).square().mean()
        if view != 0:
            return error, torch.zeros(())
        outer = [layer for layer in maps if layer.grid == (8, 8)]
        assert [layer.name for layer in outer] == ["down_blocks.0", "up_blocks.0"]
        seen = sum(layer.probs[0] for layer in outer) / 2
        places = prompt.slots[self.backbone.encoders[0]].tolist()
        return error, sum(alignment_of(self.concepts.maps[k], seen[:, places.index(r)]) for k, r in enumerate(shown))  # type: ignore[return-value]


def frame_of(words: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scaled principal axes, from the covariance's eigenvectors."""
    mean = words.double().mean(dim=0)
    spread = (words.double() - mean).T @ (words.double() - mean) / len(words)
    values, directions = torch.linalg.eigh(spread)
    return mean.float(), (values.sqrt()[:, None] * directions.T).float()


def to_frame(vectors: Tensor, frame: tuple[Tensor, Tensor]) -> Tensor:
    return torch.linalg.solve(frame[1].double().T, (vectors - frame[0]).double().T).T.float()


def words_of(backbone: Any, encoder: str) -> Tensor:
    ids = [row for word, row in backbone.words(encoder).items() if len(word) >= 3]
    return backbone.embedding_table(encoder)[ids]


def enlarged(picture: Picture, concepts: Concepts, k: int, zoom: float) -> tuple[Tensor, Any]:
    """The square in whose centre concept k's box takes `zoom` of the side: pixels for the model, masks on its grid."""
    masks = picture.masks_of(concepts).numpy()
    rows, columns = (np.flatnonzero(masks[k].any(axis=axis)) for axis in (1, 0))
    side = round(max(np.ptp(rows) + 1, np.ptp(columns) + 1) / zoom)
    top, left = (round((span[0] + span[-1] + 1 - side) / 2) for span in (rows, columns))
    wide = [(side, side), (side, side)]
    window = (slice(top + side, top + 2 * side), slice(left + side, left + 2 * side))
    shown = np.pad(picture.original, [*wide, (0, 0)], mode="edge")[window]
    inside = np.stack([np.pad(mask, wide)[window] for mask in masks])
    covered = F.adaptive_avg_pool2d(torch.from_numpy(inside).float()[None], 8)[0].numpy()
    most = np.minimum(covered.max(axis=(1, 2), keepdims=True), 0.5)
    pixels = read_picture(np.ascontiguousarray(shown), 32, "stretch").pixels
    return pixels, (covered >= most) & (covered > 0)


def grown(masks: Any) -> Any:
    """Each mask one cell wider, but never over another."""
    others = [np.delete(masks, k, axis=0).any(axis=0) for k in range(len(masks))]
    return np.stack([binary_dilation(m, np.ones((3, 3))) & ~o for m, o in zip(masks, others, strict=True)])


def alignment_of(target: Tensor, attention: Tensor) -> Tensor:
    """KL(attention || target), on the scale of 200 iterations of Sinkhorn with an entropic weight of 1 / 1000."""
    nu, mu = attention / attention.sum(), target / target.sum()
    return sum((n * (n / m).log() for n, m in zip(nu, mu, strict=True)), torch.zeros(())) * 200 / 1000


def contrastive_of(vectors: Tensor, num: int) -> Tensor:
    """Khosla et al., equation 2, with a temperature of .07: the mean over rows."""

    def each() -> Iterator[Tensor]:
        z = [row / row.norm() for row in vectors]
        for i in range(len(z)):
            others = [a for a in range(len(z)) if a != i]
            everything = sum((z[i] @ z[a] / 0.07).exp() for a in others)
            partners = [p for p in others if p % num == i % num]
            yield -sum(((z[i] @ z[p] / 0.07).exp() / everything).log() for p in partners) / len(partners)  # type: ignore[misc]

    found = list(each())
    return sum(found, torch.zeros(())) / len(found)


def ours(precision: str, encoders: tuple[str, ...], **settings: Any) -> LearnedConcepts:
    backbone: Any = tiny_backbone(encoders)
    backbone.precision = precision
    context = Context(seed=SEED, stage="optimizer", micro_batch=4)  # fewer than prompts: their sums are put together
    options = DenoisingSettings(**FEW | settings).options()
    return train(tiny_plan(backbone, K, S), tiny_concepts(), backbone, tiny_picture(), options, context)


@pytest.mark.parametrize("weights", [{}, HEAVY], ids=["the preset's weights", "heavy terms"])
@pytest.mark.parametrize("encoders", [("clip",), ("clip_l", "clip_g")], ids=["one encoder", "two encoders"])
def test_losses_and_tokens_of_the_default_preset(encoders: tuple[str, ...], weights: dict[str, float]) -> None:
    given = {"attention_weight": 1e-5, "contrastive_weight": 1e-3} | weights
    oracle = Oracle(tiny_backbone(encoders), tiny_concepts(), tiny_picture(), given)
    expected = oracle.run()
    learned = ours("float32", encoders, **weights)
    for found, true in zip(learned.history, oracle.history, strict=True):
        assert {name: found[name] for name in true} == pytest.approx(true, rel=1e-3, abs=1e-6), found["update"]
    assert oracle.history[-1]["attention"] > 0.01 < oracle.history[0]["contrastive"]
    for name, vectors in expected.items():
        assert learned.embeddings[name].shape == (K, 1, vectors.shape[1])
        np.testing.assert_allclose(learned.embeddings[name][:, 0], vectors, rtol=1e-3, atol=2e-4)


def test_half_precision_scales_every_term_of_the_loss_alike() -> None:
    """The loss is multiplied before backward, its gradient divided after: a term that is left out is another loss."""
    full, half = (ours(precision, ("clip",), **HEAVY) for precision in ("float32", "float16"))
    np.testing.assert_allclose(half.embeddings["clip"], full.embeddings["clip"], rtol=1e-3, atol=2e-4)


def test_the_preset_still_says_what_this_page_computes() -> None:
    """Numbers that stand in the oracle as they are: whoever changes the preset changes it, too."""
    assert PRESET | {"steps": 0, "merge_step": 0} == {
        "schedule": "batched", "steps": 0, "merge_step": 0, "zoom": 0.8, "word_axes": 1024, "flip": 0.0,
        "learning_rate": 0.4, "rate_unit": "vocabulary", "norm_limit": 1.0, "margin": 1, "alignment": "kl",
        "cool_down": 0.5, "timesteps": "spread",
    }  # fmt: skip
    rest = DenoisingSettings().options()
    assert (rest.clip, rest.weight_decay, rest.temperature, rest.template) == (1.0, 1e-2, 0.07, "a photo of {}")
    assert (rest.attention_weight, rest.contrastive_weight, rest.alignment_iterations) == (1e-5, 1e-3, 200)
    assert (rest.loss_area, rest.noise_low, rest.noise_high) == ("elements", 0.0, 1.0)
