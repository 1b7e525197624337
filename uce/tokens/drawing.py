"""Drawing with tokens: prompts, where the tokens come from, and what is written beside the pictures."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.config.keywords import Names, public
from uce.core.errors import ConfigError, ModelError, RunFolderError, unknown_name
from uce.core.model.abilities import use_weights
from uce.core.model.kinship import word_on_model
from uce.core.model.schedulers import DEFAULT_SCHEDULER, require_scheduler
from uce.core.runs.folder import RunFolder
from uce.core.work.held import Run
from uce.core.work.models import my_turn
from uce.tokens.drawn import facts_of, write_grid, write_heat, write_pictures
from uce.tokens.gathering import Owned, gather, require_fit, trained_weights
from uce.tokens.layout import Layout, placed

if TYPE_CHECKING:
    from PIL import Image

    from uce.tokens.editing import Edit


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn.

    Attributes:
        pictures: prompt by prompt, seed by seed. paths: their files, then those of grid and heat; empty without `out`.
    """

    pictures: list[Image.Image]
    paths: list[Path] = field(default_factory=list)


@public
def draw(
    prompts: str | Sequence[str],
    run: str | Path | Run | Sequence[str | Path | Run] = (),
    out: str | Path | None = None,
    *,
    concepts: Sequence[str] = (),
    library: str | Path | None = None,
    count: int = 1,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    negative: str = "",
    scheduler: str = DEFAULT_SCHEDULER,
    grid: bool = False,
    heat: bool = False,
    into: Any = None,
    mask: Any = None,
    regions: bool = False,
    layout: Layout | str | Path | None = None,
    like: str | Path | Run | None = None,
    model: str | Path | None = None,
    device: str | None = None,
    plugin: Names = (),
) -> Drawn:
    """Draw pictures and write them with what they were drawn from in their text chunks.

    Args:
        prompts: texts that may hold tokens.
        run: runs or their folders, whose tokens may all be used.
        out: a folder for the pictures; None writes none.
        concepts: "OWNER:TOKEN" or "OWNER:TOKEN=NAME", OWNER a library entry or a run folder.
        library: its folder; None: UCE_LIBRARY, or the platform's place for a user's data.
        count: pictures per prompt, from seeds `seed`, `seed` + 1, ...
        steps, guidance: denoising steps, classifier-free guidance scale; None: 25 and 5, or what the model is made for.
        negative: what guidance leads away from.
        scheduler: a name of `uce.core.model.schedulers`.
        grid: also write one contact sheet of all pictures.
        heat: also write for every picture where each token of its prompt worked.
        model: another one of the same family to draw with; None: the first run's own.
        into, mask: a photo, and a picture of its size that is white where to draw in it.
        regions: every token of a prompt acts in a region of its own, found in the first denoising steps.
        layout: where words or tokens act, or a JSON or YAML file of it: word -> (x0, y0, x1, y1) in parts of the
            picture, a mask (a file, or an array that is above 127 inside), or None (found). See `uce.tokens.layout`.
        like: a run, whose tokens act where their masks lie in its picture.

    Raises:
        ConfigError: a token in a prompt that nobody brings, one that two bring, or an unknown scheduler.
    """
    from uce.tokens.library import Library

    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    given = [run] if isinstance(run, str | Path | Run) else list(run)
    runs = [one if isinstance(one, Run) else Run.read(RunFolder(Path(one))) for one in given]
    tokens = gather(runs, concepts, Library.open(library))
    _check(texts, [one.token for one in tokens], count, 25 if steps is None else steps, scheduler)
    folder = None if out is None else Path(out)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file; give a folder with -o")
    edit = _edit(into, mask, heat)
    places = placed(tokens, texts, regions=regions, layout=layout, like=like)
    if places is not None and (edit is not None or heat):
        other = "--heat" if heat else "--into"
        raise ConfigError(f"regions are of a whole picture that is drawn as it is; leave {other} out, or the regions")
    weights = trained_weights(tokens)
    pairs = [(text, seed + number) for text in texts for number in range(count)]
    with my_turn():
        backbone = _backbone(runs[0] if runs else tokens[0].run, model, device, plugin)
        require_fit(backbone, tokens)
        word_on_model(backbone, [(one.owner, one.run.info.get("model") or {}) for one in tokens])
        how = _how(backbone, steps, guidance, negative, scheduler)
        if edit is not None:
            how["into"] = edit.prepare(backbone)
        if places is not None:
            how["regions"] = places.on(backbone)
        _require_offered(backbone, how)
        with use_weights(backbone, weights):
            pictures, maps = _pictures(backbone, tokens, pairs, how, heat=heat and folder is not None)
    if edit is not None:
        pictures = [edit.paste(picture) for picture in pictures]
    if folder is None:
        return Drawn(pictures)
    facts = facts_of(
        backbone, tokens, how, how.get("scheduler", getattr(backbone, "usual_drawing", {}).get("scheduler", scheduler))
    )
    paths = write_pictures(folder, pairs, pictures, facts)
    if grid:
        paths.append(write_grid(folder, texts, pairs, pictures, facts))
    if heat:
        paths += write_heat(paths, pairs, pictures, maps, facts)
    return Drawn(pictures, paths)


