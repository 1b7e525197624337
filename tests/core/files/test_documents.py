"""Files that nobody vouches for: what fuzzing found, each mended and kept here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import uce
from uce.core import ConfigError, ImageError, PluginError, RunFolderError
from uce.core.config.assigned import parse_assignment
from uce.core.config.resolving import load_config_file
from uce.core.files.documents import is_number, parse_json, parse_yaml, shown
from uce.core.files.pictures import load_rgb
from uce.core.files.writing import write_safetensors
from uce.core.registry.manager import load_manager

RUN = Path(__file__).parents[2] / "fixtures" / "run-format-1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 5000, "nested too deeply"),
        ("- " * 5000, "nested too deeply"),
        ("2001-99-99", "a value of it is none"),
        ("9" * 5000, "a value of it is none"),
        ("0x" + "f" * 9000, "thousands of digits"),
        ("&a [*a]", "holds itself"),
        (
            "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)),
            "more than 20000",
        ),
        ("x" * (1 << 21), "characters, at most"),
        ("a: [", "expected"),
        ("? {a: b}\n: 1", "unhashable"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
    ],
)
def test_yaml(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        parse_yaml(text)
    with pytest.raises(ConfigError, match="not readable as YAML"):
        parse_assignment(f"run.seed={text}")
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match="not readable as YAML"):
        load_config_file(tmp_path / "c.yaml")


def test_small_things() -> None:
    assert parse_yaml("a: [1, 2.5, null]") == {"a": [1, 2.5, None]}
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)
    assert len(shown("x" * 10_000)) < 100 and shown(16**9000) == "a int" and shown([1]) == "[1]"
    assert is_number(3) and is_number(0.5) and not any(map(is_number, (True, float("nan"), float("inf"), "3", None)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(RUN, tmp_path / "run")
    return tmp_path / "run"


def alter(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("key", "value"),
    [("model", "mini"), ("stages", [1]), ("stages", [{"stage": "x", "seconds": "long"}]), ("input", {"width": "3"}),
     ("input", {"digest": 3}), ("versions", []), ("status", None), ("model", {"name": ["x"]})],
)  # fmt: skip
def test_a_damaged_run_json(folder: Path, key: str, value: Any) -> None:
    alter(folder / "run.json", lambda document: document.update({key: value}))
    with pytest.raises(RunFolderError, match=rf"run\.json is damaged or not a run's: {key}"):
        uce.load(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("token", "<../../x>"), ("token", 3), ("token", "<asset1>"), ("index", -1), ("index", 1), ("area", 1e300),
     ("score", float("inf")), ("share", None), ("bbox", [1, 2]), ("label", ["x"]), ("words", "cup")],
)  # fmt: skip
def test_a_damaged_concepts_json(folder: Path, key: str, value: Any) -> None:
    alter(folder / "concepts.json", lambda document: document["concepts"][0].update({key: value}))
    with pytest.raises(RunFolderError, match=r"concepts\.json is damaged or not a run's"):
        uce.load(folder)


@pytest.mark.parametrize("content", ["[" * 100_000, "3", "{}", '{"concepts": [3]}', '{"concepts": [], "image": 3}'])
def test_a_concepts_json_of_another_kind(folder: Path, content: str) -> None:
    (folder / "concepts.json").write_text(content)
    with pytest.raises(RunFolderError, match="concepts"):
        uce.load(folder)


@pytest.mark.parametrize(
    "vector", [torch.full((6,), float("nan")), torch.zeros(6, dtype=torch.int64), torch.zeros(0), torch.zeros(1, 1, 6)]
)
def test_embeddings_that_are_none(folder: Path, vector: torch.Tensor) -> None:
    write_safetensors(folder / "embeddings.safetensors", {"<asset0>": vector, "<asset1>": torch.zeros(6)})
    with pytest.raises(RunFolderError, match="learn again with --overwrite"):
        uce.load(folder).tokens()


def test_a_mask_of_too_many_pixels(folder: Path) -> None:
    from PIL import Image

    Image.new("1", (13_100, 13_100)).save(folder / "masks" / "0.png")
    with pytest.raises(ImageError, match="at most 170 million"):
        _ = uce.load(folder).concepts[0].mask


def test_names_that_no_file_can_have(cli: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    for command in (("run", "a" * 300 + ".png"), ("batch", "b" * 300 + ".png")):
        code, _, err = cli(*command, "-o", tmp_path / "out")
        assert code == 2 and err.count("\n") == 1 and "File name too long" in err
    with pytest.raises(ImageError, match="check the path"):
        load_rgb("a\0b.png")


HOOK = "    @uce.hookimpl\n    def uce_cluster(self): pass\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise SystemExit(3)", r"importing it raised ExitedError: sys.exit\(3\)"),
        (f"import uce\nclass A:\n    refiners = 3\n{HOOK}", "'refiners' must be a list of names"),
        (f"import uce\nclass A:\n    def __init__(self): raise SystemExit\n{HOOK}", "raised ExitedError: sys.exit"),
    ],
)
def test_a_plugin_file_that_would_end_the_program(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "strange.py"
    path.write_text(text)
    with pytest.raises(PluginError, match=told):
        load_manager([str(path)])


@pytest.mark.parametrize("name", ["../x", "a/../b", "/etc", "a b", "", "**"])
def test_names_that_become_parts_of_paths(name: str) -> None:
    from uce.core.config.resolving import resolve_config

    for key in ("variant", "revision"):
        with pytest.raises(ConfigError, match=f"model.{key}: found .*give a name of letters"):
            resolve_config(load_manager(), values={f"model.{key}": name})
    assert resolve_config(load_manager(), values={"model.revision": "refs/pr/3"}).model.revision == "refs/pr/3"


def test_a_model_of_an_endless_name(cli: Callable[..., tuple[int, str, str]], folder: Path, tmp_path: Path) -> None:
    name = "a" * 300
    code, _, err = cli("run", folder / "input.png", "-o", tmp_path / "out", "--model", name)
    assert code == 2 and "does not exist" in err and err.count("\n") == 1
    alter(folder / "run.json", lambda document: document["model"].update(name=name))
    assert uce.export(folder, "diffusers", tmp_path / "export").files
