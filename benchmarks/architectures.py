"""Models with random weights in the shape of the published ones: what is measured with them is work, not results.

They are drawn from the configurations that ship with the package; the vocabulary is CLIP's own.
"""

from __future__ import annotations

import json
from pathlib import Path

MODELS = ("sd15", "sd21-base", "sdxl")


def write_model(kind: str, folder: Path) -> Path:
    """A diffusers folder with random half precision weights."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    from uce.plugins.backbones._sd.single_file import CONFIGS
    from uce.plugins.backbones._sd.vocabulary import clip_tokenizer
    from uce.plugins.backbones._sdxl.single_file import CONFIGS as XL_CONFIGS

    large = kind == "sdxl"
    source = XL_CONFIGS if large else CONFIGS / kind
    torch.manual_seed(0)
    # XL's 2.6 billion weights are drawn in bfloat16, the others' in float32: drawing is slower than the whole test else
    torch.set_default_dtype(torch.bfloat16 if large else torch.float32)
    half = torch.bfloat16 if large else torch.float16
    for name, cls in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        cls.from_config(cls.load_config(source / name)).to(half).save_pretrained(folder / name)
    texts = {"": CLIPTextModel, "_2": CLIPTextModelWithProjection} if large else {"": CLIPTextModel}
    for suffix, cls in texts.items():
        name = f"text_encoder{suffix}"
        cls(CLIPTextConfig.from_pretrained(source / name)).to(half).save_pretrained(folder / name)
        clip_tokenizer(source / f"tokenizer{suffix}").save_pretrained(folder / f"tokenizer{suffix}")
    scheduler = (source / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(scheduler, encoding="utf-8")
    pipeline = "StableDiffusionXLPipeline" if large else "StableDiffusionPipeline"
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}), encoding="utf-8")
    return folder
