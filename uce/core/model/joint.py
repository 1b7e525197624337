"""Watching layers in which text and picture attend together, without changing what they compute.

As in `uce.core.model.attention`, a watched layer keeps its own processor and its fused attention; beside it the wanted
slice of its map is computed once more from the same queries and keys, blocks of queries and single heads at a time. At
1,024 pixels a whole map of FLUX (24 heads, 4,608 queries and keys) would take 2 GB of float32; a slice here takes 64 MB
for 4,096 cells to 4,096 cells, and next to nothing for a few text positions.

Layers are diffusers': a module `attn` with `to_q` and `to_k` for the picture, `add_q_proj` and `add_k_proj` for the
text where it comes apart (else text comes first in the one sequence), norms of both, and rotary embeddings where there
are any (of text first, then picture).

Legend: B batch; H heads; d width of a head; T text positions; N cells; S = T + N.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from uce.core.errors import StageInputError
from uce.core.model.attention import attention_probabilities
from uce.core.model.backbone import Capture, LayerMap


@dataclass
class Sizes:
    """Of the pass that runs now."""

    text: int = 0
    grid: tuple[int, int] = (0, 0)


def joint_layer_names(transformer: nn.Module) -> tuple[str, ...]:
    """Names of the attention layers that see text and picture together, in the order in which they run."""
    return tuple(name for name, layer in _layers(transformer) if _is_joint(name, layer))


def _layers(transformer: nn.Module) -> list[tuple[str, Any]]:
    return [
        (name, module)
        for name, module in transformer.named_modules()
        if hasattr(module, "processor") and hasattr(module, "to_q") and hasattr(module, "to_k")
    ]


def _is_joint(name: str, layer: Any) -> bool:
    return getattr(layer, "add_q_proj", None) is not None or name.startswith("single_")


@contextmanager
def capture_joint_attention(transformer: nn.Module, *requests: Capture) -> Iterator[list[LayerMap]]:
    """Keep the asked-for slices of every pass within the block; see `uce.core.model.backbone.Backbone.capture`.

    Args:
        transformer: a diffusers transformer whose forward takes `hidden_states`, `encoder_hidden_states` (B, T, D) and,
            where the picture's tokens come packed, `img_ids` (N, 3) with row and column.
    """
    found: list[LayerMap] = []
    sizes = Sizes()
    with ExitStack() as stack:
        stack.callback(transformer.register_forward_pre_hook(_noting(sizes), with_kwargs=True).remove)
        for name, layer in _layers(transformer):
            joint = _is_joint(name, layer)
            wanted = [one for one in requests if one.wants(one.kind, name) and (joint or one.kind == "self")]
            if wanted:
                own = layer.processor
                stack.callback(setattr, layer, "processor", own)
                layer.processor = _JointWatcher(name, own, joint, wanted, found, sizes)
        yield found


def _noting(sizes: Sizes) -> Callable[..., None]:
    """A hook that notes a pass's text length and its grid of cells."""

    def note(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        cells = args[0] if args else kwargs["hidden_states"]
        sizes.text = int((args[1] if len(args) > 1 else kwargs["encoder_hidden_states"]).shape[1])
        if cells.ndim == 4:
            patch = int(module.config.patch_size)
            sizes.grid = (int(cells.shape[2]) // patch, int(cells.shape[3]) // patch)
        else:
            rows, columns = (kwargs["img_ids"][..., -2:].reshape(-1, 2).amax(dim=0) + 1).long().tolist()
            sizes.grid = (rows, columns)

    return note


class _JointWatcher:
    """Stands in for a layer's processor, lets it work, and notes the probabilities."""

    def __init__(
        self, name: str, own: Any, joint: bool, requests: Sequence[Capture], found: list[LayerMap], sizes: Sizes
    ) -> None:
        self.name, self.own, self.joint, self.requests, self.found, self.sizes = (
            name,
            own,
            joint,
            requests,
            found,
            sizes,
        )

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        **kwargs: Any,
    ) -> Any:
        rotary = {} if image_rotary_emb is None else {"image_rotary_emb": image_rotary_emb}
        output = self.own(attn, hidden_states, encoder_hidden_states, attention_mask, **rotary, **kwargs)
        text = self.sizes.text if self.joint else 0
        grid = self.sizes.grid
        wanted = [request for request in self.requests if request.sides is None or max(grid) in request.sides]
        if wanted:
            query, key = joint_queries_and_keys(attn, hidden_states, encoder_hidden_states, image_rotary_emb)
            assert query.shape[2] == text + grid[0] * grid[1], f"{self.name}: {query.shape[2]} for {text} and {grid}"
            for request in wanted:
                probs = joint_probabilities(query, key, text, request)
                self.found.append(LayerMap(self.name, request.kind, grid, int(query.shape[1]), probs))
        return output


def joint_queries_and_keys(attn: Any, cells: Tensor, text: Tensor | None, rotary: Any) -> tuple[Tensor, Tensor]:
    """(B, H, S, d) twice, text first, normed and turned as the layer's own processor does."""
    found = []
    for own, added in (("q", "q"), ("k", "k")):
        value = _heads(attn, getattr(attn, f"to_{own}")(cells), f"norm_{own}")
        if text is not None and getattr(attn, f"add_{added}_proj", None) is not None:
            other = _heads(attn, getattr(attn, f"add_{added}_proj")(text), f"norm_added_{added}")
            value = torch.cat([other, value], dim=1)
        if rotary is not None:
            from diffusers.models.embeddings import apply_rotary_emb

            value = apply_rotary_emb(value, rotary, sequence_dim=1)
        found.append(value.transpose(1, 2))
    return found[0], found[1]


def _heads(attn: Any, value: Tensor, norm: str) -> Tensor:
    """(B, n, H * d) -> (B, n, H, d), normed where the layer norms."""
    parts = value.reshape(*value.shape[:-1], attn.heads, -1)
    own = getattr(attn, norm, None)
    normed: Tensor = parts if own is None else own(parts)
    return normed


def joint_probabilities(query: Tensor, key: Tensor, text: int, request: Capture) -> Tensor:
    """The slice that is asked for, averaged over heads: float32 (B, rows, columns).

    With gradient every head is computed again on the way back, so that never more than one is held.

    Raises:
        StageInputError: text positions that the pass does not have.
    """
    rows, columns = slice(text, None), slice(text, None)
    kept: Tensor | slice = columns
    if request.kind == "cross":
        kept = slice(0, text) if request.columns is None else _text_positions(request.columns, text)
    chosen = query[:, :, rows]
    if request.kind == "text":
        chosen = query[:, :, :text]
        if request.columns is not None:
            places = _text_positions(request.columns, text).to(query.device).expand(len(query), -1)
            index = places[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[3])
            chosen = chosen.gather(2, index)
    scale = float(query.shape[-1]) ** -0.5
    if not (torch.is_grad_enabled() and (query.requires_grad or key.requires_grad)):
        return attention_probabilities(chosen, key, scale, kept)
    total = query.new_zeros((), dtype=torch.float32)
    for head in range(query.shape[1]):
        own = slice(head, head + 1)
        total = total + checkpoint(
            attention_probabilities, chosen[:, own], key[:, own], scale, kept, use_reentrant=False
        )
    return total / query.shape[1]


def _text_positions(columns: Tensor, text: int) -> Tensor:
    if columns.numel() and int(columns.max()) >= text:
        raise StageInputError(f"columns must lie in 0 to {text - 1}, the text's positions; found {int(columns.max())}")
    return columns


@contextmanager
def capture_joint_features(transformer: nn.Module, *blocks: int, of: str = "modulated") -> Iterator[dict[int, Tensor]]:
    """Keep what some blocks know of the picture's cells, float32 (B, channels, h, w); of several passes the last.

    Args:
        blocks: by number, in the order in which they run.
        of: "modulated": what a block's attention reads, after its adaptive layer norm (raw states are ruled by a few
            huge channels; Gan et al., DiTF, 2025); "attention": what its attention gives out.

    Raises:
        StageInputError: there is no such block.
    """
    names = joint_layer_names(transformer)
    for block in blocks:
        if not 0 <= block < len(names):
            raise StageInputError(f"the model has no block {block}; it has {len(names)}, from 0 (the first that runs)")
    sizes, found = Sizes(), {}
    with ExitStack() as stack:
        stack.callback(transformer.register_forward_pre_hook(_noting(sizes), with_kwargs=True).remove)
        for block in blocks:
            layer = transformer.get_submodule(names[block])

            def keep(value: Any, block: int) -> None:
                cells = (value[0] if isinstance(value, tuple) else value)[:, -sizes.grid[0] * sizes.grid[1] :]
                found[block] = cells.float().transpose(1, 2).unflatten(2, sizes.grid)

            def reads(module: Any, args: Any, kwargs: dict[str, Any], block: int = block) -> None:
                keep(args[0] if args else kwargs["hidden_states"], block)

            def gives(module: Any, args: Any, output: Any, block: int = block) -> None:
                keep(output, block)

            hook = (
                layer.register_forward_pre_hook(reads, with_kwargs=True)
                if of == "modulated"
                else layer.register_forward_hook(gives)
            )
            stack.callback(hook.remove)
        yield found
