"""`model.checkpointing`: blocks of a UNet or transformer are computed again in the backward pass, in place of keeping
what they held. One prompt's update then needs a fraction of the memory, for the time of another forward pass.

Source: Chen et al., 2016 (arXiv 1604.06174).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from uce.core.model import replayed, watched

TRANSFORMER_BLOCKS = ("JointTransformerBlock", "FluxTransformerBlock", "FluxSingleTransformerBlock")
BLOCKS = ("ResnetBlock2D", "BasicTransformerBlock", *TRANSFORMER_BLOCKS)


def checkpoint_blocks(network: Any) -> int:
    """Wrap the blocks of a diffusers UNet or transformer; passes without gradient stay as they are.

    Returns:
        how many blocks.
    """
    blocks = [module for module in network.modules() if type(module).__name__ in BLOCKS]
    for block in blocks:
        block.forward = _Twice(block, block.forward)
    return len(blocks)


class _Twice:
    """A block's forward pass that is done again when its gradient is asked for."""

    def __init__(self, block: Any, own: Any) -> None:
        self.block, self.own = block, own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.own(*args, **kwargs)
        layers = watched(self.block)  # who watches attention now will be gone by then
        return checkpoint(
            self.own,
            *args,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (nullcontext(), replayed(layers)),
            **kwargs,
        )
