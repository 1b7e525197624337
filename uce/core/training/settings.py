"""Settings of optimizers that denoise masked pictures, as users type them; the defaults are the paper's."""

from __future__ import annotations

from dataclasses import fields
from typing import Literal

from pydantic import Field, field_validator

from uce.core.flow.settings import Settings
from uce.core.training.options import TrainingOptions, require_one_place


class DenoisingSettings(Settings):
    """Numbers of the training; a plugin's own `Settings` may derive from these and add to them."""

    steps: int = Field(500, ge=0, le=100_000, description="training steps; one step visits every token")
    merge_step: int = Field(
        100, ge=0, description="step at which split tokens are averaged; 0 averages them before the first update"
    )
    schedule: Literal["paper", "batched"] = Field(
        "paper", description="paper: one optimiser update per prompt; batched: one per step over all its prompts"
    )
    learning_rate: float = Field(5e-4, gt=0, le=1, description="AdamW's learning rate")
    rate_unit: Literal["absolute", "vocabulary"] = Field(
        "absolute",
        description="vocabulary: learning_rate counts in standard deviations of the model's own token embeddings",
    )
    weight_decay: float = Field(1e-2, ge=0, le=1, description="AdamW's weight decay")
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient over all tokens; 0 for no limit")
    norm_limit: float = Field(
        0.0,
        ge=0,
        description="longest a token's vector may grow, in median lengths of the model's own; 0: no limit",
    )
    margin: int = Field(
        0,
        ge=0,
        le=64,
        description="latent cells around a mask whose error counts too, so that outlines are learned",
    )
    zoom: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the side that a concept takes in an enlarged view of its own; 0: whole picture (paper)",
    )
    word_axes: int = Field(
        0,
        ge=0,
        description="learn in so many principal axes of the model's words, whose deviations learning_rate then counts "
        "in; 0: number by number (paper)",
    )
    cool_down: float = Field(
        0.0, ge=0, le=1, description="last fraction of the updates over which the learning rate falls to 0"
    )
    attention_weight: float = Field(
        1e-5, ge=0, description="weight of the alignment between a token's attention and its concept's map"
    )
    contrastive_weight: float = Field(1e-3, ge=0, description="weight of the contrast between split tokens")
    temperature: float = Field(0.07, gt=0, le=10, description="temperature of the contrast between split tokens")
    flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring picture, masks and maps")
    alignment: Literal["sinkhorn", "kl"] = Field(
        "sinkhorn",
        description="attention distance: sinkhorn is the paper's, kl has nearly its gradient and is free",
    )
    alignment_iterations: int = Field(200, ge=1, le=10_000, description="Sinkhorn iterations")
    alignment_side: int = Field(
        0, ge=0, description="cells per side of the aligned layers; 0 takes the largest of at most 16"
    )
    loss_area: Literal["elements", "mask"] = Field(
        "elements", description="the squared error is divided by all elements (paper) or by those of the mask"
    )
    noise_low: float = Field(0.0, ge=0, le=1, description="least noise trained on, as a fraction of the schedule")
    noise_high: float = Field(1.0, gt=0, le=1, description="most noise trained on, as a fraction of the schedule")
    timesteps: Literal["random", "spread"] = Field(
        "random", description="random (paper), or spread: every prompt walks evenly through the noise levels"
    )
    template: str = Field("a photo of {}", description="the prompt; {} stands for the tokens")

    @field_validator("template")
    @classmethod
    def _one_place(cls, value: str) -> str:
        return require_one_place(value)

    def options(self) -> TrainingOptions:
        """The same numbers for `uce.core.training.loop.train`."""
        names = {field.name for field in fields(TrainingOptions)}
        return TrainingOptions(**{key: value for key, value in self.model_dump().items() if key in names})
