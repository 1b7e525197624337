"""What `uce generate` draws and writes: prompts, samplers, grid, heat, text chunks, and painting into a photo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import uce
from uce.core.config.options import Options
from uce.core.model.backbone import LayerMap
from uce.core.model.heat import TokenHeat, paint_heat
from uce.core.model.regions import Regions
from uce.core.model.schedulers import SCHEDULERS, make_scheduler
from uce.core.runs.contact_sheet import Tile, contact_sheet
from uce.core.work.models import backbone_for
from uce.tokens.editing import Edit

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tokens, one of two vectors, without a picture."""
    folder = tmp_path_factory.mktemp("run")
    generator = torch.Generator().manual_seed(0)
    torch.save({"<cup>": torch.randn(16, generator=generator), "<cat>": torch.randn(2, 16, generator=generator)},
               folder / "tokens.bin")  # fmt: skip
    return uce.import_tokens(folder / "tokens.bin", folder / "run", model=str(tiny_pipeline)).path


def draw(cli: Cli, run: Path, out: Path, *arguments: Any) -> list[Path]:
    code, stdout, err = cli("generate", *arguments, "--run", run, "-o", out, "--steps", 2)
    assert code == 0, err
    return [Path(line) for line in stdout.splitlines()]


def refused(cli: Cli, run: Path, out: Path, *arguments: Any) -> str:
    code, stdout, err = cli("generate", *arguments, "--run", run, "-o", out)
    assert code == 2 and not stdout and err.startswith("uce: ") and err.count("\n") == 1, err
    assert not out.exists()
    return err


def test_pictures_say_what_they_were_drawn_from(cli: Cli, run: Path, tmp_path: Path) -> None:
    (path,) = draw(
        cli, run, tmp_path / "a", "a photo of <cup>", "--seed", 3, "--negative", "red", "--scheduler", "ddim"
    )
    said = Image.open(path).text  # type: ignore[attr-defined]
    assert said["prompt"] == "a photo of <cup>" and said["seed"] == "3" and said["scheduler"] == "ddim"
    assert said["negative prompt"] == "red" and said["steps"] == "2" and said["guidance"] == "5.0"
    assert json.loads(said["tokens"])["<cup>"] == "run:cup" and said["Software"] == f"uce {uce.__version__}"
    assert said["model"] == "model" and str(run.parent) not in str(said)
    (again,) = draw(
        cli, run, tmp_path / "b", "a photo of <cup>", "--seed", 3, "--negative", "red", "--scheduler", "ddim"
    )
    assert again.read_bytes() == path.read_bytes()


