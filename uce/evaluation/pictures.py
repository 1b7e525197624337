"""What an encoder is shown of a run: pictures drawn from its tokens, kept in the folder, and their sources.

Legend: K concepts; P pictures drawn of each; Q prompts; N pictures drawn of each prompt; S pixels per side of what the
model draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from uce.core.config.resolving import load_config_file
from uce.core.errors import RunFolderError, UceError
from uce.core.files.paths import typed_path
from uce.core.files.pictures import RgbArray
from uce.core.flow.picture import load_rgb
from uce.core.runs.token_names import token_stem
from uce.core.work.held import Run
from uce.evaluation.backgrounds import name_backgrounds
from uce.evaluation.drawing import FOLDER, Drawer, Progress, Wanted, tell_nobody
from uce.evaluation.prompts import Prompt
from uce.evaluation.settings import EvaluationSettings
from uce.evaluation.sources import FILLS, cropped, masked_source, on_backgrounds, squared
from uce.evaluation.things import find_things

__all__ = ["FOLDER", "RunPictures", "draw_pictures", "gather", "masked_source", "require_learned", "tokens_digest"]

Found = tuple[tuple[int, ...], list[RgbArray]]
"""The concepts that a prompt held, and the things that were found in one picture drawn from it, each cropped."""


@dataclass(frozen=True, eq=False)
class RunPictures:
    """All pictures of one run.

    Attributes:
        source: uint8 (S, S, 3), the picture as the model saw it.
        masked: per concept its source.
        drawn: per concept P pictures.
        together: P pictures of all concepts, or P of each of several prompts where one cannot hold them all.
        cropped: per concept its source as things are recognised.
        scenes: per concept its thing on the picture's own background, then on others; none without a background.
        prompts: the Q prompts that were drawn. prompted: per concept and prompt N pictures.
        pairs: pictures of two concepts. recomposed: pictures of all together.
        note: why things could not be looked for, where that is so.
        knows_backgrounds: the model draws the backgrounds of our recipe.
    """

    source: RgbArray
    masked: list[RgbArray]
    drawn: list[list[RgbArray]]
    together: list[RgbArray]
    cropped: list[RgbArray] = field(default_factory=list)
    scenes: list[list[RgbArray]] = field(default_factory=list)
    prompts: tuple[Prompt, ...] = ()
    prompted: list[list[list[RgbArray]]] = field(default_factory=list)
    pairs: list[Found] = field(default_factory=list)
    recomposed: list[Found] = field(default_factory=list)
    note: str | None = None
    knows_backgrounds: bool = False

    def background_right(self) -> float | None:
        """How often the background is the one that was asked for, where the recipe of the model's scenes knows it."""
        asked = [
            (prompt.background, picture)
            for row in self.prompted
            for prompt, pictures in zip(self.prompts, row, strict=True)
            for picture in pictures
            if prompt.background is not None
        ]
        if not asked or not self.knows_backgrounds:
            return None
        names = name_backgrounds([picture for _, picture in asked])
        return float(np.mean([wanted == name for (wanted, _), name in zip(asked, names, strict=True)]))


@dataclass(frozen=True)
class Plan:
    """What is drawn of a run.

    Attributes:
        singles: per concept. prompted: per concept and prompt.
        together, pairs: the concepts of a prompt, and its pictures.
    """

    singles: list[Wanted]
    together: list[tuple[tuple[int, ...], Wanted]]
    prompted: list[list[Wanted]]
    pairs: list[tuple[tuple[int, ...], Wanted]]

    @property
    def everything(self) -> list[Wanted]:
        """All of it; what two measures use is there once."""
        rows = [*self.singles, *(one for _, one in self.together), *(one for row in self.prompted for one in row)]
        return list(dict.fromkeys([*rows, *(one for _, one in self.pairs)]))


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


def knows_backgrounds(run: Run) -> bool:
    """Whether the run's model draws the backgrounds of our recipe, so that their names can be known."""
    return bool(run.info.get("model", {}).get("name") == "mini")


def prompts_for(run: Run, prompts: Sequence[Prompt], reads_texts: bool) -> tuple[Prompt, ...]:
    """The prompts that somebody can judge: all where an encoder reads texts, else those whose background is known."""
    if reads_texts:
        return tuple(prompts)
    known = knows_backgrounds(run)
    return tuple(prompt for prompt in prompts if known and prompt.background is not None)


def draw_pictures(
    run: Run,
    settings: EvaluationSettings,
    device: str | None,
    plugin: Sequence[str],
    prompts: Sequence[Prompt] = (),
    progress: Progress = tell_nobody,
) -> None:
    """Draw what the folder does not hold of every concept, of all together, of pairs and of prompts, and find the
    things in the pictures that show several."""
    drawer, plan = _drawn(run, settings, device, plugin, prompts, progress)
    _look(drawer, plan)


def _drawn(
    run: Run,
    settings: EvaluationSettings,
    device: str | None,
    plugin: Sequence[str],
    prompts: Sequence[Prompt],
    progress: Progress,
) -> tuple[Drawer, Plan]:
    drawer = Drawer(run, settings, tokens_digest(run), device, plugin)
    plan = _plan(drawer, prompts)
    drawer.draw(plan.everything, progress)
    return drawer, plan


