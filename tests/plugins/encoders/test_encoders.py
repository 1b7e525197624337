"""The picture encoders: what they return, where they look for weights, what they say when there are none."""

from __future__ import annotations

import re
import shlex
import subprocess
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
from uce.plugins.encoders.siglip import SiglipEncoderPlugin
from uce.testing import check_plugin

PLUGINS = (EfficientNetLite0EncoderPlugin, ClipEncoderPlugin, DinoEncoderPlugin, SiglipEncoderPlugin)
FOLDERS = [
    ("clip", "clip", 12), ("clip", "clip-vision", 12), ("clip", "clip-vision-bare", 16),
    ("siglip", "siglip", 16), ("siglip", "siglip-vision", 16), ("siglip", "siglip-headless", 16),
    ("siglip", "siglip2", 16), ("siglip", "siglip2-vision", 16), ("siglip", "siglip-untokenized", 16),
    ("dino", "dino", 16), ("dino", "dino-bare", 16), ("dino", "dinov2", 16), ("dino", "dinov2-classifier", 16),
    ("dino", "dinov2-registers", 16), ("dino", "dinov3", 16), ("dino", "dinov3-convnext", 16),
]  # fmt: skip
"""Encoder, folder, width of its features."""


def pictures(count: int = 3, side: int = 40) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, side, side, 3), dtype=np.uint8))


def load(name: str, *assignments: str) -> Any:
    chosen, _ = resolve(load_manager(), [name], assignments, {})
    return chosen[0].load("cpu")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_contract(plugin: type) -> None:
    assert check_plugin(plugin).stages == ("encoder",)


@pytest.mark.parametrize(("encoder", "folder", "width"), FOLDERS)
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


def test_a_pickle_is_refused_and_the_advice_converts_it(folders: dict[str, Path], tmp_path: Path) -> None:
    """The very command of the message is run; what it makes gives the features of the folder it came from."""
    from safetensors.torch import load_file

    (tmp_path / "config.json").write_bytes((folders["dinov2"] / "config.json").read_bytes())
    torch.save(load_file(folders["dinov2"] / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin alone, a pickle, which can run code") as error:
        load("dino", f"encoder.model={tmp_path}")
    assert "\n" not in str(error.value)
    python, *arguments = shlex.split(str(error.value).partition("with: ")[2])
    assert python == "python"
    subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True)
    found = load("dino", f"encoder.model={tmp_path}").encode(pictures())
    np.testing.assert_array_equal(found, load("dino", f"encoder.model={folders['dinov2']}").encode(pictures()))


def test_missing_weights_are_not_made_up(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_bytes((folders["siglip-vision"] / "config.json").read_bytes())
    weights = load_file(folders["siglip-vision"] / "model.safetensors")
    lost = next(key for key in weights if "post_layernorm.bias" in key)
    save_file({key: v for key, v in weights.items() if key != lost}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights, such as .*post_layernorm\.bias; give a folder"):
        load("siglip", f"encoder.model={tmp_path}")


@pytest.mark.parametrize(
    ("encoder", "folder"),
    [("clip", "clip-vision"), ("clip", "clip-vision-bare"), ("siglip", "siglip-vision"),
     ("siglip", "siglip-untokenized"), ("dino", "dinov3")],
)  # fmt: skip
def test_half_a_model_reads_no_texts(folders: dict[str, Path], encoder: str, folder: str) -> None:
    assert not hasattr(load(encoder, f"encoder.model={folders[folder]}"), "encode_texts")


def test_clip_reads_texts_as_transformers_does(folders: dict[str, Path]) -> None:
    from transformers import CLIPTextModelWithProjection

    network = CLIPTextModelWithProjection.from_pretrained(folders["clip"]).eval()
    ids = torch.tensor([[2, 4, 5, 6, 10, 3]])  # start, "a photo of on", end
    with torch.no_grad():
        wanted = network(input_ids=ids, attention_mask=torch.ones_like(ids)).text_embeds.numpy()
    loaded = load("clip", f"encoder.model={folders['clip']}")
    np.testing.assert_allclose(loaded.encode_texts(["a photo of on"]), wanted, atol=1e-5)
    assert loaded.encode_texts(["a photo"]).shape[1] == loaded.encode(pictures(1)).shape[1]


@pytest.mark.parametrize(("folder", "kind"), [("siglip", "Siglip"), ("siglip2", "Siglip2")])
def test_siglip_reads_texts_at_full_length(folders: dict[str, Path], folder: str, kind: str) -> None:
    """Padded to the 16 places of the text half, as it was trained; capitals are of no account."""
    import transformers

    network = getattr(transformers, f"{kind}TextModel").from_pretrained(folders[folder]).eval()
    loaded = load("siglip", f"encoder.model={folders[folder]}")
    ids = loaded.tokenizer(["a photo"], padding="max_length", max_length=16, return_tensors="pt")["input_ids"]
    assert ids.shape == (1, 16)
    with torch.no_grad():
        wanted = network(input_ids=ids).pooler_output.numpy()
    found = loaded.encode_texts(["A photo", "a photo"])
    np.testing.assert_allclose(found, np.repeat(wanted, 2, axis=0), atol=1e-5)


def test_siglip2_gets_its_patches_in_transformers_order() -> None:
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    from uce.plugins.encoders.siglip import _patches

    pixels = np.random.default_rng(0).random((1, 3, 16, 24), dtype=np.float32)
    found = _patches(torch.from_numpy(pixels), 8)
    np.testing.assert_array_equal(found["pixel_values"][0].numpy(), convert_image_to_patches(pixels[0], 8))
    assert found["spatial_shapes"].tolist() == [[2, 3]] and found["pixel_attention_mask"].sum() == 6


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
        (
            ["clipp"],
            [],
            "unknown encoder 'clipp'; available: clip, dino, efficientnet-lite0, siglip. Did you mean 'clip'?",
        ),
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
