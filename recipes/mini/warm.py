"""Go on from the committed weights: what training needs beside the diffusers folder.

`warm_start.safetensors` holds the appearance network, the appearance table it was trained on (its
principal components have no fixed sign, so they cannot be computed again) and the codec.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.numpy import load_file, save_file
from torch import from_numpy, nn
from transformers import CLIPTextModel

from recipes.mini.codec import Codec, load_codec
from uce import model_path
from uce.scenes.things import LISTED

HOME = Path(__file__).parent
WEIGHTS, EXTRA = model_path("mini"), HOME / "warm_start.safetensors"


def save_warm_start(model: nn.ModuleDict, work: Path, path: Path) -> None:
    """Write the appearance network, table and codec."""
    tensors = {
        f"network.{k}": v.detach().cpu().numpy().astype(np.float16) for k, v in model["appearance"].state_dict().items()
    }
    codec = load_codec(work / "codec.npz")
    tensors |= {"codec.mean": codec.mean, "codec.basis": codec.basis, "codec.inverse": codec.inverse}
    tensors["table"] = np.load(work / "appearance.npy")[:, : len(LISTED)].astype(np.float16)  # gives the others
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)


def prepare_work(work: Path) -> None:
    """Lay autoencoder, codec and appearance table of the committed weights into an empty work folder."""
    work.mkdir(parents=True, exist_ok=True)
    stored = load_file(EXTRA)
    Codec(stored["codec.mean"], stored["codec.basis"], stored["codec.inverse"]).save(work / "codec.npz")
    np.save(work / "appearance.npy", stored["table"].astype(np.float32))
    shutil.rmtree(work / "vae", ignore_errors=True)
    AutoencoderKL.from_pretrained(WEIGHTS / "vae").float().save_pretrained(work / "vae")


def load_weights(model: nn.ModuleDict) -> None:
    """Set the model to the committed weights; the vocabulary must be theirs."""
    unet: Any = UNet2DConditionModel.from_pretrained(WEIGHTS / "unet")
    model["unet"].load_state_dict(unet.float().state_dict())
    load_text(model["text"])
    load_appearance(model["appearance"])


def load_text(encoder: nn.Module) -> None:
    """Set a text encoder to the committed one."""
    text: Any = CLIPTextModel.from_pretrained(WEIGHTS / "text_encoder")
    encoder.load_state_dict(text.float().state_dict())


def load_appearance(encoder: nn.Module) -> None:
    """Set an appearance network to the committed one."""
    stored = load_file(EXTRA)
    network = {k.removeprefix("network."): v for k, v in stored.items() if k.startswith("network.")}
    encoder.load_state_dict({k: from_numpy(v.astype(np.float32)) for k, v in network.items()})
