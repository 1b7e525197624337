"""Masks as they lie in the folder, drawn on by people: read, and measured where they changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from uce.core.errors import ConfigError, RunFolderError, StageInputError
from uce.core.files.masks import mask_paths, read_mask_of_size
from uce.core.flow.data import AttentionMaps, Concepts
from uce.core.localisation.candidates import mean_maps, saliency_scores
from uce.core.runs.folder import RunFolder
from uce.core.runs.token_names import choose_concepts, name_tokens, token_stem
from uce.core.work.cache import StageCache
from uce.core.work.pipeline import Work


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


def given_masks(masks: Any, size: tuple[int, int]) -> torch.Tensor:
    """Masks from Python as bool (K, H, W), disjoint: where two overlap, the later one keeps the pixels.

    Args:
        masks: (K, H, W) or K of (H, W), numpy, torch or Pillow; boolean, or whole numbers of which 0 is outside.
        size: (H, W) of the picture.

    Raises:
        StageInputError: no mask, or one that is of another size, no mask, or empty.
    """
    found: list[np.ndarray[Any, Any]] = []
    for number, given in enumerate(masks):
        mask = np.asarray(given)
        if mask.dtype.kind not in "bui":
            raise StageInputError(f"mask {number} holds {mask.dtype}; compare it with a threshold first")
        if mask.shape != size:
            raise StageInputError(f"mask {number} must be {size} as the picture is, found {mask.shape}")
        found = [earlier & (mask == 0) for earlier in found]
        found.append(mask != 0)
    for number, mask in enumerate(found):
        if not mask.any():
            raise StageInputError(f"mask {number} is empty or covered by later masks; leave it out or draw on it")
    if not found:
        raise StageInputError("no mask is given; give one per thing, each of the picture's size")
    return torch.from_numpy(np.stack(found))


def measured(work: Work, pixel_masks: torch.Tensor) -> Concepts:
    """Concepts from masks (K, H, W) of the picture's size, scored by what the model's attention says of them."""
    attention = work.extract()
    return _measure(attention, work.picture.to_grid(pixel_masks, attention.grid), pixel_masks)


def _masks_as_they_lie(work: Work) -> tuple[Concepts, list[int], tuple[str, ...], list[str]]:
    """Concepts from the mask files: untouched ones keep what the stages found, the others are measured anew.

    Returns:
        the concepts to learn, their indexes and tokens, and the stems of mask files that `run.concepts` leaves out.
    """
    folder = work.folder
    assert folder is not None
    files = _masks(folder, work.picture.size)
    known = {entry["index"]: entry for entry in folder.read_concepts()["concepts"]}
    concepts = measured(work, torch.from_numpy(np.stack([mask for _, mask in files])))
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


def _restore_untouched(folder: RunFolder, concepts: Concepts, stems: list[str], slot: str = "concepts") -> Concepts:
    """Rows whose mask file nobody changed are taken from the localisation, so that nothing is lost by rounding."""
    key, earlier = StageCache(folder / "stages").find(slot) or ("", None)
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
