"""Tiny random encoders in transformers' layout, each saved by transformers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

BODY: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**BODY, "intermediate_size": 32, "image_size": 32, "patch_size": 8}
TEXT = {**BODY, "intermediate_size": 32, "vocab_size": 20, "max_position_embeddings": 16}
WORDS = ("a", "photo", "of", "in", "the", "snow", "on", "grass", "red", "made", "wood", "next", "to", "cat")
STEPS = {
    "size": {"shortest_edge": 48}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25],
}  # fmt: skip


def models() -> dict[str, Any]:
    """Folder name -> network: whole models, halves, with and without projections and heads."""
    import transformers as t

    clip = {**VISION, "projection_dim": 12}
    whole = t.CLIPConfig(vision_config=clip, text_config={**TEXT, "projection_dim": 12}, projection_dim=12)
    vision = t.CLIPVisionConfig(**clip)
    siglip = t.SiglipConfig(vision_config=VISION, text_config=TEXT)
    naflex = {**BODY, "intermediate_size": 32, "num_patches": 16, "patch_size": 8}
    plain, registers = t.Dinov2Config(**BODY, image_size=28, patch_size=14), {"num_register_tokens": 2}
    convnext = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "image_size": 32}
    return {
        "clip": t.CLIPModel(whole),
        "clip-vision": t.CLIPVisionModelWithProjection(vision),
        "clip-vision-bare": t.CLIPVisionModel(vision),
        "siglip": t.SiglipModel(siglip),
        "siglip-vision": t.SiglipVisionModel(t.SiglipVisionConfig(**VISION)),
        "siglip-headless": t.SiglipVisionModel(t.SiglipVisionConfig(**VISION, vision_use_head=False)),
        "siglip2": t.Siglip2Model(t.Siglip2Config(vision_config=naflex, text_config=TEXT)),
        "siglip2-vision": t.Siglip2VisionModel(t.Siglip2VisionConfig(**naflex)),
        "dino": t.ViTModel(t.ViTConfig(**VISION)),
        "dino-bare": t.ViTModel(t.ViTConfig(**VISION), add_pooling_layer=False),
        "dinov2": t.Dinov2Model(plain),
        "dinov2-classifier": t.Dinov2ForImageClassification(plain),
        "dinov2-registers": t.Dinov2WithRegistersModel(
            t.Dinov2WithRegistersConfig(**BODY, image_size=28, patch_size=14, **registers)
        ),
        "dinov3": t.DINOv3ViTModel(t.DINOv3ViTConfig(**VISION, **registers)),
        "dinov3-convnext": t.DINOv3ConvNextModel(t.DINOv3ConvNextConfig(**convnext)),
    }


def tokenizer() -> Any:
    """One word, one id; a start and an end."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = {"<pad>": 0, "<unk>": 1, "<start>": 2, "<end>": 3}
    made = Tokenizer(WordLevel({**special, **{word: n for n, word in enumerate(WORDS, start=4)}}, "<unk>"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(single="<start> $A <end>", special_tokens=[("<start>", 2), ("<end>", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", bos_token="<start>", eos_token="<end>"
    )


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> folder; `clip` says how pictures are prepared, and the whole image-text models have a tokenizer.

    `siglip-untokenized` is `siglip` without one.
    """
    root = tmp_path_factory.mktemp("encoders")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = models()
    for name, model in made.items():
        model.save_pretrained(root / name)
    made["siglip"].save_pretrained(root / "siglip-untokenized")
    for name in ("clip", "siglip", "siglip2"):
        tokenizer().save_pretrained(root / name)
    (root / "clip" / "preprocessor_config.json").write_text(json.dumps(STEPS), encoding="utf-8")
    return {path.name: path for path in root.iterdir()}
