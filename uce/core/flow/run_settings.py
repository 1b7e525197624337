"""The settings that belong to no plugin: of the model, and of the whole run."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from uce.core.flow.settings import Settings


class ModelSettings(Settings):
    """Which model, and how it is loaded."""

    name: str = Field("mini", description="mini, a diffusers folder, a .safetensors file, sd1.5, sd2.1, sdxl, a hub id")
    revision: str | None = Field(None, description="commit or branch of a hub id")
    variant: str | None = Field(
        None, description="file variant to prefer in a diffusers folder or hub id, such as 'fp16'; null: what is there"
    )
    prediction: Literal["auto", "epsilon", "velocity", "sample"] = Field(
        "auto", description="what the model predicts; auto: as its files say, which the run's first line repeats"
    )
    vae: str | None = Field(None, description="another VAE: a .safetensors file or a diffusers folder; null: its own")
    lora: str | None = Field(None, description="a LoRA (.safetensors) that the model works with and learns on top of")
    lora_scale: float = Field(1.0, ge=-10, le=10, description="how much of that LoRA; 1: as it was trained")
    lora_as: Literal["fused", "adapter"] = Field(
        "fused",
        description="fused: added into the weights, rounded as they are; adapter: beside them, which keeps small "
        "changes in half precision and takes a little longer",
    )
    sample_latent: bool = Field(
        False,
        description="draw the latent from the VAE's distribution, as the paper's code does, not its mode",
    )
    offload: bool = Field(False, description="keep parts that are not in use off the GPU (slower, less memory)")
    checkpointing: bool | None = Field(
        None,
        description="compute the network's blocks twice while learning, for half a pass more time and a fraction of "
        "the memory; null: where one prompt would not fit else",
    )
    tiling: bool | None = Field(
        None,
        description="encode and decode pictures tile by tile; null: where a whole one would not fit. Tiles change "
        "pictures slightly",
    )
    compile: Literal["off", "default", "reduce-overhead", "max-autotune"] = Field(
        "off", description="torch.compile of the network's blocks in this mode; compiling takes minutes at first"
    )

    side: int | None = Field(
        None, ge=16, le=4096, description="pixels per side that a transformer works at; null: its own (1024)"
    )
    carriers: tuple[str, ...] | None = Field(
        None,
        description="where a transformer's tokens live: clip_l, clip_g, t5, t5_out (its output); null: the model's own",
    )
    text_length: int | None = Field(
        None, ge=8, le=512, description="positions of T5 that a text fills; null: 512 for FLUX.1 dev, else 256"
    )
    text_encoders: str | None = Field(
        None, description="diffusers folder with text encoders and tokenizers, for a transformer in a single file"
    )

    @field_validator("carriers", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """ "clip_l,t5" is a list of two."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("revision", "variant")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value is not None and (".." in value or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,100}", value)):
            raise ValueError("give a name of letters, digits, '.', '_', '-' and '/'")  # they become parts of paths
        return value


class RunSettings(Settings):
    """What holds for the whole run."""

    seed: int = Field(0, ge=0, lt=2**63, description="all randomness derives from it")
    device: str = Field("auto", description="'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="of the frozen model; tokens are always float32. auto: float32 on CPU and mps, bfloat16 on CUDA "
        "where the card has it, else float16",
    )
    fit: Literal["crop", "pad", "stretch"] = Field("pad", description="how a picture becomes the model's square")
    threads: int = Field(
        0, ge=0, le=1024, description="CPU threads; 0: as many as this process may use and others leave free"
    )
    micro_batch: int = Field(0, ge=0, description="prompts per UNet pass; 0: chosen from the model's size")
    shrink: bool = Field(
        False, description="where memory runs out, begin again with half the micro-batch, and record it"
    )
    checkpoint_every: int = Field(50, ge=0, description="optimiser updates between two checkpoints; 0: none")
    samples: int = Field(1, ge=0, le=64, description="pictures drawn per concept at the end; 0: none")
    sample_steps: int = Field(20, ge=1, le=1000, description="denoising steps of those pictures")
    guidance: float = Field(5.0, ge=0, le=50, description="classifier-free guidance of those pictures")
    concepts: list[int] | None = Field(None, description="learn only these concepts, by index; null: all")
    names: list[str] | None = Field(None, description="names for the tokens, in order; null: asset0, asset1, ...")


def what_to_lower(run: RunSettings, stage: str, settings: Any = None, backbone: Any = None) -> str:
    """The setting that takes less memory, as the end of a sentence: one that has an effect on this model.

    Args:
        settings: of the stage's plugin.
    """
    cells, side = getattr(settings, "cells", None), getattr(backbone, "latent_side", None)
    if stage == "extractor" and cells and side and cells > side:
        return f"lower extractor.cells (now {cells}; --set extractor.cells={side}), or give a smaller model"
    if stage == "extractor":
        smaller = "lower model.side (--set model.side=512), " if getattr(backbone, "joint_layers", ()) else ""
        return f"{smaller}{_lighter(run, backbone)}give a smaller model, or use a machine with more memory"
    if run.micro_batch > 1:
        half = run.micro_batch // 2
        return (
            f"lower run.micro_batch (now {run.micro_batch}; --set run.micro_batch={half}), or allow that with "
            "--set run.shrink=true"
        )
    return f"run.micro_batch is 1 already: {_lighter(run, backbone)}use a smaller model, or a machine with more memory"


def _lighter(run: RunSettings, backbone: Any) -> str:
    """Ways to hold less of the same model that are not taken yet, each followed by a comma."""
    ways = []
    if backbone is not None and getattr(backbone, "checkpointing", True) is False:
        ways.append("add --set model.checkpointing=true, ")
    if str(run.device).startswith("cuda") and getattr(backbone, "offload", True) is False:
        ways.append("add --set model.offload=true, ")
    if run.precision == "float32":
        ways.append("use --precision bfloat16, ")
    return "".join(ways)
