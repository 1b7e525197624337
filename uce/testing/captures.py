"""What is read from a model's passes and how it draws: captured attention, features, trained weights, pictures.

Legend: B prompts; n cells of a layer; L text positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uce.core.errors import StageInputError
from uce.core.model.backbone import Backbone, Capture, LayerMap
from uce.core.model.tuning import Tuning
from uce.testing.rules import ContractError, differing
from uce.testing.tries import require, require_sentence

Pass = Callable[[], Tensor]


def a_pass(backbone: Backbone, latents: Tensor) -> Pass:
    """One prediction without gradient."""
    conditioning = backbone.encode_prompts([backbone.tokenize("a photo")])
    step = torch.full((1,), backbone.num_timesteps // 2, device=latents.device)

    @torch.no_grad()
    def run() -> Tensor:
        return backbone.predict(latents, step, conditioning)

    return run


def parts_of(backbone: Any) -> dict[str, str]:
    """What capturing could leave behind: of every module its type, its processor, its hooks, its own attributes."""
    found = {}
    for own, value in vars(backbone).items():
        for name, module in value.named_modules() if isinstance(value, torch.nn.Module) else ():
            hooks = len(module._forward_hooks), len(module._forward_pre_hooks), "forward" in vars(module)
            found[f"{own}.{name}"] = f"{type(module).__name__} {id(getattr(module, 'processor', None))} {hooks}"
    return found


def check_captures(backbone: Backbone, latents: Tensor, where: str) -> None:
    """Captured maps are probabilities, the prediction is bit for bit the same, and the model is left as it was."""
    predict, before = a_pass(backbone, latents), parts_of(backbone)
    plain = predict()
    with backbone.capture(Capture("self"), Capture("cross")) as maps:
        watched = predict()
        found = list(maps)
    _require_same(plain, watched, "capture changes no bit", where, "prediction within capture")
    require(
        bool(found), "attention maps", where, "capture gave no map", "append a LayerMap for every layer of the kind"
    )
    for layer in found:
        joint = layer.name in getattr(backbone, "joint_layers", ())
        beside = [other.probs for other in found if joint and other.name == layer.name and other.kind != layer.kind]
        _check_map(layer, beside, where)
    kinds = [layer.kind for layer in found]
    for kind in ("self", "cross"):
        with backbone.capture(Capture(kind)) as alone:  # type: ignore[arg-type]
            predict()
        same = [layer.name for layer in alone] == [layer.name for layer in found if layer.kind == kind]
        require(
            same and all(layer.kind == kind for layer in alone),
            "the kind that is asked for",
            where,
            f"of {kind}-attention it kept {len(alone)} maps alone, {kinds.count(kind)} beside the other kind",
            "append a map for each request that it answers (Capture.wants)",
        )
    _check_choice(backbone, predict, found, where)
    _check_left(backbone, predict, plain, before, len(found), where)


def _check_map(layer: LayerMap, beside: list[Tensor], where: str) -> None:
    """`beside`: the other slice of a layer in which text and picture attend together; its rows count, too."""
    at, probs = f"{where}, layer {layer.name!r}", layer.probs
    cells = layer.grid[0] * layer.grid[1]
    good = bool(layer.name) and probs.ndim == 3 and probs.shape[:2] == (1, cells) and probs.dtype is torch.float32
    keys = layer.kind != "self" or (good and probs.shape[2] == cells)
    found = f"probs are {tuple(probs.shape)} {probs.dtype} on a grid of {layer.grid}"
    require(good and keys and layer.heads >= 1, "maps of their grid", at, found, "float32 (B, h * w, keys)")
    sums = torch.stack([part.sum(dim=2) for part in (probs, *beside)]).sum(dim=0)
    require(
        bool((probs >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3),
        "rows sum to 1",
        at,
        f"rows sum to {float(sums.min()):.4g} up to {float(sums.max()):.4g}",
        "keep the softmax's probabilities, averaged over heads",
    )


def _check_choice(backbone: Backbone, predict: Pass, found: list[LayerMap], where: str) -> None:
    """By side, by text position and (where the model knows it) by name."""
    cross = [layer for layer in found if layer.kind == "cross"]
    for kind in dict.fromkeys(layer.kind for layer in found):
        side = max(next(layer for layer in found if layer.kind == kind).grid)
        with backbone.capture(Capture(kind, sides=frozenset({side}))) as maps:  # type: ignore[arg-type]
            predict()
        wanted = [layer.name for layer in found if layer.kind == kind and max(layer.grid) == side]
        mend = "keep layers whose longer side is in `sides`"
        require([m.name for m in maps] == wanted, "layers of a side", where, f"side {side}: {len(maps)} maps", mend)
        name = next(layer.name for layer in found if layer.kind == kind)
        with backbone.capture(Capture(kind, layers=(name,))) as maps:  # type: ignore[arg-type]
            predict()
        mend = "keep layers that Capture.wants"
        require(name in [m.name for m in maps], "layers by name", where, f"{name!r} asked for and not kept", mend)
    if cross:
        with backbone.capture(Capture("cross", columns=torch.tensor([[1, 0]]))) as maps:
            predict()
        same = len(maps) == len(cross) and all(
            m.probs.shape[2] == 2 and torch.allclose(m.probs, layer.probs[:, :, [1, 0]], atol=1e-5)
            for m, layer in zip(maps, cross, strict=True)
        )
        mend = "gather `columns` from the probabilities of all text positions"
        require(same, "text positions", where, "columns [1, 0] are not those of the whole map", mend)


def _check_left(
    backbone: Backbone, predict: Pass, plain: Tensor, before: dict[str, str], count: int, where: str
) -> None:
    """After a block that ended well, and after one that did not."""
    rule = "capture leaves the model as found"
    for ends in ("well", "with an error"):
        kept: list[LayerMap] = []
        try:
            with backbone.capture(Capture("self"), Capture("cross")) as kept:
                predict()
                if ends != "well":
                    raise KeyError("kit")
        except KeyError:
            pass
        changed = differing(before, parts_of(backbone))
        end = f"after a block that ended {ends}"
        require(not changed, rule, where, f"{end} {changed[:1]} is not as before", "undo it in `finally`")
        _require_same(plain, predict(), rule, where, f"prediction {end}")
        require(len(kept) == count, rule, where, f"{end} a pass still appends maps", "stop watching in `finally`")


def _require_same(plain: Tensor, found: Tensor, rule: str, where: str, what: str) -> None:
    if not torch.equal(plain, found):
        off = float((plain.float() - found.float()).abs().max())
        raise ContractError(
            rule, where, f"{what} is off by up to {off:.3g}", "let the layer compute as before, and note beside it"
        )


def check_features(backbone: Any, latents: Tensor, where: str) -> None:
    """Where there is `capture_features`."""
    if not hasattr(backbone, "capture_features"):
        return
    predict, before = a_pass(backbone, latents), parts_of(backbone)
    plain = predict()
    with backbone.capture_features(0) as features:
        _require_same(plain, predict(), "features change no bit", where, "prediction within capture_features")
        found = features.get(0)
    good = isinstance(found, Tensor) and found.dtype is torch.float32 and found.ndim == 4
    require(good, "features", where, "block 0 has no float32 (B, channels, h', w')", "keep what it gives")
    mend = "undo it in `finally`"
    require(parts_of(backbone) == before, "features leave the model as found", where, "a hook is left", mend)
    try:
        with backbone.capture_features(999):
            pass
    except StageInputError as error:
        require_sentence(error, where)
    else:
        require(False, "features", where, "it took block 999", "raise a StageInputError that says which there are")


def check_tuning(backbone: Any, latents: Tensor, where: str) -> None:
    """Where there are `train_weights` and `use_weights`: no effect at first, a gradient, and nothing left behind."""
    both = [hasattr(backbone, name) for name in ("train_weights", "use_weights")]
    require(
        all(both) or not any(both), "weights", where, "it has only one of train_weights and use_weights", "add both"
    )
    if not all(both):
        return
    predict, before = a_pass(backbone, latents), parts_of(backbone)
    plain = predict()
    conditioning = backbone.encode_prompts([backbone.tokenize("a photo")])
    step = torch.full((1,), backbone.num_timesteps // 2, device=latents.device)
    with backbone.train_weights(Tuning("lora", (), rank=1)) as trained:
        start = predict()
        backbone.predict(latents, step, conditioning).float().square().mean().backward()
        reached = any(value.grad is not None and bool(value.grad.any()) for value in trained.parameters.values())
        weights = trained.export()
    off = float((start.float() - plain.float()).abs().max()) / max(float(plain.abs().max()), 1e-12)
    require(off < 1e-2, "weights start without effect", where, f"off by {off:.3g} of the whole", "start LoRA at zero")
    require(reached, "weights take a gradient", where, "no gradient reaches them", "predict must use them")
    rule, mend = "weights leave the model as found", "put everything back in `finally`"
    _require_same(plain, predict(), rule, where, "prediction after train_weights")
    require(parts_of(backbone) == before, rule, where, "a module is not as before", mend)
    with backbone.use_weights({name: value + 0.5 for name, value in weights.items()}):
        used = predict()
    require(
        not torch.equal(used, plain), "weights are used", where, "use_weights changes nothing", "apply what export gave"
    )
    _require_same(plain, predict(), rule, where, "prediction after use_weights")


def check_drawing(backbone: Backbone, where: str) -> None:
    """Pictures of the told size; the seed alone decides, whatever is drawn beside it."""
    tokens = {
        "<asset0>": {e: backbone.embedding_table(e)[-1:].detach().float().cpu().clone() for e in backbone.encoders}
    }
    text = "a photo of <asset0>"
    together = backbone.generate([text, text], tokens, seeds=[1, 2], steps=2)
    again, other = (backbone.generate([text], tokens, seeds=[seed], steps=2)[0] for seed in (1, 2))
    first, second, alone, beside = (np.asarray(picture) for picture in (*together, again, other))
    side = backbone.picture_side
    shape = first.shape[:2] == (side, side) and len(together) == 2
    require(shape, "pictures", where, f"generate gave {first.shape}", f"one PIL picture of {side} pixels per prompt")
    require(
        np.array_equal(first, alone) and np.array_equal(second, beside),
        "same seed, same picture",
        where,
        "a seed gives another picture when it is drawn alone",
        "draw each picture's noise from a generator of its own, and one picture per pass where sums differ",
    )
    require(not np.array_equal(first, second), "another seed, another picture", where, "both are the same", "use seeds")
    steps: list[tuple[int, int]] = []
    backbone.generate([text], tokens, seeds=[1], steps=2, on_step=lambda number, total: steps.append((number, total)))
    good = bool(steps) and steps == [(n, len(steps)) for n in range(1, len(steps) + 1)]
    require(good, "on_step", where, f"it told of steps {steps}", "count from 1 to the number of all")
