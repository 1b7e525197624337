"""Tokens that leave and come back: export, import, library, and pictures that hold several."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import uce
from uce.core.runs.folder import RunFolder

Cli = Callable[..., tuple[int, str, str]]
QUICK = ["--clusterer", "kmeans", "--set", "clusterer.clusters=2", "--refiner", "none", "--set",
         "optimizer.schedule=paper", "--set", "optimizer.steps=1", "--set", "optimizer.merge_step=0", "--set",
         "run.sample_steps=1"]  # fmt: skip


@pytest.fixture(scope="module")
def done(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two tokens, 16 wide."""
    folder = tmp_path_factory.mktemp("runs")
    picture = np.full((60, 80, 3), 200, np.uint8)
    picture[10:40, 8:36] = (200, 40, 40)
    picture[20:55, 46:76] = (30, 110, 60)
    Image.fromarray(picture).save(folder / "scene.png")
    options = {QUICK[i].removeprefix("--"): QUICK[i + 1] for i in (0, 4)}
    settings = [QUICK[i + 1] for i, flag in enumerate(QUICK) if flag == "--set"]
    uce.run(folder / "scene.png", folder / "out", model=str(tiny_pipeline), set=settings, **options)
    return folder / "out"


@pytest.fixture(scope="module")
def two_encoders(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run as an SDXL backbone would leave it."""
    folder = tmp_path_factory.mktemp("runs") / "xl"
    library = uce.Library.open(folder)
    library.add(uce.load(done), "xl")
    tensors = {}
    for number, token in enumerate(("<asset0>", "<asset1>")):
        generator = torch.Generator().manual_seed(number)
        tensors[f"{token}.clip_l"] = torch.randn(16, generator=generator)
        tensors[f"{token}.clip_g"] = torch.randn(24, generator=generator)
    save_file(tensors, folder / "xl" / "embeddings.safetensors")
    return folder / "xl"


def facts(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        document: dict[str, Any] = json.loads(file.metadata()["uce"])
    return document


def refused(result: tuple[int, str, str], text: str) -> None:
    """One line, exit code 2, nothing on stdout."""
    code, out, err = result
    assert code == 2 and not out, (code, out, err)
    assert err.startswith("uce: ") and err.count("\n") == 1 and "Traceback" not in err, err
    assert text in err, err


# Export


@pytest.mark.parametrize(
    ("to", "files"),
    [
        ("diffusers", ["asset0.safetensors", "asset1.safetensors"]),
        ("a1111", ["embeddings/asset0.safetensors", "embeddings/asset1.safetensors"]),
        ("comfyui", ["models/embeddings/asset0.safetensors", "models/embeddings/asset1.safetensors"]),
    ],
)
def test_export_layouts(cli: Cli, done: Path, tmp_path: Path, to: str, files: list[str]) -> None:
    code, out, err = cli("export", done, "--to", to, "-o", tmp_path / "there", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["files"] == files and "asset1" in out and document["usage"]
    for file, concept in zip(files, uce.load(done).concepts, strict=True):
        (tensor,) = load_file(tmp_path / "there" / file).values()
        assert torch.equal(tensor.reshape(-1), concept.embedding)
        said = facts(tmp_path / "there" / file)
        assert said["token"] == concept.token and said["picture"] == uce.load(done).info["input"]["digest"]
        assert said["model"] == "model" and said["uce"] == uce.__version__ and "licence" in said
    assert not list((tmp_path / "there").rglob("*.part"))


def test_export_web_uis_get_two_axes_and_their_key(cli: Cli, done: Path, two_encoders: Path, tmp_path: Path) -> None:
    assert cli("export", done, "--to", "a1111", "-o", tmp_path / "one")[0] == 0
    tensors = load_file(tmp_path / "one" / "embeddings" / "asset0.safetensors")
    assert {name: tuple(value.shape) for name, value in tensors.items()} == {"emb_params": (1, 16)}
    for to, folder in (("a1111", "embeddings"), ("comfyui", "models/embeddings")):
        assert cli("export", two_encoders, "--to", to, "-o", tmp_path / to)[0] == 0
        tensors = load_file(tmp_path / to / folder / "asset1.safetensors")
        assert {name: tuple(value.shape) for name, value in tensors.items()} == {"clip_g": (1, 24), "clip_l": (1, 16)}


def test_export_chooses_and_renames(cli: Cli, done: Path, tmp_path: Path) -> None:
    code, out, err = cli("export", done, "--to", "diffusers", "-o", tmp_path, "--concepts", "1", "--names", "cup",
                         "--license", "cc-by-4.0")  # fmt: skip
    assert code == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["cup.safetensors"]
    assert list(load_file(tmp_path / "cup.safetensors")) == ["<cup>"]
    assert facts(tmp_path / "cup.safetensors")["licence"] == "cc-by-4.0"
    assert 'pipe.load_textual_inversion("cup.safetensors", token="<cup>")' in out


def test_export_is_the_same_bytes_in_another_process(done: Path, tmp_path: Path) -> None:
    code = f"import uce; uce.export({str(done)!r}, 'diffusers', {str(tmp_path / 'there')!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    uce.export(done, "diffusers", tmp_path / "here")
    for path in (tmp_path / "here").iterdir():
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes()


def test_diffusers_reads_what_is_exported(done: Path, tiny_pipeline: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    uce.export(done, "diffusers", tmp_path / "plain", names=["cup"])
    uce.export(done, "a1111", tmp_path / "webui")
    uce.export(done, "hub-folder", tmp_path / "hub", concepts=[1], names=["cat"])
    pipe = StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    pipe.load_textual_inversion(tmp_path / "plain" / "cup.safetensors")
    pipe.load_textual_inversion(tmp_path / "webui" / "embeddings" / "asset1.safetensors", token="<webui>")
    pipe.load_textual_inversion(tmp_path / "hub")
    table = pipe.text_encoder.get_input_embeddings().weight
    for token, index in (("<cup>", 0), ("<webui>", 1), ("<cat>", 1)):
        row = table[pipe.tokenizer.convert_tokens_to_ids(token)]
        assert torch.equal(row, uce.load(done).concepts[index].embedding), token


def test_hub_folder_is_a_model_repository(cli: Cli, done: Path, tmp_path: Path) -> None:
    assert (
        cli("export", done, "--to", "hub-folder", "-o", tmp_path / "one", "--concepts", "0", "--names", "cup")[0] == 0
    )
    names = {path.relative_to(tmp_path / "one").as_posix() for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert names == {"README.md", "learned_embeds.safetensors", "token_identifier.txt", "type_of_concept.txt",
                     "concept_images/0.png"}  # fmt: skip
    assert (tmp_path / "one" / "token_identifier.txt").read_text() == "<cup>"
    card = (tmp_path / "one" / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n") and "textual-inversion" in card and "`<cup>`" in card
    assert "![<cup>](concept_images/0.png)" in card
    cut_outs = ["--set", "exporter.pictures=cut-outs", "--license", "MIT"]
    assert cli("export", done, "--to", "hub-folder", "-o", tmp_path / "two", *cut_outs)[0] == 0
    for stem in ("asset0", "asset1"):
        assert list(load_file(tmp_path / "two" / stem / "learned_embeds.safetensors")) == [f"<{stem}>"]
    card = (tmp_path / "two" / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n") and 'subfolder="asset1"' in card
    shown = np.asarray(Image.open(tmp_path / "two" / "asset0" / "concept_images" / "0.png"))
    assert (shown == 255).all(axis=2).any(), "what is not the thing is white"


def test_lora_goes_with_the_tokens(
    cli: Cli, done: Path, tiny_pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from diffusers import StableDiffusionPipeline

    run = uce.Library.open(tmp_path).add(uce.load(done), "lora").path
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
    weights = {f"{layer}.lora.down.weight": torch.randn(2, 16), f"{layer}.lora.up.weight": torch.randn(16, 2)}
    save_file(weights, run / "weights.safetensors")
    assert cli("export", run, "--to", "diffusers", "-o", tmp_path / "diffusers")[0] == 0
    pipe = StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    before = pipe.unet.get_submodule(layer.removeprefix("unet.")).weight.detach().clone()
    pipe.load_lora_weights(tmp_path / "diffusers", weight_name="pytorch_lora_weights.safetensors")
    pipe.fuse_lora()
    after = pipe.unet.get_submodule(layer.removeprefix("unet.")).weight.detach()
    product = weights[f"{layer}.lora.up.weight"] @ weights[f"{layer}.lora.down.weight"]
    assert torch.allclose(after, before + product, atol=1e-5)
    code, out, _ = cli("export", run, "--to", "a1111", "-o", tmp_path / "a1111")
    assert code == 0 and "<lora:asset0-asset1-lora:1>" in out
    named = load_file(tmp_path / "a1111" / "models" / "Lora" / "asset0-asset1-lora.safetensors")
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_q"
    assert set(named) == {f"{name}.lora_down.weight", f"{name}.lora_up.weight", f"{name}.alpha"}
    assert float(named[f"{name}.alpha"]) == 2
    # diffusers reads the web UIs' naming too: the same product comes out
    pipe = StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    pipe.load_lora_weights(tmp_path / "a1111" / "models" / "Lora", weight_name="asset0-asset1-lora.safetensors")
    pipe.fuse_lora()
    assert torch.allclose(pipe.unet.get_submodule(layer.removeprefix("unet.")).weight, before + product, atol=1e-5)
    save_file({"unet.conv_in.weight": torch.zeros(16, 4, 3, 3)}, run / "weights.safetensors")
    capsys.readouterr()  # what diffusers said while it loaded
    refused(cli("export", run, "--to", "comfyui", "-o", tmp_path / "full"), "export with --to diffusers, or only the")
    assert not (tmp_path / "full").exists()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--to", "comfy"], "unknown exporter 'comfy'; available: a1111, comfyui, diffusers, hub-folder. Did you mean"),
        (["--to", "a1111", "--concepts", "0,7"], "there is no concept 7; found 0, 1"),
        (["--to", "a1111", "--concepts", "0,0"], "give each index once"),
        (["--to", "a1111", "--names", "cup,cup"], "two tokens would be called <cup>"),
        (["--to", "a1111", "--names", "asset1"], "two tokens would be called <asset1>"),
        (["--to", "a1111", "--names", "../x"], "token name '../x' is not allowed"),
        (["--to", "a1111", "--names", "a,b,c"], "3 names for 2 tokens"),
        (["--to", "a1111", "--set", "exporter.weight=false"], "Did you mean 'exporter.weights'?"),
        (["--to", "hub-folder", "--set", "exporter.pictures=all"], "exporter.pictures: found 'all'"),
        (["--to", "a1111", "--set", "run.seed=1"], "unknown key 'run.seed'"),
    ],
)
def test_export_refuses(cli: Cli, done: Path, tmp_path: Path, flags: list[str], text: str) -> None:
    refused(cli("export", done, *flags, "-o", tmp_path / "there"), text)
    assert not (tmp_path / "there").exists()


def test_export_replaces_nothing_unasked(cli: Cli, done: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert cli("export", done, "--to", "diffusers", "-o", tmp_path)[0] == 0
    before = (tmp_path / "asset0.safetensors").read_bytes()
    refused(cli("export", done, "--to", "diffusers", "-o", tmp_path, "--license", "mit"), "replace it with --overwrite")
    assert (tmp_path / "asset0.safetensors").read_bytes() == before
    assert cli("export", done, "--to", "diffusers", "-o", tmp_path, "--license", "mit", "--overwrite")[0] == 0
    assert (tmp_path / "asset0.safetensors").read_bytes() != before and (tmp_path / "notes.txt").read_text() == "mine"
    refused(cli("export", done, "--to", "diffusers", "-o", tmp_path / "notes.txt"), "is a file; give a folder with -o")


def test_anybody_may_bring_an_exporter(cli: Cli, done: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "names_only.py"
    plugin.write_text(
        '"""Names."""\nimport uce\n\n\nclass NamesOnly:\n    """Writes names: for a list."""\n\n'
        '    name = "names-only"\n\n'
        "    @uce.hookimpl\n    def uce_export(self, tokens, out):\n"
        '        (out / "names.txt").write_text(" ".join(t.stem for t in tokens))\n        return "read it"\n'
    )
    code, out, err = cli("export", done, "--to", "names-only", "--plugin", plugin, "-o", tmp_path / "there")
    assert code == 0 and "read it" in out, err
    assert (tmp_path / "there" / "names.txt").read_text() == "asset0 asset1"
    plugin.write_text(plugin.read_text().replace("return", "1 / 0\n        return"))
    line = cli("export", done, "--to", "names-only", "--plugin", plugin, "-o", tmp_path / "other")
    refused(line, "raised ZeroDivisionError: division by zero; traceback in")
    assert not (tmp_path / "other").exists()


# Import


def files_of_every_layout(folder: Path, done: Path) -> dict[str, tuple[Path, str]]:
    """layout -> (file, the name its first token must get); all hold the run's first embedding."""
    vector = uce.load(done).concepts[0].embedding
    other = uce.load(done).concepts[1].embedding
    uce.export(done, "a1111", folder, concepts=[0], names=["ours"])
    save_file({"emb_params": vector[None]}, folder / "Bad Hands-5.safetensors")
    torch.save({"<cup>": vector}, folder / "learned_embeds.bin")
    torch.save({"<asset0>": vector, "<asset1>": other}, folder / "paper.bin")
    torch.save({"cat": vector.half().float()[None]}, folder / "old.pt", _use_new_zipfile_serialization=False)
    a1111 = {"string_to_token": {"*": 265}, "string_to_param": {"*": vector[None]}, "name": "Kitty", "step": 3,
             "sd_checkpoint": None, "sd_checkpoint_name": None}  # fmt: skip
    torch.save(a1111, folder / "kitty-3000.pt")
    torch.save({**a1111, "string_to_param": {"*": torch.nn.Parameter(vector[None])}}, folder / "trained.pt")
    return {
        "ours": (folder / "embeddings" / "ours.safetensors", "<ours>"),
        "embeddings.safetensors": (done / "embeddings.safetensors", "<asset0>"),
        "emb_params": (folder / "Bad Hands-5.safetensors", "<bad-hands-5>"),
        "diffusers": (folder / "learned_embeds.bin", "<cup>"),
        "the paper's": (folder / "paper.bin", "<asset0>"),
        "legacy pickle": (folder / "old.pt", "<cat>"),
        "AUTOMATIC1111": (folder / "kitty-3000.pt", "<kitty>"),
        "a parameter": (folder / "trained.pt", "<kitty>"),
    }


def test_import_reads_every_layout(cli: Cli, done: Path, tiny_pipeline: Path, tmp_path: Path) -> None:
    vector = uce.load(done).concepts[0].embedding
    for number, (layout, (path, token)) in enumerate(files_of_every_layout(tmp_path, done).items()):
        out = tmp_path / f"out{number}"
        code, _, err = cli("import", path, "-o", out, "--model", tiny_pipeline)
        assert code == 0, (layout, err)
        first = uce.load(out).concepts[0]
        assert first.token == token, layout
        wanted = vector.half().float() if layout == "legacy pickle" else vector
        assert torch.equal(first.embedding, wanted), layout


def test_tokens_of_several_vectors_leave_in_every_layout_and_come_back(
    done: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    settings = [QUICK[i + 1] for i, flag in enumerate(QUICK) if flag == "--set"]
    settings += ["initializer.vectors=3", "initializer.split_tokens=2", "run.samples=0"]
    run = uce.run(done.parent / "scene.png", tmp_path / "run", model=str(tiny_pipeline), clusterer="kmeans",
                  refiner="none", set=settings)  # fmt: skip
    first = run.concepts[0]
    assert first.embedding.shape == (3, 16) and len({row.sum().item() for row in first.embedding}) == 3
    stem = first.token.strip("<>")
    (stored,) = load_file(tmp_path / "run" / "tokens" / f"{stem}.safetensors").values()
    assert torch.equal(stored, first.embedding)
    for to in ("diffusers", "a1111", "comfyui", "hub-folder"):
        made = uce.export(run, to, tmp_path / to, concepts=[0])
        files = [made.folder / file for file in made.files if Path(file).suffix in (".safetensors", ".pt")]
        back = uce.import_tokens(files[0], tmp_path / f"back-{to}", model=str(tiny_pipeline))
        assert torch.equal(back.concepts[0].embedding, first.embedding), to


def test_imported_tokens_draw_like_the_run_they_came_from(
    cli: Cli, done: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    assert cli("export", done, "--to", "comfyui", "-o", tmp_path)[0] == 0
    files = sorted((tmp_path / "models" / "embeddings").iterdir())
    code, out, err = cli("import", *files, "-o", tmp_path / "back", "--model", tiny_pipeline, "--names", "cup")
    assert code == 0 and "<cup>" in out and "<asset1>" in out and "next: uce generate" in out, err
    pictures = []
    for run, prompt in (
        (done, "a photo of <asset0> and <asset1>"),
        (tmp_path / "back", "a photo of <cup> and <asset1>"),
    ):
        pictures.append(uce.generate(prompt, run, steps=2)[0].tobytes())
    assert pictures[0] == pictures[1]


def test_imported_run_is_readable_like_any_other(done: Path, tiny_pipeline: Path, tmp_path: Path) -> None:
    run = uce.import_tokens(done / "tokens" / "asset1.safetensors", tmp_path / "out", model=str(tiny_pipeline))
    assert run.learned and not run.has_picture and uce.load(done).has_picture
    summary = run.summary()
    assert summary["status"] == "imported" and summary["image"] is None and summary["concepts"][0]["mask"] is None
    assert "overlay" not in summary["files"]
    (concept,) = run.concepts
    assert (concept.area, concept.share, concept.score, concept.bbox) == (0, 0.0, 0.0, (0, 0, 0, 0))
    with pytest.raises(uce.UceError, match="was imported: it has no picture, so no mask"):
        _ = concept.mask
    with pytest.raises(uce.UceError, match="holds imported tokens and no picture to learn from"):
        uce.learn(tmp_path / "out")
    with pytest.raises(uce.UceError, match="holds imported tokens: it has no picture to compare with"):
        uce.evaluate([tmp_path / "out"])
    assert run.pipeline().tokenizer.convert_tokens_to_ids("<asset1>") > 0
    uce.export(run, "hub-folder", tmp_path / "again", set=["exporter.pictures=cut-outs"])
    assert RunFolder(tmp_path / "out").is_run
    uce.import_tokens(done / "tokens" / "asset0.safetensors", run.path, model=str(tiny_pipeline), overwrite=True)
    assert [one.token for one in uce.load(run.path).concepts] == ["<asset0>"]


def test_two_text_encoders_come_back(two_encoders: Path, tmp_path: Path) -> None:
    wanted = uce.load(two_encoders).concepts[1].vectors
    for to, file in (("diffusers", "asset1"), ("a1111", "embeddings/asset1"), ("comfyui", "models/embeddings/asset1")):
        uce.export(two_encoders, to, tmp_path / to)
        run = uce.import_tokens(tmp_path / to / f"{file}.safetensors", tmp_path / f"{to}-back", model="some/xl-model")
        assert run.concepts[0].token == "<asset1>"
        for encoder in ("clip_l", "clip_g"):
            assert torch.equal(run.concepts[0].vectors[encoder], wanted[encoder])
    run = uce.import_tokens(two_encoders / "embeddings.safetensors", tmp_path / "all", model="some/xl-model")
    assert [concept.token for concept in run.concepts] == ["<asset0>", "<asset1>"]


def test_tokens_of_two_text_encoders_draw_and_diffusers_reads_them(tiny_pipeline_xl: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(tiny_pipeline_xl)
    widths = [one.get_input_embeddings().weight.shape[1] for one in (pipe.text_encoder, pipe.text_encoder_2)]
    vectors = {f"clip_{end}": torch.randn(2, width) for end, width in zip("lg", widths, strict=True)}
    save_file(vectors, tmp_path / "cup.safetensors")
    run = uce.import_tokens(tmp_path / "cup.safetensors", tmp_path / "run", model=str(tiny_pipeline_xl))
    uce.generate("a photo of <cup>", run, tmp_path / "pictures", steps=2, negative="red", heat=True, scheduler="euler")
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "a-photo-of-cup-s0.png", "a-photo-of-cup-s0-heat.png"
    }  # fmt: skip
    done = uce.export(run, "diffusers", tmp_path / "out")
    # What the command prints is what one types: it must work.
    lines = done.usage.replace('"cup.safetensors"', repr(str(tmp_path / "out" / "cup.safetensors")))
    import safetensors.torch

    exec(lines, {"pipe": pipe, "safetensors": safetensors})
    for tokenizer, encoder, name in (
        (pipe.tokenizer, pipe.text_encoder, "clip_l"),
        (pipe.tokenizer_2, pipe.text_encoder_2, "clip_g"),
    ):
        rows = tokenizer.convert_tokens_to_ids(["<cup>", "<cup>_1"])
        assert torch.equal(encoder.get_input_embeddings().weight[rows].detach(), vectors[name])


def test_the_python_of_the_page_runs(done: Path, tiny_pipeline: Path, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in page.split("```python\n")[1:]:
        exec(block.split("```")[0].replace('"sd1.5"', repr(str(tiny_pipeline))), names)
    assert len(names["tour"](done, tmp_path)) == 1 and (tmp_path / "sheet.png").is_file()
    assert names["facts"](tmp_path / "ComfyUI" / "models" / "embeddings" / "cup.safetensors")["token"] == "<cup>"


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("evil-ran",)


def bad_files(folder: Path) -> dict[Path, str]:
    """file -> what the line says about it."""
    good = torch.ones(16)
    cases: dict[str, tuple[Any, str]] = {
        "code.bin": ({"<cup>": good, "evil": Evil()}, "is a pickle that holds more than plain tensors"),
        "list.bin": ([good], "holds list, not tensors by name"),
        "mixed.bin": ({"<cup>": good, "note": "hello"}, "'note' is text, not a tensor"),
        "whole.bin": ({"<cup>": torch.ones(16, dtype=torch.int64)}, "numbers of type int64; embeddings are floats"),
        "axes.bin": ({"<cup>": torch.ones(2, 3, 16)}, "has shape (2, 3, 16); embeddings are (d,) or (n, d)"),
        "many.bin": ({"<cup>": torch.ones(1, 16).expand(5000, 16)}, "at most 75 vectors"),
        "empty.bin": ({}, "holds 0 entries"),
        "nan.bin": ({"<cup>": good * float("nan")}, "values that are not finite"),
        "sparse.bin": ({"<cup>": good.to_sparse()}, "not a plain tensor"),
        "half.bin": ({"clip_g": good}, "holds only clip_g; SDXL embeddings hold clip_l and clip_g"),
        "uneven.bin": ({"clip_l": torch.ones(1, 16), "clip_g": torch.ones(2, 16)}, "another number of vectors"),
        "lora.bin": ({"unet.a.lora.down.weight": good, "unet.a.lora.up.weight": good}, "a model or a LoRA"),
        "terms.pt": (
            {"string_to_param": {"*": good, "+": good}},
            "string_to_param must hold one tensor, found 2 entries",
        ),
        "text.pt": ({"string_to_param": {"*": "x"}, "name": "a"}, "is text, not a plain tensor"),
    }
    found = {}
    for name, (content, text) in cases.items():
        torch.save(content, folder / name)
        found[folder / name] = text

    def write(name: str, data: bytes, text: str) -> None:
        (folder / name).write_bytes(data)
        found[folder / name] = text

    save_file({"<cup>": torch.ones(16)}, folder / "good.safetensors")
    good_bytes = (folder / "good.safetensors").read_bytes()
    write("cut.safetensors", good_bytes[:-8], "is damaged")
    write("header.safetensors", (1 << 60).to_bytes(8, "little") + good_bytes[8:], "its header says 1152921504606846976")
    write("words.safetensors", b"not an embedding at all", "is neither safetensors nor a torch file")
    write("nothing.safetensors", b"", "is neither safetensors nor a torch file")
    torch.save({"<cup>": torch.ones(16)}, folder / "whole.pt")
    write("cut.pt", (folder / "whole.pt").read_bytes()[:-200], "is damaged")
    write("raw.bin", pickle.dumps({"<cup>": [1.0]}), "is a pickle that holds more than plain tensors;")
    with zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("bomb/data.pkl", bytes(80 << 20))
    found[folder / "bomb.pt"] = "unpacks to 80 MiB"
    found[folder / "missing.pt"] = "No such file or directory"
    (folder / "none").mkdir()
    found[folder / "none"] = "holds no embedding; give a file, or a folder as the hub has it"
    return found


def test_import_refuses_bad_files(
    cli: Cli, tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    cases = bad_files(tmp_path / "files")
    for path, text in cases.items():
        refused(cli("import", path, "-o", "out", "--model", tiny_pipeline), text)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["files"], path


def test_import_refuses_what_does_not_fit(cli: Cli, done: Path, tiny_pipeline: Path, tmp_path: Path) -> None:
    torch.save({"<a>": torch.ones(16)}, tmp_path / "a.bin")
    torch.save({"A": torch.zeros(16)}, tmp_path / "b.bin")
    torch.save({"<c>": torch.ones(768)}, tmp_path / "c.bin")
    out, model = tmp_path / "out", ["--model", tiny_pipeline]
    a, b, c = (tmp_path / f"{name}.bin" for name in "abc")
    refused(cli("import", a, b, "-o", out, *model), "both bring a token <a>; name them with --names")
    refused(cli("import", a, c, "-o", out, *model), "16 wide and")
    refused(cli("import", c, "-o", out), "It is 768 wide (Stable Diffusion 1.x, such as sd1.5); say so with --model")
    refused(cli("import", a, "-o", out, *model, "--names", "x,y"), "2 names for 1 tokens")
    refused(cli("import", a, "-o", done, *model), "holds another run")
    assert not out.exists()
    assert cli("import", a, b, "-o", out, *model, "--names", "one,two")[0] == 0
    wide = cli("import", c, "-o", tmp_path / "wide", *model)
    refused(wide, "is 768 wide (Stable Diffusion 1.x, such as sd1.5), but the text encoders of model")
    assert "are 16 wide; name the model it was made for" in wide[2] and not (tmp_path / "wide").exists()


def test_a_file_names_the_embedded_model_and_no_other(done: Path, tmp_path: Path) -> None:
    header = {"uce": json.dumps({"model": "mini", "token": "<cup>"})}
    save_file({"emb_params": torch.ones(1, 256)}, tmp_path / "mini.safetensors", header)
    run = uce.import_tokens(tmp_path / "mini.safetensors", tmp_path / "out")
    assert run.info["model"]["name"] == "mini" and run.concepts[0].token == "<cup>"
    save_file({"emb_params": torch.ones(1, 16)}, tmp_path / "far.safetensors", {"uce": '{"model": "some/where"}'})
    with pytest.raises(uce.UceError, match="the file itself says some/where; say so with --model"):
        uce.import_tokens(tmp_path / "far.safetensors", tmp_path / "other")


# Library


@pytest.fixture
def library(done: Path, tmp_path: Path) -> Path:
    found = uce.Library.open(tmp_path / "library")
    found.add(uce.load(done), "beach-trip")
    found.add(uce.load(done), "kitchen")
    return found.folder


def test_library_keeps_lists_shows_and_removes(cli: Cli, done: Path, tmp_path: Path) -> None:
    place = ["--library", tmp_path / "mine"]
    code, out, _ = cli("library", "list", *place)
    assert code == 0 and "is empty; fill it with: uce library add DIR --name NAME" in out
    assert cli("library", "add", done, "--name", "beach-trip", *place)[0] == 0
    refused(cli("library", "add", done, "--name", "beach-trip", *place), "has an entry 'beach-trip' already")
    assert cli("library", "add", done, "--name", "beach-trip", *place, "--overwrite")[0] == 0
    refused(cli("library", "add", done, "--name", "Beach Trip", *place), "--name 'Beach Trip' is not allowed")
    code, out, _ = cli("library", "list", *place, "--json")
    (record,) = json.loads(out)["entries"]
    assert record["name"] == "beach-trip" and [c["token"] for c in record["concepts"]] == ["<asset0>", "<asset1>"]
    code, out, _ = cli("library", "show", "beach-trip", *place, "-o", tmp_path / "sheet.png")
    assert code == 0 and "<asset0>" in out and "<asset1>" in out and Image.open(tmp_path / "sheet.png").width > 900
    refused(cli("library", "show", "beach", *place), "Did you mean 'beach-trip'?")
    assert cli("library", "remove", "beach-trip", *place)[1] == "removed beach-trip\n"
    refused(cli("library", "remove", "beach-trip", *place), "unknown library entry 'beach-trip'; available: none.")
    assert not list((tmp_path / "mine").iterdir())


def test_an_entry_is_a_run_folder_that_can_be_copied(library: Path, done: Path, tmp_path: Path) -> None:
    library.rename(tmp_path / "elsewhere")
    run = uce.Library.open(tmp_path / "elsewhere").get("kitchen")
    assert torch.equal(run.concepts[0].embedding, uce.load(done).concepts[0].embedding)
    assert (run.concepts[0].mask == uce.load(done).concepts[0].mask).all()
    kinds = {path.suffix for path in run.path.rglob("*") if path.is_file()}
    assert kinds <= {".safetensors", ".json", ".png", ".yaml"} and not (run.path / "stages").exists()
    assert len(uce.generate("a photo of <asset0>", run.path, steps=1)) == 1


def test_the_library_is_where_the_environment_says(
    cli: Cli, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UCE_LIBRARY", str(tmp_path / "from-environment"))
    assert cli("library", "add", done, "--name", "a")[0] == 0
    assert (tmp_path / "from-environment" / "a" / "entry.json").is_file()
    monkeypatch.delenv("UCE_LIBRARY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if sys.platform == "linux":
        assert uce.Library.open().folder == tmp_path / "data" / "uce" / "library"


def test_an_unfinished_run_is_not_added(cli: Cli, done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "localized"
    folder.mkdir()
    for name in ("run.json", "concepts.json"):
        (folder / name).write_bytes((done / name).read_bytes())
    refused(cli("library", "add", folder, "--name", "a", "--library", tmp_path / "mine"), "holds no learned tokens yet")
    assert not (tmp_path / "mine").exists()


def test_tokens_of_several_pictures_in_one_prompt(cli: Cli, library: Path, done: Path, tmp_path: Path) -> None:
    prompt = "a photo of <cup> and <cat>"
    picks = ["--concept", "beach-trip:asset0=cup", "--concept", "kitchen:<asset1>=cat", "--library", library]
    code, out, err = cli("generate", prompt, *picks, "-o", tmp_path / "pictures", "--steps", 2)
    assert code == 0, err
    (path,) = out.split()
    wanted = uce.generate("a photo of <asset0> and <asset1>", done, steps=2)[0]
    assert Image.open(path).tobytes() == wanted.tobytes()
    mixed = ["--run", done, "--concept", "kitchen:asset1=cat", "--library", library]
    assert cli("generate", "a <asset0> and <cat>", *mixed, "-o", tmp_path / "pictures", "--steps", 1)[0] == 0
    assert cli("generate", "a <asset0>", "--concept", f"{done}:asset0", "-o", tmp_path / "p", "--steps", 1)[0] == 0


def test_what_cannot_be_gathered_is_refused(
    cli: Cli, library: Path, done: Path, tiny_pipeline_v: Path, tmp_path: Path
) -> None:
    out = ["-o", tmp_path / "pictures", "--library", library]
    both = cli("generate", "a <asset0>", "--run", done, "--run", library / "kitchen", *out)
    refused(both, "bring a token <asset0>; rename one")
    assert str(done) in both[2] and str(library / "kitchen") in both[2]
    twice = cli("generate", "a <cup>", "--concept", "beach-trip:asset0=cup", "--concept", "kitchen:asset1=cup", *out)
    refused(twice, "both beach-trip and kitchen bring a token <cup>")
    refused(cli("generate", "a cat", *out), "there is no token to draw with; name a run with --run DIR")
    refused(cli("generate", "a cat", "--concept", "kitchen", *out), "write ENTRY:TOKEN or ENTRY:TOKEN=NAME")
    refused(
        cli("generate", "a cat", "--concept", "kitchn:a", *out), "unknown library entry 'kitchn'; available: beach-"
    )
    refused(cli("generate", "a cat", "--concept", "kitchen:cat", *out), "unknown token '<cat>'; available: <asset0>")
    refused(cli("generate", "a cat", "--concept", "kitchen:asset0=A b", *out), "token name 'A b' is not allowed")
    info = json.loads((library / "kitchen" / "run.json").read_text())
    info["model"] = {"name": "another", "fingerprint": "other"}
    (library / "kitchen" / "run.json").write_text(json.dumps(info))
    vectors = load_file(library / "kitchen" / "embeddings.safetensors")
    wide = {name: torch.zeros(value.shape[-1] + 8) for name, value in vectors.items()}
    save_file(wide, library / "kitchen" / "embeddings.safetensors")
    unfit = cli("generate", "a cat", "--run", done, "--concept", "kitchen:asset0=cat", *out)
    refused(unfit, "do not fit: a token is understood only by models of the family it was learned with")
    assert "kitchen (model another" in unfit[2] and not (tmp_path / "pictures").exists()


def test_only_one_of_several_runs_may_bring_weights(cli: Cli, library: Path, tmp_path: Path) -> None:
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
    generator = torch.Generator().manual_seed(0)
    weights = {f"{layer}.lora.down.weight": torch.randn(2, 16, generator=generator),
               f"{layer}.lora.up.weight": torch.randn(16, 2, generator=generator)}  # fmt: skip
    picks = ["--concept", "beach-trip:asset0=cup", "--concept", "kitchen:asset1=cat", "--library", library]
    drawn = []
    for names in ((), ("kitchen",), ("kitchen", "beach-trip")):
        for name in names:
            save_file(weights, library / name / "weights.safetensors")
        drawn.append(cli("generate", "a <cup> and a <cat>", *picks, "-o", tmp_path / "pictures", "--steps", 2))
    plain, trained = (Image.open(out.strip()).tobytes() for _, out, _ in drawn[:2])
    assert plain != trained
    refused(drawn[2], "both beach-trip and kitchen trained weights beside their tokens")


# Push


def test_push_dry_run_writes_the_folder(cli: Cli, done: Path, tmp_path: Path) -> None:
    arguments = ["push", done, "me/beach-cup", "--dry-run", "--concepts", "0", "--names", "cup"]
    refused(cli(*arguments), "name the folder with -o")
    code, out, err = cli(*arguments, "-o", tmp_path / "there", "--json")
    assert code == 0, err
    assert json.loads(out)["url"] == "" and "README.md" in json.loads(out)["files"]
    assert 'pipe.load_textual_inversion("me/beach-cup")' in (tmp_path / "there" / "README.md").read_text()
    refused(cli("push", done, "beach-cup", "-o", tmp_path / "x"), "'beach-cup' is no name of a hub repository")


def test_push_uploads_exactly_the_exported_files(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    calls: list[tuple[str, Any]] = []

    class FakeApi:
        def create_repo(self, name: str, **options: Any) -> str:
            calls.append((name, options))
            return f"https://hub.example/{name}"

        def upload_folder(self, **options: Any) -> None:
            files = {
                p.relative_to(options["folder_path"]).as_posix() for p in Path(options["folder_path"]).rglob("*.*")
            }
            assert set(options["allow_patterns"]) <= files
            calls.append((options["repo_id"], options))

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    done_push = uce.push(done, "me/desk", private=True)
    assert done_push.url == "https://hub.example/me/desk" and done_push.folder is None
    assert [name for name, _ in calls] == ["me/desk", "me/desk"] and calls[0][1]["private"] is True

    def offline(self: Any, name: str, **options: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(FakeApi, "create_repo", offline)
    with pytest.raises(uce.UceError, match=r"the hub refused me/desk \(no network\)"):
        uce.push(done, "me/desk")


def test_token_facts_name_no_folder_of_this_machine(done: Path, tmp_path: Path) -> None:
    uce.export(done, "hub-folder", tmp_path / "there")
    for path in (tmp_path / "there").rglob("*"):
        assert path.is_dir() or str(done.parent).encode() not in path.read_bytes(), path
    assert SimpleNamespace(**facts(tmp_path / "there" / "asset0" / "learned_embeds.safetensors")).model == "model"
