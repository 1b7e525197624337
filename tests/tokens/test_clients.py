"""What other programs write and read: their files come in, ours go out as they take them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import uce
from uce.core.errors import TokenFileError
from uce.core.files.token_files import read_token_file
from uce.core.files.token_places import PNG_KEY, token_files
from uce.core.files.writing import write_safetensors
from uce.core.model.lora_names import lora_header
from uce.core.runs.facts import LICENCE, header, token_facts
from uce.core.runs.folder import RunFolder

VECTOR = torch.arange(16, dtype=torch.float32)[None] / 16


def head(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


# What comes in.


def test_a_png_of_automatic1111_is_read_and_nothing_in_it_is_run(tmp_path: Path) -> None:
    document = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": {"TORCHTENSOR": VECTOR.tolist()}},
        "name": "Kitty",
    }
    info = PngImagePlugin.PngInfo()
    info.add_text(PNG_KEY, base64.b64encode(json.dumps(document).encode()).decode())
    Image.new("RGB", (32, 32)).save(tmp_path / "kitty.png", pnginfo=info)
    (found,) = read_token_file(tmp_path / "kitty.png")
    assert found.name == "Kitty" and torch.equal(found.vectors["clip"], VECTOR)
    Image.new("RGB", (32, 32)).save(tmp_path / "plain.png")
    with pytest.raises(TokenFileError, match="is a picture that carries no embedding"):
        read_token_file(tmp_path / "plain.png")
    for broken in (
        "!!!",
        base64.b64encode(b"{}").decode(),
        base64.b64encode(b'{"string_to_param": {"*": 3}}').decode(),
    ):
        info = PngImagePlugin.PngInfo()
        info.add_text(PNG_KEY, broken)
        Image.new("RGB", (32, 32)).save(tmp_path / "broken.png", pnginfo=info)
        with pytest.raises(TokenFileError, match="carries a damaged embedding; get it again"):
            read_token_file(tmp_path / "broken.png")


@pytest.mark.parametrize(
    "key", ["bundle_emb.cup.string_to_param.*", "bundle_emb.cup.emb_params", "bundle_emb.cup.clip_l"]
)
def test_a_lora_that_brings_its_embedding(key: str, tmp_path: Path) -> None:
    lora = {"lora_unet_x.lora_down.weight": torch.ones(4, 8), key: VECTOR}
    save_file(lora, tmp_path / "big-lora.safetensors")
    (found,) = read_token_file(tmp_path / "big-lora.safetensors")
    assert found.name == "cup" and torch.equal(found.vectors["clip"], VECTOR)


@pytest.mark.parametrize(
    "content", [{"emp_params": VECTOR}, {"clip_l": VECTOR}, {"clip_l": VECTOR, "clip_l_out": VECTOR}]
)
def test_keys_of_other_trainers(content: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file({key: value.clone() for key, value in content.items()}, tmp_path / "cup.safetensors")
    (found,) = read_token_file(tmp_path / "cup.safetensors")
    assert found.name == "cup" and torch.equal(found.vectors["clip"], VECTOR)


def test_output_embeddings_alone_are_refused(tmp_path: Path) -> None:
    save_file({"clip_l_out": VECTOR}, tmp_path / "cup.safetensors")
    with pytest.raises(TokenFileError, match="holds only output embeddings"):
        read_token_file(tmp_path / "cup.safetensors")


def test_the_class_in_an_original_pt_is_named(tmp_path: Path) -> None:
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(VECTOR)})
    torch.save({"string_to_token": {"*": 265}, "string_to_param": parameters}, tmp_path / "old.pt")
    with pytest.raises(
        TokenFileError, match=r"more than plain tensors \(torch\.nn\.modules\.container\.ParameterDict\)"
    ):
        read_token_file(tmp_path / "old.pt")


def test_two_halves_of_diffusers_sdxl_script_are_one_token(tmp_path: Path) -> None:
    halves = {"clip_l": torch.rand(2, 768), "clip_g": torch.rand(2, 1280)}
    save_file({"<cup>": halves["clip_l"]}, tmp_path / "learned_embeds.safetensors")
    save_file({"<cup>": halves["clip_g"]}, tmp_path / "learned_embeds_2.safetensors")
    for number, given in enumerate(([tmp_path], [tmp_path / f"learned_embeds{end}.safetensors" for end in ("_2", "")])):
        run = uce.import_tokens(given, tmp_path / f"out{number}", model="some/xl-model")
        assert [concept.token for concept in run.concepts] == ["<cup>"]
        assert {name: value.tolist() for name, value in run.concepts[0].vectors.items()} == {
            name: value.tolist() for name, value in halves.items()
        }


def test_folders_of_the_hub(tmp_path: Path) -> None:
    concept = tmp_path / "cat-toy"
    concept.mkdir()
    torch.save({"<cat-toy>": VECTOR[0]}, concept / "learned_embeds.bin")
    (concept / "token_identifier.txt").write_text("<cat-toy>")
    ours = tmp_path / "ours"
    for name in ("cup", "cat"):
        (ours / name).mkdir(parents=True)
        save_file({f"<{name}>": VECTOR}, ours / name / "learned_embeds.safetensors")
    assert [path.name for path in token_files([concept])] == ["learned_embeds.bin"]
    assert [path.parent.name for path in token_files([ours])] == ["cat", "cup"]
    assert [one.token for one in uce.import_tokens(ours, tmp_path / "out", model="some/model").concepts] == [
        "<cat>",
        "<cup>",
    ]


def test_what_a_file_says_of_itself_survives_import_and_export(tmp_path: Path) -> None:
    said = {"token": "<cup>", "model": "some/model", "picture": "abc", "label": "mug", "licence": "cc-by-4.0"}
    said |= {"uce": "0.0.9", "model_fingerprint": "f" * 16}
    save_file({"<cup>": VECTOR}, tmp_path / "cup.safetensors", header(said))
    run = uce.import_tokens(tmp_path / "cup.safetensors", tmp_path / "run", model="some/model")
    assert run.concepts[0].label == "mug"
    uce.export(run, "a1111", tmp_path / "out", names=["tea"])
    found = json.loads(head(tmp_path / "out" / "embeddings" / "tea.safetensors")["uce"])
    assert {key: found[key] for key in said} == {**said, "token": "<tea>"}
    uce.export(run, "a1111", tmp_path / "again", licence="mit")
    assert json.loads(head(tmp_path / "again" / "embeddings" / "cup.safetensors")["uce"])["licence"] == "mit"
    assert token_facts({}, "<cup>", None)["licence"] == LICENCE


def test_an_embedding_is_an_entry_and_a_concept(tmp_path: Path) -> None:
    wide = VECTOR * 2
    save_file({"<cup>": wide}, tmp_path / "cup.safetensors")
    library = uce.Library.open(tmp_path / "library")
    assert library.add_files([tmp_path / "cup.safetensors"], "one", model="some/model").concepts[0].token == "<cup>"
    from uce.tokens.gathering import gather

    with pytest.raises(uce.UceError, match=r"cup.safetensors: nobody says which model it is for; name a run"):
        gather([], [f"{tmp_path / 'cup.safetensors'}:cup=mug"], library)
    (owned, *_) = gather([library.get("one")], [f"{tmp_path / 'cup.safetensors'}:cup=mug"], library)[1:]
    assert owned.token == "<mug>" and torch.equal(owned.vectors["clip"], wide)


# What goes out.


def test_files_of_tokens_are_n_by_d_with_a_header(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.update_run(model={"name": "mini", "fingerprint": "f"}, input={"digest": "abc", "width": 1, "height": 1},
                      versions={"uce": "1"})  # fmt: skip
    facts = header(token_facts(folder.read_run(), "<a>", "mug"))
    folder.write_tokens({"<a>": {"clip": VECTOR}, "<b>": {"clip_l": VECTOR, "clip_g": VECTOR}}, {"<a>": facts})
    assert load_file(tmp_path / "tokens" / "a.safetensors")["<a>"].shape == (1, 16)
    assert {k: v.shape for k, v in load_file(tmp_path / "tokens" / "b.safetensors").items()} == {
        "clip_l": (1, 16), "clip_g": (1, 16),
    }  # fmt: skip
    assert json.loads(head(tmp_path / "tokens" / "a.safetensors")["uce"])["picture"] == "abc"
    assert load_file(tmp_path / "embeddings.safetensors")["<a>"].shape == (16,)


@pytest.mark.parametrize(
    ("widths", "version", "second"),
    [([768], "sd_v1", "False"), ([1024], "sd_v2", "True"), ([768, 1280], "sdxl_base_v1-0", "False")],
)
def test_a_lora_says_for_which_kind_of_model_it_is(
    widths: list[int], version: str, second: str, tmp_path: Path
) -> None:
    weights = {"unet.a.lora.down.weight": torch.ones(4, 8), "unet.a.lora.up.weight": torch.ones(8, 4)}
    found = lora_header(weights, widths, "cup")
    assert found["ss_base_model_version"] == version and found["ss_v2"] == second
    assert found["modelspec.architecture"].endswith("/lora") and found["ss_network_dim"] == "4"
    assert lora_header(weights, [32], "cup") == {}
    for number in range(3):  # the same bytes each time, whatever order the library has
        write_safetensors(tmp_path / f"{number}.safetensors", weights, {**found, "uce": "{}"})
    assert len({(tmp_path / f"{number}.safetensors").read_bytes() for number in range(3)}) == 1
    assert head(tmp_path / "0.safetensors") == {**found, "uce": "{}"}
    assert torch.equal(load_file(tmp_path / "0.safetensors")["unet.a.lora.up.weight"], torch.ones(8, 4))


def test_sdxl_in_diffusers_is_conditioned_as_in_our_pipeline(tiny_pipeline_xl: Path, tmp_path: Path) -> None:
    import safetensors.torch
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(tiny_pipeline_xl)
    pipe.text_encoder_2.config.eos_token_id = pipe.text_encoder_2.text_model.eos_token_id = 2  # as published
    widths = [one.get_input_embeddings().weight.shape[1] for one in (pipe.text_encoder, pipe.text_encoder_2)]
    generator = torch.Generator().manual_seed(0)
    vectors = {
        f"clip_{end}": torch.randn(1, width, generator=generator) for end, width in zip("lg", widths, strict=True)
    }
    save_file(vectors, tmp_path / "cup.safetensors")
    run = uce.import_tokens(tmp_path / "cup.safetensors", tmp_path / "run", model=str(tiny_pipeline_xl))
    wanted = run.pipeline("cpu").encode_prompt("a photo of <cup> on a red cup")
    for to, name in (("diffusers", "cup.safetensors"), ("hub-folder", "learned_embeds.safetensors")):
        done = uce.export(run, to, tmp_path / to)
        lines = done.usage.replace(f'"{name}"', repr(str(tmp_path / to / name)))
        if to == "hub-folder":
            assert (
                "import safetensors.torch" in lines
                and "stable-diffusion-xl" in (tmp_path / to / "README.md").read_text()
            )
            assert "eos_token_id" in (tmp_path / to / "README.md").read_text()
            continue
        exec(lines, {"pipe": pipe, "safetensors": safetensors})
        found = pipe.encode_prompt("a photo of <cup> on a red cup")
        for ours, theirs in zip(wanted, found, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


def test_names_that_are_plain_words_are_warned_about(tmp_path: Path) -> None:
    save_file({"<cup>": VECTOR}, tmp_path / "cup.safetensors")
    run = uce.import_tokens(tmp_path / "cup.safetensors", tmp_path / "run", model="some/model")
    usage = uce.export(run, "a1111", tmp_path / "a").usage
    assert "note: cup would be taken for the token inside other words too" in usage and "--names cup1" in usage
    assert "note:" not in uce.export(run, "a1111", tmp_path / "b", names=["cup1"]).usage
    assert "note:" not in uce.export(run, "comfyui", tmp_path / "c").usage


# Lists of pictures.


def test_lists_as_pandas_writes_them(tmp_path: Path) -> None:
    from uce.batching.sources import read_sources

    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "list.csv").write_text(",file_name,seed,name\n0,a.png,3,\n1,b.png,,NaN\n")
    (tmp_path / "more.csv").write_text("Unnamed: 0,image,seed\n0,a.png,nan\n")
    (tmp_path / "rows.jsonl").write_text('{"file_name": "b.png", "seed": NaN}\n')
    entries = read_sources([tmp_path / "list.csv"])
    assert [(Path(one.source).name, one.asked, dict(one.options)) for one in entries] == [
        ("a.png", None, {"seed": 3}), ("b.png", None, {}),
    ]  # fmt: skip
    assert [dict(one.options) for one in read_sources([tmp_path / "more.csv", tmp_path / "rows.jsonl"])] == [{}, {}]


def test_parquet_of_paths(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: extra [batch]")
    import pyarrow.parquet as pq

    from uce.core.files.datasets import list_rows, read_row

    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "a.png")
    pq.write_table(pa.table({"file_name": ["a.png"], "note": ["x"]}), tmp_path / "set.parquet")
    (row,) = list_rows(tmp_path / "set.parquet")
    assert np.array_equal(read_row(row), np.full((8, 8, 3), 9))
