"""Trackers hear a run: TensorBoard's file is read back, the others' packages are played by doubles."""

from __future__ import annotations

import importlib.machinery
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image, ImageDraw

from uce.core.errors import ConfigError
from uce.reporting.tracking import trackers

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tiny_pipeline: Path, tmp_path: Path) -> list[Any]:
    """`uce run` of a picture with two things, few updates, but its trackers."""
    picture = Image.new("RGB", (64, 64), (190, 210, 230))
    ImageDraw.Draw(picture).ellipse((8, 20, 40, 52), fill=(200, 40, 40))
    picture.save(tmp_path / "scene.png")
    short = ["optimizer.schedule=paper", "optimizer.steps=3", "optimizer.merge_step=1", "run.sample_steps=1"]
    settings = [word for key in ("clusterer.clusters=2", *short) for word in ("--set", key)]
    return ["run", tmp_path / "scene.png", "-o", tmp_path / "out", "--model", tiny_pipeline, "--no-report",
            "--clusterer", "kmeans", "--refiner", "none", *settings]  # fmt: skip


def events(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder))
    found.Reload()
    return found


def test_tensorboard_holds_every_loss_the_configuration_and_the_pictures(
    cli: Cli, command: list[Any], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    code, out, err = cli(*command, "--tracker", "tensorboard", "--json")
    assert code == 0, err
    assert json.loads(out)["status"] == "done", "trackers print on stderr"
    found = events(tmp_path / "out" / "tensorboard")
    rows = (tmp_path / "out" / "history.csv").read_text().splitlines()
    header = rows[0].split(",")
    total = found.Scalars("loss/total")
    assert [event.step for event in total] == list(range(1, len(rows)))
    column = header.index("total")
    assert [event.value for event in total] == pytest.approx([float(row.split(",")[column]) for row in rows[1:]])
    tags = found.Tags()
    assert {"overlay", "samples/asset0", "samples/all"} <= set(tags["images"])
    assert {"seconds/extractor", "seconds/optimizer"} <= set(tags["scalars"])
    texts = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags["tensors"]}
    assert "steps: 3" in texts["configuration/text_summary"] and texts["status/text_summary"] == "done"


def test_tensorboards_file_is_part_of_the_run(cli: Cli, command: list[Any], tmp_path: Path) -> None:
    """--overwrite takes it away with the run; a finished run that is resumed adds none; tokens stay the same."""
    pytest.importorskip("tensorboard")
    assert cli(*command, "--tracker", "tensorboard")[0] == 0
    tokens = (tmp_path / "out" / "embeddings.safetensors").read_bytes()
    first = list((tmp_path / "out" / "tensorboard").iterdir())
    assert len(first) == 1
    assert cli(*command, "--tracker", "tensorboard", "--resume")[0] == 0
    assert list((tmp_path / "out" / "tensorboard").iterdir()) == first
    code, _, err = cli(*command, "--overwrite")
    assert code == 0, err
    assert not (tmp_path / "out" / "tensorboard").exists()
    assert (tmp_path / "out" / "embeddings.safetensors").read_bytes() == tokens


class FakeWandb(ModuleType):
    """As much of wandb as accelerate's tracker uses."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
        self.said: list[tuple[str, Any]] = []
        self.config = self

    def init(self, **options: Any) -> FakeWandb:
        self.said.append(("init", options))
        return self

    def update(self, values: Any, **options: Any) -> None:
        self.said.append(("config", values))

    def log(self, values: dict[str, Any], step: int | None = None, **options: Any) -> None:
        self.said.append(("log", values))

    def finish(self) -> None:
        self.said.append(("finish", None))

    @staticmethod
    def Image(pixels: Any) -> Any:  # noqa: N802
        return pixels.shape


def test_wandb_is_told(cli: Cli, command: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    double = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", double)
    code, _, err = cli(*command, "--tracker", "wandb")
    assert code == 0, err
    assert double.said[0] == ("init", {"project": "uce", "name": "out"})
    assert double.said[1][0] == "config" and double.said[1][1]["optimizer"]["steps"] == 3
    logged = {key for kind, values in double.said if kind == "log" for key in values}
    assert {"loss/total", "overlay", "samples/asset0", "seconds/optimizer", "status"} <= logged
    assert double.said[-1] == ("finish", None)


def test_trackio_keeps_losses_and_pictures(
    cli: Cli, command: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trackio = pytest.importorskip("trackio")
    said: list[dict[str, Any]] = []

    class Told:
        def log(self, values: dict[str, Any], step: int | None = None) -> None:
            print("trackio prints on stdout")
            said.append(values)

        def finish(self) -> None:
            said.append({})

    monkeypatch.setattr(trackio, "init", lambda **options: Told())
    monkeypatch.setattr(trackio, "config", {}, raising=False)
    monkeypatch.setattr("accelerate.tracking.TrackioTracker.store_init_configuration", lambda self, values: None)
    monkeypatch.setattr(trackio, "Image", lambda pixels: pixels.shape)
    code, out, err = cli(*command, "--tracker", "trackio", "--json")
    assert code == 0, err
    json.loads(out)
    assert said[-1] == {} and {"loss/total", "overlay", "samples/all"} <= {key for values in said for key in values}


def test_a_tracker_that_fails_does_not_fail_the_run(
    cli: Cli, command: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", double)
    monkeypatch.setattr(double, "log", lambda *a, **k: 1 / 0)
    code, _, err = cli(*command, "--tracker", "wandb")
    assert code == 0 and (tmp_path / "out" / "embeddings.safetensors").is_file()
    assert err.count("uce: --tracker wandb stopped: division by zero; the run goes on without it") == 1


def test_a_missing_package_or_unknown_name_is_refused_first(
    cli: Cli, command: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = cli(*command, "--tracker", "wandb")
    assert code == 2 and "the package 'wandb' is not installed; get it with: pip install wandb" in err
    code, _, err = cli(*command, "--tracker", "tensorbord")
    assert code == 2 and "unknown tracker 'tensorbord'" in err and "Did you mean 'tensorboard'?" in err
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="unknown tracker 'mlflow'; available: tensorboard, trackio, wandb"):
        trackers("mlflow")
    assert trackers(None) == []
