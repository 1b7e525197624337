"""Tokens first, then LoRA matrices on the UNet's attention: a picture's things beyond what one word can say.

Sources: Hu et al., ICLR 2022 (LoRA); the first phase is Hao et al., ECCV 2024 (ConceptExpress).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from uce.core import DenoisingSettings, hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone, Concepts, Context, LearnedConcepts, Picture, TokenPlan

_GIVEN = DenoisingSettings.model_fields


class LoraOptimizer:
    """Learns tokens, then LoRA weights of the UNet: closer likeness than tokens alone, for a model file on top."""

    name = "lora"
    several_pictures = True

    class Settings(DenoisingSettings):
        """Numbers of the training. Those of the first phase are the preset `default`'s."""

        steps: Annotated[int, _GIVEN["steps"]] = 100
        merge_step: Annotated[int, _GIVEN["merge_step"]] = 8
        schedule: Annotated[Literal["paper", "batched"], _GIVEN["schedule"]] = "batched"
        learning_rate: Annotated[float, _GIVEN["learning_rate"]] = 0.1
        rate_unit: Annotated[Literal["absolute", "vocabulary"], _GIVEN["rate_unit"]] = "vocabulary"
        norm_limit: Annotated[float, _GIVEN["norm_limit"]] = 1.0
        margin: Annotated[int, _GIVEN["margin"]] = 1
        cool_down: Annotated[float, _GIVEN["cool_down"]] = 0.5
        alignment: Annotated[Literal["sinkhorn", "kl"], _GIVEN["alignment"]] = "kl"
        timesteps: Annotated[Literal["random", "spread"], _GIVEN["timesteps"]] = "spread"
        lora_steps: int = Field(
            100, ge=0, le=100_000, description="steps of the second phase, which trains LoRA; 0: no such phase"
        )
        lora_rate: float = Field(1e-3, gt=0, le=1, description="AdamW's learning rate of the LoRA matrices")
        token_rate: float = Field(
            0.1,
            ge=0,
            le=1,
            description="the tokens' learning rate in the second phase, in parts of learning_rate; 0: kept",
        )
        rank: int = Field(
            16, ge=1, le=1024, description="rank of the LoRA matrices: what they can hold, and the file's size"
        )
        alpha: float = Field(16.0, gt=0, description="the LoRA product counts alpha / rank times")
        modules: list[str] = Field(
            [],
            description="layers that get LoRA, by parts of their names; none: every attention layer (in a UNet attn1 "
            "is self-attention and attn2 cross-attention, in a transformer attn is both)",
        )

    @hookimpl
    def uce_optimize(
        self,
        plan: TokenPlan,
        concepts: Concepts,
        backbone: Backbone,
        image: Picture,
        settings: Settings,
        context: Context,
    ) -> LearnedConcepts:
        """Masked denoising twice: of the tokens alone, then of LoRA and (more slowly) the tokens.

        Returns:
            one vector per concept and text encoder; `weights`: the LoRA matrices, as diffusers loads them.

        Raises:
            StageInputError: no concepts, a module that the model does not have, or a loss that is not finite.
            ModelError: the model learns tokens only.
        """
        from uce.core import Tuning, train, train_weights
        from uce.core.model import attention_modules
        from uce.core.training import ModelWeights, Phases, count_updates, merged, plan_from, training_identity

        first = settings.options()
        rate = first.learning_rate * settings.token_rate
        second = replace(
            first,
            steps=settings.lora_steps,
            merge_step=0,
            learning_rate=rate or first.learning_rate,
            train_tokens=rate > 0,
        )
        modules = tuple(settings.modules) or attention_modules(backbone)
        tuning = Tuning("lora", modules, settings.rank, settings.alpha, context.derived_seed("lora"))
        with train_weights(backbone, tuning):
            pass  # what is wrong with the modules is said before the first phase
        identity = training_identity(settings.model_dump_json(), plan, concepts, backbone, image, context)
        phases = Phases(context, identity, (count_updates(plan, first), count_updates(merged(plan), second)))
        tokens = phases.run(lambda part: train(plan, concepts, backbone, image, first, part))
        if not settings.lora_steps:
            return tokens
        with train_weights(backbone, tuning) as trained:
            weights = ModelWeights(trained, settings.lora_rate, settings.weight_decay, settings.clip)
            return phases.run(
                lambda part: train(plan_from(tokens), concepts, backbone, image, second, part, weights=weights), "lora"
            )
