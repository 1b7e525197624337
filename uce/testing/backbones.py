"""What holds for every loaded model: its face, its text, its noise. `captures.py` has what is read from its passes.

Legend: B prompts; L text positions; D width of the text states; d width of one text encoder; C, h, w latent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from uce.core.errors import ModelError, StageInputError
from uce.core.model.backbone import Backbone, Conditioning
from uce.testing.captures import check_captures, check_drawing, check_features, check_tuning
from uce.testing.doubles import tiny_picture
from uce.testing.tries import Refused, judged, require, require_sentence

NOBODYS = "no-such-model-of-anybody"
TEXTS = ("model", "description", "device", "fingerprint")
COUNTS = ("picture_side", "latent_side", "latent_channels", "num_timesteps")
PRECISIONS = ("float32", "bfloat16", "float16")
METHODS = ("encode_image", "decode", "tokenize", "encode_prompts", "embedding_table", "word_ids", "words", "add_noise",
           "target", "predict", "capture", "pipeline", "generate")  # fmt: skip
TOKEN = "<asset0>"


def check_loading(load: Callable[[str], Any], models: list[str], where: str) -> None:
    """Other plugins' names are left to them, and one of `models` is loaded and checked.

    Args:
        load: the plugin's hook for a `--model`, which gives a backbone or None.

    Raises:
        ContractError: a rule is broken, or none of `models` is loaded.
    """
    try:
        with judged(where, ModelError):
            require(
                load(NOBODYS) is None,
                "other names",
                where,
                f"it claims the model {NOBODYS!r}, which nobody has",
                "return None for names that are not yours, so that other plugins are asked",
            )
    except Refused:
        pass  # the last that is asked says that nobody understands it
    for model in models:
        try:
            with judged(where, ModelError):
                found = load(model)
        except Refused:
            continue
        if found is not None:
            check_backbone(found, f"{where}, model {model!r}")
            return
    require(
        False,
        "loads a model",
        where,
        f"it loads none of {', '.join(map(repr, models))}",
        "name one that it understands: check_plugin(..., model=...)",
    )


def check_backbone(backbone: Backbone, where: str = "backbone") -> None:
    """Every rule for a loaded model: members, pictures, text, noise, prediction, capture, drawing, weights.

    Raises:
        ContractError: a rule is broken.
    """
    check_members(backbone, where)
    with judged(where):
        latents = check_pictures(backbone, where)
        conditioning = check_text(backbone, where)
        check_vocabulary(backbone, where)
        check_noise(backbone, latents, where)
        check_prediction(backbone, latents, conditioning, where)
        check_captures(backbone, latents, where)
        check_features(backbone, latents, where)
        check_tuning(backbone, latents, where)
        check_drawing(backbone, where)


def check_members(backbone: Any, where: str) -> None:
    """All members of `uce.core.Backbone` are there and of their type."""
    missing = [name for name in (*TEXTS, *COUNTS, "precision", "encoders", *METHODS) if not hasattr(backbone, name)]
    mend = "uce.core.Backbone describes every member"
    require(not missing, "all members", where, f"it has no {', '.join(missing)}", mend)
    for name in TEXTS:
        value = getattr(backbone, name)
        good = isinstance(value, str) and bool(value.strip()) and "\n" not in value
        require(good, "all members", where, f"{name} is {value!r}", f"let {name} be one line of text")
    for name in COUNTS:
        value = getattr(backbone, name)
        require(type(value) is int and value > 0, "all members", where, f"{name} is {value!r}", "give a number from 1")
    for name in METHODS:
        require(callable(getattr(backbone, name)), "all members", where, f"{name} is no method", mend)
    known = backbone.precision in PRECISIONS
    require(known, "all members", where, f"precision is {backbone.precision!r}", f"one of {', '.join(PRECISIONS)}")
    names = backbone.encoders
    good = isinstance(names, tuple) and bool(names) and all(isinstance(name, str) and name for name in names)
    require(good, "all members", where, f"encoders is {names!r}", 'give a tuple of names, such as ("clip",)')


def check_pictures(backbone: Backbone, where: str) -> Tensor:
    """Encoding and decoding keep the sizes that the model tells; returns the latents of a picture."""
    side, cells, channels = backbone.picture_side, backbone.latent_side, backbone.latent_channels
    pixels = tiny_picture(side=side).pixels[None].to(backbone.device)
    with torch.no_grad():
        latents, again = backbone.encode_image(pixels), backbone.encode_image(pixels)
        decoded = backbone.decode(latents)
    require(
        tuple(latents.shape) == (1, channels, cells, cells) and bool(torch.isfinite(latents).all()),
        "latents of the told size",
        where,
        f"encode_image gave {tuple(latents.shape)} for a picture of {side} pixels",
        f"give finite (B, latent_channels, latent_side, latent_side) = {(1, channels, cells, cells)}",
    )
    require(
        torch.equal(latents, again),
        "same picture, same latents",
        where,
        "encode_image gave other latents for the same picture",
        "take the distribution's mode, not a sample",
    )
    size = tuple(decoded.shape) == (1, 3, side, side) and decoded.dtype is torch.float32
    inside = size and float(decoded.abs().max()) <= 1 + 1e-6
    found = f"decode gave {tuple(decoded.shape)} {decoded.dtype}, up to {float(decoded.abs().max()):.3g}"
    require(inside, "pixels of the told size", where, found, f"float32 (B, 3, {side}, {side}) in [-1, 1]")
    return latents.float()


def check_text(backbone: Backbone, where: str) -> Conditioning:
    """Words stand where they are told, and learned vectors reach the text states with their gradient."""
    prompt = backbone.tokenize(f"a photo of {TOKEN}", {TOKEN: 0})
    for encoder in backbone.encoders:
        ids, slots = prompt.ids[encoder], prompt.slots[encoder]
        good = ids.ndim == 1 and ids.shape == slots.shape and 0 < prompt.end[encoder] < len(ids)
        require(good, "prompts", where, f"ids {tuple(ids.shape)}, slots {tuple(slots.shape)}", "both (L,), with an end")
        require(
            slots.tolist().count(0) == 1 and slots.tolist().count(-1) == len(slots) - 1,
            "slots",
            where,
            f"of {TOKEN!r} in a prompt the slots are {slots.tolist()}",
            "0 at the token's place, -1 everywhere else",
        )
    _check_too_long(backbone, where)
    widths = {encoder: backbone.embedding_table(encoder).shape[1] for encoder in backbone.encoders}
    vectors = {
        e: torch.full((1, width), 0.1, device=backbone.device, requires_grad=True) for e, width in widths.items()
    }
    conditioning = backbone.encode_prompts([prompt], vectors)
    conditioning.states.float().square().sum().backward()  # type: ignore[no-untyped-call]
    reached = [e for e, vector in vectors.items() if vector.grad is not None and bool(vector.grad.any())]
    pooled = any(value.requires_grad for value in conditioning.added.values())
    require(
        len(reached) == len(vectors) or (bool(reached) and pooled),
        "learned vectors reach the text",
        where,
        f"no gradient reaches the vectors of {', '.join(sorted(set(vectors) - set(reached)))}",
        "put `vectors` in the place of the embeddings at their slots, before the text encoder",
    )
    with torch.no_grad():
        plain = backbone.encode_prompts([prompt, backbone.tokenize("")], {e: v.detach() for e, v in vectors.items()})
    require(plain.states.ndim == 3 and plain.states.shape[0] == 2, "text states", where, "not (B, L, D)", "batch them")
    free = backbone.encode_prompts([backbone.tokenize("a photo")])
    require(
        not free.states.requires_grad,
        "no gradient without vectors",
        where,
        "the states carry one",
        "freeze the encoder",
    )
    return free


def _check_too_long(backbone: Backbone, where: str) -> None:
    try:
        backbone.tokenize("photo " * 5000)
    except StageInputError as error:
        require_sentence(error, where)
        return
    require(
        False,
        "text that is too long",
        where,
        "it took a text of 5000 words",
        "raise a StageInputError that says how much the model reads; a text cut short would lose tokens silently",
    )


def check_vocabulary(backbone: Backbone, where: str) -> None:
    """The table of embeddings, and that words lie in it."""
    for encoder in backbone.encoders:
        table = backbone.embedding_table(encoder)
        require(
            table.ndim == 2 and not table.requires_grad, "embedding table", where, "not detached (V, d)", "detach it"
        )
        ids = backbone.word_ids("cup", encoder)
        good = bool(ids) and all(0 <= row < len(table) for row in ids)
        require(good, "word ids", where, f"word_ids('cup') is {ids}", f"give rows of the table, 0 to {len(table) - 1}")
        words = backbone.words(encoder)
        wrong = [word for word, row in words.items() if not (word.isalpha() and 0 <= row < len(table))]
        require(not wrong, "words", where, f"words holds {wrong[:1]!r}", "letters only, with rows of the table")


def check_noise(backbone: Backbone, latents: Tensor, where: str) -> None:
    """More noise at later timesteps, and a target of the latents' shape."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5)).to(latents.device)
    first, last = (torch.full((1,), step, device=latents.device) for step in (0, backbone.num_timesteps - 1))
    near, far = (backbone.add_noise(latents, noise, step) for step in (first, last))
    require(
        near.shape == far.shape == latents.shape
        and float((near - latents).norm()) < float((far - latents).norm())
        and float((far - noise).norm()) < float((near - noise).norm()),
        "noise grows",
        where,
        "x_t at the first timestep is not nearer to the latents than at the last, or not of their shape",
        "0 is the timestep of least noise, num_timesteps - 1 that of most",
    )
    target = backbone.target(latents, noise, last)
    require(
        target.shape == latents.shape,
        "target",
        where,
        f"target is {tuple(target.shape)}",
        "give what predict should give",
    )


def check_prediction(backbone: Backbone, latents: Tensor, conditioning: Conditioning, where: str) -> None:
    """The latents' shape, the same bits twice, and a gradient to the text."""
    step = torch.full((1,), backbone.num_timesteps // 2, device=latents.device)
    with torch.no_grad():
        first, second = (backbone.predict(latents, step, conditioning) for _ in range(2))
    require(
        first.shape == latents.shape and bool(torch.isfinite(first).all()),
        "prediction",
        where,
        f"predict gave {tuple(first.shape)} for latents {tuple(latents.shape)}",
        "give finite values of the latents' shape",
    )
    require(torch.equal(first, second), "same pass, same bits", where, "two passes differ", "no dropout, no randomness")
    states = conditioning.states.detach().clone().requires_grad_()
    backbone.predict(latents, step, Conditioning(states, conditioning.added)).float().square().sum().backward()  # type: ignore[no-untyped-call]
    require(
        states.grad is not None and bool(states.grad.any()),
        "differentiable in the text",
        where,
        "no gradient reaches the text states from the prediction",
        "do not run predict under torch.no_grad()",
    )