def _plan(drawer: Drawer, prompts: Sequence[Prompt]) -> Plan:
    """Where the text encoder cannot read all tokens in one prompt, as few prompts as hold them show them all."""
    settings, tokens = drawer.settings, [concept.token for concept in drawer.run.concepts]
    stems = [token_stem(token) for token in tokens]
    singles = [Wanted(stem, settings.text([token]), settings.count) for stem, token in zip(stems, tokens, strict=True)]
    together: list[tuple[tuple[int, ...], Wanted]] = [((0,), singles[0])]
    if len(tokens) > 1:
        together = _together(drawer, tokens)
    prompted = [
        [Wanted(f"{stem}-asked", prompt.of(token), settings.per_prompt) for prompt in prompts]
        for stem, token in zip(stems, tokens, strict=True)
    ]
    pairs: list[tuple[tuple[int, ...], Wanted]] = []
    fit = settings.per_pair and max(len(concepts) for concepts, _ in together) > 1
    for first, second in combinations(range(len(tokens)), 2) if fit else ():
        pair = first, second
        same = next((wanted for concepts, wanted in together if concepts == pair), None)
        text = settings.text([tokens[first], tokens[second]])
        pairs.append((pair, same or Wanted(f"{stems[first]}-and-{stems[second]}", text, settings.per_pair)))
    return Plan(singles, together, prompted, pairs)


def _together(drawer: Drawer, tokens: Sequence[str]) -> list[tuple[tuple[int, ...], Wanted]]:
    """The prompt of all tokens, or several. The model is asked only where nothing was drawn before."""
    from uce.core.training.schedule import fitting_groups

    settings = drawer.settings
    everyone = tuple(range(len(tokens))), Wanted("all", settings.text(tokens), settings.count)
    if drawer.paths(everyone[1])[0].is_file():
        return [everyone]
    longest = max(len(vectors) for own in drawer.run.tokens().values() for vectors in own.values())
    rows = fitting_groups(drawer.run.backbone(drawer.device, drawer.plugin), tokens, settings.prompt, longest)
    if len(rows) == 1:
        return [everyone]
    return [
        (tuple(group), Wanted(f"all{number}", settings.text([tokens[row] for row in group]), settings.count))
        for number, group in enumerate(rows)
    ]


def _look(drawer: Drawer, plan: Plan) -> tuple[list[Found], list[Found], str | None]:
    """The things in pictures of two concepts and of all, and why they could not be looked for."""
    if len(plan.singles) == 1:
        return [], [], None
    try:
        return _things(drawer, plan.pairs), _things(drawer, plan.together), None
    except UceError as error:
        return [], [], f"{drawer.run.path}: things in drawn pictures could not be looked for: {error}"


def _things(drawer: Drawer, sets: Sequence[tuple[tuple[int, ...], Wanted]]) -> list[Found]:
    found: list[Found] = []
    for concepts, wanted in sets:
        number = min(wanted.count, drawer.settings.per_pair)
        for path, picture in zip(drawer.paths(wanted)[:number], drawer.read(wanted), strict=False):
            masks = find_things(drawer.run, path, drawer.device, drawer.plugin)
            found.append((concepts, [cropped(picture, mask) for mask in masks]))
    return found


def gather(
    run: Run,
    settings: EvaluationSettings,
    device: str | None,
    plugin: Sequence[str],
    prompts: Sequence[Prompt] = (),
    progress: Progress = tell_nobody,
) -> RunPictures:
    """Everything that an encoder is to see of a run; what is missing is drawn.

    Raises:
        RunFolderError: a mask is not of the picture's size.
    """
    drawer, plan = _drawn(run, settings, device, plugin, prompts, progress)
    pairs, recomposed, note = _look(drawer, plan)
    together = [picture for _, wanted in plan.together for picture in drawer.read(wanted)]
    side = together[0].shape[0]
    original = load_rgb(run.path / "input.png")
    fit = load_config_file(run.path / "config.yaml").get("run", {}).get("fit", "pad")
    masked, things, scenes = [], [], []
    for concept in run.concepts:
        if concept.mask.shape != original.shape[:2]:
            raise RunFolderError(f"{run.path / concept.mask_path} is not of the picture's size; run again")
        source = masked_source(original, concept.mask, settings)
        masked.append(squared(source, side, "pad" if settings.source == "crop" else fit, FILLS[settings.fill]))
        things.append(cropped(original, concept.mask))
        behind = on_backgrounds(original, concept.mask, np.any([one.mask for one in run.concepts], axis=0))
        scenes.append([squared(picture, side, fit) for picture in behind])
    return RunPictures(
        squared(original, side, fit),
        masked,
        [drawer.read(wanted) for wanted in plan.singles],
        together,
        things,
        scenes,
        tuple(prompts),
        [[drawer.read(wanted) for wanted in row] for row in plan.prompted],
        pairs,
        recomposed,
        note,
        knows_backgrounds(run),
    )
