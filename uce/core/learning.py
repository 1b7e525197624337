"""From masks to tokens: stages four and five, and the pictures that show them."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uce.core.candidates import mean_maps, saliency_scores
from uce.core.config import load_config_file
from uce.core.data import AttentionMaps, Concepts
from uce.core.errors import ConfigError, RunFolderError, StageInputError
from uce.core.events import RunStarted, StageFinished, StageStarted
from uce.core.files import write_picture, write_text
from uce.core.localizing import Work, begin, find_concepts, recorded, write_localisation, write_names
from uce.core.mask_files import mask_paths, read_mask_of_size
from uce.core.memory import shrinking
from uce.core.naming import WORDS_FILE, keep_vectors, labels_for, nearest_words
from uce.core.picture import load_rgb, read_picture
from uce.core.picture_files import PictureSource
from uce.core.pipeline import Pipeline
from uce.core.provenance import plugin_rows
from uce.core.run import choose_concepts, name_tokens
from uce.core.run_documents import read_concepts
from uce.core.run_folder import RunFolder, command_line, token_stem
from uce.core.session import Options, backbone_for, require_same, settle_micro_batch
from uce.core.store import StageCache
from uce.core.tuning import use_weights


def run_picture(source: PictureSource, options: Options, out: Path, *, resume: bool, overwrite: bool) -> None:
    """All five stages of a picture."""
    work = begin(source, options, out, resume=resume, overwrite=overwrite)
    if work.done:
        return
    with recorded(work, "done"):
        shrinking(work, lambda work: learn_concepts(work, *find_concepts(work)))


def learn_concepts(work: Work, concepts: Concepts, indexes: list[int], tokens: tuple[str, ...]) -> None:
    """Learn, write the tokens, label the concepts, draw the samples."""
    folder = work.folder
    assert folder is not None
    plan = work.pipeline.initialize(concepts, tokens)
    learned = work.pipeline.optimize(plan, concepts)
    work.require_folder()
    folder.write_learned(learned)
    nearest = nearest_words(work.backbone, learned)
    keep_vectors(folder / "stages" / WORDS_FILE, work.backbone, nearest)
    labelled = dataclasses.replace(concepts, labels=labels_for(concepts, plan, nearest))
    write_names(work, labelled, indexes, tokens, nearest)
    if work.config.run.samples:
        with use_weights(work.backbone, learned.weights):
            draw_samples(work, {token: learned.of(row) for row, token in enumerate(tokens)})
    (folder / "stages" / "checkpoint.safetensors").unlink(missing_ok=True)


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
    groups = fitting_groups(work.backbone, tokens, "a photo of {}")
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
    work.pipeline.seconds["samples"] = time.perf_counter() - started
    work.manager.emit(StageFinished("samples", "backbone", None, work.pipeline.seconds["samples"]))


def learn_folder(path: Path, options: Options, *, resume: bool, overwrite: bool) -> None:
    """Stages four and five on the masks as they lie in the folder now."""
    work = _open(RunFolder(path), options, resume=resume, overwrite=overwrite)
    if work is None:
        return
    with recorded(work, "done"):
        shrinking(work, _learn_masks)


def _learn_masks(work: Work) -> None:
    concepts, indexes, tokens, left_out = _masks_as_they_lie(work)
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
    manager.emit(RunStarted(config, picture, folder.path))
    pipeline = Pipeline(manager, config, backbone, picture, folder.path)
    return Work(manager, config, backbone, picture, pipeline, folder)


def _masks(folder: RunFolder, size: tuple[int, int]) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """(file stem, bool (H, W)) of every mask, numbered ones first; where two overlap, the later one keeps the pixels.

    Raises:
        RunFolderError: no masks, or one that is no picture.
        StageInputError: an empty mask, or one of another size.
    """
    paths = mask_paths(folder / "masks") if (folder / "masks").is_dir() else []
    if not paths:
        raise RunFolderError(
            f"{folder / 'masks'} holds no PNG; draw a mask, or run uce localize again with --overwrite"
        )
    found: list[tuple[str, np.ndarray[Any, Any]]] = []
    for path in paths:
        mask = read_mask_of_size(path, size)
        found = [(stem, earlier & ~mask) for stem, earlier in found]
        found.append((path.stem, mask))
    for stem, mask in found:
        if not mask.any():
            raise StageInputError(
                f"mask {folder / 'masks' / stem}.png is empty or covered by later masks; delete it or draw on it"
            )
    return found


def _masks_as_they_lie(work: Work) -> tuple[Concepts, list[int], tuple[str, ...], list[str]]:
    """Concepts from the mask files: untouched ones keep what the stages found, the others are measured anew.

    Returns:
        the concepts to learn, their indexes and tokens, and the stems of mask files that `run.concepts` leaves out.
    """
    folder, picture = work.folder, work.picture
    assert folder is not None
    files = _masks(folder, picture.size)
    known = {entry["index"]: entry for entry in read_concepts(folder)["concepts"]}
    attention = work.pipeline.extract()
    pixel_masks = torch.from_numpy(np.stack([mask for _, mask in files]))
    concepts = _measure(attention, picture.to_grid(pixel_masks, attention.grid), pixel_masks)
    concepts = _restore_untouched(folder, concepts, [stem for stem, _ in files])
    indexes, names, free = [], [], max([-1, *known, *(int(s) for s, _ in files if s.isdecimal())]) + 1
    for stem, _ in files:
        if stem.isdecimal():
            indexes.append(int(stem))
            names.append(known[int(stem)]["token"] if int(stem) in known else f"<asset{int(stem)}>")
        else:
            indexes.append(free)
            names.append(f"<{stem}>")
            free += 1
    rows = choose_concepts(len(concepts), None)
    if work.config.run.concepts is not None:
        missing = [index for index in work.config.run.concepts if index not in indexes]
        if missing:
            raise ConfigError(f"--concepts: there is no mask {missing[0]}.png; found {', '.join(map(str, indexes))}")
        rows = [indexes.index(index) for index in work.config.run.concepts]
    indexes, tokens = [indexes[r] for r in rows], tuple(names[r] for r in rows)
    if work.config.run.names:
        tokens = name_tokens(indexes, work.config.run.names)
    for token in tokens:
        token_stem(token)
    left_out = [stem for row, (stem, _) in enumerate(files) if row not in rows]
    return concepts.select(rows), indexes, tokens, left_out


def _measure(attention: AttentionMaps, masks: torch.Tensor, pixel_masks: torch.Tensor) -> Concepts:
    """Map and score of masks that no stage made."""
    for row in range(masks.shape[0]):
        if not masks[row].any():
            raise StageInputError(
                f"mask number {row} shows nothing that the model sees; draw it larger, or set run.fit=pad"
            )
    labels = torch.where(masks.any(dim=0), masks.int().argmax(dim=0), -1)
    maps = mean_maps(attention.affinity, labels.flatten(), masks.shape[0])
    return Concepts(masks, maps, saliency_scores(masks, attention.saliency), pixel_masks)


def _restore_untouched(folder: RunFolder, concepts: Concepts, stems: list[str]) -> Concepts:
    """Rows whose mask file nobody changed are taken from the localisation, so that nothing is lost by rounding."""
    key, earlier = StageCache(folder / "stages").find("concepts") or ("", None)
    if not isinstance(earlier, Concepts) or earlier.pixel_masks is None:
        return concepts
    rows = {index: row for row, index in enumerate(key.split(","))}
    assert concepts.pixel_masks is not None
    masks, maps, scores = concepts.masks.clone(), concepts.maps.clone(), concepts.scores.clone()
    labels = [""] * len(concepts)
    for row, stem in enumerate(stems):
        source = rows.get(stem)
        if source is None or not torch.equal(concepts.pixel_masks[row], earlier.pixel_masks[source]):
            continue
        masks[:, earlier.masks[source]] = False
        masks[row] = earlier.masks[source]
        maps[row], scores[row] = earlier.maps[source].to(maps.dtype), earlier.scores[source].to(scores.dtype)
        labels[row] = earlier.labels[source] if earlier.labels else ""
    if not masks.flatten(1).any(dim=1).all():
        return concepts
    return dataclasses.replace(concepts, masks=masks, maps=maps, scores=scores, labels=labels if any(labels) else None)
