"""Write the trained parts as a plain diffusers folder in float16."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from recipes.mini.model import make_scheduler
from uce.scenes.names import plural

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


@torch.no_grad()
def fill_words(model: nn.ModuleDict, tokenizer: CLIPTokenizer, appearance: Tensor, named: dict[str, str]) -> None:
    """Set the vocabulary's rows of named objects to their appearance embeddings plus the words' own part."""
    text: Any = model["text"]
    table = text.get_input_embeddings().weight
    vectors = model["appearance"](appearance, torch.arange(len(named)))
    for vector, name in zip(vectors, named.values(), strict=True):
        for word in (name, plural(name)):
            (number,) = tokenizer(word, add_special_tokens=False).input_ids
            table[number] = vector


def export(
    model: nn.ModuleDict, tokenizer: CLIPTokenizer, appearance: Tensor, named: dict[str, str], scale: float, work: Path
) -> None:
    """Write `work`/export, complete before it takes the place of an earlier one.

    Args:
        model: "unet", "text" and "appearance" as trained (left as they are).
        appearance: (named objects, parts), in the order of `named`.
        scale: the VAE's scaling factor; the VAE is read from `work`/vae.
    """
    model = copy.deepcopy(model).cpu().eval()
    fill_words(model, tokenizer, appearance, named)
    folder = work / "export.part"
    shutil.rmtree(folder, ignore_errors=True)
    unet: Any = model["unet"]
    text: Any = model["text"]
    unet.half().save_pretrained(folder / "unet")
    text.half().save_pretrained(folder / "text_encoder")
    config = folder / "text_encoder" / "config.json"  # else transformers loads float16 beside diffusers' float32
    config.write_text(config.read_text().replace('"float16"', '"float32"'))
    vae = AutoencoderKL.from_pretrained(work / "vae")
    vae.register_to_config(scaling_factor=scale, force_upcast=False)
    vae.half().save_pretrained(folder / "vae")
    described = json.loads((folder / "vae" / "config.json").read_text())
    described.pop("_name_or_path", None)  # a path of the machine that trained
    (folder / "vae" / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    tokenizer.save_pretrained(folder / "tokenizer")
    for name in ("vocab.json", "merges.txt"):  # for readers that do not know tokenizer.json
        shutil.copy(work / "tokenizer" / name, folder / "tokenizer")
    make_scheduler().save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
    shutil.rmtree(work / "export", ignore_errors=True)
    folder.rename(work / "export")
