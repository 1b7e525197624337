"""What a safetensors file is, told from the names of its tensors: one table, with where each name was read.

The names are facts about published files. Sources: `diffusers` is diffusers/loaders/single_file_utils.py
(CHECKPOINT_KEY_NAMES and the conversions there) and lora_conversion_utils.py; `comfyui` is comfy/supported_models.py
and comfy/model_detection.py; `layout` is the module layout of the model's own published code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MODELS = "uce works with the text-to-image models of Stable Diffusion 1.x, 2.x and XL"
UNSUPPORTED = f"which cannot be used: {MODELS}; give one of those, or install a backbone plugin for it"
_WHOLE = "give a whole checkpoint (unet, vae and text encoder in one file) or a diffusers folder"


@dataclass(frozen=True)
class Kind:
    """A kind of file that is no text-to-image model of Stable Diffusion.

    Attributes:
        id: for code that asks, such as "flux".
        name: with its article, as it stands in a sentence.
        marks: regular expressions; each must match the beginning of some tensor's name, in the file's own form or
            without the prefix under which single files keep their network.
        advice: what to do, as the end of a sentence.
        source: where the names were read.
        alone: such tensors make the file this kind only where it is no whole checkpoint.
    """

    id: str
    name: str
    marks: tuple[str, ...]
    source: str
    advice: str = UNSUPPORTED
    alone: bool = False


def _relative(id: str, name: str, *marks: str, source: str = "diffusers", advice: str = UNSUPPORTED) -> Kind:
    return Kind(id, name, marks, source, advice)


def _alone(id: str, name: str, *marks: str, source: str = "diffusers", advice: str = _WHOLE) -> Kind:
    return Kind(id, name, marks, source, advice, alone=True)


_PLAIN = "which cannot be used: choose the plain text-to-image version of it"

KINDS = (
    # other families, by the names of their networks
    _relative("flux2", "a Flux 2 checkpoint", r"single_stream_modulation\."),
    _relative("chroma", "a Chroma checkpoint", r"distilled_guidance_layer\."),
    _relative("flux", "a Flux checkpoint", r"(double_blocks|single_transformer_blocks)\."),
    _relative("sd3", "a Stable Diffusion 3 checkpoint", r"(joint_blocks\.|transformer_blocks\.0\.ff_context\.)"),
    _relative("auraflow", "an AuraFlow checkpoint", r"(double_layers|joint_transformer_blocks)\.|cond_seq_linear\."),
    _relative("cascade", "a Stable Cascade checkpoint", r"clip_txt_mapper\.|clip_txt_pooled_mapper\.|.*channelwise\."),
    _relative("z-image", "a Z-Image checkpoint", r"layers\.0\.adaLN_modulation\.0\.", r"cap_embedder\."),
    _relative("lumina2", "a Lumina 2 checkpoint", r"cap_embedder\."),
    _relative("ltx", "an LTX video checkpoint", r"patchify_proj\."),
    _relative("sana", "a Sana checkpoint", r".*inverted_conv\.|.*conv_inverted\."),
    _relative("pixart", "a PixArt checkpoint", r"(t_block\.1\.|adaln_single\.|blocks\.0\.scale_shift_table)"),
    _relative("wan", "a Wan video checkpoint", r"head\.modulation|condition_embedder\.time_embedder\."),
    _relative("wan-vae", "the VAE of a Wan video model", r"decoder\.middle\.0\.residual\."),
    _relative("hunyuan-video", "a HunyuanVideo checkpoint", r"txt_in\.individual_token_refiner\."),
    _relative("hunyuan-dit", "a Hunyuan-DiT checkpoint", r"mlp_t5\.|text_embedding_padding", source="comfyui"),
    _relative("qwen-image", "a Qwen-Image checkpoint", r"txt_norm\.weight|txt_in\.text_norm\.", source="comfyui"),
    _relative("mochi", "a Mochi video checkpoint", r"blocks\.0\.attn\.qkv_x\."),
    _relative("hidream", "a HiDream checkpoint", r"double_stream_blocks\."),
    _relative("cosmos", "a Cosmos checkpoint", r"net\.x_embedder\."),
    _relative("svd", "a Stable Video Diffusion checkpoint",
              r".*\.(time_stack|time_mixer|temporal_transformer_blocks)\b", source="comfyui"),
    _relative("kolors", "a Kolors checkpoint", r"encoder_hid_proj\.", source="comfyui"),
    # relatives of Stable Diffusion that take or predict something else
    _relative("edm", "a model with the EDM noise schedule (Playground v2.5)", r"edm_mean", source="comfyui",
              advice="which cannot be used; choose a model that predicts noise or velocity, such as sdxl"),
    _relative("edm-v", "a model with the EDM schedule and v-prediction (CosXL)", r"edm_vpred\.sigma_", source="comfyui",
              advice="which cannot be used; choose a model that predicts noise or velocity, such as sdxl"),
    _relative("unclip", "an unCLIP model, which draws from a picture's embedding",
              r"noise_augmentor\.|embedder\.model\.", source="layout", advice=_PLAIN),
    _relative("depth", "a depth model", r"depth_model\.", source="layout", advice=_PLAIN),
    _relative("upscaler", "an upscaler", r"low_scale_model\.", source="layout", advice=_PLAIN),
    _relative("lcm", "a distilled latent consistency model, which takes the guidance scale as an input",
              r"time_embed(ding)?\.cond_proj\.", source="layout",
              advice="which cannot be used; give the model it was distilled from, with an LCM LoRA: --set "
                     "model.lora=FILE"),
    _relative("refiner", "the refiner of Stable Diffusion XL", r"conditioner\.embedders\.0\.model\.",
              advice="which cannot be used; give the base"),
    # files that hold less than a model
    _alone("lycoris", "a LoRA of a kind that cannot be fused here (LoHa, LoKr, OFT: LyCORIS)",
           r".*\.(hada_w1_|lokr_w1|oft_blocks|oft_diag)", source="comfyui",
           advice="convert it to a plain LoRA, or merge it into a checkpoint with the program that made it"),
    _alone("lora", "a LoRA", r".*(lora_up|lora_down|lora_A|lora_B|\.lora\.up|\.lora\.down|lora_linear_layer)\.",
           advice="name the model it was made for with --model and lay it over with --set model.lora=FILE"),
    _alone("controlnet", "a ControlNet", r"control_model\.|controlnet_|input_hint_block\.|lllite_unet",
           advice="which steers a model and is none; give the model itself"),
    _alone("adapter", "an adapter (T2I-Adapter or IP-Adapter)", r"image_proj\.|ip_adapter\.|adapter\.|body\.0\.",
           source="layout", advice="which steers a model and is none; give the model itself"),
    _alone("animatediff", "a motion module (AnimateDiff)", r".*motion_modules\.", advice=_WHOLE),
    _alone("embedding", "an embedding (textual inversion)", r"(emb_params|string_to_param|clip_[lg]|<.+>)$",
           source="layout", advice="turn it into a run that draws with uce import FILE --model MODEL"),
    _alone("taesd", "a tiny VAE (TAESD)", r"(taesd_)?(en|de)coder\.layers\.\d", source="layout"),
    _alone("t5", "a T5 text encoder", r"encoder\.block\.0\.layer\.0\.SelfAttention\.", source="layout"),
    _alone("unet", "a UNet alone", r"(unet\.)?(input_blocks\.|down_blocks\.0\.|conv_in\.weight)"),
    _alone("vae", "a VAE alone", r"(first_stage_model\.)?(encoder|decoder)\.(mid|mid_block|conv_in|down|up)\b",
           advice="use it beside a model with --model MODEL --set model.vae=FILE"),
    _alone("clip", "a CLIP text encoder alone",
           r"(cond_stage_model\.)?(transformer\.|model\.)?(text_model\.|text_projection|transformer\.resblocks\.0\.)"
           r"|(encoder\.layers\.0\.|embeddings\.token_embedding\.|visual\.)"),
)  # fmt: skip

QUANTISED = re.compile(r".*(\.absmax|\.quant_map|\.quant_state\.|\.qweight|\.wscales|\.comfy_quant|\.qzeros)")
"""Tensors of formats in which a weight is no plain number (bitsandbytes, GPTQ, Nunchaku, ComfyUI's mixed layouts)."""

_PREFIX = re.compile(r"^(model\.diffusion_model\.|diffusion_model\.|transformer\.|net\.)")


def kind_of(names: Iterable[str], *, whole: bool = False) -> Kind | None:
    """The kind that the tensors' names say; None where they are nobody's, or Stable Diffusion's.

    Args:
        whole: the file is a whole checkpoint, so that a few tensors of another kind do not make it one.
    """
    text = {name for own in names for name in (own, _PREFIX.sub("", own))}
    for kind in KINDS:
        if kind.alone and whole:
            continue
        if all(any(re.match(mark, name) for name in text) for mark in kind.marks):
            return kind
    return None
