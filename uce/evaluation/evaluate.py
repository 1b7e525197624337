"""Finished runs in, the protocol's numbers out; `evaluation.json` in every run folder.

Legend: R runs; K concepts of one run; H, W the picture's pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from uce.core.config.assigned import Assignments
from uce.core.config.keywords import Names, public
from uce.core.config.options import Options
from uce.core.errors import ConfigError, RunFolderError
from uce.core.files.writing import write_json
from uce.core.registry.manager import Manager
from uce.core.work.held import Run
from uce.evaluation.drawing import Progress, tell_nobody
from uce.evaluation.judging import Judging
from uce.evaluation.pictures import require_learned, tokens_digest
from uce.evaluation.scores import RunFeatures, RunScores, accuracy_note, pooled, score_runs
from uce.evaluation.settings import Chosen, EvaluationSettings, resolve
from uce.evaluation.word_scores import ONCE, matrices
from uce.truth.reading import read_truth
from uce.truth.scoring import MaskScores, score_masks

FORMAT = 1
FILE = "evaluation.json"
MASK_KEYS = ("iou", "recall", "precision", "ari", "count_error")

Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class EncoderResult:
    """What one encoder found: per run, in the order of the evaluation's runs."""

    encoder: str
    description: str
    runs: list[RunScores]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Numbers of one call of `uce evaluate`.

    Attributes:
        paths: the run folders.
        encoders: one result per encoder; none with `masks_only`.
        masks: per run its agreement with the truth; None without truth.
        settings: what was drawn and compared.
        notes: what is to be said about the numbers.
    """

    paths: list[Path]
    encoders: list[EncoderResult]
    masks: list[MaskScores] | None
    settings: EvaluationSettings
    notes: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """What `--json` prints: per encoder `sim_i`, `sim_c`, `acc_1`, `acc_3`, `prompt_following` and more, once
        `bleed` and `both_recognised` as the first encoder sees them, and with truth the masks' numbers."""
        masks = None if self.masks is None else pooled_masks(self.masks)
        pools = {result.encoder: pooled(result.runs) for result in self.encoders}
        return {
            "runs": [str(path) for path in self.paths],
            "encoders": {
                result.encoder: {
                    **{key: value for key, value in pools[result.encoder].items() if key not in ONCE},
                    **(masks or {}),
                    "description": result.description,
                }
                for result in self.encoders
            },
            **self._once(pools),
            **({} if masks is None else {"masks": masks}),
            "settings": self.settings.model_dump(mode="json"),
            "notes": self.notes,
        }

    def _once(self, pools: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """What is told once: as the first encoder sees it."""
        if not self.encoders:
            return {}
        first = self.encoders[0]
        words = [scores.words for scores in first.runs if scores.words is not None]
        return {
            "bleed": dict(matrices([str(path) for path in self.paths], words)),
            **{key: pools[first.encoder][key] for key in ONCE},
        }


def pooled_masks(scores: Sequence[MaskScores]) -> dict[str, float]:
    """Means over pictures; `exact_count` is the share of pictures with the right number of masks."""
    means = {key: float(np.mean([getattr(row, key) for row in scores])) for key in MASK_KEYS}
    return {**means, "exact_count": float(np.mean([row.count_error == 0 for row in scores]))}


def mask_scores(run: Run, truth: str | Path) -> MaskScores:
    """Agreement of a run's masks with the truth of its picture.

    Raises:
        ConfigError, ImageError: the truth is missing or not readable.
    """
    height, width = (int(run.info["input"][key]) for key in ("height", "width"))
    true = read_truth(truth, Path(run.info["input"]["name"]).stem, (height, width))
    found = [concept.mask for concept in run.concepts]
    return score_masks(np.stack(found) if found else np.zeros((0, height, width), np.bool_), true)


def evaluate_runs(
    runs: Sequence[Run],
    manager: Manager,
    chosen: Sequence[Chosen],
    settings: EvaluationSettings,
    *,
    truth: str | Path | None = None,
    masks_only: bool = False,
    device: str | None = None,
    plugin: Sequence[str] = (),
    report: Report = lambda text: None,
    progress: Progress = tell_nobody,
) -> Evaluation:
    """Measure runs together, and write each one's `evaluation.json`. Everything that can be refused is, first."""
    _check(runs, truth, masks_only)
    masks = None if truth is None else [mask_scores(run, truth) for run in runs]
    results: list[EncoderResult] = []
    notes: list[str] = []
    if not masks_only:
        judging = Judging.of(chosen, settings, device, plugin, progress)
        features = _see_all(runs, judging, report)
        for name, encoder in judging.encoders.items():
            results.append(EncoderResult(name, encoder.description, score_runs(features[name])))
        note = accuracy_note(sum(len(run.concepts) for run in runs))
        notes = [*([note] if note else []), *judging.notes]
    evaluation = Evaluation([run.path for run in runs], results, masks, settings, notes)
    for number, run in enumerate(runs):
        write_json(run.path / FILE, _document(evaluation, number, run))
    return evaluation


def _check(runs: Sequence[Run], truth: str | Path | None, masks_only: bool) -> None:
    if not runs:
        raise ConfigError("no run is given; name at least one folder that uce run wrote")
    if masks_only and truth is None:
        raise ConfigError("--masks-only compares masks with the truth; say where it is with --truth FOLDER")
    seen: set[Path] = set()
    for run in runs:
        if run.path.resolve() in seen:
            raise ConfigError(f"run {run.path} is given twice; name each folder once")
        seen.add(run.path.resolve())
        if not run.concepts:
            raise RunFolderError(f"{run.path} holds no concepts; run again with --overwrite")
        if not masks_only:
            require_learned(run)


def _see_all(runs: Sequence[Run], judging: Judging, report: Report) -> dict[str, list[RunFeatures]]:
    """Encoder -> what it sees of every run; the pictures of one run are held at a time."""
    for name, encoder in judging.encoders.items():
        report(f"encoder {name}: {encoder.description}")
    for number, run in enumerate(runs, start=1):
        report(f"pictures of run {number} of {len(runs)}: {run.path}")
        judging.draw(run)
    seen = [judging.see(run) for run in runs]
    return {name: [one[name] for one in seen] for name in judging.encoders}


def _document(evaluation: Evaluation, number: int, run: Run) -> dict[str, Any]:
    """One run's part; what other encoders found of the same tokens stays."""
    digest = tokens_digest(run)
    encoders: dict[str, Any] = {}
    path = run.path / FILE
    if path.is_file():
        earlier = run.folder.read_json(FILE)
        if isinstance(earlier, dict) and earlier.get("tokens") == digest:
            encoders = dict(earlier.get("encoders", {}))
    settings = evaluation.settings.model_dump(mode="json")
    for result in evaluation.encoders:
        scores = result.runs[number]
        encoders[result.encoder] = {
            **pooled([scores]),
            "acc_meaningful": pooled(result.runs)["acc_meaningful"],
            "prototypes": pooled(result.runs)["prototypes"],
            "description": result.description,
            "settings": settings,
            "concepts": _concept_rows(run, scores),
            "bleed": None if scores.words is None or scores.words.bleed is None else scores.words.bleed.tolist(),
        }
    document: dict[str, Any] = {"format": FORMAT, "tokens": digest, "encoders": encoders}
    if evaluation.masks is not None:
        document["masks"] = asdict(evaluation.masks[number])
    return document


def _concept_rows(run: Run, scores: RunScores) -> list[dict[str, Any]]:
    rows = []
    for k, concept in enumerate(run.concepts):
        row: dict[str, Any] = {"index": concept.index, "token": concept.token, "sim_i": float(scores.sim_i[k])}
        for key in ("acc_1", "acc_3"):
            values = getattr(scores, key)
            row[key] = None if values is None else float(values[k])
        rows.append(row)
    return rows


@public
def evaluate(
    runs: str | Path | Run | Sequence[str | Path | Run],
    *,
    encoder: str | Sequence[str] = (),
    set: Assignments = (),
    truth: str | Path | None = None,
    masks_only: bool = False,
    count: int | None = None,
    prompt: str | None = None,
    prompts: str | Path | None = None,
    seed: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    device: str | None = None,
    plugin: Names = (),
    no_plugin: Names = (),
    report: Report = lambda text: None,
    progress: Progress = tell_nobody,
) -> Evaluation:
    """The protocol's numbers for finished runs, measured together.

    Args:
        runs: runs or their folders. ACC is measured among the concepts of all of them.
        encoder: names of encoder plugins; none: efficientnet-lite0.
        set: such as ["encoder.model=FOLDER", "encoder.clip.model=FOLDER"] or {"evaluate.fill": "black"}.
        truth: a folder of true masks (see `uce.truth.reading.read_truth`); adds IoU, recall, precision, ARI and the
            count's error.
        masks_only: only those; runs need no tokens.
        count, prompt, seed, steps, guidance: what is drawn; None: 8, "a photo of {}", 0, 25, 5.
        prompts: what tokens are asked for: "default" (None), "none", or a YAML file (docs/evaluate.md).
        report: hears what is being done, line by line.
        progress: hears, run by run, how many of its missing pictures are drawn, and how many they are.

    Raises:
        UceError: a run, an encoder, a setting or the truth is at fault.
    """
    from uce.api import load

    given = [runs] if isinstance(runs, str | Path | Run) else list(runs)
    options = Options.of({"plugin": plugin, "no_plugin": no_plugin})
    manager = options.manager()
    names = [encoder] if isinstance(encoder, str) else list(encoder)
    values = {"count": count, "prompt": prompt, "prompts": prompts, "seed": seed, "steps": steps, "guidance": guidance}
    chosen, settings = resolve(manager, names, set, values)
    loaded = [run if isinstance(run, Run) else load(run) for run in given]
    return evaluate_runs(
        loaded,
        manager,
        chosen,
        settings,
        truth=truth,
        masks_only=masks_only,
        device=device,
        plugin=options.plugin,
        report=report,
        progress=progress,
    )
