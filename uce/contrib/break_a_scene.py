"""Break-A-Scene: tokens at a high learning rate, then tokens and the model's weights at a low one.

Source: Avrahami, Aberman, Fried, Cohen-Or and Lischinski, "Break-A-Scene: Extracting Multiple Concepts from a Single
Image", SIGGRAPH Asia 2023 (arXiv 2305.16311), section 3. Re-implemented from the paper.

What differs from the paper:
- By default the second phase trains the UNet's cross-attention alone (`modules`), where the paper fine-tunes the whole
  UNet and the text encoder. That keeps the result at some 200 MB on Stable Diffusion 2.1 instead of 3.5 GB and the
  optimiser's state within a desktop's memory. `modules=[]` trains the whole UNet; the text encoder stays frozen.
- The paper keeps the model's prior with generated pictures of a class (DreamBooth's loss), for which the user names
  each thing's class. Found things have no class, so there is no such term.
- Each token starts where the initializer says, not from a class name.

Legend: K concepts; P pairs of a prompt and a token that it shows; n cells of the aligned layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

import uce

if TYPE_CHECKING:
    from uce.core import Backbone, Concepts, Context, LearnedConcepts, Picture, TokenPlan, TrainingOptions


class BreakASceneOptimizer:
    """Tokens, then the UNet, on random sets of concepts (Break-A-Scene): to compare with, or for closer likeness."""

    name = "break-a-scene"
    several_pictures = True

    class Settings(uce.Settings):
        """The paper's numbers."""

        steps: int = Field(400, ge=0, le=100_000, description="updates of the first phase, which trains tokens alone")
        learning_rate: float = Field(5e-4, gt=0, le=1, description="AdamW's learning rate in the first phase")
        rate_unit: Literal["absolute", "vocabulary"] = Field(
            "absolute",
            description="vocabulary: learning_rate counts in standard deviations of the model's own token embeddings",
        )
        second_phase: Literal["unet", "lora", "none"] = Field(
            "unet",
            description="what trains beside the tokens: the UNet's own weights (paper), LoRA matrices, or nothing",
        )
        second_steps: int = Field(400, ge=0, le=100_000, description="updates of the second phase")
        second_rate: float = Field(
            2e-6, gt=0, le=1, description="learning rate of tokens and weights in the second phase, always absolute"
        )
        modules: list[str] = Field(
            ["attn2"], description="parts of the UNet that train, by parts of their names; [] trains all of it (paper)"
        )
        rank: int = Field(4, ge=1, le=1024, description="rank of the LoRA matrices")
        alpha: float = Field(4.0, gt=0, description="the LoRA product counts alpha / rank times")
        lora_rate: float = Field(1e-4, gt=0, le=1, description="learning rate of the LoRA matrices")
        attention_weight: float = Field(
            0.01, ge=0, description="weight of the error between a token's attention and its mask"
        )
        attention_side: int = Field(
            0, ge=0, description="cells per side of the layers it looks at; 0 takes the largest of at most 16"
        )
        weight_decay: float = Field(1e-2, ge=0, le=1, description="AdamW's weight decay")
        clip: float = Field(
            1.0, ge=0, description="largest norm of the tokens' and of the weights' gradient; 0: no limit"
        )
        flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring picture and masks")
        template: str = Field("a photo of {}", description="the prompt; {} stands for the tokens")

        @field_validator("template")
        @classmethod
        def _one_place(cls, value: str) -> str:
            from uce.core.training import require_one_place

            return require_one_place(value)

    @uce.hookimpl
    def uce_optimize(
        self,
        plan: TokenPlan,
        concepts: Concepts,
        backbone: Backbone,
        image: Picture,
        settings: Settings,
        context: Context,
    ) -> LearnedConcepts:
        """Train both phases, each update on a random set of concepts.

        Returns:
            one vector per concept and text encoder; `weights`: the changed tensors of the UNet, or LoRA matrices.

        Raises:
            StageInputError: no concepts, a module that the model does not have, or a loss that is not finite.
            ModelError: the model learns tokens only, and second_phase is not none.
        """
        from uce.core import train_weights
        from uce.core.training import ModelWeights, Phases, merged, plan_from, training_identity

        second = 0 if settings.second_phase == "none" else settings.second_steps
        if second:
            with train_weights(backbone, self._tuning(settings, context)):
                pass  # what is wrong with the modules is said before the first phase
        identity = training_identity(settings.model_dump_json(), plan, concepts, backbone, image, context)
        phases = Phases(context, identity, (settings.steps, second))
        given = concepts, backbone, image
        options = self._options(settings, settings.steps, settings.learning_rate, settings.rate_unit)
        tokens = phases.run(lambda part: train_sets(merged(plan), *given, options, part), "tokens")
        if not second:
            return tokens
        rate = settings.lora_rate if settings.second_phase == "lora" else settings.second_rate
        options = self._options(settings, second, settings.second_rate, "absolute")
        with train_weights(backbone, self._tuning(settings, context)) as trained:
            weights = ModelWeights(trained, rate, settings.weight_decay, settings.clip)
            return phases.run(
                lambda part: train_sets(plan_from(tokens), *given, options, part, weights), settings.second_phase
            )

    @staticmethod
    def _tuning(settings: Settings, context: Context) -> Any:
        from uce.core import Tuning

        kind: Literal["lora", "full"] = "lora" if settings.second_phase == "lora" else "full"
        seed = context.derived_seed("weights")
        return Tuning(kind, tuple(settings.modules), settings.rank, settings.alpha, seed)

    @staticmethod
    def _options(
        settings: Settings, steps: int, rate: float, unit: Literal["absolute", "vocabulary"]
    ) -> TrainingOptions:
        from uce.core import TrainingOptions

        return TrainingOptions(
            steps=steps,
            merge_step=0,
            learning_rate=rate,
            rate_unit=unit,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
            attention_weight=settings.attention_weight,
            alignment_side=settings.attention_side,
            flip=settings.flip,
            template=settings.template,
        )


def train_sets(
    plan: TokenPlan,
    concepts: Concepts,
    backbone: Backbone,
    image: Picture,
    options: TrainingOptions,
    context: Context,
    weights: Any = None,
) -> LearnedConcepts:
    """One phase: union sampling, masked diffusion loss and attention loss."""
    from uce.contrib._union_sampling import MaskAttention, UnionSampling
    from uce.core import train
    from uce.core.training import fitting_groups

    largest = len(fitting_groups(backbone, plan.tokens, options.template, plan.num_vectors)[0]) if plan.tokens else 0
    return train(
        plan,
        concepts,
        backbone,
        image,
        options,
        context,
        weights=weights,
        schedule=UnionSampling(options.steps, len(plan.tokens), largest, context),
        alignment=MaskAttention,
    )
