"""`model.compile`: the UNet's convolution and feed-forward blocks through torch.compile.

Only blocks without attention: these hold what a compiler fuses (normalisation, activation, scaling), while attention
is a fused kernel already and its processors are exchanged where maps are read, for which all would be compiled again.
Blocks of one kind and shape share their code, so that a UNet takes some ten compilations instead of one huge one.
"""

from __future__ import annotations

from typing import Any

BLOCKS = ("ResnetBlock2D", "FeedForward")
VARIANTS = 64
"""Shapes of one kind of block that are compiled: levels of the UNet, batch sizes, with gradient and without."""


def compile_blocks(unet: Any, mode: str, backend: str = "inductor") -> int:
    """Compile in place, when each block is first used; what it computes stays the same but for float error.

    Args:
        mode: of torch.compile, such as "default" or "reduce-overhead" (CUDA graphs).
        backend: of torch.compile.

    Returns:
        how many blocks.
    """
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
    blocks = [module for module in unet.modules() if type(module).__name__ in BLOCKS]
    chosen: dict[str, Any] = {"mode": mode} if backend == "inductor" else {}
    for block in blocks:
        block.compile(backend=backend, dynamic=False, **chosen)
    return len(blocks)
