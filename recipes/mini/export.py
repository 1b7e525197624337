"""Write the trained parts as a plain diffusers folder in float16."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from recipes.mini.model import make_scheduler
from uce.scenes.names import NAMES, plural

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
def word_vectors(model: nn.ModuleDict, numbers: Tensor, appearance: Tensor) -> dict[str, Tensor]:
    """Words, singular and plural, of named objects and their vectors: appearance plus the words' own part.

    Args:
        numbers: (n,) places in `NAMES`.
        appearance: (n, parts) of these objects.
    """
    names = list(NAMES.values())
    vectors = model["appearance"](appearance, numbers)
    pairs = zip([names[number] for number in numbers.tolist()], vectors, strict=True)
    return {word: vector for name, vector in pairs for word in (name, plural(name))}


@torch.no_grad()
def fill_words(encoder: Any, tokenizer: CLIPTokenizer, vectors: dict[str, Tensor]) -> None:
    """Set the vocabulary's rows of these words."""
    table = encoder.get_input_embeddings().weight
    for word, vector in vectors.items():
        (number,) = tokenizer(word, add_special_tokens=False).input_ids
        table[number] = vector


def save_half(part: Any, folder: Path) -> None:
    """Write weights in float16; a text encoder's settings say float32, else transformers would load float16 beside
    diffusers' float32."""
    part.half().save_pretrained(folder)
    config = folder / "config.json"
    described = json.loads(config.read_text())
    described.pop("_name_or_path", None)  # a path of the machine that trained
    text = json.dumps(described, indent=2).replace('"float16"', '"float32"')
    config.write_text(text + "\n")


def save_vae(folder: Path, scale: float, work: Path, **more: Any) -> None:
    """Write the work folder's VAE, with more in its settings."""
    vae = AutoencoderKL.from_pretrained(work / "vae")
    vae.register_to_config(scaling_factor=scale, force_upcast=False, **more)
    save_half(vae, folder)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path, work: Path) -> None:
    """Write the tokenizer, for readers that do not know tokenizer.json too."""
    tokenizer.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(work / "tokenizer" / name, folder)


@contextmanager
def whole_folder(work: Path) -> Iterator[Path]:
    """A folder to write to that takes the place of `work`/export when it is complete."""
    folder = work / "export.part"
    shutil.rmtree(folder, ignore_errors=True)
    yield folder
    shutil.rmtree(work / "export", ignore_errors=True)
    folder.rename(work / "export")


def export(
    model: nn.ModuleDict, tokenizer: CLIPTokenizer, numbers: Tensor, appearance: Tensor, scale: float, work: Path
) -> None:
    """Write `work`/export.

    Args:
        model: "unet", "text" and "appearance" as trained (left as they are).
        numbers: (n,) places in `NAMES` of the named objects that are there.
        appearance: (n, parts) of these.
        scale: the VAE's scaling factor; the VAE is read from `work`/vae.
    """
    model = copy.deepcopy(model).cpu().eval()
    fill_words(model["text"], tokenizer, word_vectors(model, numbers, appearance))
    with whole_folder(work) as folder:
        save_half(model["unet"], folder / "unet")
        save_half(model["text"], folder / "text_encoder")
        save_vae(folder / "vae", scale, work)
        save_tokenizer(tokenizer, folder / "tokenizer", work)
        make_scheduler().save_pretrained(folder / "scheduler")
        (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
