"""Write the trained parts as a diffusers folder of a `StableDiffusion3Pipeline` without T5, in float16."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from torch import Tensor, nn
from transformers import CLIPTokenizer

from recipes.mini.export import fill_words, save_half, save_tokenizer, save_vae, whole_folder, word_vectors
from recipes.mini_dit.model import make_scheduler

_CLIP, _TOKENIZER = ["transformers", "CLIPTextModelWithProjection"], ["transformers", "CLIPTokenizer"]
INDEX = {
    "_class_name": "StableDiffusion3Pipeline",
    "_diffusers_version": "0.30.0",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": _CLIP,
    "text_encoder_2": _CLIP,
    "text_encoder_3": [None, None],
    "tokenizer": _TOKENIZER,
    "tokenizer_2": _TOKENIZER,
    "tokenizer_3": [None, None],
    "transformer": ["diffusers", "SD3Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def export(
    model: nn.ModuleDict, tokenizer: CLIPTokenizer, numbers: Tensor, appearance: Tensor, scale: float, work: Path
) -> None:
    """Write `work`/export; arguments as those of `recipes.mini.export.export`."""
    model = copy.deepcopy(model).cpu().eval()
    vectors = word_vectors(model, numbers, appearance)
    fill_words(model["text"], tokenizer, vectors)
    fill_words(model["text_2"], tokenizer, {word: model["narrow"](vector) for word, vector in vectors.items()})
    with whole_folder(work) as folder:
        save_half(model["transformer"], folder / "transformer")
        for part, name in (("text", ""), ("text_2", "_2")):
            save_half(model[part], folder / f"text_encoder{name}")
            save_tokenizer(tokenizer, folder / f"tokenizer{name}", work)
        save_vae(folder / "vae", scale, work, shift_factor=0.0)
        make_scheduler().save_pretrained(folder / "scheduler")
        (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
