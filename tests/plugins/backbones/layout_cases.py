"""Files and folders in the layouts of the real world, with small random weights, and what becomes of each.

`CASES` is the table of docs/models.md; test_layouts.py builds every one of them and holds the loader to its result.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
Tensors = dict[str, Tensor]


@dataclass
class Material:
    """What cases are made from.

    Attributes:
        folder: an empty one.
        tensors: small checkpoints in the original layout: "sd15", "sd21-base", "sdxl".
        pipelines: small diffusers folders: "sd1", "sdxl".
    """

    folder: Path
    tensors: dict[str, Tensors]
    pipelines: dict[str, Path]

    def save(self, tensors: Tensors, name: str = "model.safetensors", **metadata: str) -> Path:
        path = self.folder / name
        save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata=metadata or None)
        return path

    def copy(self, kind: str = "sd1") -> Path:
        return Path(shutil.copytree(self.pipelines[kind], self.folder / "model"))


@dataclass
class Case:
    """One layout.

    Attributes:
        group, layout: for the table.
        loads: what the model's line must say; "" where it is refused.
        refused: the sentence that refuses it, in part.
        settings: of `model.*`; values that begin with "./" are paths in the case's folder.
    """

    group: str
    layout: str
    build: Callable[[Material], Path]
    loads: str = ""
    refused: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


CASES: list[Case] = []


def case(group: str, layout: str, **result: Any) -> Callable[[Any], Any]:
    def register(build: Callable[[Material], Path]) -> Callable[[Material], Path]:
        CASES.append(Case(group, layout, build, **result))
        return build

    return register


def _checkpoint(
    layout: str, kind: str = "sd15", change: Callable[[Tensors], Tensors] = lambda tensors: tensors, *,
    name: str = "model.safetensors", metadata: dict[str, str] | None = None, **result: Any,
) -> None:  # fmt: skip
    group = {"sd15": "Stable Diffusion 1.x file", "sd21-base": "Stable Diffusion 2.x file", "sdxl": "SDXL file"}[kind]
    case(group, layout, **result)(lambda m: m.save(change(dict(m.tensors[kind])), name, **(metadata or {})))


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key.replace(old, new): value for key, value in tensors.items()}


def plus(*names: str, shape: tuple[int, ...] = (1,)) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: torch.zeros(shape) for name in names}


def without(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if not key.startswith(prefix)}


def in_dtype(dtype: torch.dtype) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value.to(dtype) for key, value in tensors.items()}


def schedule(zero_snr: bool = False, power: float = 1.0) -> Callable[[Tensors], Tensors]:
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    shape = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    found = DDPMScheduler(**shape, rescale_betas_zero_snr=zero_snr).alphas_cumprod ** power
    return lambda tensors: tensors | {"alphas_cumprod": found, "betas": torch.zeros(1000)}


def scaled_fp8(suffix: str) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        for key in [key for key in tensors if key.startswith(UNET) and key.endswith("attn1.to_q.weight")]:
            tensors[key] = (tensors[key] * 4).to(torch.float8_e4m3fn)
            tensors[key.removesuffix(".weight") + suffix] = torch.tensor(0.25)
        return tensors | {"scaled_fp8": torch.zeros(0).to(torch.float8_e4m3fn)}

    return change


_EPS, _V = "predicts the noise (", "predicts velocity ("
_USUAL = "as Stable Diffusion 1.x usually does; the file does not say"
# --- whole checkpoints
_checkpoint("pruned, as published", loads=_EPS + _USUAL)
_checkpoint("float16", change=in_dtype(torch.float16), loads=_EPS)
_checkpoint("bfloat16", change=in_dtype(torch.bfloat16), loads=_EPS)
_checkpoint("float8, plain", change=in_dtype(torch.float8_e4m3fn), loads=_EPS)
_checkpoint("float8 with scale_weight", change=scaled_fp8(".scale_weight"), loads=_EPS)
_checkpoint("float8 with weight_scale", change=scaled_fp8(".weight_scale"), loads=_EPS)
_checkpoint("named .sft", name="model.sft", loads=_EPS)
_checkpoint("with running means (model_ema)", change=plus("model_ema.decay", "model_ema.diffusion_modelout2bias"),
            loads=_EPS)  # fmt: skip
_checkpoint("with its training's noise schedule", change=schedule(), loads=_EPS)
_checkpoint("with a noise schedule that ends in pure noise", change=schedule(zero_snr=True), loads=_EPS)
_checkpoint("with a noise schedule of its own", change=schedule(power=2.0), refused="holds a noise schedule")
_checkpoint("old merge, text encoder without text_model", change=renamed("transformer.text_model.", "transformer."),
            loads=_EPS)  # fmt: skip
_checkpoint("text encoder under clip_l", change=renamed(f"{TEXT}transformer.", f"{TEXT}clip_l.transformer."),
            loads=_EPS)  # fmt: skip
_checkpoint("with the whole CLIP, pictures too",
            change=plus(f"{TEXT}transformer.vision_model.x", f"{TEXT}transformer.text_projection.weight",
                        f"{TEXT}transformer.logit_scale"), loads=_EPS)  # fmt: skip
_checkpoint("with position_ids", change=plus(f"{TEXT}transformer.text_model.embeddings.position_ids"), loads=_EPS)
for own, other in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
    _checkpoint(f"VAE attention named {other}", change=renamed(f"attn_1.{own}.", f"attn_1.{other}."), loads=_EPS)
_checkpoint("with the VAE's discriminator", change=plus(f"{VAE}loss.logvar"), loads=_EPS)
_checkpoint("key v_pred", change=plus("v_pred"), loads=f"{_V}the file's key v_pred)")
_checkpoint("keys v_pred and ztsnr", change=plus("v_pred", "ztsnr"), loads=f"{_V}the file's key v_pred)")
_checkpoint("metadata modelspec.predict_key=v", metadata={"modelspec.predict_key": "v"},
            loads=f"{_V}the file's metadata modelspec.predict_key=v)")  # fmt: skip
_checkpoint("metadata modelspec.prediction_type=epsilon", metadata={"modelspec.prediction_type": "epsilon"},
            loads=f"{_EPS}the file's metadata modelspec.prediction_type=epsilon)")  # fmt: skip
_checkpoint("metadata ss_v_parameterization", metadata={"ss_v_parameterization": "True"}, loads=_V)
_checkpoint("metadata with an unknown prediction", metadata={"modelspec.predict_key": "flow"},
            refused="says modelspec.predict_key='flow', which is not known")  # fmt: skip
_checkpoint("model.prediction=velocity", settings={"prediction": "velocity"},
            loads=f"{_V}setting model.prediction)")  # fmt: skip
_checkpoint("model.prediction=sample", settings={"prediction": "sample"}, loads="predicts the picture (setting")
_checkpoint("LCM merge, by its name", name="dream_lcm.safetensors", loads="draws in few steps without guidance (its")
_checkpoint("distilled LCM", change=plus(f"{UNET}time_embed.cond_proj.weight"),
            refused="is a distilled latent consistency model")  # fmt: skip
_checkpoint("inpainting", change=plus(f"{UNET}input_blocks.0.0.weight", shape=(32, 9, 3, 3)),
            refused="takes 9 input channels (an inpainting model)")  # fmt: skip
_checkpoint("InstructPix2Pix", change=plus(f"{UNET}input_blocks.0.0.weight", shape=(32, 8, 3, 3)),
            refused="takes 8 input channels (an editing model")  # fmt: skip
_checkpoint(
    "a tensor that nobody knows",
    change=plus(f"{UNET}input_blocks.1.1.adapter_gate.weight"),
    refused="holds 1 tensors that Stable Diffusion does not have (first: model.diffusion_model.input_blocks",
)
_checkpoint("quantised (bitsandbytes)", change=plus(f"{UNET}out.2.weight.absmax"), refused="holds quantised weights")
_checkpoint("without VAE", change=without(VAE), refused="has no vae; name one with --set model.vae=FILE")
_checkpoint("without text encoder", change=without(TEXT), refused="has no text_encoder; give a whole")
_checkpoint("pruned blocks (distilled)", change=without(f"{UNET}output_blocks.5"), refused="a pruned or distilled one")
_checkpoint("plain, probed", "sd21-base", loads=f"{_EPS}probe of the network)")
_checkpoint(
    "text encoder's last layer and projection",
    "sd21-base",
    plus(f"{TEXT}model.transformer.resblocks.2.ln_1.weight", f"{TEXT}model.logit_scale"),
    loads=_EPS,
)
_checkpoint("768 px, by metadata", "sd21-base", metadata={"modelspec.architecture": "stable-diffusion-v2-768-v"},
            loads=f"a Stable Diffusion 2.x checkpoint (768 px); {_V}")  # fmt: skip
_checkpoint("unCLIP", "sd21-base", plus(f"{UNET}label_emb.0.0.weight", "noise_augmentor.data_mean"),
            refused="is an unCLIP model")  # fmt: skip
_checkpoint("unCLIP, network alone", "sd21-base", plus(f"{UNET}label_emb.0.0.weight"),
            refused="(first: model.diffusion_model.label_emb.0.0.weight), as unCLIP models have")  # fmt: skip
_checkpoint("depth", "sd21-base", plus("depth_model.model.x"), refused="is a depth model, which cannot be used")
_checkpoint("Turbo, by its name", "sd21-base", name="sd_turbo.safetensors", loads="few steps without guidance (its")
_checkpoint("base", "sdxl", loads=f"{_EPS}as Stable Diffusion XL usually does")
_checkpoint(
    "text_projection as a layer",
    "sdxl",
    lambda t: {
        k.replace("1.model.text_projection", "1.model.text_projection.weight"): v.T
        if k.endswith("1.model.text_projection")
        else v
        for k, v in t.items()
    },
    loads=_EPS,
)
_checkpoint("with denoiser.sigmas", "sdxl", plus("denoiser.sigmas"), loads=_EPS)
_checkpoint("keys v_pred and ztsnr", "sdxl", plus("v_pred", "ztsnr"), loads=f"{_V}the file's key v_pred)")
_checkpoint("Lightning, by its name", "sdxl", name="x_lightning_8step.safetensors", loads="says 'lightning'")
_checkpoint("CosXL (EDM, v)", "sdxl", plus("edm_vpred.sigma_max", "edm_vpred.sigma_min"),
            refused="is a model with the EDM schedule and v-prediction (CosXL), which cannot be used")  # fmt: skip
_checkpoint("Playground v2.5 (EDM)", "sdxl", plus("edm_mean", "edm_std"), refused="(Playground v2.5), which cannot")
_checkpoint("refiner", "sdxl", renamed("conditioner.embedders.1.", "conditioner.embedders.0."),
            refused="is the refiner of Stable Diffusion XL, which cannot be used; give the base")  # fmt: skip
_checkpoint("Stable Video Diffusion", "sdxl", plus(f"{UNET}input_blocks.1.0.time_stack.in_layers.0.weight"),
            refused="is a Stable Video Diffusion checkpoint")  # fmt: skip

# --- files that are something else, by a few of their tensors' names
_OTHERS = {
    "Flux, as published": ("double_blocks.0.img_attn.norm.key_norm.scale", "is a Flux checkpoint"),
    "Flux, ComfyUI": (f"{UNET}double_blocks.0.img_attn.norm.key_norm.scale", "is a Flux checkpoint"),
    "Flux, diffusers": ("single_transformer_blocks.0.attn.to_q.weight", "is a Flux checkpoint"),
    "Flux 2": ("single_stream_modulation.lin.weight", "is a Flux 2 checkpoint"),
    "Chroma": ("distilled_guidance_layer.in_proj.bias", "is a Chroma checkpoint"),
    "Stable Diffusion 3, as published": (f"{UNET}joint_blocks.0.x", "is a Stable Diffusion 3 checkpoint"),
    "Stable Diffusion 3, diffusers": ("transformer_blocks.0.ff_context.net.0.x", "is a Stable Diffusion 3 checkpoint"),
    "PixArt, as published": ("t_block.1.weight", "is a PixArt checkpoint"),
    "PixArt, diffusers": ("adaln_single.linear.weight", "is a PixArt checkpoint"),
    "Stable Cascade, stage C": ("clip_txt_mapper.weight", "is a Stable Cascade checkpoint"),
    "Stable Cascade, stage B": ("down_blocks.1.0.channelwise.0.weight", "is a Stable Cascade checkpoint"),
    "AuraFlow": (f"{UNET}double_layers.0.attn.w1q.weight", "is an AuraFlow checkpoint"),
    "Z-Image": ("layers.0.adaLN_modulation.0.weight cap_embedder.0.weight", "is a Z-Image checkpoint"),
    "Lumina 2": ("cap_embedder.0.weight", "is a Lumina 2 checkpoint"),
    "Wan": (f"{UNET}head.modulation", "is a Wan video checkpoint"),
    "Wan's VAE": ("decoder.middle.0.residual.0.gamma", "is the VAE of a Wan video model"),
    "LTX": (f"{UNET}patchify_proj.weight", "is an LTX video checkpoint"),
    "Sana": ("blocks.0.mlp.inverted_conv.conv.weight", "is a Sana checkpoint"),
    "Hunyuan-DiT": ("mlp_t5.0.weight", "is a Hunyuan-DiT checkpoint"),
    "HunyuanVideo": ("txt_in.individual_token_refiner.blocks.0.x", "is a HunyuanVideo checkpoint"),
    "Qwen-Image": ("txt_norm.weight", "is a Qwen-Image checkpoint"),
    "Mochi": ("blocks.0.attn.qkv_x.weight", "is a Mochi video checkpoint"),
    "HiDream": ("double_stream_blocks.0.block.x", "is a HiDream checkpoint"),
    "Cosmos": ("net.x_embedder.proj.1.weight", "is a Cosmos checkpoint"),
    "LoRA, kohya": (
        "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", "is a LoRA: name the model it was made for"),
    "LoRA, peft": ("unet.mid_block.attentions.0.proj_in.lora_A.weight", "lay it over with --set model.lora=FILE"),
    "LoHa (LyCORIS)": ("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a", "is a LoRA of a kind that cannot be"),
    "ControlNet, as published": ("control_model.input_hint_block.0.weight", "is a ControlNet, which steers a model"),
    "ControlNet, diffusers": ("controlnet_cond_embedding.conv_in.weight", "is a ControlNet, which steers a model"),
    "IP-Adapter": ("image_proj.norm.weight", "is an adapter (T2I-Adapter or IP-Adapter), which steers"),
    "motion module": ("down_blocks.0.motion_modules.0.x", "is a motion module (AnimateDiff)"),
    "embedding, AUTOMATIC1111": ("emb_params", "is an embedding (textual inversion): turn it into a run"),
    "embedding, SDXL": ("clip_l clip_g", "is an embedding (textual inversion): turn it into a run"),
    "embedding, diffusers": ("<cat-toy>", "is an embedding (textual inversion): turn it into a run"),
    "tiny VAE": ("taesd_decoder.layers.0.weight", "is a tiny VAE (TAESD)"),
    "VAE, as published": ("encoder.conv_in.weight decoder.conv_in.weight", "is a VAE alone: use it beside a model"),
    "VAE, diffusers": ("decoder.mid_block.resnets.0.conv1.weight", "is a VAE alone: use it beside a model"),
    "CLIP text encoder": ("text_model.encoder.layers.0.x", "is a CLIP text encoder alone: give a whole"),
    "OpenCLIP text encoder": ("transformer.resblocks.0.ln_1.weight", "is a CLIP text encoder alone: give a whole"),
    "T5 text encoder": ("encoder.block.0.layer.0.SelfAttention.q.weight", "is a T5 text encoder: give a whole"),
    "UNet, ComfyUI": (f"{UNET}input_blocks.0.0.weight", "is a UNet alone: give a whole checkpoint"),
    "UNet, diffusers": ("down_blocks.0.resnets.0.conv1.weight", "is a UNet alone: give a whole checkpoint"),
}  # fmt: skip
for _layout, (_names, _refused) in _OTHERS.items():
    case("something else", _layout, refused=_refused)(
        lambda m, names=_names: m.save({name: torch.zeros(2, 2) for name in names.split()})
    )


def _bytes(layout: str, content: bytes, refused: str, name: str = "model.safetensors") -> None:
    def build(m: Material) -> Path:
        (m.folder / name).write_bytes(content)
        return m.folder / name

    case("no safetensors", layout, refused=refused)(build)


_bytes("web page", b"<!DOCTYPE html><html><head>", "is a web page (HTML) and no model")
_bytes("git-lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a git-lfs pointer")
_bytes("renamed pickle", b"\x80\x02}q\x00.", "is a pickle file under another name")
_bytes("message of a server", b"Entry not found", "is a text of 15 bytes ('entry not found') and no model")
_bytes("empty", b"", "is an empty file")
_bytes("GGUF", b"GGUF\x03\x00\x00\x00" + bytes(2000), "is a GGUF file, whose weights are quantised", "model.gguf")
_bytes("GGUF under another name", b"GGUF\x03\x00\x00\x00" + bytes(2000), "is a GGUF file")
_bytes("other bytes", bytes(range(256)) * 8, "it is no safetensors file, whatever its name says")
_bytes("pickle", b"\x80\x02}q\x00.", "is a pickle file (.ckpt), which can run any code", "model.ckpt")


@case("no safetensors", "renamed zip pickle", refused="is a pickle file under another name")
def _zipped(m: Material) -> Path:
    with zipfile.ZipFile(m.folder / "model.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 2000)
    return m.folder / "model.safetensors"


@case("no safetensors", "cut off", refused="the file is cut off after")
def _cut(m: Material) -> Path:
    path = m.save(m.tensors["sd15"])
    path.write_bytes(path.read_bytes()[:-1000])
    return path


# --- beside a model
def _vae(prefix: str, kind: str = "sd15") -> Callable[[Material], Path]:
    def build(m: Material) -> Path:
        vae = {key.removeprefix(VAE): value for key, value in m.tensors[kind].items() if key.startswith(VAE)}
        m.save({prefix + key: value + 1 for key, value in vae.items()}, "vae.safetensors")
        return m.save(without(VAE)(dict(m.tensors[kind])))

    return build


case("model.vae", "file, as published", loads="; vae of vae.safetensors", settings={"vae": "./vae.safetensors"})(
    _vae("")
)
case("model.vae", "file, out of a checkpoint", loads="; vae of vae.safetensors",
     settings={"vae": "./vae.safetensors"})(_vae(VAE))  # fmt: skip
case("model.vae", "file for SDXL", loads="; vae of vae.safetensors", settings={"vae": "./vae.safetensors"})(
    _vae("", "sdxl")
)


@case("model.vae", "diffusers folder", loads="; vae of pipeline", settings={"vae": "./pipeline"})
def _vae_folder(m: Material) -> Path:
    shutil.copytree(m.pipelines["sd1"], m.folder / "pipeline")
    edit(m.folder / "pipeline" / "vae" / "config.json", scaling_factor=0.18215)
    return m.save(without(VAE)(dict(m.tensors["sd15"])))


@case("model.vae", "of another family", refused="is the VAE of another family", settings={"vae": "./pipeline"})
def _vae_other(m: Material) -> Path:
    shutil.copytree(m.pipelines["sd1"], m.folder / "pipeline")
    return m.save(without(VAE)(dict(m.tensors["sdxl"])))


@case("model.vae", "folder without its own", loads="; vae of vae.safetensors", settings={"vae": "./vae.safetensors"})
def _vae_for_folder(m: Material) -> Path:
    path = m.copy()
    shutil.move(path / "vae" / "diffusion_pytorch_model.safetensors", m.folder / "vae.safetensors")
    return path


case("model.vae", "missing", refused="model.vae=gone.safetensors does not exist",
     settings={"vae": "gone.safetensors"})(lambda m: m.save(m.tensors["sd15"]))  # fmt: skip
case("model.vae", "no VAE", refused="is a LoRA; give a VAE of Stable Diffusion", settings={"vae": "./vae.safetensors"})(
    lambda m: (m.save({"lora_unet_x.lora_down.weight": torch.zeros(1)}, "vae.safetensors"), m.copy())[1]
)


# --- diffusers folders
def _folder(layout: str, change: Callable[[Path], Any], kind: str = "sd1", **result: Any) -> None:
    def build(m: Material) -> Path:
        path = m.copy(kind)
        return found if isinstance(found := change(path), Path) else path

    case("diffusers folder", layout, **result)(build)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def scheduler(**changes: Any) -> Callable[[Path], None]:
    return lambda path: edit(path / "scheduler" / "scheduler_config.json", **changes)


def called(name: str | None) -> Callable[[Path], None]:
    return lambda path: edit(path / "model_index.json", _class_name=name)


def to_variant(*parts: str, variant: str = "fp16") -> Callable[[Path], None]:
    def change(path: Path) -> None:
        for part in parts or ("unet", "vae", "text_encoder"):
            (file,) = (path / part).glob("*.safetensors")
            file.rename(file.with_name(f"{file.stem}.{variant}.safetensors"))

    return change


def sharded(variant: str = "") -> Callable[[Path], None]:
    """In two, with the index that diffusers writes."""

    def change(path: Path) -> None:
        (file,) = (path / "unet").glob("*.safetensors")
        tensors = load_file(file)
        names, place = sorted(tensors), {}
        for number, part in enumerate((names[::2], names[1::2]), start=1):
            middle = f".{variant}" if variant else ""
            name = f"diffusion_pytorch_model{middle}-0000{number}-of-00002.safetensors"
            save_file({key: tensors[key] for key in part}, path / "unet" / name, metadata={"format": "pt"})
            place |= dict.fromkeys(part, name)
        file.unlink()
        suffix = f".{variant}" if variant else ""
        index = path / "unet" / f"diffusion_pytorch_model.safetensors.index{suffix}.json"
        index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": place}))

    return change


_folder("as published", lambda path: None, loads=f"{_EPS}scheduler_config.json)")
_folder("of SDXL", lambda path: None, "sdxl", loads=f"a Stable Diffusion XL model; {_EPS}scheduler_config.json)")
_folder("without a pipeline's name", called(None), loads=_EPS)
_folder("image-to-image pipeline", called("StableDiffusionImg2ImgPipeline"), loads=_EPS)
_folder("inpainting pipeline of a plain model", called("StableDiffusionInpaintPipeline"), loads=_EPS)
_folder("SDXL image-to-image pipeline", called("StableDiffusionXLImg2ImgPipeline"), "sdxl", loads=_EPS)
_folder("SDXL refiner", lambda path: shutil.rmtree(path / "text_encoder"), "sdxl", refused="is the refiner of")
_folder("Flux pipeline", called("FluxPipeline"), refused="is a FluxPipeline, which cannot be used")
_folder("fp16 files only", to_variant(), loads="from its fp16 files")
_folder("one part fp16, others plain", to_variant("unet"), loads="from its fp16 files")
_folder("model.variant that one part has", to_variant("unet"), loads=_EPS, settings={"variant": "fp16"})
_folder("model.variant that none has", to_variant("unet"), settings={"variant": "bf16"},
        refused="has no files of the variant 'bf16'; found: fp16, the plain one")  # fmt: skip
_folder("in shards", sharded(), loads=_EPS)
_folder("in shards, fp16", sharded("fp16"), loads="from its fp16 files")
_folder("v-prediction", scheduler(prediction_type="v_prediction"), loads=f"{_V}scheduler_config.json)")
_folder("scheduler that does not say", lambda p: (p / "scheduler" / "scheduler_config.json").write_text("{}"),
        loads="which does not say: epsilon is meant")  # fmt: skip
_folder("unknown prediction", scheduler(prediction_type="noise"), refused="unknown prediction type 'noise'")
_folder("unknown prediction, model.prediction=epsilon", scheduler(prediction_type="noise"),
        settings={"prediction": "epsilon"}, loads="setting model.prediction")  # fmt: skip
_folder("flow-matching scheduler", scheduler(_class_name="FlowMatchEulerDiscreteScheduler"),
        refused="was trained by flow matching (FlowMatchEulerDiscreteScheduler), which cannot")  # fmt: skip
_folder("EDM scheduler", scheduler(_class_name="EDMEulerScheduler"), refused="was trained with the EDM noise schedule")
_folder("continuous timesteps (CosXL)", scheduler(_class_name="EulerDiscreteScheduler", timestep_type="continuous"),
        refused="was trained with the EDM noise schedule")  # fmt: skip
_folder("unknown scheduler", scheduler(_class_name="MyScheduler"), refused="its scheduler MyScheduler is not known")
_folder("LCM scheduler", scheduler(_class_name="LCMScheduler"), loads="draws in few steps without guidance (its sampl")
_folder("a tensor that its config.json does not tell of",
        lambda p: save_file(load_file(p / "unet" / "diffusion_pytorch_model.safetensors") | {"x.y": torch.zeros(1)},
                            p / "unet" / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"}),
        refused="holds 1 tensors that its config.json does not tell of (first: x.y)")  # fmt: skip
_folder("tiny VAE", lambda p: edit(p / "vae" / "config.json", _class_name="AutoencoderTiny"),
        refused="has a VAE of another kind (AutoencoderTiny); name an AutoencoderKL")  # fmt: skip
_folder("git-lfs pointers",
        lambda p: (p / "unet" / "diffusion_pytorch_model.safetensors").write_text("version https://git-lfs.github.com"),
        refused="the unet (diffusion_pytorch_model.safetensors) is a git-lfs pointer")  # fmt: skip
_folder("pickle only",
        lambda p: (p / "unet" / "diffusion_pytorch_model.safetensors").rename(p / "unet" / "x.bin").name,
        refused="only pickle is there (x.bin), which is refused")  # fmt: skip


def _cached(path: Path, reference: bool = True) -> Path:
    repository = path.parent / "models--org--name"
    (repository / "snapshots").mkdir(parents=True)
    shutil.move(path, repository / "snapshots" / "abc123")
    if reference:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("abc123")
    return repository


_folder("the hub's cache of a repository", _cached, loads=_EPS)
_folder("the hub's cache, one snapshot without a reference", lambda p: _cached(p, False), loads=_EPS)
_folder("the hub's cache, another revision", _cached, settings={"revision": "v2"},
        refused="without the revision 'v2'; there: abc123")  # fmt: skip
_folder(
    "a folder around it", lambda p: shutil.move(p, p.parent / "around" / "model") and p.parent / "around", loads=_EPS
)


@case("folder of files", "one .safetensors", loads=_EPS)
def _one_file(m: Material) -> Path:
    (m.folder / "files").mkdir()
    return m.save(m.tensors["sd15"], "files/model.safetensors").parent


@case("folder of files", "two .safetensors", refused="is a folder with 2 .safetensors files; give one, such as")
def _two_files(m: Material) -> Path:
    path = _one_file(m)
    m.save({"x": torch.zeros(1)}, "files/other.safetensors")
    return path


def table() -> str:
    """The table of docs/models.md."""
    rows = ["| kind | layout | result |", "| --- | --- | --- |"]
    for one in CASES:
        named = ", ".join(f"model.{key}={str(value).removeprefix('./')}" for key, value in one.settings.items())
        layout = one.layout if not named or named in one.layout else f"{one.layout}; `{named}`"
        result = f"loads: {one.loads.strip(' ;(')}" if one.loads else f"refused: {one.refused}"
        rows.append(f"| {one.group} | {layout} | {result} |".replace("<cat-toy>", "`<cat-toy>`"))
    return "\n".join(rows)
