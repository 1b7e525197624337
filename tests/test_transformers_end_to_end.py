"""FLUX.1 and Stable Diffusion 3, tiny and random, through every command that a user of them gives."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from ui_fixtures import wait

import uce
from uce.ui.app import App
from uce.ui.jobs import DONE
from uce.ui.menu import Chosen

Cli = Callable[..., tuple[int, str, str]]
SMALL = ["model.side=64", "model.text_length=32"]
QUICK = [*SMALL, "optimizer.steps=2", "optimizer.merge_step=1", "run.sample_steps=1", "run.checkpoint_every=1"]


def given(*assignments: str) -> list[str]:
    return [part for assignment in assignments for part in ("--set", assignment)]


@pytest.fixture(scope="module", params=["tiny_flux", "tiny_sd3"])
def model(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "things.png"
    pixels = np.full((64, 64, 3), 220, np.uint8)
    pixels[8:40, 4:28] = (200, 30, 30)
    pixels[24:60, 36:60] = (30, 60, 200)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def done(model: Path, picture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the default preset, in which `self-attention` gives way by itself; two concepts, masks by hand."""
    out = tmp_path_factory.mktemp("run") / "out"
    uce.localize(picture, out, model=str(model), set=SMALL, refiner="none")
    for path in sorted((out / "masks").glob("*.png"))[2:]:
        path.unlink()
    uce.learn(out, set=QUICK)
    return out


def test_a_run_leaves_tokens_where_the_models_default_has_them(done: Path, model: Path) -> None:
    run = uce.load(done)
    named = ["t5"] if "flux" in str(model) else ["clip_l", "clip_g"]
    assert list(run.concepts[0].vectors) == named
    assert all(torch.isfinite(vector).all() for vector in run.concepts[0].vectors.values())
    assert set(load_file(done / "tokens" / "asset0.safetensors")) == set(named)
    assert (done / "samples" / "asset0.png").is_file()
    with Image.open(done / "samples" / "asset0.png") as drawn:
        assert drawn.size == (64, 64)


def test_generate_equals_the_pipeline_of_the_run(done: Path, cli: Cli, tmp_path: Path) -> None:
    run = uce.load(done)
    token = run.concepts[0].token
    code, _, err = cli(
        "generate", f"a photo of {token}", "--run", done, "-o", tmp_path, "--seed", 7, "--steps", 2, "--guidance", 3
    )
    assert code == 0, err
    pipe = run.pipeline()
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        f"a photo of {token}", height=64, width=64, num_inference_steps=2, guidance_scale=3.0,
        generator=torch.Generator().manual_seed(7), max_sequence_length=32,
    ).images[0]  # fmt: skip
    (path,) = tmp_path.glob("*.png")
    with Image.open(path) as own:
        assert np.abs(np.asarray(own, int) - np.asarray(theirs, int)).max() <= 1


@pytest.mark.parametrize("to", ["diffusers", "comfyui", "a1111", "hub-folder"])
def test_every_layout_comes_back(done: Path, model: Path, to: str, tmp_path: Path) -> None:
    wanted = uce.load(done).concepts[0].vectors
    uce.export(done, to, tmp_path / to, concepts=[0])
    (file,) = (path for path in (tmp_path / to).rglob("*.safetensors"))
    keys = set(load_file(file))
    assert keys == ({"t5xxl"} if to in ("comfyui", "a1111") and "t5" in wanted else set(wanted))
    run = uce.import_tokens(file, tmp_path / "in", model=str(model), set=SMALL)
    found = run.concepts[0].vectors
    assert list(found) == list(wanted) and all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert uce.generate(f"a {run.concepts[0].token}", run=tmp_path / "in", steps=1)[0].size == (64, 64)


