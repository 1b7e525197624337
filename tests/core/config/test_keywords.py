"""The public functions are typed, say in a sentence what they do not know, and leave the process as it was."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import uce
from uce.commands.app import app
from uce.core.config.keywords import DrawOptions, FollowedOptions, RunOptions, names_of, public
from uce.core.config.options import Options
from uce.core.errors import ConfigError
from uce.tokens.drawing import draw

FUNCTIONS = ("run", "localize", "learn", "ablate", "batch", "benchmark", "evaluate", "report", "draw", "generate",
             "export", "import_tokens", "push")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong", "near"),
    [
        ("run", "clusterr", "clusterer"),
        ("localize", "resum", "resume"),
        ("learn", "mask", "masks"),
        ("ablate", "varry", "vary"),
        ("batch", "worker", "workers"),
        ("benchmark", "method", "methods"),
        ("evaluate", "encoders", "encoder"),
        ("report", "compar", "compare"),
        ("draw", "negativ", "negative"),
        ("generate", "guidence", "guidance"),
        ("export", "licens", "licence"),
        ("import_tokens", "modle", "model"),
        ("push", "privat", "private"),
    ],
)
def test_an_unknown_keyword_is_a_sentence_with_the_nearest_name(name: str, wrong: str, near: str) -> None:
    text = rf"uce.{name}: unknown option '{wrong}'; available: .*Did you mean '{near}'\?"
    with pytest.raises(ConfigError, match=text):
        getattr(uce, name)("picture.png", "out", **{wrong: 1})


def test_every_function_is_tried_above() -> None:
    assert set(FUNCTIONS) <= set(uce.__all__)
    functions = [name for name in uce.__all__ if inspect.isfunction(getattr(uce, name))]
    assert set(functions) - set(FUNCTIONS) == {"load", "match", "model_path"}, "which have no options"


def test_the_typed_names_are_the_options() -> None:
    fields = {field.name for field in dataclasses.fields(Options)} - {"backbone"}
    assert set(RunOptions.__annotations__) == fields
    assert set(FollowedOptions.__annotations__) == fields | {"tracker"}
    drawn = {name for name, one in inspect.signature(draw).parameters.items() if one.kind is one.KEYWORD_ONLY}
    assert set(DrawOptions.__annotations__) == drawn


SPOKEN = {"set_": "set", "license_": "licence", "folder": "run", "concept": "concepts", "more": "methods"}
NOT_PYTHON = {"json_", "no_report", "prompts_file"}
"""How results are shown on a terminal, and what Python code reads by itself."""


@pytest.mark.parametrize("name", ["run", "localize", "learn", "ablate", "batch", "benchmark", "evaluate", "report",
                                  "export"])  # fmt: skip
def test_what_the_command_line_takes_python_takes_too(name: str) -> None:
    command = next(c for c in app.registered_commands if c.callback is not None and c.callback.__name__ == name)
    assert command.callback is not None
    spoken = {"folders": "folder"} if name == "learn" else {"folder": "run"}
    flags = {{**SPOKEN, **spoken}.get(flag, flag) for flag in inspect.signature(command.callback).parameters}
    assert flags - NOT_PYTHON <= set(names_of(getattr(uce, name)))


def test_what_generate_takes_draw_takes_too() -> None:
    command = next(c for c in app.registered_commands if c.callback is not None and c.callback.__name__ == "generate")
    assert command.callback is not None
    flags = {SPOKEN.get(flag, flag) for flag in inspect.signature(command.callback).parameters}
    assert flags - NOT_PYTHON <= set(names_of(uce.draw))


def test_functions_cross_to_other_processes() -> None:
    for name in FUNCTIONS:
        assert pickle.loads(pickle.dumps(getattr(uce, name))) is getattr(uce, name)


def test_a_call_leaves_torch_as_it_was_also_after_an_error() -> None:
    @public
    def careless(fail: bool) -> None:
        torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.manual_seed(3)
        if fail:
            raise ValueError("as asked")

    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.get_rng_state().tolist()
    careless(False)
    with pytest.raises(ValueError, match="as asked"):
        careless(True)
    assert before == (
        torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.get_rng_state().tolist()
    )  # fmt: skip


SNIPPET = """
from pathlib import Path
import numpy as np
import uce
from uce.core import AttentionMaps

