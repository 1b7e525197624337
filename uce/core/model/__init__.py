"""The backbone's face and what is read from a model: attention, latents, features, words.

No stage and no training lives here. Begin with `backbone.py`, the face that every model shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.faces import face

_HOMES = {
    "attention_modules": "abilities",
    "joint_layers": "abilities",
    "Grid": "aggregate",
    "aggregate_self_attention": "aggregate",
    "finest_grid": "aggregate",
    "mean_cross_attention": "aggregate",
    "normalize_rows": "aggregate",
    "saliency_from": "aggregate",
    "attention_probabilities": "attention",
    "capture_attention": "attention",
    "capture_outputs": "attention",
    "replayed": "attention",
    "watched": "attention",
    "resolve_dtype": "backbone",
    "Costs": "costs",
    "encode_in_batches": "encoder",
    "ddim_inversion": "inversion",
    "JointReading": "joint_maps",
    "chosen_layers": "joint_maps",
    "joint_attention": "joint_maps",
    "likeness": "joint_maps",
    "read_joint_maps": "joint_maps",
    "text_attention": "joint_maps",
    "without_massive": "joint_maps",
    "encode_picture": "latents",
    "is_lora": "lora_names",
    "is_lora_name": "lora_names",
    "lora_header": "lora_names",
    "underscored": "lora_names",
    "AttentionSettings": "map_settings",
    "MapSettings": "map_settings",
    "joined": "regions",
    "parts_of": "regions",
    "seen_by": "regions",
    "regions_of": "region_search",
    "DEFAULT_SCHEDULER": "schedulers",
    "draws_noise": "schedulers",
    "make_scheduler": "schedulers",
    "LORA_DOWN": "tuning",
    "LORA_UP": "tuning",
    "PREFIX": "tuning",
    "TRANSFORMER_DOWN": "tuning",
    "TRANSFORMER_PREFIX": "tuning",
    "TRANSFORMER_UP": "tuning",
    "chosen_modules": "tuning",
    "end_of_text": "unet_maps",
    "grid_of": "unet_maps",
    "mean_of_passes": "unet_maps",
    "mean_of_sizes": "unet_maps",
    "noised": "unet_maps",
    "read_maps": "unet_maps",
    "resolve_timestep": "unet_maps",
    "nameable": "words",
    "require_readable": "words",
    "vocabulary_words": "words",
    "word_vectors": "words",
}

__all__ = [
    "DEFAULT_SCHEDULER",
    "LORA_DOWN",
    "LORA_UP",
    "PREFIX",
    "TRANSFORMER_DOWN",
    "TRANSFORMER_PREFIX",
    "TRANSFORMER_UP",
    "AttentionSettings",
    "Costs",
    "Grid",
    "JointReading",
    "MapSettings",
    "aggregate_self_attention",
    "attention_modules",
    "attention_probabilities",
    "capture_attention",
    "capture_outputs",
    "chosen_layers",
    "chosen_modules",
    "ddim_inversion",
    "draws_noise",
    "encode_in_batches",
    "encode_picture",
    "end_of_text",
    "finest_grid",
    "grid_of",
    "is_lora",
    "is_lora_name",
    "joined",
    "joint_attention",
    "joint_layers",
    "likeness",
    "lora_header",
    "make_scheduler",
    "mean_cross_attention",
    "mean_of_passes",
    "mean_of_sizes",
    "nameable",
    "noised",
    "normalize_rows",
    "parts_of",
    "read_joint_maps",
    "read_maps",
    "regions_of",
    "replayed",
    "require_readable",
    "resolve_dtype",
    "resolve_timestep",
    "saliency_from",
    "seen_by",
    "text_attention",
    "underscored",
    "vocabulary_words",
    "watched",
    "without_massive",
    "word_vectors",
]

if TYPE_CHECKING:
    from uce.core.model.abilities import attention_modules, joint_layers
    from uce.core.model.aggregate import (
        Grid,
        aggregate_self_attention,
        finest_grid,
        mean_cross_attention,
        normalize_rows,
        saliency_from,
    )
    from uce.core.model.attention import attention_probabilities, capture_attention, capture_outputs, replayed, watched
    from uce.core.model.backbone import resolve_dtype
    from uce.core.model.costs import Costs
    from uce.core.model.encoder import encode_in_batches
    from uce.core.model.inversion import ddim_inversion
    from uce.core.model.joint_maps import (
        JointReading,
        chosen_layers,
        joint_attention,
        likeness,
        read_joint_maps,
        text_attention,
        without_massive,
    )
    from uce.core.model.latents import encode_picture
    from uce.core.model.lora_names import is_lora, is_lora_name, lora_header, underscored
    from uce.core.model.map_settings import AttentionSettings, MapSettings
    from uce.core.model.region_search import regions_of
    from uce.core.model.regions import joined, parts_of, seen_by
    from uce.core.model.schedulers import DEFAULT_SCHEDULER, draws_noise, make_scheduler
    from uce.core.model.tuning import (
        LORA_DOWN,
        LORA_UP,
        PREFIX,
        TRANSFORMER_DOWN,
        TRANSFORMER_PREFIX,
        TRANSFORMER_UP,
        chosen_modules,
    )
    from uce.core.model.unet_maps import (
        end_of_text,
        grid_of,
        mean_of_passes,
        mean_of_sizes,
        noised,
        read_maps,
        resolve_timestep,
    )
    from uce.core.model.words import nameable, require_readable, vocabulary_words, word_vectors

__getattr__, __dir__ = face(__name__, _HOMES)
