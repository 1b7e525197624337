"""`uce doctor`: what is installed, which devices there are, and whether a model works from end to end."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from uce.commands.options import Compare, CompareOut, ComparePictures, Device, Json, Precision, Set
from uce.core.errors import ConfigError, UceError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    model: Annotated[str | None, typer.Option(metavar="M", help="Also load this model and try it.")] = None,
    compare: Compare = False,
    pictures: ComparePictures = None,
    out: CompareOut = None,
    set_: Set = None,
    device: Device = None,
    precision: Precision = None,
    json_: Json = False,
) -> None:
    """Say what is installed and which devices there are; with --model, try that model from end to end."""
    if not examine(model, device, precision, json_, compare=compare, pictures=pictures, out=out, settings=set_ or []):
        raise typer.Exit(2)


def examine(
    model: str | None,
    device: str | None,
    precision: str | None,
    as_json: bool,
    *,
    compare: bool = False,
    pictures: Path | None = None,
    out: Path | None = None,
    settings: Sequence[str] = (),
) -> bool:
    """Report; True where everything that was tried works.

    Args:
        compare: also try the presets on photographs, and say which to use.
        pictures: a folder of the user's own, beside those with masks.
        out: where the runs of the comparison go; finished ones are not done again.
        settings: on top of each preset.
    """
    if (compare or pictures) and model is None:
        raise ConfigError("--compare needs a model: name it with --model")
    report: dict[str, Any] = {"versions": _versions(), "devices": _devices(), "plugins": _plugins(), "checks": []}
    if not as_json:
        _print_report(report)
    ok = not report["plugins"]["failures"]
    if model is not None:
        ok = _try_model(model, device, precision, report["checks"], quiet=as_json) and ok
    if ok and (compare or pictures):
        options = {"model": model, "device": device, "precision": precision}
        report["comparison"] = _compare(pictures, out, settings, options, quiet=as_json)
    if as_json:
        print(json.dumps({**report, "ok": ok}, indent=2))
    else:
        print("everything that was tried works" if ok else "something is wrong: see above")
    return ok


def _versions() -> dict[str, str]:
    from uce.core.runs.facts import versions

    return versions()


def _devices() -> list[dict[str, Any]]:
    import torch

    from uce.core.config.devices import resolve_run
    from uce.core.flow.run_settings import RunSettings

    found: list[dict[str, Any]] = [{"name": "cpu", "threads": resolve_run(RunSettings(device="cpu")).threads}]
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        found.append({"name": f"cuda:{index}", "is": torch.cuda.get_device_name(index), "gigabytes": round(memory, 1)})
    if torch.backends.mps.is_available():
        found.append({"name": "mps"})
    return found


def _plugins() -> dict[str, Any]:
    from uce.core.registry.manager import load_manager

    manager = load_manager()
    failures = [failure.__dict__ for failure in manager.failures]
    return {"count": len(manager.plugins), "failures": failures, "clashes": [str(clash) for clash in manager.clashes]}


def _print_report(report: dict[str, Any]) -> None:
    for name, version in report["versions"].items():
        print(f"{name:<14}{version}")
    for found in report["devices"]:
        print(
            "device        "
            + ", ".join(f"{value}" if key == "name" else f"{key} {value}" for key, value in found.items())
        )
    print(f"plugins       {report['plugins']['count']}")
    for failure in report["plugins"]["failures"]:
        print(f"  not loaded: {failure['name']} of {failure['distribution']}: {failure['cause']}")
    for clash in report["plugins"]["clashes"]:
        print(f"  not to be chosen: {clash}")


def sample_picture(side: int = 256) -> Any:
    """A picture with two plain things, drawn here: no file is needed to try a model."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (side, side), (196, 214, 232))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((side * 0.08, side * 0.3, side * 0.46, side * 0.68), fill=(214, 48, 49))
    draw.rounded_rectangle((side * 0.56, side * 0.34, side * 0.92, side * 0.86), radius=side // 16, fill=(39, 119, 66))
    return picture


def _try_model(model: str, device: str | None, precision: str | None, checks: list[Any], quiet: bool) -> bool:
    """Load, localise a sample, two updates, one picture; stops at the first thing that is wrong."""
    import uce
    from uce.core.config.options import Options
    from uce.core.work.models import backbone_for

    options: dict[str, Any] = {"model": model, "device": device, "precision": precision}
    held: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="uce-doctor-") as folder:
        out = Path(folder) / "run"

        def load() -> str:
            chosen = Options.of(options)
            manager = chosen.manager()
            config = chosen.resolve(manager)
            held.append((backbone_for(manager, config), config))
            return str(held[0][0].description)

        def plan() -> str:
            from uce.core.model.costs import plan_for

            backbone, config = held[0]
            return str(plan_for(backbone, config.model, quick=False) or "memory: this backbone does not say")

        def localize() -> str:
            # Without the saliency filter: a sample that a model finds dull must not look like a broken model.
            concepts = uce.localize(sample_picture(), out, refiner="none", overwrite=True, **options)
            return f"{len(concepts)} clusters"

        def learn() -> str:
            settings = ["optimizer.steps=2", "optimizer.merge_step=0", "run.samples=0"]
            run = uce.learn(out, concepts=[0], set=settings, device=device, precision=precision)
            return f"token of {tuple(run.concepts[0].embedding.shape)} after two updates"

        def draw() -> str:
            token = uce.load(out).concepts[0].token
            picture = uce.generate(f"a photo of {token}", out, steps=2, device=device)[0]
            return f"a picture of {picture.width} x {picture.height} pixels"

        steps: list[tuple[str, Callable[[], str]]] = [
            ("load", load),
            ("plan", plan),
            ("localize", localize),
            ("learn", learn),
            ("draw", draw),
        ]
        return all(_check(name, work, checks, quiet) for name, work in steps)


def _compare(
    pictures: Path | None, out: Path | None, settings: Sequence[str], options: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    """The presets on the shipped photographs and the user's own."""
    from uce.comparing.compare import compare
    from uce.comparing.photographs import Photograph, shipped

    found = shipped()
    if pictures is not None:
        suffixes = (".png", ".jpg", ".jpeg", ".webp")
        own = sorted(path for path in pictures.glob("*") if path.suffix.lower() in suffixes)
        if not own:
            raise ConfigError(
                f"--pictures {pictures}: there is no picture in it ({', '.join(suffixes)}); give a folder"
            )
        found += [Photograph(path.stem, path, None) for path in own]
    with tempfile.TemporaryDirectory(prefix="uce-compare-") as folder:
        say = (lambda line: None) if quiet else (lambda line: print(line, flush=True))
        result = compare(found, out or Path(folder), settings=settings, say=say, **options)
    if not quiet:
        print(result.table())
        print(result.verdict)
    return result.to_dict()


def _check(name: str, work: Callable[[], str], checks: list[Any], quiet: bool) -> bool:
    started = time.perf_counter()
    try:
        ok, text = True, work()
    except UceError as error:
        ok, text = False, str(error)
    except Exception as error:  # a model may fail in ways nobody foresaw: the report says how
        ok, text = False, f"{type(error).__name__}: {' '.join(str(error).split())}"
    seconds = time.perf_counter() - started
    checks.append({"check": name, "ok": ok, "seconds": round(seconds, 2), "text": text})
    if not quiet:
        print(f"{'ok' if ok else 'WRONG':<6}{name:<10}{seconds:6.1f} s  {text}")
    return ok
