"""Drawing with tokens: prompts, where the tokens come from, and what is written beside the pictures."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.config.keywords import Names, public
from uce.core.errors import ConfigError, ModelError, RunFolderError, unknown_name
from uce.core.files.writing import exists
from uce.core.model.abilities import use_weights
from uce.core.model.kinship import word_on_model
from uce.core.model.schedulers import DEFAULT_SCHEDULER, require_scheduler
from uce.core.runs.folder import RunFolder
from uce.core.work.held import Run
from uce.core.work.models import my_turn
from uce.tokens.gathering import Owned, gather, require_fit, trained_weights

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
    weights = trained_weights(tokens)
    pairs = [(text, seed + number) for text in texts for number in range(count)]
    with my_turn():
        backbone = _backbone(runs[0] if runs else tokens[0].run, model, device, plugin)
        require_fit(backbone, tokens)
        word_on_model(backbone, [(one.owner, one.run.info.get("model") or {}) for one in tokens])
        how = _how(backbone, steps, guidance, negative, scheduler)
        if edit is not None:
            how["into"] = edit.prepare(backbone)
        _require_offered(backbone, how)
        with use_weights(backbone, weights):
            pictures, maps = _pictures(backbone, tokens, pairs, how, heat=heat and folder is not None)
    if edit is not None:
        pictures = [edit.paste(picture) for picture in pictures]
    if folder is None:
        return Drawn(pictures)
    facts = _facts(
        backbone, tokens, how, how.get("scheduler", getattr(backbone, "usual_drawing", {}).get("scheduler", scheduler))
    )
    paths = _write(folder, pairs, pictures, facts)
    if grid:
        paths.append(_write_grid(folder, texts, pairs, pictures, facts))
    if heat:
        paths += _write_heat(paths, pairs, pictures, maps, facts)
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


def _facts(backbone: Any, tokens: Sequence[Owned], how: Mapping[str, Any], scheduler: str) -> dict[str, str]:
    """Text chunks that all pictures share: no folder of this machine, nothing that changes from call to call."""
    from uce.version import __version__

    name = str(backbone.model)
    owners = {one.token: f"{Path(one.owner).name}:{one.own.strip('<>')}" for one in tokens}
    return {
        "tokens": json.dumps(owners, sort_keys=True),
        "model": Path(name).name if exists(Path(name)) else name,
        "model fingerprint": str(backbone.fingerprint),
        "steps": str(how["steps"]),
        "guidance": str(how["guidance"]),
        "scheduler": scheduler,
        "negative prompt": str(how.get("negative", "")),
        "Software": f"uce {__version__}",
    }


def _write(
    folder: Path, pairs: Sequence[tuple[str, int]], pictures: Sequence[Image.Image], facts: Mapping[str, str]
) -> list[Path]:
    from uce.core.files.writing import write_picture

    paths: list[Path] = []
    for (text, seed), picture in zip(pairs, pictures, strict=True):
        paths.append(_free_name(folder, f"{_stem(text)}-s{seed}"))
        write_picture(paths[-1], picture, {"prompt": text, "seed": str(seed), **facts})
    return paths


def _write_grid(
    folder: Path,
    texts: Sequence[str],
    pairs: Sequence[tuple[str, int]],
    pictures: Sequence[Image.Image],
    facts: Mapping[str, str],
) -> Path:
    """A row for every prompt, a column for every seed; one picture per prompt: all side by side."""
    from uce.core.files.writing import write_picture
    from uce.core.runs.contact_sheet import Tile, contact_sheet

    count = len(pairs) // len(texts)
    tiles = [
        Tile(picture, f"seed {seed}" if count > 1 else text, f"seed {seed}" if count == 1 else "")
        for (text, seed), picture in zip(pairs, pictures, strict=True)
    ]
    width = count if count > 1 else 4
    rows = [
        (text if count > 1 else "", tiles[start : start + width])
        for start, (text, _) in list(enumerate(pairs))[::width]
    ]
    path = _free_name(folder, "grid")
    write_picture(path, contact_sheet(rows), {"prompt": "\n".join(texts), **facts})
    return path


def _write_heat(
    paths: Sequence[Path],
    pairs: Sequence[tuple[str, int]],
    pictures: Sequence[Image.Image],
    maps: Sequence[Mapping[str, Any]],
    facts: Mapping[str, str],
) -> list[Path]:
    """Beside every picture with tokens in its prompt: the picture, and where each token worked."""
    from uce.core.files.writing import write_picture
    from uce.core.model.heat import paint_heat
    from uce.core.runs.contact_sheet import Tile, contact_sheet

    written = []
    for path, (text, seed), picture, heat in zip(paths, pairs, pictures, maps, strict=False):
        if heat:
            tiles = [Tile(picture, f"seed {seed}"), *(Tile(paint_heat(picture, h), t) for t, h in heat.items())]
            written.append(_free_name(path.parent, f"{path.stem}-heat"))
            write_picture(written[-1], contact_sheet([(text, tiles)]), {"prompt": text, "seed": str(seed), **facts})
    return written


def _stem(text: str) -> str:
    """A name from the prompt's letters and digits."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "picture"


def _free_name(folder: Path, stem: str) -> Path:
    """An earlier picture is never replaced."""
    names: Iterator[str] = (f"{stem}{'' if n == 1 else f'-{n}'}.png" for n in range(1, 1_000_000))
    return next(folder / name for name in names if not (folder / name).exists())
