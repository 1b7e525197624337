"""What papers report beside one's own rows, and the paper's protocol as one command on random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from uce.benchmarking.methods import TABLE
from uce.benchmarking.published import ABOUT, table

Cli = Callable[..., tuple[int, str, str]]
METHODS = ["paper", "default", "textual-inversion", "break-a-scene"]


def test_citations_have_the_papers_numbers_and_no_others() -> None:
    lines = table().markdown().splitlines()
    assert lines[0] == "| published | SIM^I | SIM^C | ACC^1 | ACC^3 |"
    assert lines[2:] == [
        "| ConceptExpress | 0.689 | 0.784 | 0.263 | 0.385 |",
        "| Break-A-Scene | 0.627 | 0.773 | 0.174 | 0.282 |",
        "| ICE | 0.738 | 0.822 | 0.325 | 0.518 |",
        "| HyperExpress | 0.699 | 0.786 | 0.504 | 0.736 |",
    ]
    assert "on their own pictures" in ABOUT


@pytest.fixture
def encoders(tmp_path: Path) -> dict[str, Path]:
    """Tiny random CLIP and DINO."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, ViTConfig, ViTModel

    body: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 32}
    body |= {"intermediate_size": 8, "patch_size": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models = {
            "clip": CLIPVisionModelWithProjection(CLIPVisionConfig(**body, projection_dim=8)),
            "dino": ViTModel(ViTConfig(**body)),
        }
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
    return {name: tmp_path / name for name in models}


def quick_methods(file: Path) -> Path:
    """The methods of the table under their own names, but done in no time with a tiny model."""
    quick = {"paper": {"merge_step": 0}, "default": {"merge_step": 0}, "break-a-scene": {"second_steps": 0}}
    found = {}
    for name in METHODS:
        body = dict(TABLE[name])
        own = body.get("optimizer") or {}
        own = {"plugin": own} if isinstance(own, str) else dict(own)
        body["optimizer"] = {**own, "steps": 1, **quick.get(name, {})}
        found[name] = {**body, "clusterer": {"plugin": "kmeans", "clusters": 2}, "refiner": ["none"]}
    file.write_text(yaml.safe_dump(found), encoding="utf-8")
    return file


def test_the_papers_protocol_is_one_command_that_resumes(
    cli: Cli, tiny_pipeline: Path, encoders: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    pixels = np.full((64, 64, 3), 220, np.uint8)
    pixels[8:40, 4:28] = (200, 30, 30)
    pixels[24:60, 36:60] = (30, 60, 200)
    Image.fromarray(pixels).save(tmp_path / "pictures" / "things.png")
    given = [word for name, path in encoders.items() for word in ("--set", f"encoder.{name}.model={path}")]
    command = ["benchmark", "-o", tmp_path / "out", "--pictures", tmp_path / "pictures", "--model", tiny_pipeline]
    command += ["--methods", " ".join(METHODS), "--encoder", "clip", "--encoder", "dino", "-n", 1, "--steps", 1]
    command += [*given, "--methods-file", quick_methods(tmp_path / "methods.yaml"), "--json"]
    code, out, err = cli(*command)
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert {(row["method"], row["encoder"]) for row in rows} == {(m, e) for m in METHODS for e in ("clip", "dino")}
    assert all(row["failed"] == 0 and row["sim_i"] is not None and row["sim_c"] is not None for row in rows), rows
    for name in ("table.md", "index.html"):
        text = (tmp_path / "out" / name).read_text()
        assert ABOUT in text and all(paper in text for paper in ("ConceptExpress", "HyperExpress", "0.736"))
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("embeddings.safetensors")}
    code, again, err = cli(*command, "--resume")
    assert code == 0 and json.loads(again)["rows"] == rows, err
    assert len(stamps) == 4 and all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
