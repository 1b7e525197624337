"""What a model needs for each kind of work, and what a machine has: the plan before the work.

A backbone may offer `costs() -> Costs`; one that does not is planned by its latent's size alone, as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GIGABYTE = 2**30
_MARGIN = 1.5
"""What gradients, kernels and allocators take besides what is counted; measured on a CPU (docs/models.md)."""
_CONTEXT = 0.6 * GIGABYTE
"""What CUDA takes for itself."""


@dataclass(frozen=True)
class Costs:
    """Counted on a model's own shapes, without running it; bytes, and FLOPs of one prompt.

    Attributes:
        weights: by part, the one that learns first.
        kept: held by a training pass of one prompt for its backward pass.
        kept_checkpointed: the same where blocks are computed twice.
        largest: the largest tensor of a pass.
        decode, decode_tiled: held while one picture is decoded, whole or tile by tile.
        forward: FLOPs of one pass of the network.
        cells: of the grid on which a picture is localised.
    """

    weights: Mapping[str, int]
    kept: int
    kept_checkpointed: int
    largest: int
    decode: int
    decode_tiled: int
    forward: float
    cells: int


@dataclass(frozen=True)
class Plan:
    """What a run will need on a device, and how it is made to fit.

    Attributes:
        extract, update, draw: bytes at the peak of each, weights included; an update of `micro_batch` prompts.
        free: bytes that are to be had; None where nobody knows.
        fits: whether all three are below that.
    """

    extract: int
    update: int
    draw: int
    micro_batch: int
    checkpointing: bool
    tiling: bool
    offload: bool
    free: int | None

    @property
    def fits(self) -> bool:
        return self.free is None or max(self.extract, self.update, self.draw) <= self.free

    def __str__(self) -> str:
        needs = ", ".join(
            f"{name} {_gb(value)}" for name, value in (("extract", self.extract), ("update", self.update),
                                                       ("draw", self.draw))
        )  # fmt: skip
        free = "" if self.free is None else f"; free {_gb(self.free)}"
        ways = [f"micro-batch {self.micro_batch}"]
        ways += [name for name in ("checkpointing", "tiling", "offload") if getattr(self, name)]
        return f"memory: {needs}{free}; {', '.join(ways)}{'' if self.fits else '; it will not fit: ' + self.advice}"

    @property
    def advice(self) -> str:
        """What still helps, as the end of a sentence."""
        if not self.offload:
            return "add --set model.offload=true"
        return "give a smaller model, or a device with more memory"


def _gb(value: float) -> str:
    return f"{value / GIGABYTE:.1f} GB"


def make_plan(
    costs: Costs,
    free: int | None,
    *,
    checkpointing: bool | None = None,
    tiling: bool | None = None,
    offload: bool = False,
    micro_batch: int = 0,
    most: int = 64,
    cuda: bool = True,
) -> Plan:
    """Choose what makes an update fit: fewer prompts per pass, then checkpointing; tiles where a picture does not fit.

    Args:
        free: bytes for all of it, the weights included.
        checkpointing, tiling: None chooses.
        micro_batch: prompts per pass; 0 chooses, up to `most`.
    """
    unet, vae = costs.weights.get("unet", 0), costs.weights.get("vae", 0)
    texts = sum(costs.weights.values()) - unet - vae
    fixed = int(_CONTEXT) if cuda else 0
    everything = unet + vae + texts
    learning = fixed + (unet + texts if offload else everything)
    drawing = fixed + (unet if offload else everything)
    decoding = fixed + (vae if offload else everything)

    def update(prompts: int, twice: bool) -> int:
        return learning + int(_MARGIN * prompts * (costs.kept_checkpointed if twice else costs.kept))

    room = float("inf") if free is None else free
    twice = update(micro_batch or 1, False) > room if checkpointing is None else checkpointing
    prompts = micro_batch
    if not prompts:
        each = _MARGIN * (costs.kept_checkpointed if twice else costs.kept)
        prompts = most if free is None else max(1, min(most, int((0.9 * room - learning) / max(each, 1))))
    tiled = decoding + _MARGIN * costs.decode > room if tiling is None else tiling
    return Plan(
        extract=drawing + int(_MARGIN * (6 * costs.largest + 3 * 4 * costs.cells**2)),
        update=update(prompts, twice),
        draw=max(
            decoding + int(_MARGIN * (costs.decode_tiled if tiled else costs.decode)),
            drawing + int(_MARGIN * 12 * costs.largest),  # two prompts: with guidance and without
        ),
        micro_batch=prompts,
        checkpointing=twice,
        tiling=tiled,
        offload=offload,
        free=free,
    )


def free_memory(device: str) -> int | None:
    """Bytes that this process may still take; None where nobody knows."""
    import torch

    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return int(free)
    try:
        import os

        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def plan_for(backbone: Any, model: Any, micro_batch: int = 0, *, quick: bool = True) -> Plan | None:
    """The plan of a loaded model on its device; None where the backbone does not say what it costs.

    Args:
        model: the `model.*` settings.
        quick: take only what is known without counting.
    """
    ask = getattr(backbone, "costs", None)
    costs: Costs | None = ask(quick=quick) if callable(ask) else None
    if costs is None:
        return None
    cuda = str(backbone.device).startswith("cuda")
    free = free_memory(backbone.device)
    if free is not None:
        free += _held(backbone, cuda)
    most = 64 if cuda else max(1, min(32, 8192 // int(backbone.latent_side) ** 2))
    auto = None if cuda else False  # on a CPU free memory says little: whoever needs it says so
    chosen = {
        name: auto if getattr(model, name) is None else getattr(model, name) for name in ("checkpointing", "tiling")
    }
    return make_plan(
        costs,
        free,
        **chosen,
        offload=bool(model.offload),
        micro_batch=micro_batch or (0 if cuda else most),
        most=most,
        cuda=cuda,
    )


def _held(backbone: Any, cuda: bool) -> int:
    """What the model holds of a device's memory already."""
    import torch

    if cuda:
        return int(torch.cuda.memory_allocated(torch.device(backbone.device)))
    return sum(backbone.costs(quick=True).weights.values())


def carry_out(plan: Plan, backbone: Any) -> None:
    """Have the backbone work as planned."""
    if plan.checkpointing and hasattr(backbone, "save_memory"):
        backbone.save_memory()
    if plan.tiling and hasattr(backbone, "tile"):
        backbone.tile()
