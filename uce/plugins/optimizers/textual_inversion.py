"""Plain textual inversion: a token learns to denoise its concept's crop.

Source: Gal et al., ICLR 2023, "An Image is Worth One Word". Theirs is one concept in several pictures; here a concept
has one crop. The wording of the templates is our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone, Concepts, Context, LearnedConcepts, Picture, TokenPlan

TEMPLATES = [
    "a photo of {}",
    "a picture of {}",
    "an image of {}",
    "a photo of one {}",
    "a close photo of {}",
    "a cropped photo of {}",
    "a clean picture of {}",
    "a photo showing {}",
    "{} in a photo",
    "{}",
]


class TextualInversionOptimizer:
    """Learns each token alone from its concept's crop, with no mask in the loss: the usual baseline to compare with."""

    name = "textual-inversion"

    class Settings(BaseSettings):
        """Numbers of the training."""

        steps: int = Field(500, ge=0, le=100_000, description="optimiser updates; each visits every concept")
        learning_rate: float = Field(5e-3, gt=0, le=1, description="AdamW's learning rate")
        rate_unit: Literal["absolute", "vocabulary"] = Field(
            "absolute",
            description="vocabulary: learning_rate counts in standard deviations of the model's own token embeddings",
        )
        weight_decay: float = Field(1e-2, ge=0, le=1, description="AdamW's weight decay")
        batch: int = Field(1, ge=1, le=256, description="prompts per concept and update, each with its own noise")
        source: Literal["crop", "picture"] = Field(
            "crop",
            description="crop: what lies around the concept's mask; picture: all of it, for every concept",
        )
        margin: float = Field(
            0.1, ge=0, le=4, description="what a crop shows around the mask's box, as a share of its longer side"
        )
        fill: Literal["keep", "white", "grey", "mean"] = Field(
            "keep", description="what stands in a crop outside the mask: the picture, white, grey, or the mask's mean"
        )
        flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring")
        templates: list[str] = Field(TEMPLATES, description="prompts to draw from; {} stands for the token")

        @field_validator("templates", mode="before")
        @classmethod
        def _one(cls, value: Any) -> Any:
            """A single text is a list of one."""
            return [value] if isinstance(value, str) else value

        @field_validator("templates")
        @classmethod
        def _one_place(cls, value: list[str]) -> list[str]:
            from uce.core.training import require_one_place

            if not value:
                raise ValueError("must hold a prompt at least, such as a photo of {}")
            return [require_one_place(template) for template in value]

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
        """Learn one vector per concept and text encoder; nothing else changes.

        Args:
            plan: starting vectors (K, S, d); split tokens are averaged before the first update.
            concepts: K masks; the maps are not used.

        Raises:
            StageInputError: no concepts, or a loss that is not finite.
        """
        from uce.core.training import CropOptions, CropTraining

        options = CropOptions(**settings.model_dump())
        return CropTraining(plan, concepts, backbone, image, options, context).run()
