"""The public Python interface: what the command line does, as functions. See docs/quickstart.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import ConfigError, ModelError, RunFolderError, unknown_name
from uce.core.run import Run
from uce.core.run_folder import RunFolder
from uce.core.tuning import use_weights

if TYPE_CHECKING:
    from PIL import Image

    from uce.ablation.result import Ablation
    from uce.batching.result import Batch
    from uce.core.data import AttentionMaps, Concepts
    from uce.core.picture_files import PictureSource


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
    run = Run(RunFolder(Path(folder)))
    _ = run.info, run.concepts
    return run


def localize(image: AttentionMaps | PictureSource, out: str | Path | None = None, **options: Any) -> Concepts:
    """Find the things in a picture, without learning tokens.

    Args:
        image: a picture (path, PIL picture or array: stages one to three), or `AttentionMaps` (stages two and three).
        out: a run folder to write, as `uce localize` does; None writes nothing.
        options: as `run`.

    Returns:
        the concepts; `pixel_masks` at the picture's own size where there is a picture.
    """
    from uce.core.data import AttentionMaps
    from uce.core.localizing import localize_picture
    from uce.core.pipeline import Pipeline
    from uce.core.session import Options, torch_settings

    resume, overwrite = options.pop("resume", False), options.pop("overwrite", False)
    chosen = Options(**options)
    if isinstance(image, AttentionMaps):
        if out is not None:
            raise ConfigError("out is for pictures; bare attention maps have no run folder")
        manager = chosen.manager()
        config = chosen.resolve(manager)
        with torch_settings(config):
            return Pipeline(manager, config).localize(image)
    return localize_picture(image, chosen, None if out is None else Path(out), resume=resume, overwrite=overwrite)


def run(image: PictureSource, out: str | Path, *, resume: bool = False, overwrite: bool = False, **options: Any) -> Run:
    """Find the things in a picture and learn a token for each.

    Args:
        image: path, PIL picture, or array (H, W[, 3 or 4]).
        out: the run folder.
        resume: continue an interrupted run in `out`.
        overwrite: replace the run in `out`.
        options: `model`, `extractor`, `clusterer`, `refiner` (a name or a list), `initializer`, `optimizer`, `set`
            (["optimizer.steps=200"] or {"optimizer.steps": 200}), `config`, `preset`, `seed`, `concepts`, `names`,
            `device`, `precision`, `plugin`, `no_plugin`, `observers` (objects with observer hooks).

    Raises:
        UceError: the input, a setting or a plugin is at fault; the text says what to do.
    """
    from uce.core.learning import run_picture
    from uce.core.session import Options

    run_picture(image, Options(**options), Path(out), resume=resume, overwrite=overwrite)
    return load(out)


def learn(folder: str | Path, *, resume: bool = False, overwrite: bool = False, **options: Any) -> Run:
    """Learn a token for every mask as it lies in `folder`/masks now.

    Args:
        folder: what `localize` (or `run`) wrote; masks may have been edited, removed or added.
        resume: continue an interrupted learning.
        overwrite: learn again where tokens are there already.
        options: as `run`.
    """
    from uce.core.learning import learn_folder
    from uce.core.session import Options

    learn_folder(Path(folder), Options(**options), resume=resume, overwrite=overwrite)
    return load(folder)


def ablate(
    images: PictureSource | Sequence[PictureSource],
    out: str | Path,
    *,
    vary: Sequence[str] | Mapping[str, Sequence[Any]],
    one_at_a_time: bool = False,
    localize_only: bool = False,
    truth: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Ablation:
    """Run the same pictures under many configurations and compare; what cells share is computed once.

    Args:
        images: one picture or several; files are known by their stems.
        out: the folder for tables and runs.
        vary: key -> values, such as {"clusterer": ["finch", "kmeans"], "refiner": ["saliency+merge", "none"],
            "optimizer.merge_step": [50, 100]}, or the texts of `--vary`. Every combination becomes a cell.
        one_at_a_time: instead, the base configuration and each single change of it.
        localize_only: stages one to three only.
        truth: a folder of true masks, see docs/formats.md.
        resume: continue an interrupted ablation in `out`.
        overwrite: replace the ablation in `out`.
        options: the base configuration, as for `run`.

    Returns:
        the ablation; cells that failed are in `failures`, and the others finished all the same.

    Raises:
        UceError: what is asked for cannot be run.
    """
    from uce.ablation.folder import AblationFolder
    from uce.ablation.result import Ablation
    from uce.ablation.run import run_ablation
    from uce.core.session import Options

    sources: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
    run_ablation(
        sources,
        Options(**options),
        Path(out),
        vary=vary,
        one_at_a_time=one_at_a_time,
        localize_only=localize_only,
        truth=None if truth is None else Path(truth),
        resume=resume,
        overwrite=overwrite,
    )
    return Ablation(AblationFolder(Path(out)))


def batch(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    executor: str = "local",
    workers: int | None = None,
    localize_only: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Batch:
    """Run many pictures with one configuration; what is finished is never done again.

    Args:
        sources: pictures, folders, patterns, lists (.txt, .csv, .jsonl) or URLs; one or several.
        out: the folder for index, contact sheet and runs. Where it holds this batch already, it is continued.
        executor: "local", "processes", "ray", or a plugin's.
        workers: how many, for executors that have several; None: what the machine has room for.
        localize_only: stages one to three only.
        overwrite: replace the batch in `out`.
        options: as for `run`. `set` also takes "executor.K=V"; threads are 1 unless `run.threads` says otherwise.

    Returns:
        the batch; pictures that failed are in `failures`, and the others finished all the same.

    Raises:
        UceError: what is asked for cannot be run, or another batch works in `out`.
    """
    from uce.batching.folder import BatchFolder
    from uce.batching.result import Batch
    from uce.batching.run import run_batch
    from uce.core.session import Options

    run_batch(
        [sources] if isinstance(sources, str | Path) else list(sources),
        Options(**options),
        Path(out),
        executor=executor,
        workers=workers,
        localize_only=localize_only,
        overwrite=overwrite,
    )
    return Batch(BatchFolder(Path(out)))


def generate(
    prompts: str | Sequence[str],
    run: str | Path | Run,
    out: str | Path | None = None,
    *,
    count: int = 1,
    seed: int = 0,
    steps: int = 25,
    guidance: float = 5.0,
    device: str | None = None,
    plugin: Sequence[str] = (),
) -> list[Image.Image]:
    """Draw pictures with a run's tokens (and its weights, where more than tokens was trained).

    Args:
        prompts: texts that may hold the run's tokens, such as "a photo of <asset1> in the snow".
        run: the run, or its folder.
        out: a folder for the pictures; None writes none.
        count: pictures per prompt, from seeds `seed`, `seed` + 1, ...
        steps, guidance: denoising steps, classifier-free guidance scale.

    Raises:
        ConfigError: a token in a prompt that the run does not have.
    """
    return draw(
        prompts, run, out, count=count, seed=seed, steps=steps, guidance=guidance, device=device, plugin=plugin
    )[0]


def draw(
    prompts: str | Sequence[str],
    run: str | Path | Run,
    out: str | Path | None = None,
    *,
    count: int = 1,
    seed: int = 0,
    steps: int = 25,
    guidance: float = 5.0,
    device: str | None = None,
    plugin: Sequence[str] = (),
) -> tuple[list[Image.Image], list[Path]]:
    """As `generate`; also says which files it wrote."""
    loaded = run if isinstance(run, Run) else load(run)
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    tokens = loaded.tokens()
    for text in texts:
        for token in re.findall(r"<[^<>\s]+>", text):
            if token not in tokens:
                raise ConfigError(f"{unknown_name('token', token, tokens)} Prompt: {text!r}")
    if count < 1 or steps < 1:
        raise ConfigError(f"count and steps must be at least 1, found count={count}, steps={steps}")
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise RunFolderError(f"{out} is a file; give a folder with -o")
    backbone = loaded.backbone(device, plugin)
    pairs = [(text, seed + number) for text in texts for number in range(count)]
    with use_weights(backbone, loaded.weights):
        pictures: list[Image.Image] = backbone.generate(
            [text for text, _ in pairs], tokens, seeds=[s for _, s in pairs], steps=steps, guidance=guidance
        )
    paths: list[Path] = []
    if out is not None:
        from uce.core.files import write_picture

        for (text, picture_seed), picture in zip(pairs, pictures, strict=True):
            paths.append(_free_name(Path(out), text, picture_seed))
            write_picture(paths[-1], picture)
    return pictures, paths


def _free_name(folder: Path, text: str, seed: int) -> Path:
    """A name from the prompt's letters and digits; an earlier picture is never replaced."""
    stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "picture"
    names: Iterator[str] = (f"{stem}-s{seed}{'' if n == 1 else f'-{n}'}.png" for n in range(1, 1_000_000))
    return next(folder / name for name in names if not (folder / name).exists())


__all__ = ["ablate", "batch", "draw", "generate", "learn", "load", "localize", "model_path", "run"]