def test_prompts_from_a_file(cli: Cli, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("# two of them\na photo of <cup>\n\n  a photo of <cat>  \n", encoding="utf-8")
    names = [path.name for path in draw(cli, run, tmp_path / "out", "a dog", "--prompts", file)]
    assert names == ["a-dog-s0.png", "a-photo-of-cup-s0.png", "a-photo-of-cat-s0.png"]
    file.write_text("a photo of <cup>\n", encoding="utf-8-sig")
    assert [path.name for path in draw(cli, run, tmp_path / "mark", "--prompts", file)] == ["a-photo-of-cup-s0.png"]
    file.write_text("# nothing\n")
    assert "there is no prompt in it; write one per line" in refused(cli, run, tmp_path / "x", "--prompts", file)
    assert "No such file" in refused(cli, run, tmp_path / "x", "--prompts", tmp_path / "missing.txt")
    file.write_bytes(b"\xff\xfe\x00")
    assert "it is no UTF-8 text" in refused(cli, run, tmp_path / "x", "--prompts", file)
    assert "there is no prompt; give one" in refused(cli, run, tmp_path / "x")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_draws_and_is_seeded(tiny_backbone: Any, name: str) -> None:
    torch.manual_seed(1)
    (first,) = tiny_backbone.generate(["a cat"], seeds=[5], steps=3, scheduler=name)
    torch.manual_seed(2)  # nothing but the seed may matter
    (again,) = tiny_backbone.generate(["a cat"], seeds=[5], steps=3, scheduler=name)
    assert first.tobytes() == again.tobytes()
    (other,) = tiny_backbone.generate(["a cat"], seeds=[6], steps=3, scheduler=name)
    assert other.tobytes() != first.tobytes()


def test_schedulers_keep_the_models_own_noise_schedule(tiny_backbone_v: Any) -> None:
    for name in SCHEDULERS:
        made = make_scheduler(name, tiny_backbone_v.scheduler_config)
        assert made.config.prediction_type == "v_prediction" and made.config.beta_start == 0.00085


def test_an_unknown_scheduler_lists_the_known(cli: Cli, run: Path, tmp_path: Path) -> None:
    line = refused(cli, run, tmp_path / "out", "a cat", "--scheduler", "eular-a")
    assert "unknown scheduler 'eular-a'; available: ddim, ddpm, " in line and "Did you mean 'euler-a'?" in line


def test_a_negative_prompt_matters(tiny_backbone: Any) -> None:
    plain, led, same = (
        tiny_backbone.generate(["a cat"], seeds=[1], steps=3, negative=text)[0].tobytes() for text in ("", "a dog", "")
    )
    assert plain == same != led


def test_grid_is_one_more_picture(cli: Cli, run: Path, tmp_path: Path) -> None:
    paths = draw(cli, run, tmp_path / "out", "a <cup>", "a <cat> and a <cup>", "-n", 2, "--grid")
    assert [path.name for path in paths[4:]] == ["grid.png"]
    sheet = Image.open(paths[4])
    assert sheet.width > 2 * 224 and sheet.height > 2 * 224
    assert sheet.text["prompt"] == "a <cup>\na <cat> and a <cup>"  # type: ignore[attr-defined]


def test_heat_shows_every_token_and_changes_no_picture(cli: Cli, run: Path, tmp_path: Path) -> None:
    plain, cold = draw(cli, run, tmp_path / "plain", "a <cup> and a <cat>", "a dog")
    paths = draw(cli, run, tmp_path / "hot", "a <cup> and a <cat>", "a dog", "--heat")
    assert [path.name for path in paths[2:]] == ["a-cup-and-a-cat-s0-heat.png"], "a dog holds no token"
    assert paths[0].read_bytes() == plain.read_bytes() and paths[1].read_bytes() == cold.read_bytes()
    assert Image.open(paths[2]).width > 3 * 224


def test_heat_is_where_the_attention_was() -> None:
    fine, coarse = torch.zeros(2, 16, 3), torch.zeros(2, 4, 3)
    fine[1, 5, 0] = 1.0  # the first token: one cell of the fine layer, and a quarter of the coarse one
    coarse[1, 0, 0] = 1.0
    fine[1, 15, 1], fine[1, 15, 2] = 0.5, 0.5  # the second token stands at two places
    fine[0] = 7.0  # the empty prompt does not count
    heat = TokenHeat({"<a>": [2], "<b>": [4, 5]})
    assert heat.columns.tolist() == [[2, 4, 5]]
    maps = [LayerMap("x", "cross", (4, 4), 1, fine), LayerMap("y", "cross", (2, 2), 1, coarse)]
    heat.add(maps)
    assert not maps, "maps are dropped as they come, or memory would fill"
    found = heat.result()
    assert found["<a>"].argmax() == 5 and found["<b>"].argmax() == 15
    assert all(one.min() == 0 and one.max() == 1 for one in found.values())
    painted = np.asarray(paint_heat(Image.new("RGB", (64, 64), (90, 90, 90)), found["<a>"]))
    assert painted[24, 24].sum() > painted[60, 60].sum()


@pytest.mark.parametrize("size", [(90, 140), (150, 70), (40, 40)])
def test_painting_into_a_photo_leaves_the_rest_bit_for_bit(
    cli: Cli, run: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    height, width = size
    photo = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[5:25, width - 22 :] = 255
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    into = ["--into", tmp_path / "photo.png", "--mask", tmp_path / "mask.png"]
    (path,) = draw(cli, run, tmp_path / "out", "a <cup>", *into)
    drawn = np.asarray(Image.open(path))
    assert drawn.shape == photo.shape and (drawn[mask == 0] == photo[mask == 0]).all()
    assert (drawn[mask > 0] != photo[mask > 0]).any(axis=1).mean() > 0.8
    (other,) = draw(cli, run, tmp_path / "out", "a <cat>", *into)
    assert (np.asarray(Image.open(other)) != drawn).any()


@pytest.mark.parametrize("scheduler", ["dpm++", "euler", "ddim", "heun"])
def test_outside_the_mask_the_latents_are_the_photos(
    tiny_backbone: Any, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    edit = Edit(np.full((64, 64, 3), 120, np.uint8), np.zeros((64, 64), bool))
    edit.mask[:, :20] = True
    into = edit.prepare(tiny_backbone)
    assert into.latents.shape == (1, 4, 16, 16) and set(into.mask.unique().tolist()) == {0.0, 1.0}
    seen: list[torch.Tensor] = []
    decode = tiny_backbone.decode
    monkeypatch.setattr(tiny_backbone, "decode", lambda latents: seen.append(latents) or decode(latents))
    tiny_backbone.generate(["a cat"], seeds=[0], steps=3, scheduler=scheduler, into=into)
    outside = into.mask.expand_as(into.latents) == 0
    assert torch.equal(seen[0][outside], into.latents[outside])
    assert (seen[0][~outside] != into.latents[~outside]).all()


def test_painting_refuses(cli: Cli, run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    Image.new("L", (30, 40), 255).save(tmp_path / "turned.png")
    Image.new("L", (40, 30)).save(tmp_path / "black.png")
    (tmp_path / "words.png").write_text("no picture")
    out, photo = tmp_path / "out", ["--into", tmp_path / "photo.png"]
    assert "--into and --mask belong together" in refused(cli, run, out, "a", *photo)
    cases = {
        "turned.png": "the mask has 30 x 40 pixels and the photo 40 x 30; save it at the photo's size",
        "black.png": "the mask is black everywhere; paint white where something new is to be drawn",
        "photo.png": "both name",
        "words.png": "is not a picture in a format that can be read",
        "missing.png": "does not exist",
    }
    for name, text in cases.items():
        assert text in refused(cli, run, out, "a", *photo, "--mask", tmp_path / name)
    heat = [*photo, "--mask", tmp_path / "black.png", "--heat"]
    assert "leave it out with --into" in refused(cli, run, out, "a", *heat)


def test_a_backbone_without_the_newer_options_is_named() -> None:
    from uce.testing import tiny_backbone
    from uce.tokens.drawing import _require_offered

    with pytest.raises(uce.UceError, match="the model 'tiny' comes from a backbone that draws without 'negative'"):
        _require_offered(tiny_backbone(), {"steps": 1, "negative": "red"})


def test_contact_sheet_holds_long_texts_and_missing_pictures() -> None:
    wide, tall = Image.new("RGB", (300, 20), "red"), Image.new("RGB", (3, 90), "blue")
    sheet = contact_sheet([("word " * 60, [Tile(wide, "x" * 200, "note"), Tile(None, "none")]), ("", [Tile(tall, "")])])
    assert sheet.width == 16 + 2 * 240 and sheet.getpixel((16 + 112, sheet.height - 130)) == (0, 0, 255)


# Several things without blending


def test_each_token_acts_in_its_own_region(cli: Cli, run: Path, tmp_path: Path) -> None:
    """Found or given, regions change the picture; a prompt of one token is drawn as ever."""
    prompt = "a photo of <cup> next to <cat>"
    (plain,) = draw(cli, run, tmp_path / "plain", prompt)
    (found,) = draw(cli, run, tmp_path / "found", prompt, "--regions")
    (again,) = draw(cli, run, tmp_path / "again", prompt, "--regions")
    layout = tmp_path / "layout.json"
    layout.write_text('{"<cup>": [0, 0, 0.5, 1], "<cat>": [0.5, 0, 1, 1]}')
    (given,) = draw(cli, run, tmp_path / "given", prompt, "--layout", layout)
    assert Image.open(found).text["regions"] == "<cup>, <cat>"  # type: ignore[attr-defined]
    assert "regions" not in Image.open(plain).text  # type: ignore[attr-defined]
    assert found.read_bytes() == again.read_bytes()
    pixels = [np.asarray(Image.open(path)).tobytes() for path in (plain, found, given)]
    assert len(set(pixels)) == 3
    alone = [draw(cli, run, tmp_path / name, "a photo of <cup>", *more)[0] for name, more in
             (("one", ()), ("two", ("--regions",)))]  # fmt: skip
    assert np.array_equal(*(np.asarray(Image.open(path)) for path in alone))


def test_regions_refuse(cli: Cli, run: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    mask = tmp_path / "mask.png"
    for path in (photo, mask):
        Image.new("RGB", (64, 64), "white").save(path)
    text = "regions are of a whole picture that is drawn as it is; leave {} out, or the regions"
    assert text.format("--heat") in refused(cli, run, tmp_path / "x", "a <cup>", "--regions", "--heat")
    assert text.format("--into") in refused(
        cli, run, tmp_path / "x", "a <cup>", "--regions", "--into", photo, "--mask", mask
    )
    missing = tmp_path / "none.yaml"
    assert f"--layout {missing}: No such file" in refused(cli, run, tmp_path / "x", "a <cup>", "--layout", missing)
    assert "was imported: it has no picture" in refused(cli, run, tmp_path / "x", "a <cup>", "--like", run)


@pytest.mark.parametrize("kind", ["tiny_pipeline_xl", "tiny_flux", "tiny_sd3"])
def test_every_kind_of_model_draws_in_regions(request: pytest.FixtureRequest, kind: str) -> None:
    """Whether text is summed up, guidance embedded or attention joint: regions ask only for predictions."""
    options = Options.of({"model": str(request.getfixturevalue(kind))})
    manager = options.manager()
    backbone: Any = backbone_for(manager, options.resolve(manager))
    side = backbone.latent_side
    left = (torch.arange(side) < side // 2).float().expand(side, side)
    plain, whole, both = (
        backbone.generate(["a cup and a dog"], seeds=[1], steps=2, **more)[0]
        for more in (
            {},
            {"regions": Regions({"cup": torch.ones(side, side), "dog": torch.zeros(side, side)})},
            {"regions": Regions({"cup": left, "dog": 1 - left})},
        )
    )
    (cup,) = backbone.generate(["a cup"], seeds=[1], steps=2)
    assert np.abs(np.asarray(whole, int) - np.asarray(cup, int)).max() <= 1, "one region that is all of the picture"
    assert not np.array_equal(plain, both)
