"""A finished run of two tokens, on disk, made in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from uce.core.config.options import Options
from uce.core.files.writing import write_picture, write_text
from uce.core.flow.data import LearnedConcepts
from uce.core.flow.names import Named
from uce.core.registry.manager import load_manager
from uce.core.runs.folder import RunFolder
from uce.core.runs.overlay import draw_overlay
from uce.core.runs.stored import StoredRun
from uce.core.runs.token_names import token_stem
from uce.testing.doubles import tiny_concepts, tiny_picture
from uce.version import __version__


def tiny_run(folder: str | Path, encoders: tuple[str, ...] = ("clip",), vectors: int = 1) -> StoredRun:
    """Write a run folder that `uce.load` and exporters read: `tiny_picture` with its two things learned.

    Args:
        folder: made where it is missing.
        encoders: text encoders of the model that it was learned with.
        vectors: per token and text encoder.
    """
    run, picture, tokens = RunFolder(Path(folder)), tiny_picture(), ("<asset0>", "<asset1>")
    found = tiny_concepts().select([1, 2])
    concepts = replace(found, pixel_masks=picture.to_original(found.masks), labels=["cup", "tree"])
    assert concepts.pixel_masks is not None
    masks, indexes = concepts.pixel_masks.numpy(), range(len(tokens))
    generator = torch.Generator().manual_seed(11)
    embeddings = {e: torch.randn(2, vectors, 6 + 4 * i, generator=generator) for i, e in enumerate(encoders)}
    history: list[dict[str, float | int | str]] = [{"update": 1, "phase": "merged", "step": 1, "total": 0.5}]
    run.update_run(
        status="done",
        mode="run",
        model={"name": "tiny", "fingerprint": "tiny", "description": "tiny: a test double", "encoders": list(encoders)},
        input={"name": "picture.png", "digest": picture.digest, "width": picture.size[1], "height": picture.size[0]},
        versions={"uce": __version__},
        seed=0,
        stages=[],
    )
    write_text(run / "config.yaml", Options(device="cpu").resolve(load_manager()).to_yaml())
    write_picture(run / "input.png", picture.original)
    run.write_masks(masks, list(indexes))
    run.write_concepts(concepts, list(indexes), tokens, [Named("", ("cup", "mug")), Named("", ("tree",))])
    run.write_learned(LearnedConcepts(tokens, embeddings, None, tuple(history)))
    write_picture(run / "overlay.png", draw_overlay(picture.original, masks, [token_stem(token) for token in tokens]))
    return StoredRun(run)
