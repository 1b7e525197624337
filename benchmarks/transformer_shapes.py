"""What an extraction and an update cost at the true shapes of FLUX.1 and Stable Diffusion 3.5, with random weights.

    python benchmarks/transformer_shapes.py flux --side 1024 --blocks 1 --json flux.json

The transformer has the real widths and `--blocks` blocks of each kind (FLUX.1 has 19 double and 38 single ones, Stable
Diffusion 3.5 large 38 joint ones); time and the memory of activations grow with them, the weights are added on paper.
T5 is left out: its states are drawn at random, (1, length, 4096). The picture's latents are random, too.

`--what maps`: one pass with the maps of every block kept (image to image and image to text), beside one without.
`--what update`: one pass forward and back, from the squared error to one learned vector, with its attention maps.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from uce.core.model.backbone import Capture
from uce.core.model.joint import capture_joint_attention, joint_layer_names

CLIP_POSITIONS = 77


def flux(blocks: int, dtype: torch.dtype) -> Any:
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(num_layers=blocks, num_single_layers=blocks, guidance_embeds=True).to(dtype)


def sd3(blocks: int, dtype: torch.dtype) -> Any:
    from diffusers import SD3Transformer2DModel

    return SD3Transformer2DModel(
        num_layers=blocks,
        num_attention_heads=38,
        caption_projection_dim=2432,
        pos_embed_max_size=192,
        qk_norm="rms_norm",
    ).to(dtype)


def call(kind: str, model: Any, latents: Tensor, states: Tensor) -> Tensor:
    """One pass (1, 16, h, w) -> the prediction in the model's own layout."""
    if kind == "sd3":
        found: Tensor = model(
            hidden_states=latents,
            encoder_hidden_states=states,
            pooled_projections=torch.zeros(1, 2048, dtype=latents.dtype, device=latents.device),
            timestep=torch.tensor([500.0], device=latents.device),
            return_dict=False,
        )[0]
        return found
    from uce.plugins.backbones._flux.backbone import pack, places

    height, width = latents.shape[2:]
    packed: Tensor = model(
        hidden_states=pack(latents),
        timestep=torch.tensor([0.5], device=latents.device, dtype=latents.dtype),
        guidance=torch.ones(1, device=latents.device),
        pooled_projections=torch.zeros(1, 768, dtype=latents.dtype, device=latents.device),
        encoder_hidden_states=states,
        txt_ids=torch.zeros(states.shape[1], 3, dtype=latents.dtype, device=latents.device),
        img_ids=places(height // 2, width // 2).to(latents),
        return_dict=False,
    )[0]
    return packed


def maps(kind: str, model: Any, latents: Tensor, states: Tensor, watched: bool) -> None:
    place = torch.tensor([[CLIP_POSITIONS if kind == "sd3" else 0]])
    watch = (
        capture_joint_attention(model, Capture("self"), Capture("cross", columns=place)) if watched else nullcontext()
    )
    with torch.no_grad(), watch:
        call(kind, model, latents, states)


def update(kind: str, model: Any, latents: Tensor, states: Tensor, watched: bool) -> None:
    vector = states[0, 3].clone().requires_grad_()
    learned = states.clone()
    learned[0, 3] = vector
    names = joint_layer_names(model)[:1]
    watch = capture_joint_attention(model, Capture("cross", columns=torch.tensor([[3]]), layers=names))
    with watch if watched else nullcontext([]) as found:
        loss = call(kind, model, latents, learned).float().square().mean()
        for layer in found:
            loss = loss + layer.probs.square().mean()
    loss.backward()
    assert vector.grad is not None and bool(torch.isfinite(vector.grad).all())


def measured(work: Callable[[], None], device: str) -> dict[str, float]:
    """Seconds of one call, and the peak of memory (whole process on a CPU, the allocator's on CUDA)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    peak = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {"seconds": round(seconds, 3), "peak_gb": round(peak / 1e9, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", choices=["flux", "sd3"])
    parser.add_argument("--side", type=int, default=1024, help="pixels")
    parser.add_argument("--blocks", type=int, default=1, help="of each kind")
    parser.add_argument("--what", choices=["maps", "update"], default="maps")
    parser.add_argument("--length", type=int, default=None, help="positions of T5")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--json", default=None)
    options = parser.parse_args()
    dtype, device = getattr(torch, options.precision), options.device
    torch.manual_seed(0)
    model = {"flux": flux, "sd3": sd3}[options.model](options.blocks, dtype).requires_grad_(False).eval().to(device)
    length = options.length or {"flux": 512, "sd3": CLIP_POSITIONS + 256}[options.model]
    states = torch.randn(1, length, 4096, dtype=dtype, device=device)
    latents = torch.randn(1, 16, options.side // 8, options.side // 8, dtype=dtype, device=device)
    work = {"maps": maps, "update": update}[options.what]
    weights = sum(value.numel() * value.element_size() for value in model.parameters())
    document: dict[str, Any] = {
        **{name: getattr(options, name) for name in ("model", "what", "side", "blocks", "device", "precision")},
        "weights_gb": round(weights / 1e9, 3),
    }
    for name, watched in (("alone", False), ("watched", True)):
        document[name] = measured(lambda watched=watched: work(options.model, model, latents, states, watched), device)
    text = json.dumps(document, indent=2)
    print(text)
    if options.json:
        from pathlib import Path

        Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