def test_the_printed_lines_load_the_token(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `uce export --to diffusers` prints, run on a fresh pipeline, conditions as the run's own pipeline does."""
    run = uce.load(done)
    exported = uce.export(done, "diffusers", tmp_path, concepts=[0])
    pipe, own = run.backbone().pipeline(), run.pipeline()
    parts = [f"{part}{n}" for part in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")]
    pipe.register_modules(**{name: copy.deepcopy(getattr(pipe, name)) for name in parts if hasattr(pipe, name)})
    monkeypatch.chdir(tmp_path)
    exec(exported.usage, {"pipe": pipe})
    text, more = f"a photo of {run.concepts[0].token} and cat", () if "Flux" in type(pipe).__name__ else ("",)
    found, wanted = (
        one.encode_prompt(text, text, *((text,) if more else ()), device="cpu", max_sequence_length=32)
        for one in (pipe, own)
    )
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_lora_trains_the_transformer_and_draws_with_it(done: Path, cli: Cli, tmp_path: Path) -> None:
    out = Path(shutil.copytree(done, tmp_path / "run"))
    settings = given(*QUICK[2:], "optimizer.lora_steps=1", "optimizer.rank=2")
    code, _, err = cli("learn", out, "--overwrite", "--optimizer", "lora", *settings)
    assert code == 0, err
    weights = load_file(out / "weights.safetensors")
    assert weights and all(name.startswith("transformer.") for name in weights)
    assert {name.rpartition(".lora_")[2] for name in weights} == {"A.weight", "B.weight"}
    assert uce.generate("a <asset0>", run=out, steps=1)[0].size == (64, 64)
    exported = uce.export(out, "comfyui", tmp_path / "comfy")
    lora = next(path for path in exported.files if "lora" in path)
    assert set(load_file(tmp_path / "comfy" / lora)) == set(weights)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """FLUX at a size that is quick where nobody asks for one; Stable Diffusion 3's configuration says it."""
    from uce.plugins.backbones._flux.backbone import FluxBackbone

    monkeypatch.setattr(FluxBackbone, "_own_side", lambda self: 16)
    monkeypatch.setattr(FluxBackbone, "_own_text_length", lambda self: 32)


@pytest.mark.usefixtures("small")
def test_doctor_finds_nothing_wrong(model: Path, cli: Cli) -> None:
    code, out, err = cli("doctor", "--model", model, "--json")
    assert code == 0, out + err
    assert [check["check"] for check in json.loads(out)["checks"]] == ["load", "plan", "localize", "learn", "draw"]


@pytest.mark.usefixtures("small")
def test_the_app_goes_from_a_picture_to_drawings(model: Path, picture: Path, tmp_path: Path) -> None:
    app = App(tmp_path / "ui", {"model": str(model), "device": "cpu"})
    person = app.workspaces.new()
    values = {"clusterer.clusters": 2, "optimizer.steps": 1, "optimizer.merge_step": 0, "run.sample_steps": 1}
    person.chosen = Chosen(plugins={"clusterer": "kmeans"}, refiners=["none"], values=values)
    (app.cache / "upload").mkdir()
    shutil.copy(picture, app.cache / "upload")
    app.upload(person, str(app.cache / "upload" / picture.name))
    wait(person)
    app.tick(person, ["thing1"])
    app.learn(person)
    wait(person)
    assert person.job is not None and person.job.status == DONE, person.job
    assert person.picture is not None and person.picture.run is not None
    (concept,) = person.picture.run.concepts
    app.draw(person, f"a photo of {concept.token}", 1, 1, 5)
    wait(person)
    assert person.job.status == DONE and len(person.drawings) == 1
    app.close()


def test_batch_works_on_a_folder(model: Path, picture: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(picture.parent, tmp_path / "in")
    code, _, err = cli(
        "batch", tmp_path / "in", "-o", tmp_path / "out", "--model", model, *given(*QUICK, "run.samples=0"),
        "--refiner", "none", "--set", "run.concepts=[0]",
    )  # fmt: skip
    assert code == 0, err
    assert list((tmp_path / "out").rglob("embeddings.safetensors"))


def test_a_killed_run_goes_on_with_the_same_bytes(done: Path, tmp_path: Path) -> None:
    whole, killed = (Path(shutil.copytree(done, tmp_path / name)) for name in ("whole", "killed"))
    settings = given(*QUICK[2:], "optimizer.steps=4", "run.samples=0")
    killer = tmp_path / "killer.py"
    killer.write_text(
        "import os, signal, uce\n"
        "class Killer:\n"
        "    name = 'killer'\n"
        "    @uce.hookimpl\n"
        "    def uce_step(self, event):\n"
        "        if event.update == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-m", "uce.cli", "learn"]
    ended = subprocess.run(
        [*command, str(killed), "--overwrite", *settings, "--plugin", f"{killer}"], capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    subprocess.run([*command, str(killed), "--resume"], check=True, capture_output=True, env=dict(os.environ))
    uce.learn(whole, overwrite=True, set=settings[1::2])
    for name in ("embeddings.safetensors", "history.csv"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()


def test_bfloat16_learns_too(model: Path, picture: Path, tmp_path: Path) -> None:
    run: Any = uce.run(
        picture, out=tmp_path / "half", model=str(model), precision="bfloat16", refiner="none",
        set=[*QUICK, "run.samples=0", "run.concepts=[0]"],
    )  # fmt: skip
    assert all(torch.isfinite(vector).all() for vector in run.concepts[0].vectors.values())
