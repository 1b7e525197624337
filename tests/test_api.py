"""The public Python interface, on a model that a plugin brings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import uce
from uce.core import ConfigError, ModelError, PluginError, RunFolderError, StageInputError
from uce.testing import tiny_attention, tiny_backbone, tiny_labels, tiny_picture
from uce.testing.backbone import WORDS

OPTIONS: dict[str, Any] = {
    "model": "tiny",
    "clusterer": "kmeans",
    "refiner": "none",
    "set": {
        "clusterer.clusters": 2,
        "optimizer.steps": 2,
        "optimizer.merge_step": 1,
        "optimizer.alignment_iterations": 5,
        "run.sample_steps": 1,
        "run.threads": 1,
    },
}


class TinyModels:
    """Brings the models "tiny" and "tiny-xl"."""

    name = "tiny-models"

    @uce.hookimpl
    def uce_load_backbone(self, model: str) -> Any:
        encoders = {"tiny": ("clip",), "tiny-xl": ("clip_l", "clip_g")}
        return tiny_backbone(encoders[model]) if model in encoders else None


@pytest.fixture(scope="module", autouse=True)
def tiny_models_are_installed() -> Iterator[None]:
    """As if a distribution with an entry point were installed."""
    entry = SimpleNamespace(
        name="tiny-models", load=lambda: TinyModels, dist=SimpleNamespace(name="uce-tiny", version="1.0")
    )
    original = metadata.entry_points
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata, "entry_points", lambda group: [entry] if group == "uce" else original(group=group))
        yield


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    Image.fromarray(tiny_picture().original).save(path)
    return path


@pytest.fixture(scope="module")
def done(picture: Path, tmp_path_factory: pytest.TempPathFactory) -> uce.Run:
    return uce.run(picture, tmp_path_factory.mktemp("runs") / "out", **OPTIONS)


def test_localize_maps_by_names() -> None:
    concepts = uce.localize(
        tiny_attention(), clusterer="kmeans", refiner=["saliency", "merge"], set=["clusterer.clusters=3"]
    )
    labels = tiny_labels()
    assert [torch.equal(concepts.masks[k], labels == k + 1) for k in range(len(concepts))] == [True, True]
    assert concepts.maps.shape == (2, 64) and float(concepts.scores.min()) > 1 and concepts.pixel_masks is None


def test_localize_maps_with_the_papers_method() -> None:
    concepts = uce.localize(tiny_attention(), clusterer="finch", refiner=["saliency", "merge"], preset="paper")
    covered = concepts.masks.any(dim=0)
    assert torch.equal(covered, tiny_labels() > 0)


def test_localize_maps_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    maps = tiny_attention()
    with pytest.raises(ConfigError, match="out is for pictures; bare attention maps have no run folder"):
        uce.localize(maps, tmp_path / "out")
    with pytest.raises(PluginError, match=r"unknown clusterer 'hdbscn'; available: .*\. Did you mean 'hdbscan'\?"):
        uce.localize(maps, clusterer="hdbscn")
    with pytest.raises(ConfigError, match=r"unknown key 'clusterer\.cluster'; .* Did you mean 'clusterer\.clusters'\?"):
        uce.localize(maps, clusterer="kmeans", set={"clusterer.cluster": 3})
    with pytest.raises(StageInputError, match="the saliency is the same everywhere"):
        uce.localize(tiny_attention(things=0))
    assert not list(tmp_path.iterdir())


def test_localize_leaves_torch_as_it_was() -> None:
    threads = torch.get_num_threads()
    uce.localize(tiny_attention(), clusterer="kmeans", refiner="none", set={"run.threads": threads + 1})
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()


def test_localize_a_picture_writes_nothing(picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    concepts = uce.localize(picture, **OPTIONS)
    assert concepts.pixel_masks is not None and tuple(concepts.pixel_masks.shape[1:]) == (40, 48)
    assert not list(tmp_path.iterdir()) and list(picture.parent.iterdir()) == [picture]


def test_every_kind_of_picture_gives_the_same(picture: Path) -> None:
    array = np.asarray(Image.open(picture))
    found = [uce.localize(source, **OPTIONS).masks for source in (picture, str(picture), Image.open(picture), array)]
    assert all(torch.equal(masks, found[0]) for masks in found)


def test_run_and_concepts(done: uce.Run) -> None:
    assert isinstance(done, uce.Run) and len(done) == len(done.concepts) == 2 and done.learned
    assert done.info["status"] == "done" and done.info["model"]["name"] == "tiny"
    for index, concept in enumerate(done.concepts):
        assert isinstance(concept, uce.Concept)
        assert (concept.index, concept.token) == (index, f"<asset{index}>")
        assert concept.label is None and concept.words[0] in WORDS, "the nearest word is no name"
        assert concept.mask.dtype == np.bool_ and concept.mask.shape == (40, 48)
        assert concept.area == concept.mask.sum() and concept.share == pytest.approx(concept.area / (40 * 48), abs=1e-6)
        left, top, right, bottom = concept.bbox
        assert concept.mask[top:bottom, left:right].sum() == concept.area
        assert concept.embedding.shape == (6,) and concept.embedding.dtype == torch.float32
        assert torch.equal(concept.vectors["clip"][0], concept.embedding)
    assert list(done.tokens()) == ["<asset0>", "<asset1>"]
    assert {"folder", "status", "model", "seconds", "image", "concepts", "files"} <= set(done.summary())
    json.dumps(done.summary())


def test_load_gives_the_same_run(done: uce.Run) -> None:
    for folder in (done.path, str(done.path)):
        again = uce.load(folder)
        assert torch.equal(again.concepts[1].embedding, done.concepts[1].embedding)


def test_two_text_encoders(picture: Path, tmp_path: Path) -> None:
    run = uce.run(picture, tmp_path / "out", **OPTIONS | {"model": "tiny-xl"})
    vectors = run.concepts[0].vectors
    assert {name: tuple(value.shape) for name, value in vectors.items()} == {"clip_l": (1, 6), "clip_g": (1, 10)}
    assert len(uce.generate("a photo of <asset1>", run, steps=1)) == 1


def test_names_and_choice(picture: Path, tmp_path: Path) -> None:
    run = uce.run(picture, tmp_path / "out", **OPTIONS, concepts=[1], names=["cup"])
    assert [(concept.index, concept.token) for concept in run.concepts] == [(1, "<cup>")]
    with pytest.raises(ConfigError, match="there is no concept 5; found 2, allowed 0 to 1"):
        uce.run(picture, tmp_path / "other", **OPTIONS, concepts=[5])
    with pytest.raises(ConfigError, match=r"token name '\.\./x' is not allowed"):
        uce.run(picture, tmp_path / "other", **OPTIONS, names=["../x"])
    assert not (tmp_path / "other").exists() and not (tmp_path / "x.safetensors").exists()


def test_observers_may_be_given(picture: Path) -> None:
    class Observer:
        heard: list[str] = []  # noqa: RUF012

        @uce.hookimpl
        def uce_stage_finished(self, event: Any) -> None:
            self.heard.append(event.stage)

    uce.localize(picture, **OPTIONS, observers=[Observer()])
    assert Observer.heard == ["extractor", "foreground", "clusterer", "refiner"]


def test_an_observer_that_fails_at_the_end_does_not_hide_why_a_run_failed(picture: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "late.py"
    plugin.write_text(
        "import uce\n\nclass Late:\n"
        "    @uce.hookimpl\n    def uce_run_finished(self, event):\n        raise RuntimeError\n"
    )
    with pytest.raises(ConfigError, match="there is no concept 5"):
        uce.run(picture, tmp_path / "out", **OPTIONS, concepts=[5], plugin=[str(plugin)])


def test_more_tokens_than_one_prompt_holds_are_drawn_in_groups(picture: Path, tmp_path: Path) -> None:
    settings = {**OPTIONS["set"], "clusterer.clusters": 12, "optimizer.steps": 0}
    run = uce.run(picture, tmp_path / "out", **{**OPTIONS, "set": settings})
    samples = {path.name for path in (run.path / "samples").glob("all*.png")}
    assert len(run) > 10 and samples == {"all-0.png", "all-1.png"}


def test_localize_then_learn_in_python(done: uce.Run, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    uce.localize(picture, folder, **OPTIONS)
    localized = uce.load(folder)
    assert not localized.learned
    with pytest.raises(RunFolderError, match="holds no learned tokens yet; learn them with uce learn"):
        _ = localized.concepts[0].embedding
    learned = uce.learn(folder)
    assert torch.equal(learned.concepts[0].embedding, done.concepts[0].embedding)
    with pytest.raises(RunFolderError, match="holds learned tokens already; learn them again with --overwrite"):
        uce.learn(folder)


def test_learning_some_masks_keeps_the_others(picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    uce.localize(picture, folder, **OPTIONS)
    (folder / "masks" / "0.png").rename(folder / "masks" / "drawn.png")
    drawn = (folder / "masks" / "drawn.png").read_bytes()
    assert [concept.token for concept in uce.learn(folder, concepts=[1]).concepts] == ["<asset1>"]
    assert (folder / "masks" / "drawn.png").read_bytes() == drawn
    everything = uce.learn(folder, concepts=[1, 2], overwrite=True)
    assert [concept.token for concept in everything.concepts] == ["<asset1>", "<drawn>"]
    assert sorted(path.name for path in (folder / "masks").iterdir()) == ["1.png", "2.png"]


def test_load_says_what_is_wrong(done: uce.Run, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"run\.json is missing; .* is no run folder: make one with uce run IMAGE"):
        uce.load(tmp_path)
    (tmp_path / "run.json").write_text('{"format": 2}')
    with pytest.raises(RunFolderError, match="has format 2, this uce reads up to 1; install a newer uce"):
        uce.load(tmp_path)
    (tmp_path / "run.json").write_text('{"format": 1}')
    with pytest.raises(RunFolderError, match=r"concepts\.json is missing"):
        uce.load(tmp_path)
    for content in ("[]", '{"concepts": [{"index": 0}]}', '{"concepts": 3}', '{"concepts": ["a"]}'):
        (tmp_path / "concepts.json").write_text(content)
        with pytest.raises(RunFolderError, match=r"concepts\.json is damaged or not a run's"):
            uce.load(tmp_path)


def test_damaged_files_of_a_run(done: uce.Run, tmp_path: Path) -> None:
    for name in ("run.json", "concepts.json"):
        (tmp_path / name).write_bytes((done.path / name).read_bytes())
    (tmp_path / "embeddings.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunFolderError, match=r"is not readable .*; learn again with --overwrite"):
        _ = uce.load(tmp_path).concepts[0].vectors
    with pytest.raises(RunFolderError, match=r"mask .*0\.png is not a readable picture; give a black and white PNG"):
        _ = uce.load(tmp_path).concepts[0].mask
    document = json.loads((tmp_path / "concepts.json").read_text())
    document["concepts"][0]["token"] = "<lost>"
    (tmp_path / "concepts.json").write_text(json.dumps(document))
    (tmp_path / "embeddings.safetensors").write_bytes((done.path / "embeddings.safetensors").read_bytes())
    with pytest.raises(RunFolderError, match="holds no <lost>; learn again with uce learn"):
        _ = uce.load(tmp_path).concepts[0].vectors


def test_model_path() -> None:
    assert (uce.model_path("mini") / "model_index.json").is_file()
    with pytest.raises(ModelError, match=r"unknown embedded model 'minni'; available: mini\. Did you mean 'mini'\?"):
        uce.model_path("minni")


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a photo of <asset1> in the Snow!", "a-photo-of-asset1-in-the-snow-s7.png"),
        ("../../etc/passwd", "etc-passwd-s7.png"),
        ("???", "picture-s7.png"),
        ("", "picture-s7.png"),
        ("一只猫", "picture-s7.png"),
        ("word " * 20, "word-word-word-word-word-word-word-word-word-word-word-word-s7.png"),
    ],
)
def test_names_of_generated_pictures(done: uce.Run, tmp_path: Path, prompt: str, name: str) -> None:
    uce.generate(prompt, done, tmp_path / "pictures", seed=7, steps=1)
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_generate_replaces_nothing(done: uce.Run, tmp_path: Path) -> None:
    for _ in range(3):
        pictures = uce.generate(["a cat", "a cat!"], done.path, tmp_path, count=2, steps=1)
    assert len(pictures) == 4 and all(isinstance(one, Image.Image) for one in pictures)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        f"a-cat-s{seed}{number}.png" for seed in (0, 1) for number in ("", *(f"-{n}" for n in range(2, 7)))
    }


def test_generate_is_seeded_and_knows_the_tokens(done: uce.Run, tmp_path: Path) -> None:
    first, again, other = (uce.generate("a photo of <asset0>", done, seed=seed, steps=2)[0] for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert uce.generate("a photo of <asset1>", done, seed=1, steps=2)[0].tobytes() != first.tobytes()


def test_generate_refuses(done: uce.Run, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown token '<asset9>'; available: <asset0>, <asset1>\..* Prompt: 'an <as"
    ):
        uce.generate("an <asset9>", done)
    with pytest.raises(ConfigError, match="count and steps must be at least 1, found count=0, steps=25"):
        uce.generate("a cat", done, count=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="file is a file; give a folder with -o"):
        uce.generate("a cat", done, tmp_path / "file")


def test_public_names() -> None:
    for name in uce.__all__:
        assert getattr(uce, name) is not None
    assert set(dir(uce)) == set(uce.__all__)
    with pytest.raises(AttributeError, match="module 'uce' has no attribute 'ruun'"):
        _ = uce.ruun


def test_importing_uce_is_quick() -> None:
    code = "import sys, uce, uce.core; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'PIL', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_may_be_what_python_code_has_at_hand(picture: Path) -> None:
    settings = {"clusterer": {"clusters": np.int64(2)}, "run.threads": np.int32(1), "extractor.saliency_side": None}
    as_texts = ["clusterer.clusters=2", "run.threads=1", "extractor.saliency_side=null"]
    first, second = (
        uce.localize(picture, model="tiny", clusterer="kmeans", refiner="none", set=given)
        for given in (settings, as_texts)
    )
    assert torch.equal(first.masks, second.masks) and torch.equal(first.maps, second.maps)
    with pytest.raises(ConfigError, match=r"clusterer.clusters: found '.*two', input should be a valid integer"):
        uce.localize(picture, clusterer="kmeans", set={"clusterer.clusters": Path("two")})


def test_a_loaded_model_is_taken_as_it_is(picture: Path, tmp_path: Path) -> None:
    backbone: Any = tiny_backbone()
    backbone.model = "mine"  # a name that no plugin knows
    options = {**OPTIONS, "model": backbone}
    run = uce.run(picture, tmp_path / "out", **options)
    assert run.info["model"]["name"] == "mine" and len(run) == 2
    with pytest.raises(ModelError, match=r"model 'mine' does not exist"):
        uce.localize(picture, **{**options, "model": "mine"})
    with pytest.raises(ConfigError, match=r"device is 'cuda', but the given model is loaded with 'cpu'; leave it out"):
        uce.localize(picture, device="cuda", **options)


def test_learn_takes_masks_as_arrays(picture: Path, tmp_path: Path, done: uce.Run) -> None:
    masks = np.stack([concept.mask for concept in done.concepts])
    options = {key: value for key, value in OPTIONS.items() if key not in ("clusterer", "refiner")}
    options["set"] = {key: value for key, value in OPTIONS["set"].items() if not key.startswith("clusterer.")}
    run = uce.learn(tmp_path / "out", image=picture, masks=masks, names="cup,cat", **options)
    assert [concept.token for concept in run.concepts] == ["<cup>", "<cat>"] and run.info["status"] == "done"
    assert all((mine.mask == theirs).all() for mine, theirs in zip(run.concepts, masks, strict=True))
    assert all(torch.isfinite(concept.embedding).all() for concept in run.concepts)
    whole = masks[0] | True
    later = uce.learn(tmp_path / "later", image=picture, masks=[whole, masks[1].astype(np.uint8) * 255], **options)
    assert (later.concepts[0].mask == ~masks[1]).all(), "where two overlap, the later one keeps the pixels"
    again = uce.learn(tmp_path / "later", concepts=[1], overwrite=True)
    assert [concept.index for concept in again.concepts] == [1], "the folder is like any other"


@pytest.mark.parametrize(
    ("masks", "text"),
    [
        ([], r"no mask is given; give one per thing"),
        (np.zeros((1, 4, 4), bool), r"mask 0 must be \(\d+, \d+\) as the picture is, found \(4, 4\)"),
        ("empty", r"mask 1 is empty or covered by later masks"),
        ("float", r"mask 0 holds float64; compare it with a threshold first"),
    ],
)
def test_masks_that_cannot_be_learned(picture: Path, tmp_path: Path, masks: Any, text: str) -> None:
    height, width = Image.open(picture).size[::-1]
    if isinstance(masks, str) and masks == "empty":
        masks = [np.ones((height, width), bool), np.zeros((height, width), bool)]
    elif isinstance(masks, str):
        masks = np.ones((1, height, width))
    with pytest.raises(StageInputError, match=text):
        uce.learn(tmp_path / "out", image=picture, masks=masks, model="tiny")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match=r"uce.learn: image and masks belong together"):
        uce.learn(tmp_path / "out", image=picture)


PLUGIN = """
import os, sys, warnings
import torch
import uce
from uce.core import Clusters

