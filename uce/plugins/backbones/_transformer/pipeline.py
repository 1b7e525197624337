"""Handing out diffusers pipelines that know concept tokens.

diffusers loads a token into one text encoder at a time, and only for pipelines that have a loader (FLUX's has one,
Stable Diffusion 3's has none): here words and rows are added by hand, which is all that the loader does.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from uce.plugins.backbones._sd.generation import token_vectors
from uce.plugins.backbones._transformer.text import T5_OUT, laid_over


def with_tokens(
    tokens: Mapping[str, Mapping[str, Tensor]], parts: Mapping[str, tuple[Any, Any]], carriers: Sequence[str]
) -> dict[str, tuple[Any, Any]]:
    """Copies of (tokenizer, text encoder) that know the tokens, for the carriers; the others as they are.

    Args:
        parts: by text encoder, T5 under the carrier's name.
    """
    found = dict(parts)
    if not tokens:
        return found
    for carrier in carriers:
        tokenizer, encoder = copy.deepcopy(parts[carrier][0]), _same_weights(parts[carrier][1])
        rows: dict[int, Tensor] = {}
        for token, own in tokens.items():
            rows |= _added(tokenizer, token, token_vectors(token, own, carriers)[carrier])
        if carrier == T5_OUT:
            _lay_over_output(encoder, int(tokenizer.unk_token_id), rows)
        else:
            _write(encoder, rows, len(tokenizer))
            if carrier.startswith("clip"):
                _sum_up_at_the_end(encoder, int(tokenizer.eos_token_id))
        found[carrier] = tokenizer, encoder
    return found


def _sum_up_at_the_end(encoder: Any, end: int) -> None:
    """Published configurations say eos_token_id 2, which transformers takes as "the highest id ends the text". Added
    words have higher ids still: the text would be summed up at them."""
    encoder.config.eos_token_id = getattr(encoder, "text_model", encoder).eos_token_id = end


def _added(tokenizer: Any, token: str, vectors: Tensor) -> dict[int, Tensor]:
    """Adds the token's words, one per vector; their ids and vectors."""
    words = [token, *(f"{token}_{i}" for i in range(1, len(vectors)))]
    tokenizer.add_tokens(words)
    return dict(zip((int(i) for i in tokenizer.convert_tokens_to_ids(words)), vectors, strict=True))


def _same_weights(encoder: Any) -> Any:
    """A copy that may get a table and hooks of its own, and else shares the encoder's weights (T5's fill 9.5 GB)."""
    return copy.deepcopy(encoder, {id(value): value for value in (*encoder.parameters(), *encoder.buffers())})


@torch.no_grad()
def _write(encoder: Any, rows: Mapping[int, Tensor], size: int) -> None:
    """Give `encoder` a table of its own with the rows in it."""
    own = encoder.get_input_embeddings().weight
    table = torch.nn.Embedding(max(size, own.shape[0]), own.shape[1], device=own.device, dtype=own.dtype)
    table.weight[: own.shape[0]] = own
    for row, vector in rows.items():
        table.weight[row] = vector.to(own)
    encoder.set_input_embeddings(table.requires_grad_(False))


def _lay_over_output(encoder: Any, filler: int, rows: Mapping[int, Tensor]) -> None:
    """Within `encoder`, new ids read as `filler`, and their places in the output hold the rows."""
    ids, table = torch.tensor(list(rows)), torch.stack(list(rows.values()))
    seen: list[Tensor] = []

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = args[0] if args else kwargs["input_ids"]
        match = given[..., None] == ids.to(given.device)
        seen[:] = [torch.where(match.any(-1), match.long().argmax(-1), -1)]
        plain = given.masked_fill(match.any(-1), filler)
        return ((plain, *args[1:]), kwargs) if args else (args, {**kwargs, "input_ids": plain})

    def after(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        changed = laid_over(output[0], seen[0], table.to(output[0].device))
        if isinstance(output, tuple):
            return (changed, *output[1:])
        output["last_hidden_state"] = changed
        return output

    encoder.register_forward_pre_hook(before, with_kwargs=True)
    encoder.register_forward_hook(after, with_kwargs=True)


def finished(pipe: Any, backbone: Any, weights: Mapping[str, Tensor] | None) -> Any:
    """The pipeline with trained weights in its own transformer, and with offload where the backbone has it."""
    from uce.plugins.backbones._sd.weights import ADAPTER, split_weights
    from uce.plugins.backbones._transformer.weights import as_transformer, as_unet

    if weights:
        lora, others = split_weights(as_unet(weights, backbone.model), pipe.transformer, backbone.model)
        pipe.transformer.load_state_dict(others, strict=False)
        if lora:
            with torch.random.fork_rng(devices=[]):
                pipe.load_lora_weights(as_transformer(lora), adapter_name=ADAPTER)
    if backbone.offload and backbone.device != "cpu":
        pipe.enable_model_cpu_offload(device=backbone.device)
    return pipe
