"""The public Python interface: what the command line does, as functions. See docs/quickstart.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from uce.core.config.keywords import DrawOptions, ExportOptions, FollowedOptions, Names, RunOptions, public
from uce.core.errors import ConfigError, ModelError, unknown_name
from uce.core.runs.folder import RunFolder
from uce.core.work.held import Run
from uce.tokens.drawing import draw

if TYPE_CHECKING:
    from PIL import Image

    from uce.core.config.assigned import Assignments
    from uce.core.config.options import Options
    from uce.core.files.pictures import PictureSource
    from uce.core.flow.arrays import ArrayLike
    from uce.core.flow.data import AttentionMaps, Concepts
    from uce.core.work.same import Same
    from uce.tokens.exporting import Exported
    from uce.tokens.pushing import Pushed


def model_path(name: str = "mini") -> Path:
    """Folder of an embedded model, in diffusers' layout.

    Raises:
        ModelError: there is no embedded model of that name.
    """
    path = Path(__file__).parent / "plugins" / "backbones" / "mini" / "weights"
    if name != "mini":
        raise ModelError(unknown_name("embedded model", name, ["mini"]))
    if not (path / "model_index.json").is_file():
        raise ModelError("the embedded model 'mini' is missing from this installation; install uce-concepts again")
    return path


def load(folder: str | Path) -> Run:
    """An earlier run.

    Raises:
        RunFolderError: the folder is no run folder, or of a newer format.
    """
    return Run.read(RunFolder(Path(folder).absolute()))  # stays the same folder when the program goes elsewhere


@public
def localize(
    image: AttentionMaps | PictureSource,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    **options: Unpack[FollowedOptions],
) -> Concepts:
    """Find the things in a picture, without learning tokens.

    Args:
        image: a picture (path, PIL picture or array: stages one to three), or `AttentionMaps` (stages two and three).
        out: a run folder to write, as `uce localize` does; None writes nothing.
        resume, overwrite: continue an interrupted run in `out`, or replace it.
        options: as `run`.

    Returns:
        the concepts; `pixel_masks` at the picture's own size where there is a picture.
    """
    from uce.core.flow.data import AttentionMaps
    from uce.core.work.localizing import localize_maps, localize_picture

    chosen = _options(options)
    if isinstance(image, AttentionMaps):
        if out is not None:
            raise ConfigError("out is for pictures; bare attention maps have no run folder")
        return localize_maps(image, chosen)
    return localize_picture(image, chosen, None if out is None else Path(out), resume=resume, overwrite=overwrite)


@public
def run(
    image: PictureSource,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    **options: Unpack[FollowedOptions],
) -> Run:
    """Find the things in a picture and learn a token for each.

    Args:
        image: path, PIL picture, or array (H, W[, 3 or 4]).
        out: the run folder.
        resume: continue an interrupted run in `out`.
        overwrite: replace the run in `out`.
        options: `model` (a name, a path, or a model that is loaded already), `extractor`, `foreground`, `clusterer`,
            `refiner` (a name, "a+b" or a list; a "+" in front appends to the preset's chain), `initializer`,
            `optimizer`, `set` (["optimizer.steps=200"], {"optimizer.steps": 200} or {"optimizer": {"steps": 200}}),
            `config`, `preset`, `seed`, `concepts`, `names`, `device`, `precision`, `plugin` (a file, or a list),
            `no_plugin`, `observers` (objects with observer hooks), `tracker` ("tensorboard", "trackio", "wandb", or a
            list).

    Raises:
        UceError: the input, a setting or a plugin is at fault; the text says what to do.
    """
    from uce.core.work.learning import run_picture

    run_picture(image, _options(options), Path(out), resume=resume, overwrite=overwrite)
    return load(out)


@public
def learn(
    folder: str | Path | Run | Sequence[str | Path | Run],
    *,
    same: Same | None = None,
    out: str | Path | None = None,
    image: PictureSource | None = None,
    masks: Sequence[ArrayLike] | ArrayLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options: Unpack[FollowedOptions],
) -> Run:
    """Learn a token for every mask as it lies in `folder`/masks now, for masks given as arrays, or for what is `same`.

    Args:
        folder: what `localize` (or `run`) wrote; masks may have been edited, removed or added. With `image` and
            `masks`, the run folder to write. With `same`, all the runs or their folders.
        same: one thing in several runs, {"cup": {"a": 0, "b": 2}} or ["cup=a:0,b:2"]; `match` proposes it. A folder is
            called as it is given, or by its last part. `out` is the run folder to write then.
        image: the picture that `masks` belong to: path, PIL picture, or array (H, W[, 3 or 4]).
        masks: one per thing, (K, H, W) or K arrays (H, W) at the picture's size, boolean or whole numbers of which 0
            is outside; where two overlap, the later one keeps the pixels.
        resume: continue an interrupted learning.
        overwrite: learn again where tokens are there already.
        options: as `run`.
    """
    from uce.core.work.learning import learn_folder, learn_masks
    from uce.core.work.together import learn_together

    given = [folder] if isinstance(folder, str | Path | Run) else [*folder]
    paths = [one.path if isinstance(one, Run) else Path(one) for one in given]
    chosen, how = _options(options), {"resume": resume, "overwrite": overwrite}
    if len(paths) != 1 or same is not None or out is not None:
        return load(learn_together(paths, same, chosen, out, **how))
    (path,) = paths
    if (image is None) != (masks is None):
        raise ConfigError("uce.learn: image and masks belong together; give both, or a folder that uce.localize wrote")
    if image is not None and masks is not None:
        learn_masks(image, masks, chosen, path, **how)
    else:
        learn_folder(path, chosen, **how)
    return load(path)


@public
def generate(
    prompts: str | Sequence[str],
    run: str | Path | Run | Sequence[str | Path | Run] = (),
    out: str | Path | None = None,
    **options: Unpack[DrawOptions],
) -> list[Image.Image]:
    """Draw pictures with tokens of runs and of the library.

    Args:
        prompts: texts that may hold tokens, such as "a photo of <asset1> in the snow".
        run: a run or its folder, or several: all their tokens may be used.
        out: a folder for the pictures; None writes none.
        options: `concepts` (["beach-trip:asset0=cup"], from the library or a run folder), `library` (its folder),
            `count` (pictures per prompt, from seeds `seed`, `seed` + 1, ...), `seed`, `steps`, `guidance`, `negative`,
            `scheduler`, `into` and `mask` (a photo, and white where to draw in it), `regions`, `layout` and `like`
            (each token in a region of its own), `device`, `plugin`; with `out` also `grid` and `heat`.
            `uce.tokens.drawing.draw` describes them all.

    Raises:
        ConfigError: a token in a prompt that nobody brings, or one that two bring.
    """
    return draw(prompts, run, out, **options).pictures


@public
def export(
    run: str | Path | Run,
    to: str,
    out: str | Path,
    *,
    concepts: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    licence: str | None = None,
    set: Assignments = (),
    plugin: Names = (),
    overwrite: bool = False,
) -> Exported:
    """Write a run's tokens as another program reads them.

    Args:
        run: the run, or its folder.
        to: an exporter: "diffusers", "a1111", "comfyui", "hub-folder", or a plugin's.
        out: the folder; other files in it stay.
        concepts: indexes of the concepts to take; None takes all.
        names: what the tokens are to be called there, in order.
        licence: goes into every file's header, such as "cc-by-4.0".
        set: the exporter's settings, such as ["exporter.weights=false"] or {"exporter.weights": False}.

    Raises:
        UceError: nothing was written.
    """
    from uce.core.registry.manager import load_manager
    from uce.tokens.exporting import export_run

    return export_run(
        run if isinstance(run, Run) else load(run),
        to,
        Path(out),
        manager=load_manager(plugin),
        concepts=concepts,
        names=names,
        licence=licence,
        assignments=set,
        overwrite=overwrite,
    )


@public
def import_tokens(
    files: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    overwrite: bool = False,
    **options: Unpack[RunOptions],
) -> Run:
    """Turn embedding files of any layout into a run folder that draws.

    Args:
        files: .safetensors, .bin or .pt; several become one run with a token for each.
        out: the run folder.
        options: as `run`; `model` says which model they belong to, `names` what to call the tokens.

    Raises:
        TokenFileError: a file is no embedding, or holds more than plain tensors. Nothing was written.
    """
    from uce.core.config.options import Options
    from uce.core.files.locks import alone_in
    from uce.tokens.importing import import_files

    paths = [files] if isinstance(files, str | Path) else list(files)
    with alone_in(Path(out)):
        import_files([Path(path) for path in paths], Path(out), Options.of(options), overwrite=overwrite)
    return load(out)


@public
def push(
    run: str | Path | Run,
    repository: str,
    out: str | Path | None = None,
    *,
    dry_run: bool = False,
    private: bool = False,
    **options: Unpack[ExportOptions],
) -> Pushed:
    """Upload a run's tokens to the Hugging Face hub as a model repository, with a model card.

    Args:
        repository: "organisation/name".
        out: also keep the folder here; needed for `dry_run`.
        dry_run: write the folder and upload nothing.
        private: make the repository private where it does not exist yet.
        options: as `export`.

    Raises:
        ConfigError: the name is none the hub allows, or the hub refuses.
    """
    from uce.tokens.pushing import push_run

    return push_run(
        run if isinstance(run, Run) else load(run),
        repository,
        None if out is None else Path(out),
        dry_run=dry_run,
        private=private,
        **options,
    )


def _options(options: FollowedOptions) -> Options:
    """Options as `run` takes them: names of trackers become observers."""
    from uce.core.config.options import Options
    from uce.reporting.tracking import trackers

    given: dict[str, Any] = {**options}
    followed = trackers(given.pop("tracker", ()))
    return Options.of({**given, "observers": (*given.get("observers", ()), *followed)})


__all__ = ["draw", "export", "generate", "import_tokens", "learn", "load", "localize", "model_path", "push",
           "run"]  # fmt: skip
