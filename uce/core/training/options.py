"""The numbers of a training, as plain data, so that any optimizer plugin can call the loop."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainingOptions:
    """What `uce.core.training.loop.train` may be told; the defaults are the paper's.

    Attributes:
        steps: one step visits every token.
        merge_step: the step before which split tokens train apart; 0 merges them before the first update.
        schedule: "paper": one optimiser update per prompt; "batched": one per step, over the mean of its prompts.
        learning_rate, weight_decay, clip: of AdamW; `clip` bounds the gradient's norm over all token rows, 0 does not.
        rate_unit: "absolute", or "vocabulary": `learning_rate` counts in standard deviations of the entries of the
            model's own token embeddings, so that one value suits models whose embeddings differ in scale (our own).
        norm_limit: longest that a token's vector may grow, in median lengths of the model's own token embeddings; 0:
            no limit. A vector far longer than any word's means nothing to the text encoder (our own).
        margin: latent cells around each mask whose error counts too, so that a token learns where its thing ends (our
            own); 0 is the paper's.
        zoom: share of the side that a concept's box takes in an enlarged view of its own, which prompts that show it
            alone then see; 0: they see the whole picture, as in the paper (our own).
        word_axes: learn in the coordinates of that many principal axes of the model's own words (see `Coordinates`), in
            which the learning rate counts; 0: number by number, as in the paper (our own).
        cool_down: last part of the updates over which the learning rate falls to 0 in a straight line, as a fraction.
        attention_weight, contrastive_weight: of the alignment and the contrastive term; 0 leaves the term out.
        temperature: of the contrastive term.
        flip: probability of a horizontal flip of latents, masks and maps together.
        alignment: "sinkhorn" (the paper's) or "kl" (nearly the same gradient for the price of one logarithm).
        alignment_iterations: Sinkhorn iterations.
        alignment_side: cells per side of the layers whose attention is aligned; 0 chooses.
        loss_area: what the masked squared error is divided by: all "elements" (the paper's), or those of the "mask".
        noise_low, noise_high: the part of the noise schedule from which timesteps are drawn, as fractions.
        timesteps: "random" (the paper's), or "spread": every prompt walks evenly through the range from a random start.
        template: the prompt; "{}" stands for the tokens, joined by " and ".
        train_tokens: false keeps the tokens as they start, where only the model's weights learn.
    """

    steps: int = 500
    merge_step: int = 100
    schedule: Literal["paper", "batched"] = "paper"
    learning_rate: float = 5e-4
    rate_unit: Literal["absolute", "vocabulary"] = "absolute"
    weight_decay: float = 1e-2
    clip: float = 1.0
    norm_limit: float = 0.0
    margin: int = 0
    zoom: float = 0.0
    word_axes: int = 0
    cool_down: float = 0.0
    attention_weight: float = 1e-5
    contrastive_weight: float = 1e-3
    temperature: float = 0.07
    flip: float = 0.5
    alignment: Literal["sinkhorn", "kl"] = "sinkhorn"
    alignment_iterations: int = 200
    alignment_side: int = 0
    loss_area: Literal["elements", "mask"] = "elements"
    noise_low: float = 0.0
    noise_high: float = 1.0
    timesteps: Literal["random", "spread"] = "random"
    template: str = "a photo of {}"
    train_tokens: bool = True

    def digest(self) -> str:
        """Hash of all values."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def require_one_place(template: str) -> str:
    """A prompt's template as it is, for validators.

    Raises:
        ValueError: not exactly one "{}", or other braces.
    """
    rest = template.replace("{}", "")
    if template.count("{}") != 1 or "{" in rest or "}" in rest:
        raise ValueError("must hold {} exactly once and no other braces")
    return template
