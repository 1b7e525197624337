"""Scoring words by how well they fit each concept, without gradient: by denoising error, and by cross-attention.

Legend: V vectors or words; K concepts; T noise levels; C, h, w latent; n cells of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.flow.context import Context
from uce.core.model.abilities import middle_layers, times
from uce.core.model.backbone import Backbone, Capture, Prompt
from uce.core.model.latents import encode_picture
from uce.core.training.alignment import average_layers, choose_layers
from uce.core.training.updates import choose_micro_batch
from uce.core.training.views import resize_masks

LOW, HIGH = 0.3, 0.9
"""Noise levels, as fractions of the schedule, between which words matter: with less noise the picture itself says what
is there, with more nothing can be told apart."""
ATTENTION_LEVELS = (0.05, 0.3)
"""Noise levels at which attention is read, each with the words in another order."""
MOST_PER_PROMPT = 64


@torch.no_grad()
def word_attention(
    backbone: Backbone, pixels: Tensor, masks_Khw: Tensor, vectors: Mapping[str, Tensor], context: Context
) -> Tensor:
    """How much more each word is attended from inside every mask than from the picture on average, float32 (K, V).

    Many words share one prompt, which makes this some ten times cheaper than `masked_errors`, and rougher.

    Args:
        pixels: float32 (3, side, side) in [-1, 1].
        masks_Khw: bool, on any grid.
        vectors: per text encoder (V, d).
    """
    device = torch.device(backbone.device)
    latent = encode_picture(backbone, pixels)
    placed = {encoder: rows.to(device) for encoder, rows in vectors.items()}
    num_vectors = next(iter(placed.values())).shape[0]
    per_prompt = _words_per_prompt(backbone)
    scores = torch.zeros(masks_Khw.shape[0], num_vectors)
    for number, level in enumerate(ATTENTION_LEVELS):
        generator = context.generator(salt=f"word attention {number}")
        order = torch.randperm(num_vectors, generator=generator).tolist()
        groups = [order[start : start + per_prompt] for start in range(0, num_vectors, per_prompt)]
        prompts = [_list_of_words(backbone, group) for group in groups]
        noise = torch.randn(latent.shape, generator=generator).to(device)
        timestep = times(backbone, torch.tensor([int(level * (backbone.num_timesteps - 1))])).to(device)
        noisy = backbone.add_noise(latent, noise, timestep)
        for prompt, inside_KL in _inside(backbone, noisy, timestep, prompts, placed, masks_Khw, context):
            rows = [row for row in prompt.slots[backbone.encoders[0]].tolist() if row >= 0]
            places = [place for row in rows for place in prompt.positions(row)]
            if places:  # else the model reads only a summary of the text encoder
                scores[:, rows] += inside_KL[:, places] / len(ATTENTION_LEVELS)
    return scores


def _list_of_words(backbone: Backbone, rows: Sequence[int]) -> Prompt:
    """A prompt of nothing but the vectors at `rows`."""
    words = {f"<word{row}>": row for row in rows}
    return backbone.tokenize(" ".join(words), words)


def _words_per_prompt(backbone: Backbone) -> int:
    """How many words the text encoder reads at once."""
    for count in range(MOST_PER_PROMPT, 1, -4):
        try:
            _list_of_words(backbone, range(count))
        except StageInputError:
            continue
        return count
    return 1


def _inside(
    backbone: Backbone,
    noisy: Tensor,
    timestep: Tensor,
    prompts: Sequence[Prompt],
    vectors: Mapping[str, Tensor],
    masks_Khw: Tensor,
    context: Context,
) -> Iterator[tuple[Prompt, Tensor]]:
    """Of each prompt's text positions the mean attention inside every mask, less the picture's mean: (K, L)."""
    step = context.micro_batch or choose_micro_batch(backbone)
    for start in range(0, len(prompts), step):
        part = prompts[start : start + step]
        x_t = noisy.expand(len(part), -1, -1, -1)
        with backbone.capture(Capture("cross", layers=middle_layers(backbone))) as maps:
            backbone.predict(x_t, timestep.expand(len(part)), backbone.encode_prompts(part, vectors))
        grid, names = choose_layers(maps)
        attention_BnL = average_layers([layer for layer in maps if layer.name in names])
        masks_Kn = resize_masks(masks_Khw, grid).flatten(1).float().to(attention_BnL.device)
        share_Kn = masks_Kn / masks_Kn.sum(dim=1, keepdim=True).clamp_min(1) - 1 / masks_Kn.shape[1]
        yield from zip(part, (share_Kn @ attention_BnL).cpu(), strict=True)


@torch.no_grad()
def masked_errors(
    backbone: Backbone,
    pixels: Tensor,
    masks_Khw: Tensor,
    vectors: Mapping[str, Tensor],
    num_levels: int,
    template: str,
    context: Context,
) -> Tensor:
    """Mean squared error inside every mask for every vector, float32 (K, V).

    All vectors see the same noise, so that their errors can be compared.

    Args:
        pixels: float32 (3, side, side) in [-1, 1].
        masks_Khw: bool, on any grid.
        vectors: per text encoder (V, d).
        num_levels: T.
        template: prompt with "{}" for the word.
    """
    device = torch.device(backbone.device)
    latent = encode_picture(backbone, pixels)
    masks_KN = resize_masks(masks_Khw, (latent.shape[2], latent.shape[3])).flatten(1).float().to(device)
    shares_KN = masks_KN / masks_KN.sum(dim=1, keepdim=True).clamp_min(1)
    levels = times(backbone, torch.linspace(LOW, HIGH, num_levels + 2)[1:-1].mul(backbone.num_timesteps - 1).long())
    noise = torch.randn(num_levels, *latent.shape[1:], generator=context.generator(salt="word search")).to(device)
    placed = {encoder: rows.to(device) for encoder, rows in vectors.items()}
    num_vectors = next(iter(placed.values())).shape[0]
    prompts = [backbone.tokenize(template.format("<word>"), {"<word>": i}) for i in range(num_vectors)]
    step = context.micro_batch or choose_micro_batch(backbone)
    errors = torch.zeros(masks_KN.shape[0], num_vectors, device=device)
    for start in range(0, num_vectors, step):
        part = prompts[start : start + step]
        conditioning = backbone.encode_prompts(part, placed)
        for level in range(num_levels):
            timesteps = levels[level].repeat(len(part)).to(device)
            x_0, eps = latent.expand(len(part), -1, -1, -1), noise[level].expand(len(part), -1, -1, -1)
            prediction = backbone.predict(backbone.add_noise(x_0, eps, timesteps), timesteps, conditioning)
            squared_VN = (prediction.float() - backbone.target(x_0, eps, timesteps).float()).square().mean(1).flatten(1)
            errors[:, start : start + len(part)] += shares_KN @ squared_VN.T / num_levels
    return errors
