"""From masks to tokens: stages four and five, and the pictures that show them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from uce.core.config.options import Options, require_same
from uce.core.config.provenance import plugin_rows
from uce.core.config.resolving import load_config_file
from uce.core.errors import RunFolderError
from uce.core.files.locks import alone_in
from uce.core.files.pictures import PictureSource
from uce.core.files.tensors import save_tensors
from uce.core.files.writing import write_picture, write_text
from uce.core.flow.data import Concepts
from uce.core.flow.events import RunStarted, StageFinished, StageStarted
from uce.core.flow.names import Named
from uce.core.flow.picture import load_rgb, read_picture
from uce.core.model.abilities import use_weights
from uce.core.model.backbone import Backbone
from uce.core.model.words import label_words, labels_for, nearest_words
from uce.core.runs.facts import command_line
from uce.core.runs.folder import RunFolder
from uce.core.runs.token_names import check_names, choose_concepts, name_tokens, token_stem
from uce.core.work.edited_masks import _masks, _masks_as_they_lie, given_masks, measured
from uce.core.work.localizing import find_concepts, write_localisation, write_names
from uce.core.work.models import backbone_for, settle_micro_batch
from uce.core.work.opening import begin, recorded
from uce.core.work.pipeline import Work
from uce.core.work.shrinking import shrinking
from uce.core.work.sightings import read_sightings, require_several


def run_picture(source: PictureSource, options: Options, out: Path, *, resume: bool, overwrite: bool) -> None:
    """All five stages of a picture."""
    with alone_in(out):
        work = begin(source, options, out, resume=resume, overwrite=overwrite)
        if work.done:
            return
        with recorded(work, "done"):
            shrinking(work, lambda work: learn_concepts(work, *find_concepts(work)))


def learn_concepts(work: Work, concepts: Concepts, indexes: list[int], tokens: tuple[str, ...]) -> None:
    """Learn, write the tokens, label the concepts, draw the samples."""
    folder = work.folder
    assert folder is not None
    plan = work.initialize(concepts, tokens)
    learned = work.optimize(plan, concepts)
    work.require_folder()
    near = work.names or [Named("", tuple(words)) for words in plan.nearest or nearest_words(work.backbone, learned)]
    labelled = dataclasses.replace(concepts, labels=labels_for(concepts, plan, [one.label for one in near]))
    folder.write_learned(learned, labelled.labels)
    keep_vectors(folder / "stages" / WORDS_FILE, work.backbone, [one.words for one in near])
    write_names(work, labelled, indexes, tokens, near)
    if work.config.run.samples:
        with use_weights(work.backbone, learned.weights):
            draw_samples(work, {token: learned.of(row) for row, token in enumerate(tokens)})
    folder.checkpoint.unlink(missing_ok=True)


def draw_samples(work: Work, vectors: dict[str, Any]) -> None:
    """samples/<token>.png per concept (numbered where there are several) and one of all together; as few as the text
    encoder can read where there are too many for one prompt."""
    from uce.core.training.schedule import fitting_groups

    run, folder, started = work.config.run, work.folder, time.perf_counter()
    assert folder is not None
    jobs = [
        (f"{token_stem(token)}{'' if run.samples == 1 else f'-{number}'}.png", f"a photo of {token}", number)
        for token in vectors
        for number in range(run.samples)
    ]
    tokens = list(vectors)
    longest = max(len(rows) for own in vectors.values() for rows in own.values())
    groups = fitting_groups(work.backbone, tokens, "a photo of {}", longest)
    for number, group in enumerate(groups):
        together = " and ".join(tokens[row] for row in group)
        jobs.append(("all.png" if len(groups) == 1 else f"all-{number}.png", f"a photo of {together}", 0))
    work.manager.emit(StageStarted("samples", "backbone", len(jobs)))
    pictures = work.backbone.generate(
        [prompt for _, prompt, _ in jobs],
        vectors,
        seeds=[run.seed + number for *_, number in jobs],
        steps=run.sample_steps,
        guidance=run.guidance,
    )
    for (name, *_), picture in zip(jobs, pictures, strict=True):
        write_picture(folder / "samples" / name, picture)
    work.seconds["samples"] = time.perf_counter() - started
    work.manager.emit(StageFinished("samples", "backbone", None, work.seconds["samples"]))


def learn_masks(
    source: PictureSource, masks: Any, options: Options, out: Path, *, resume: bool, overwrite: bool
) -> None:
    """All of a run, with masks that are given as arrays in the place of stages two and three."""
    height, width = load_rgb(source).shape[:2]
    pixel_masks = given_masks(masks, (height, width))  # refused before a model is loaded
    work = begin(source, options, out, resume=resume, overwrite=overwrite)
    if work.done:
        return

    def learn(work: Work) -> None:
        concepts = measured(work, pixel_masks)
        indexes = choose_concepts(len(concepts), work.config.run.concepts)
        tokens = name_tokens(indexes, work.config.run.names)
        concepts = concepts.select(indexes)
        write_localisation(work, concepts, indexes, tokens)
        learn_concepts(work, concepts, indexes, tokens)

    with recorded(work, "done"):
        shrinking(work, learn)


def learn_folder(path: Path, options: Options, *, resume: bool, overwrite: bool) -> None:
    """Stages four and five on the masks as they lie in the folder now."""
    with alone_in(path):
        work = _open(RunFolder(path), options, resume=resume, overwrite=overwrite)
        if work is None:
            return
        with recorded(work, "done"):
            shrinking(work, _learn_masks)


def _learn_masks(work: Work) -> None:
    concepts, indexes, tokens, left_out = _masks_as_they_lie(work)
    work = dataclasses.replace(work, sightings=read_sightings(work, indexes, tokens))
    write_localisation(work, concepts, indexes, tokens, keep=left_out)
    learn_concepts(work, concepts, indexes, tokens)


def _open(folder: RunFolder, options: Options, *, resume: bool, overwrite: bool) -> Work | None:
    """The localised folder, ready to learn; None where that is done already and `resume` asks for no more."""
    info = folder.read_run()
    if info.get("input") is None:
        raise RunFolderError(
            f"{folder.path} holds imported tokens and no picture to learn from; start with uce localize"
        )
    learned = (folder / "embeddings.safetensors").exists() and info.get("status") == "done"
    if learned and resume:
        return None
    if learned and not overwrite:
        raise RunFolderError(f"{folder.path} holds learned tokens already; learn them again with --overwrite")
    stored = load_config_file(folder / "config.yaml")
    manager = options.manager()
    config = options.resolve(manager, base=stored, origin=folder / "config.yaml")
    if resume and info.get("status") != "localized":
        require_same(options.completed(manager, stored), config, folder.path)
    check_names(config.run.names, config.run.concepts)
    if len(info.get("pictures", [])) > 1:
        require_several(config.optimizer)
    _masks(folder, (info["input"]["height"], info["input"]["width"]))  # refuse bad masks before the model is loaded
    backbone = backbone_for(manager, config)
    config = settle_micro_batch(config, backbone)
    picture = read_picture(load_rgb(folder / "input.png"), backbone.picture_side, config.run.fit)
    folder.sweep()
    write_text(folder / "config.yaml", config.to_yaml())
    (folder / "report.html").unlink(missing_ok=True)  # it is about tokens that will be gone
    folder.update_run(
        status="running",
        mode="learn",
        learn_command=command_line(),
        plugins=plugin_rows(config, manager),
        seed=config.run.seed,
    )
    manager.emit(RunStarted(config, picture, folder.path, backbone))
    return Work(manager, config, backbone, picture, folder)


WORDS_FILE = "words.safetensors"
"""In stages/: the words near the learned tokens with their vectors, so that a report needs no model."""


def keep_vectors(path: Path, backbone: Backbone, nearest: Sequence[Sequence[str]]) -> None:
    """Write the vectors of the words in `nearest`, float32 (V, d) for the first text encoder."""
    known = label_words(backbone)
    words = [word for word in dict.fromkeys(word for row in nearest for word in row) if word in known]
    if not words:
        path.unlink(missing_ok=True)
        return
    rows = backbone.embedding_table(backbone.encoders[0])
    vectors = rows[torch.tensor([known[word] for word in words], device=rows.device)].float().cpu()
    save_tensors(path, {"vectors": vectors}, {"words": words})
