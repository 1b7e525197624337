"""Tokens that meet their model, a changed one, another of its family; model files that are replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import uce
from uce.core.errors import ConfigError

Cli = Callable[..., tuple[int, str, str]]
SETTINGS = ["clusterer.clusters=1", "optimizer.steps=1", "optimizer.merge_step=0", "run.samples=0", "run.threads=1"]


def change(folder: Path) -> None:
    """Other weights under the same names, written over the old ones."""
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_out.bias"] = weights["conv_out.bias"] + 1
    path.unlink()
    save_file(weights, path, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def learned(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run on a copy of the tiny model, and a fine-tune of it."""
    folder = tmp_path_factory.mktemp("kin")
    model = Path(shutil.copytree(tiny_pipeline, folder / "model"))
    other = Path(shutil.copytree(tiny_pipeline, folder / "finetune"))
    change(other)
    common: dict[str, Any] = {"clusterer": "kmeans", "refiner": "none", "device": "cpu", "set": SETTINGS}
    runs = [
        uce.run("examples/beach.png", folder / f"run-{path.name}", model=path, names=[path.name], **common)
        for path in (Path(shutil.copytree(model, folder / "first")), other)
    ]
    return {"folder": folder, "run": runs[0], "other run": runs[1], "other": other}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [record.getMessage() for record in caplog.records if record.name == "uce.core.model.kinship"]


def draw(run: Any, token: str, **options: Any) -> Any:
    (picture,) = uce.generate(f"a {token}", run, steps=1, device="cpu", **options)
    return np.asarray(picture)


def test_another_model_of_the_family_draws_after_one_line(learned: dict[str, Any], said: Any) -> None:
    run, token = learned["run"], learned["run"].concepts[0].token
    plain = draw(run, token)
    assert said() == []
    drawn = draw(run, token, model=learned["other"])
    assert len(said()) == 1 and "another model of its family: they may look different" in said()[0]
    assert not np.array_equal(drawn, plain)


def test_tokens_of_two_fine_tunes_share_a_prompt(learned: dict[str, Any], said: Any) -> None:
    runs = [learned["run"], learned["other run"]]
    tokens = " and ".join(run.concepts[0].token for run in runs)
    assert draw(runs, tokens).shape == (64, 64, 3)
    assert len(said()) == 1 and str(runs[1].path) in said()[0]


def test_a_changed_model_is_loaded_anew_and_said(learned: dict[str, Any], said: Any) -> None:
    run, token = learned["run"], learned["run"].concepts[0].token
    before = draw(run, token)
    change(learned["folder"] / "first")
    assert not np.array_equal(draw(run, token), before), "within one session"
    assert len(said()) == 1 and f"has changed since {run.path} was made" in said()[0]


def test_import_checks_the_width_at_once(learned: dict[str, Any], tiny_pipeline_xl: Path, tmp_path: Path) -> None:
    token = next((learned["run"].path / "tokens").glob("*.safetensors"))
    with pytest.raises(ConfigError, match=r"is 16 wide, but the text encoders of model '.*' are 16 \+ 24 wide; name"):
        uce.import_tokens(token, tmp_path / "out", model=str(tiny_pipeline_xl), device="cpu")
    with pytest.raises(ConfigError, match=r"is 16 wide, but the text encoders of model 'sd1.5' are 768 wide"):
        uce.import_tokens(token, tmp_path / "out", model="sd1.5", device="cpu")
    assert not (tmp_path / "out").exists()