run = uce.run("a.png", "out", clusterer="finch", refiner=["+", "edges"], set={{"optimizer": {{"steps": 3}}}}, seed=0)
uce.run("a.png", Path("out"), model=run.backbone(), plugin="obs.py", tracker="wandb")
uce.learn("out", image="a.png", masks=np.zeros((1, 4, 4), bool), names=["cup"], optimizer="masked-denoising")
uce.batch(["a.png"], "out", workers=2, refiner="saliency+merge")
uce.ablate("a.png", "out", vary={{"clusterer": ["finch", "kmeans"]}}, preset="paper")
uce.benchmark("out", model="mini", seed=3)
pictures = uce.draw("a photo", run, count=2).pictures
{wrong}
"""


def mypy(wrong: str, folder: Path) -> str:
    file = folder / "snippet.py"
    file.write_text(SNIPPET.format(wrong=wrong))
    home = Path(uce.__file__).parent.parent
    command = [sys.executable, "-m", "mypy", "--config-file", str(home / "pyproject.toml"), str(file)]
    return subprocess.run(command, cwd=home, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_mypy_knows_every_option(tmp_path: Path) -> None:
    assert "Success" in mypy("", tmp_path)
    wrong = """
uce.run("a.png", "out", clusterr="finch")
uce.localize("a.png", clusterer=3)
uce.ablate("a.png", "out", vary=["a=1"], seeed=0)
uce.batch("a.png", "out", refiner=3)
uce.benchmark("out", clusterer="finch")
"""
    found = mypy(wrong, tmp_path)
    for text in (
        'Unexpected keyword argument "clusterr" for "run"',
        'Argument "clusterer" to "localize" has incompatible type "int"',
        'Unexpected keyword argument "seeed" for "ablate"',
        'Argument "refiner" to "batch" has incompatible type "int"',
        'Unexpected keyword argument "clusterer" for "benchmark"',
    ):
        assert text in found, found


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"clusterer": 3}, r"clusterer must be a name, found 3; see uce plugins"),
        ({"preset": 1}, r"preset must be a name, found 1"),
        ({"model": 3}, r"model must be a name, a path or a loaded backbone, found 3"),
        ({"concepts": ["a"]}, r"concepts must be whole numbers, found 'a'"),
        ({"names": [3]}, r"names must be texts, found 3"),
        ({"plugin": [3]}, r"plugin must be texts, found 3"),
        ({"set": 3}, r"set: found 3; give texts such as"),
        ({"refiner": 3}, r"--refiner must be a list of refiner names, found 3"),
        ({"clustere": "finch"}, r"unknown option 'clustere'; available: .* Did you mean 'clusterer'\?"),
    ],
)
def test_what_options_cannot_be(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Options.of(given)


def test_whatever_form_they_have_options_become_one() -> None:
    import numpy as np

    given = {"plugin": Path("obs.py"), "concepts": np.array([0, 2]), "names": "cup,cat", "refiner": "saliency+merge",
             "seed": np.int64(3), "model": Path("m"), "set": ["run.fit=crop"]}  # fmt: skip
    options = Options.of(given)
    assert (options.plugin, options.concepts, options.names) == (("obs.py",), (0, 2), ("cup", "cat"))
    assert (options.refiner, options.seed, options.model) == (("saliency", "merge"), 3, "m")
    assert options.set == {"run.fit": "crop"} and type(options.seed) is int
    assert dataclasses.replace(options) == options, "what is one already stays it"
    assert Options.of({"concepts": 1}).concepts == (1,) and Options.of({"refiner": []}).refiner is None
