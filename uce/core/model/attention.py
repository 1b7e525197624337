"""Watching attention and features while a UNet runs, without changing what it computes.

A watched layer keeps its own processor, which computes the layer's output as before (fused attention, bit for bit);
beside it the layer's probabilities are computed once more from the same queries and keys. That costs a second product
for the few layers that are watched and buys exactness: a watched and an unwatched model give the same prediction.

Legend: B batch; H heads; Q queries (cells, row-major); K keys; d width of a head; M columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from uce.core.errors import StageInputError
from uce.core.model.backbone import Capture, LayerMap

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

_CHUNK_VALUES = 1 << 23  # probabilities held at once beside the averaged map (32 MB of float32)


@contextmanager
def capture_attention(unet: nn.Module, *requests: Capture) -> Iterator[list[LayerMap]]:
    """Keep the asked-for attention maps of every pass within the block.

    Args:
        unet: a diffusers UNet (any module whose attention layers are diffusers' `Attention`).
        requests: which maps to keep; a layer that answers several requests appends one map for each.

    Yields:
        A list that grows pass by pass, in the order in which layers run (down, mid, up).
    """
    found: list[LayerMap] = []
    grids: dict[int, tuple[int, int]] = {}
    with ExitStack() as stack:
        for name, layer in _attention_layers(unet):
            kind = "cross" if layer.is_cross_attention else "self"
            wanted = [request for request in requests if request.wants(kind, name)]
            if not wanted:
                continue
            host = _spatial_host(unet, name)
            if host is not None and id(host) not in grids:
                grids[id(host)] = (0, 0)
                stack.callback(_note_grid(host, grids).remove)
            own = layer.processor
            stack.callback(setattr, layer, "processor", own)
            layer.processor = _Watcher(name, own, wanted, found, grids, id(host))
        yield found


@contextmanager
def capture_outputs(blocks: Sequence[nn.Module], *indexes: int) -> Iterator[dict[int, Tensor]]:
    """Keep what some of a model's `blocks` give out, as float32; of several passes the last.

    Raises:
        StageInputError: there is no such block.
    """
    for index in indexes:
        if not 0 <= index < len(blocks):
            raise StageInputError(f"the model has no decoder block {index}; it has {len(blocks)}, from 0 (the deepest)")
    found: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for index in indexes:

            def keep(module: nn.Module, args: Any, output: Any, index: int = index) -> None:
                found[index] = (output[0] if isinstance(output, tuple) else output).float()

            stack.callback(blocks[index].register_forward_hook(keep).remove)
        yield found


def watched(block: nn.Module) -> list[tuple[Any, Any]]:
    """The attention layers of a block, each with its processor of now, for `replayed`."""
    return [(layer, layer.processor) for layer in block.modules() if hasattr(layer, "processor")]


@contextmanager
def replayed(layers: Sequence[tuple[Any, Any]]) -> Iterator[None]:
    """Within the block, attention layers work as they did when `watched` was asked, for gradient checkpointing, which
    runs a pass again: the same operations, but maps that are noted now go nowhere."""
    with ExitStack() as stack:
        for layer, processor in layers:
            stack.callback(setattr, layer, "processor", layer.processor)
            layer.processor = processor
            if hasattr(processor, "found"):  # it watches
                stack.callback(setattr, processor, "found", processor.found)
                processor.found = []
        yield


def _attention_layers(unet: nn.Module) -> list[tuple[str, Any]]:
    return [
        (name, module)
        for name, module in unet.named_modules()
        if hasattr(module, "processor") and hasattr(module, "to_q") and hasattr(module, "is_cross_attention")
    ]


def _spatial_host(unet: nn.Module, name: str) -> nn.Module | None:
    """The nearest module around an attention layer that is given the feature map with its two axes."""
    parts = name.split(".")
    for end in range(len(parts) - 1, -1, -1):
        module = unet.get_submodule(".".join(parts[:end]))
        if hasattr(module, "transformer_blocks"):
            return module
    return None


def _note_grid(host: nn.Module, grids: dict[int, tuple[int, int]]) -> RemovableHandle:
    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        features = args[0] if args else kwargs.get("hidden_states")
        if isinstance(features, Tensor) and features.ndim == 4:
            patch = int(getattr(getattr(module, "config", None), "patch_size", None) or 1)  # of a transformer's cells
            grids[id(module)] = (int(features.shape[2]) // patch, int(features.shape[3]) // patch)

    return host.register_forward_pre_hook(note, with_kwargs=True)


class _Watcher:
    """Stands in for a layer's processor, lets it work, and notes the probabilities."""

    def __init__(
        self,
        name: str,
        own: Any,
        requests: Sequence[Capture],
        found: list[LayerMap],
        grids: dict[int, tuple[int, int]],
        host: int,
    ) -> None:
        self.name, self.own, self.requests, self.found, self.grids, self.host = name, own, requests, found, grids, host

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        output = self.own(attn, hidden_states, encoder_hidden_states, attention_mask, *args, **kwargs)
        grid = (
            (int(hidden_states.shape[2]), int(hidden_states.shape[3]))
            if hidden_states.ndim == 4
            else self.grids.get(self.host, (0, 0))
        )
        wanted = [request for request in self.requests if request.wants(request.kind, self.name, grid)]
        if wanted:
            query, key = _queries_and_keys(attn, hidden_states, encoder_hidden_states)
            mask = _additive_mask(attn, attention_mask, key)
            assert grid[0] * grid[1] == query.shape[2], f"{self.name}: {grid} cells, {query.shape[2]} queries"
            for request in wanted:
                probs = attention_probabilities(query, key, float(attn.scale), request.columns, mask)
                self.found.append(LayerMap(self.name, request.kind, grid, int(attn.heads), probs))
        return output


def _queries_and_keys(attn: Any, features: Tensor, text: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, H, Q, d) and (B, H, K, d), made as diffusers' own processors make them."""
    if features.ndim == 4:
        features = features.flatten(2).transpose(1, 2)
    if attn.group_norm is not None:
        features = attn.group_norm(features.transpose(1, 2)).transpose(1, 2)
    if text is None:
        text = features
    elif attn.norm_cross:
        text = attn.norm_encoder_hidden_states(text)
    query, key = (
        value.reshape(*value.shape[:2], attn.heads, -1).transpose(1, 2)
        for value in (attn.to_q(features), attn.to_k(text))
    )
    if attn.norm_q is not None:
        query = attn.norm_q(query)
    if attn.norm_k is not None:
        key = attn.norm_k(key)
    return query, key


def _additive_mask(attn: Any, mask: Tensor | None, key: Tensor) -> Tensor | None:
    if mask is None:
        return None
    mask = attn.prepare_attention_mask(mask, key.shape[2], key.shape[0])
    return mask.reshape(key.shape[0], attn.heads, -1, mask.shape[-1])


def attention_probabilities(
    query: Tensor, key: Tensor, scale: float, columns: Tensor | slice | None = None, mask: Tensor | None = None
) -> Tensor:
    """Softmax of scaled products, averaged over heads.

    Without gradient the heads are added one by one in blocks of queries, so that a 64 x 64 layer with 8 heads never
    holds all its 134 million probabilities at once.

    Args:
        query: (B, H, Q, d).
        key: (B, H, K, d).
        scale: usually d ** -0.5.
        columns: int64 (B or 1, M) keys to keep, a slice of them, or None for all.
        mask: additive, broadcastable to (B, H, Q, K).

    Returns:
        float32 (B, Q, K) or (B, Q, M).
    """
    query, key = query.float(), key.float()
    batch, heads, num_queries, _ = query.shape
    num_keys = key.shape[2]
    if isinstance(columns, Tensor):
        columns = _checked_columns(columns, batch, num_keys).to(query.device)
    if torch.is_grad_enabled() and (query.requires_grad or key.requires_grad):
        scores = query @ key.transpose(-1, -2) * scale
        return _select((scores if mask is None else scores + mask).softmax(dim=-1).mean(dim=1), columns)
    width = columns.shape[1] if isinstance(columns, Tensor) else len(range(num_keys)[columns or slice(None)])
    total = query.new_zeros(batch, num_queries, width)
    step = max(1, _CHUNK_VALUES // (batch * num_keys))
    for head in range(heads):
        keys = key[:, head].transpose(-1, -2) * scale
        for start in range(0, num_queries, step):
            scores = query[:, head, start : start + step] @ keys
            if mask is not None:
                rows = mask[:, min(head, mask.shape[1] - 1)]
                scores = scores + (rows if rows.shape[1] == 1 else rows[:, start : start + step])
            total[:, start : start + step] += _select(scores.softmax(dim=-1), columns)
    return total / heads


def _select(probs: Tensor, columns: Tensor | slice | None) -> Tensor:
    if columns is None:
        return probs
    if isinstance(columns, slice):
        return probs[:, :, columns]
    return probs.gather(2, columns[:, None, :].expand(-1, probs.shape[1], -1))


def _checked_columns(columns: Tensor, batch: int, num_keys: int) -> Tensor:
    if columns.ndim != 2 or columns.shape[0] not in (1, batch):
        raise StageInputError(f"columns must be ({batch}, M) for a pass of {batch}, found {tuple(columns.shape)}")
    if columns.numel() and not 0 <= int(columns.min()) <= int(columns.max()) < num_keys:
        raise StageInputError(f"columns must lie in 0 to {num_keys - 1}, found up to {int(columns.max())}")
    return columns.expand(batch, -1)
