"""`uce doctor --compare`: the presets on photographs with a user's own model, measured, with a verdict.

Legend: K concepts; V vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uce.comparing.photographs import Photograph
from uce.core.errors import NothingFoundError
from uce.truth.scoring import score_masks

PRESETS = ("default", "paper")
LEVELS = 8
"""Noise levels of the held-out error, drawn from another seed than the training's."""
WORDS = 24
"""Words of the vocabulary whose error is measured, those that attention prefers among the commonest."""


@dataclass(frozen=True)
class Trial:
    """One preset on one picture.

    Attributes:
        found, true: number of concepts, and of things; None without true masks.
        iou: mean over true things of the best mask's; None likewise.
        learned, untrained, word: mean over concepts of the denoising error inside the mask, on noise that the training
            did not see: with the learned token, with a random row of the vocabulary, with the best word. None where
            nothing was found.
    """

    preset: str
    picture: str
    found: int
    true: int | None = None
    iou: float | None = None
    learned: float | None = None
    untrained: float | None = None
    word: float | None = None


@dataclass(frozen=True)
class Comparison:
    """All trials and what follows."""

    trials: tuple[Trial, ...]

    def mean(self, preset: str, name: str) -> float | None:
        """Mean of one measure over the pictures of a preset that have it."""
        values = [getattr(trial, name) for trial in self.trials if trial.preset == preset]
        values = [value for value in values if value is not None]
        return sum(values) / len(values) if values else None

    def gain(self, preset: str) -> float | None:
        """How much lower a learned token's error is than an untrained one's, as a share."""
        learned, untrained = self.mean(preset, "learned"), self.mean(preset, "untrained")
        return None if learned is None or not untrained else 1 - learned / untrained

    @property
    def verdict(self) -> str:
        """One sentence: the preset to use, and why."""
        presets = list(dict.fromkeys(trial.preset for trial in self.trials))
        masks = {preset: self.mean(preset, "iou") for preset in presets}
        gains = {preset: self.gain(preset) or 0.0 for preset in presets}
        by_mask = {preset: value for preset, value in masks.items() if value is not None}
        if len(by_mask) == len(presets) and max(by_mask.values()) - min(by_mask.values()) >= 0.02:
            best = max(by_mask, key=lambda preset: by_mask[preset])
            why = f"its masks fit best (IoU {', '.join(f'{p} {v:.2f}' for p, v in by_mask.items())})"
        else:
            best = max(gains, key=lambda preset: gains[preset])
            why = f"masks are alike and its tokens lower the error most ({_shares(gains)})"
        warning = "" if gains[best] > 0.005 else "; its tokens hardly help the model, so look at the pictures"
        return f"use --preset {best}: {why}{warning}"

    def to_dict(self) -> dict[str, Any]:
        """For --json."""
        return {"trials": [asdict(trial) for trial in self.trials], "verdict": self.verdict}

    def table(self) -> str:
        """For the terminal."""
        rows: list[tuple[str, ...]] = [
            ("preset", "picture", "found", "true", "IoU", "learned", "untrained", "best word")
        ]
        for trial in self.trials:
            numbers = (trial.iou, trial.learned, trial.untrained, trial.word)
            texts = ["" if value is None else f"{value:.4f}" for value in numbers]
            rows.append((trial.preset, trial.picture, str(trial.found), str(trial.true or ""), *texts))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join("  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _shares(gains: Mapping[str, float]) -> str:
    return ", ".join(f"{preset} {100 * value:.1f}%" for preset, value in gains.items())


def compare(
    photographs: Sequence[Photograph],
    out: Path,
    *,
    presets: Sequence[str] = PRESETS,
    settings: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> Comparison:
    """Every preset on every picture: masks, then tokens, then the error of both on noise that was held out.

    Args:
        out: where runs go; finished ones are not done again.
        settings: on top of each preset, such as ["optimizer.steps=20"].
        options: as for `uce.run`: `model`, `device`, `precision`.
    """
    trials = []
    for photograph in photographs:
        for preset in presets:
            say(f"{preset} on {photograph.name} ...")
            folder = out / preset / photograph.name
            trials.append(_try(photograph, preset, folder, list(settings), options))
    return Comparison(tuple(trials))


def _try(
    photograph: Photograph, preset: str, folder: Path, settings: Sequence[str], options: Mapping[str, Any]
) -> Trial:
    import uce

    true = None if photograph.masks is None else len(photograph.masks)
    extra = [*settings, "run.samples=0"]
    try:
        run = uce.run(photograph.path, folder, preset=preset, set=extra, resume=folder.is_dir(), **options)
    except NothingFoundError:
        return Trial(preset, photograph.name, 0, true, None if true is None else 0.0)
    masks = np.stack([concept.mask for concept in run.concepts])
    iou = None if photograph.masks is None else score_masks(masks, photograph.masks).iou
    learned, untrained, word = _held_out(run, options.get("device"))
    return Trial(preset, photograph.name, len(masks), true, iou, learned, untrained, word)


def _held_out(run: Any, device: str | None) -> tuple[float, float, float]:
    """Mean over concepts of the error with the learned token, with an untrained one, and with the best word."""
    import torch

    from uce.core.flow.context import Context
    from uce.core.flow.picture import load_rgb, read_picture
    from uce.core.model.words import vocabulary_words, word_vectors
    from uce.core.training.word_scores import masked_errors, word_attention

    backbone = run.backbone(device)
    picture = read_picture(load_rgb(run.path / "input.png"), backbone.picture_side, _fit(run))
    masks = picture.to_grid(
        torch.from_numpy(np.stack([concept.mask for concept in run.concepts])), (backbone.latent_side,) * 2
    )
    context = Context(seed=int(run.info.get("seed") or 0) + 1, stage="optimizer", device=backbone.device)
    words = vocabulary_words(backbone, 500)
    rows = word_vectors(backbone, words)
    preferred = word_attention(backbone, picture.pixels, masks, rows, context).amax(dim=0).topk(min(WORDS, len(words)))
    chosen, count = preferred.indices, len(run.concepts)
    vectors = {}
    for encoder in backbone.encoders:
        own = torch.stack([concept.vectors[encoder].float().mean(dim=0) for concept in run.concepts])
        table = backbone.embedding_table(encoder)
        random = table[torch.randint(len(table), (1,), generator=context.generator(salt="untrained")).to(table.device)]
        vectors[encoder] = torch.cat([own, random.detach().float().cpu(), rows[encoder][chosen]])
    errors = masked_errors(
        backbone, picture.pixels, masks, vectors, num_levels=LEVELS, template="a photo of {}", context=context
    ).cpu()
    learned = errors[:, :count].diagonal()
    return float(learned.mean()), float(errors[:, count].mean()), float(errors[:, count + 1 :].amin(dim=1).mean())


def _fit(run: Any) -> Any:
    import yaml

    document = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
    return (document.get("run") or {}).get("fit", "pad")