class Careless:
    name = "careless"

    class Settings(uce.Settings):
        leave: bool = False

    @uce.hookimpl
    def uce_cluster(self, attention, settings):
        print("a plugin prints")
        os.chdir("/")
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(3)
        torch.manual_seed(0)
        warnings.simplefilter("error")
        if settings.leave:
            sys.exit(0)
        return Clusters(torch.arange(attention.saliency.numel()).reshape(attention.grid) % 2)
"""


def test_a_plugin_file_is_one_text_and_cannot_hurt_its_host(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "careless.py"
    file.write_text(PLUGIN)

    def state() -> list[Any]:
        return [Path.cwd(), torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state().tolist()]

    before = state()
    options: dict[str, Any] = {"model": "tiny", "clusterer": "careless", "refiner": "none", "set": ["run.threads=1"]}
    assert len(uce.localize(picture, plugin=str(file), **options)) == 2
    assert state() == before
    assert tuple(capsys.readouterr()) == ("", "a plugin prints\n")
    leaving = {**options, "set": ["run.threads=1", "clusterer.leave=true"]}
    with pytest.raises(PluginError, match=r"clusterer 'careless' \(.*careless.py\) raised ExitedError: sys.exit\(0\)"):
        uce.localize(picture, tmp_path / "out", plugin=file, **leaving)
    assert state() == before and not (tmp_path / "out" / "run.json").exists(), "no run that looks as if it went on"
    batch = uce.batch(picture, tmp_path / "batch", plugin=[file], localize_only=True, **leaving)
    assert "raised ExitedError: sys.exit(0)" in batch.failures[0]["error"], "the batch goes on"
    grid = uce.ablate(picture, tmp_path / "grid", vary={"clusterer": ["careless", "kmeans"]}, plugin=str(file),
                      localize_only=True, model="tiny", refiner="none", set=["run.threads=1"])  # fmt: skip
    assert grid.failures == []


def test_misspelt_observers_are_refused(picture: Path) -> None:
    class Listener:
        @uce.hookimpl
        def uce_run_startd(self, event: Any) -> None: ...

    with pytest.raises(PluginError, match=r"observers: Listener: unknown hook 'uce_run_startd'.*'uce_run_started'"):
        uce.localize(picture, observers=[Listener()], **OPTIONS)
