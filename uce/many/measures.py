"""What a run folder says: counts, seconds, losses, and scores where truth is known; means and counts of several."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from uce.core.errors import RunFolderError
from uce.core.files.masks import read_mask
from uce.core.flow.stages import STAGES
from uce.core.runs.folder import RunFolder
from uce.truth.scoring import score_masks

SCORES = ("iou", "precision", "recall", "ari", "count_error", "exact_count")
WORDS = (
    "prompt_following", "background_right", "bled", "both_recognised", "recomposed", "background_leak",
)  # fmt: skip
LIKENESS = ("sim_i", "sim_c", "acc_1", "acc_3", *WORDS)
PER_CONCEPT = ("sim_i", "acc_1", "acc_3", "prompt_following", "bled", "recomposed", "background_leak")
"""Measures that are means over the concepts of a run; over several runs every concept counts once."""
PER_PAIR = ("both_recognised",)
"""Those over the pairs of its concepts, which count likewise."""
LAST_SHARE = 0.1
_NO_LOSS = ("update", "phase", "step")

Measures = dict[str, float]


def measure_run(
    folder: RunFolder, stages: Sequence[Mapping[str, Any]], truth: npt.NDArray[np.bool_] | None, empty: bool
) -> Measures:
    """Column -> number of one run; what the folder does not hold is left out.

    Args:
        stages: rows of run.json.
        truth: bool (T, H, W).
        empty: the method found nothing: no concepts, and everything of the truth is missed.
    """
    found: Measures = {}
    masks = None
    if (folder / "concepts.json").is_file():
        entries = folder.read_concepts()["concepts"]
        found |= {"concepts": len(entries), "share": sum(entry["share"] for entry in entries)}
        if truth is not None:
            masks = np.stack([read_mask(folder / entry["mask"]) for entry in entries])
    elif empty:
        found |= {"concepts": 0, "share": 0.0}
        masks = None if truth is None else np.zeros((0, *truth.shape[1:]), np.bool_)
    if truth is not None and masks is not None:
        scores = asdict(score_masks(masks, truth))
        scores["exact_count"] = float(scores["count_error"] == 0)
        found |= {name: scores[name] for name in SCORES}
    found |= seconds_per_stage(stages)
    if (folder / "history.csv").is_file():
        found |= final_losses(folder / "history.csv")
    return found


def seconds_per_stage(stages: Sequence[Mapping[str, Any]]) -> Measures:
    """ "seconds.STAGE" -> what it took where it was computed, here or in another cell; refiners together."""
    found: Measures = {}
    for row in stages:
        column = f"seconds.{stage_of(row['stage'])}"
        found[column] = found.get(column, 0.0) + row["seconds"]
    return {**found, "seconds.total": sum(found.values())} if found else {}


def stage_of(slot: str) -> str:
    """ "refiner-merge" -> "refiner"."""
    return slot.partition("-")[0]


def final_losses(path: Path) -> Measures:
    """ "loss.TERM" -> mean over the last tenth of the updates that have it, as single updates are noisy.

    Raises:
        RunFolderError: history.csv is not readable.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunFolderError(f"{path} is not readable ({error}); run it again with --overwrite") from error
    found: Measures = {}
    last = rows[-max(1, math.ceil(LAST_SHARE * len(rows))) :]
    for term in rows[0] if rows else ():
        values = [value for row in last if (value := _number(row[term])) is not None]
        if term not in _NO_LOSS and values:
            found[f"loss.{term}"] = float(np.mean(values))
    return found


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def contributions(name: str, rows: Iterable[Measures]) -> tuple[list[float], list[int]]:
    """Of every row that has the measure: the sum of its values, and how many those were."""
    found = [(row[name], _weight(name, int(row.get("concepts", 1)))) for row in rows if name in row]
    return [value * count for value, count in found], [count for _, count in found]


def _weight(name: str, concepts: int) -> int:
    if name in PER_PAIR:
        return concepts * (concepts - 1) // 2
    return concepts if name in PER_CONCEPT else 1


def mean_of(measures: Iterable[Measures]) -> Measures:
    """Column -> mean over the pictures that have it."""
    columns: dict[str, list[float]] = {}
    for row in measures:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in columns.items()}


def columns_of(rows: Iterable[Measures]) -> list[str]:
    """Every column that some row has, in the order of the tables."""
    found = {name for row in rows for name in row}
    seconds = [f"seconds.{stage}" for stage in (*STAGES, "samples", "total")]
    losses = sorted(name for name in found if name.startswith("loss."))
    order = ["concepts", "share", *SCORES, *LIKENESS, *losses, *seconds]
    return [name for name in order if name in found]


def counts_of(stage_rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Stage (refiners by name) -> how often it was computed and how often its result was used again."""
    counts: dict[str, dict[str, int]] = {}
    for row in stage_rows:
        tally = counts.setdefault(row["stage"], {"computed": 0, "reused": 0})
        tally["reused" if row.get("reused") else "computed"] += 1
    return {slot: tally for slot, tally in counts.items() if slot != "samples"}
