"""Tiny random models of diffusers' transformers, as folders: 64-pixel pictures, 4 x 16 x 16 latents, 8 x 8 cells.

T5's tokenizer knows the words of CLIP's and single letters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import _TINY_VAE, WORDS, _tiny_text, write_json, write_tokenizer

T5_WIDTH = 32
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000}
SIDE = 64


def write_flux(folder: Path, *, guidance: bool = True) -> Path:
    """FLUX.1, shaped like dev (with an embedded guidance) or like schnell."""
    import torch
    from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
    from transformers.models.clip.modeling_clip import CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        transformer = FluxTransformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=T5_WIDTH,
            pooled_projection_dim=16,
            guidance_embeds=guidance,
            axes_dims_rope=(4, 6, 6),
        )
        _write_parts(folder, transformer, {"text_encoder": (CLIPTextModel, 16)}, "text_encoder_2", "tokenizer_2")
    shifted = {"shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}
    write_json(folder / "scheduler" / "scheduler_config.json", {**FLOW, **(shifted if guidance else {"shift": 1.0})})
    index: dict[str, Any] = {
        "_class_name": "FluxPipeline",
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer_2": ["transformers", "T5TokenizerFast"],
    }
    write_json(folder / "model_index.json", index)
    return folder


def write_sd3(folder: Path, *, t5: bool = True, newer: bool = False) -> Path:
    """Stable Diffusion 3, with or without T5; `newer`: 3.5 medium, with norms and a block with a second attention."""
    import torch
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection as Clip

    more: dict[str, Any] = {"qk_norm": "rms_norm", "dual_attention_layers": (0,)} if newer else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        transformer = SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=4,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=48,
            caption_projection_dim=32,
            pooled_projection_dim=40,
            pos_embed_max_size=24,
            **more,
        )
        clips = {"text_encoder": (Clip, 16), "text_encoder_2": (Clip, 24)}
        _write_parts(folder, transformer, clips, "text_encoder_3" if t5 else None, "tokenizer_3", t5_width=48)
    write_json(folder / "scheduler" / "scheduler_config.json", {**FLOW, "shift": 3.0})
    third = ["transformers", "T5EncoderModel"], ["transformers", "T5TokenizerFast"]
    index: dict[str, Any] = {
        "_class_name": "StableDiffusion3Pipeline",
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "text_encoder_3": third[0] if t5 else [None, None],
        "tokenizer_3": third[1] if t5 else [None, None],
    }
    write_json(folder / "model_index.json", index)
    return folder


def _write_parts(
    folder: Path, transformer: Any, clips: dict[str, Any], t5: str | None, t5_tokenizer: str, t5_width: int = T5_WIDTH
) -> None:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from transformers.models.clip.configuration_clip import CLIPTextConfig

    with torch.no_grad():
        for name, weight in transformer.named_parameters():
            if name.endswith(("q.weight", "k.weight", "q_proj.weight", "k_proj.weight")) and weight.ndim == 2:
                weight.mul_(4)  # random projections alone attend almost evenly
    transformer.save_pretrained(folder / "transformer")
    AutoencoderKL(**_TINY_VAE, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False).save_pretrained(
        folder / "vae"
    )
    for number, (name, (kind, width)) in enumerate(clips.items()):
        size = write_tokenizer(folder / name.replace("text_encoder", "tokenizer"), "!" if number else "<|endoftext|>")
        encoder = kind(CLIPTextConfig(**_tiny_text(size, width, 2)))
        with torch.no_grad():
            encoder.get_input_embeddings().weight.mul_(20)
        encoder.save_pretrained(folder / name)
    if t5:
        write_t5(folder / t5, folder / t5_tokenizer, t5_width)


def write_t5(folder: Path, tokenizer_folder: Path, width: int) -> None:
    """A T5 encoder of two layers and its tokenizer."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -4.0)]
    pieces += [(f"\u2581{word}", -2.0 - 0.1 * i) for i, word in enumerate(WORDS)]
    pieces += [(chr(code), -9.0) for code in range(33, 127) if chr(code) not in {piece for piece, _ in pieces}]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)
    tokenizer.save_pretrained(tokenizer_folder)
    config = T5Config(
        vocab_size=len(tokenizer) + 28,  # as the real ones, T5 has rows to spare
        d_model=width,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    T5EncoderModel(config).save_pretrained(folder)


def load(folder: Path, precision: str = "float32", **settings: Any) -> Any:
    """Through the built-in plugins' own hooks; a picture has 64 pixels a side and a text 32 positions."""
    from types import SimpleNamespace

    from uce.plugins.backbones.flux import FluxBackbonePlugin
    from uce.plugins.backbones.stable_diffusion_3 import StableDiffusion3BackbonePlugin

    chosen = SimpleNamespace(**{"side": SIDE, "text_length": 32, **settings})
    for plugin in (FluxBackbonePlugin(), StableDiffusion3BackbonePlugin()):
        found = plugin.uce_load_backbone(str(folder), chosen, "cpu", precision)
        if found is not None:
            return found
    raise AssertionError(f"no plugin loads {folder}")