def read_prompts(path: Path) -> list[str]:
    """One prompt per line; empty lines and lines that begin with # are left out.

    Raises:
        ConfigError: not readable as UTF-8 text, or no prompt in it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows editors put a mark first
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ConfigError(f"--prompts {path}: {reason}; give a text file with one prompt per line") from error
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise ConfigError(f"--prompts {path}: there is no prompt in it; write one per line")
    return found


def _how(backbone: Any, steps: int | None, guidance: float | None, negative: str, scheduler: str) -> dict[str, Any]:
    """How to draw: as the user says, else as the model is made for."""
    usual = {"steps": 25, "guidance": 5.0, **getattr(backbone, "usual_drawing", {})}
    how = {
        "steps": usual["steps"] if steps is None else steps,
        "guidance": usual["guidance"] if guidance is None else guidance,
    }
    asked = {"negative": negative, "scheduler": "" if scheduler == DEFAULT_SCHEDULER else scheduler}
    return how | {key: value for key, value in asked.items() if value}


def _backbone(run: Run, model: str | Path | None, device: str | None, plugin: Names) -> Any:
    """The run's model, or the one that the user names instead, at the run's precision."""
    if model is None:
        return run.backbone(device, plugin)
    from uce.core.config.options import Options
    from uce.core.work.models import backbone_for

    precision = run.info.get("precision")
    options = Options.of({"model": str(model), "device": device or "auto", "precision": precision, "plugin": plugin})
    manager = options.manager()
    return backbone_for(manager, options.resolve(manager))


def _check(texts: Sequence[str], tokens: Sequence[str], count: int, steps: int, scheduler: str) -> None:
    for text in texts:
        for token in re.findall(r"<[^<>\s]+>", text):
            if token not in tokens:
                raise ConfigError(f"{unknown_name('token', token, tokens)} Prompt: {text!r}")
    if not texts:
        raise ConfigError("there is no prompt; give one, or a file of them with --prompts")
    if count < 1 or steps < 1:
        raise ConfigError(f"count and steps must be at least 1, found count={count}, steps={steps}")
    require_scheduler(scheduler)


def _edit(into: Any, mask: Any, heat: bool) -> Edit | None:
    if (into is None) != (mask is None):
        raise ConfigError("--into and --mask belong together: a photo, and a picture of its size, white where to draw")
    if into is None:
        return None
    if heat:
        raise ConfigError("--heat shows where tokens worked in a whole drawn picture; leave it out with --into")
    from uce.tokens.editing import read_edit

    return read_edit(into, mask)


def _require_offered(backbone: Any, how: Mapping[str, Any]) -> None:
    """A third party's model may draw without the newer options."""
    known = inspect.signature(backbone.generate).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in how:
        if name not in known:
            raise ModelError(
                f"the model '{backbone.model}' comes from a backbone that draws without {name!r}; leave it out"
            )


def _pictures(
    backbone: Any, tokens: Sequence[Owned], pairs: Sequence[tuple[str, int]], how: Mapping[str, Any], *, heat: bool
) -> tuple[list[Image.Image], list[dict[str, Any]]]:
    vectors = {one.token: dict(one.vectors) for one in tokens}
    if not heat:
        texts, seeds = [text for text, _ in pairs], [seed for _, seed in pairs]
        return list(backbone.generate(texts, vectors, seeds=seeds, **how)), []
    from uce.core.model.heat import draw_with_heat

    both = [draw_with_heat(backbone, text, vectors, seeds=[seed], **how) for text, seed in pairs]
    return [picture for picture, _ in both], [maps for _, maps in both]
