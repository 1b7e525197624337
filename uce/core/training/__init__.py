"""Learning concept tokens against a frozen backbone: schedule, token rows, losses, alignment, the loop.

Optimizers call it; nothing here knows which. Begin with `loop.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.faces import face

_HOMES = {
    "Alignment": "alignment",
    "CropOptions": "crops",
    "CropTraining": "crops",
    "count_updates": "loop",
    "ModelWeights": "model_weights",
    "require_one_place": "options",
    "Phases": "phases",
    "merged": "phases",
    "plan_from": "phases",
    "training_identity": "phases",
    "Update": "schedule",
    "UpdatePlan": "schedule",
    "fitting_groups": "schedule",
    "concept_tokens": "starts",
    "random_starts": "starts",
    "ranked_starts": "starts",
    "resize_masks": "views",
    "masked_errors": "word_scores",
    "word_attention": "word_scores",
}

__all__ = [
    "Alignment",
    "CropOptions",
    "CropTraining",
    "ModelWeights",
    "Phases",
    "Update",
    "UpdatePlan",
    "concept_tokens",
    "count_updates",
    "fitting_groups",
    "masked_errors",
    "merged",
    "plan_from",
    "random_starts",
    "ranked_starts",
    "require_one_place",
    "resize_masks",
    "training_identity",
    "word_attention",
]

if TYPE_CHECKING:
    from uce.core.training.alignment import Alignment
    from uce.core.training.crops import CropOptions, CropTraining
    from uce.core.training.loop import count_updates
    from uce.core.training.model_weights import ModelWeights
    from uce.core.training.options import require_one_place
    from uce.core.training.phases import Phases, merged, plan_from, training_identity
    from uce.core.training.schedule import Update, UpdatePlan, fitting_groups
    from uce.core.training.starts import concept_tokens, random_starts, ranked_starts
    from uce.core.training.views import resize_masks
    from uce.core.training.word_scores import masked_errors, word_attention

__getattr__, __dir__ = face(__name__, _HOMES)
