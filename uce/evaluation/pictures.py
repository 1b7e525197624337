"""What an encoder is shown of a run: pictures drawn from its tokens, kept in the folder, and their sources.

Legend: K concepts; P pictures drawn of each; S pixels per side of what the model draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uce import api
from uce.core.config.resolving import load_config_file
from uce.core.errors import RunFolderError
from uce.core.files.formats import open_picture
from uce.core.files.masks import mask_box
from uce.core.files.paths import typed_path
from uce.core.files.pictures import RgbArray
from uce.core.files.writing import write_picture
from uce.core.flow.picture import Picture, load_rgb, read_picture
from uce.core.runs.token_names import token_stem
from uce.core.work.held import Run
from uce.evaluation.settings import EvaluationSettings

FOLDER = "evaluation"
FILLS = {"white": 255, "grey": 128, "black": 0}
CROP_MARGIN = 0.1  # of the thing's longer side, around a cropped source


@dataclass(frozen=True, eq=False)
class RunPictures:
    """All pictures of one run.

    Attributes:
        source: uint8 (S, S, 3), the picture as the model saw it.
        masked: per concept its source.
        drawn: per concept P pictures.
        together: P pictures of all concepts, or P of each of several prompts where one cannot hold them all.
    """

    source: RgbArray
    masked: list[RgbArray]
    drawn: list[list[RgbArray]]
    together: list[RgbArray]


def require_learned(run: Run) -> None:
    """A run whose tokens can be drawn.

    Raises:
        RunFolderError: unfinished, failed, or without tokens.
    """
    state = run.info.get("status")
    if state == "localized":
        raise RunFolderError(
            f"{run.path} holds no learned tokens yet; learn them with uce learn {typed_path(run.path)}, or measure "
            "only its masks with --masks-only --truth FOLDER"
        )
    if state == "imported":
        raise RunFolderError(f"{run.path} holds imported tokens: it has no picture to compare with, evaluate a uce run")
    if state != "done":
        raise RunFolderError(f"{run.path} is unfinished (status {state!r}); finish it with --resume, then evaluate it")
    run.tokens()


def tokens_digest(run: Run) -> str:
    """Hash of what is drawn from: tokens, further weights, and the model."""
    hasher = hashlib.sha256(str(run.info.get("model", {}).get("fingerprint")).encode())
    for name in ("embeddings.safetensors", "weights.safetensors"):
        path = run.path / name
        hasher.update(name.encode() + (path.read_bytes() if path.is_file() else b""))
    return hasher.hexdigest()


def draw_pictures(
    run: Run, settings: EvaluationSettings, device: str | None, plugin: Sequence[str]
) -> tuple[list[list[RgbArray]], list[RgbArray]]:
    """Pictures of every concept, and of all together; those that lie in the folder already are read.

    Where the text encoder cannot read all tokens in one prompt, as few prompts as hold them show them all.
    """
    tokens = [concept.token for concept in run.concepts]
    digest = tokens_digest(run)
    sets = [
        _draw_set(run, token_stem(token), settings.text([token]), digest, settings, device, plugin) for token in tokens
    ]
    if len(tokens) == 1:
        return sets, sets[0]
    together: list[RgbArray] = []
    for name, group in _groups(run, tokens, digest, settings, device, plugin).items():
        together += _draw_set(run, name, settings.text(group), digest, settings, device, plugin)
    return sets, together


def _groups(
    run: Run,
    tokens: list[str],
    digest: str,
    settings: EvaluationSettings,
    device: str | None,
    plugin: Sequence[str],
) -> dict[str, list[str]]:
    """File stem -> the tokens that its prompt holds. The model is asked only where nothing was drawn before."""
    from uce.core.training.schedule import fitting_groups

    if _paths(run, "all", settings.text(tokens), digest, settings)[settings.seed].is_file():
        return {"all": tokens}
    longest = max(len(vectors) for own in run.tokens().values() for vectors in own.values())
    rows = fitting_groups(run.backbone(device, plugin), tokens, settings.prompt, longest)
    if len(rows) == 1:
        return {"all": tokens}
    return {f"all{number}": [tokens[row] for row in group] for number, group in enumerate(rows)}


def _paths(run: Run, stem: str, prompt: str, digest: str, settings: EvaluationSettings) -> dict[int, Path]:
    """Seed -> where its picture is kept."""
    facts = f"{digest}/{prompt}/{settings.steps}/{settings.guidance}"
    key = hashlib.sha256(facts.encode()).hexdigest()[:10]
    seeds = range(settings.seed, settings.seed + settings.count)
    return {seed: run.path / FOLDER / f"{stem}-s{seed}-{key}.png" for seed in seeds}


def _draw_set(
    run: Run,
    stem: str,
    prompt: str,
    digest: str,
    settings: EvaluationSettings,
    device: str | None,
    plugin: Sequence[str],
) -> list[RgbArray]:
    paths = _paths(run, stem, prompt, digest, settings)
    found = {seed: _read(path) for seed, path in paths.items()}
    missing = [seed for seed, picture in found.items() if picture is None]
    for start, count in _stretches(missing):
        drawn = api.draw(
            prompt,
            run,
            count=count,
            seed=start,
            steps=settings.steps,
            guidance=settings.guidance,
            device=device,
            plugin=plugin,
        )
        for seed, picture in enumerate(drawn.pictures, start=start):
            found[seed] = np.asarray(picture.convert("RGB"))
            write_picture(paths[seed], picture)
    return [picture for picture in found.values() if picture is not None]


def _read(path: Path) -> RgbArray | None:
    """A kept picture; None where there is none, or it is damaged."""
    try:
        with open_picture(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError):
        return None


def _stretches(seeds: Sequence[int]) -> list[tuple[int, int]]:
    """(first, count) of every run of consecutive seeds."""
    found: list[tuple[int, int]] = []
    for seed in seeds:
        if found and seed == sum(found[-1]):
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((seed, 1))
    return found


def masked_source(picture: RgbArray, mask: np.ndarray[Any, Any], settings: EvaluationSettings) -> RgbArray:
    """The picture where the mask is, the fill elsewhere; with `source=crop` only the square around the thing.

    Args:
        picture: uint8 (H, W, 3). mask: bool (H, W), not empty.
    """
    fill = FILLS[settings.fill]
    filled = np.where(mask[..., None], picture, np.uint8(fill))
    if settings.source == "masked":
        return filled
    (top, bottom), (left, right) = mask_box(mask)
    side = round(max(bottom - top, right - left) * (1 + 2 * CROP_MARGIN))
    above, before = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square = np.full((side, side, 3), fill, np.uint8)
    square[above : above + bottom - top, before : before + right - left] = filled[top:bottom, left:right]
    return square


def gather(run: Run, settings: EvaluationSettings, device: str | None, plugin: Sequence[str]) -> RunPictures:
    """Everything that an encoder is to see of a run."""
    drawn, together = draw_pictures(run, settings, device, plugin)
    side = together[0].shape[0]
    original = load_rgb(run.path / "input.png")
    fit = load_config_file(run.path / "config.yaml").get("run", {}).get("fit", "pad")
    masked = []
    for concept in run.concepts:
        if concept.mask.shape != original.shape[:2]:
            raise RunFolderError(f"{run.path / concept.mask_path} is not of the picture's size; run again")
        source = masked_source(original, concept.mask, settings)
        masked.append(_square(source, side, "pad" if settings.source == "crop" else fit, FILLS[settings.fill]))
    return RunPictures(_square(original, side, fit), masked, drawn, together)


def _square(picture: RgbArray, side: int, fit: Any, padding: int | None = None) -> RgbArray:
    """The picture as a model of that side sees it; `padding`: what stands there, None for its repeated edge."""
    seen: Picture = read_picture(picture, side, fit)
    pixels = ((seen.pixels + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    if padding is None:
        return np.ascontiguousarray(pixels)
    top, left, height, width = seen.window
    square = np.full_like(pixels, padding)
    square[top : top + height, left : left + width] = pixels[top : top + height, left : left + width]
    return square
