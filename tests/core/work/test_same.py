"""What `--same` may say: folders by path or by name, numbers that are there, each thing once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uce.core.errors import ConfigError, RunFolderError
from uce.core.files.writing import write_json, write_picture
from uce.core.work.same import learn_command, read_things

MODEL = {"name": "mini", "fingerprint": "f"}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`make(name)` writes a run of two concepts, 0 and 3, and gives its path as people type it."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, model: dict[str, str] = MODEL, **facts: Any) -> str:
        mask = np.zeros((8, 8), bool)
        mask[:4] = True
        entries = [
            {"index": i, "token": f"<asset{i}>", "area": 32, "share": 0.5, "score": 1.0, "bbox": [0, 0, 8, 4]}
            for i in (0, 3)
        ]
        given = {"name": f"{name}.png", "digest": name, "width": 8, "height": 8}
        write_json(tmp_path / name / "run.json", {"format": 1, "model": model, "input": given, **facts})
        write_json(tmp_path / name / "concepts.json", {"image": {}, "concepts": entries})
        for index in (0, 3):
            write_picture(tmp_path / name / "masks" / f"{index}.png", mask)
        return name

    return write


def test_a_folder_is_called_as_it_was_given_or_by_its_name(make: Callable[..., str]) -> None:
    folders = [make("trip/a"), make("b"), f"./{make('c')}/"]
    things = read_things(folders, ["cup=a:0,b:3", "cat = trip/a:3, c:0"])
    assert things.tokens == ("<cup>", "<cat>")
    assert [run.path.name for run in things.runs] == ["a", "b", "c"]
    assert {token: one.index for token, one in things.shown(0).items()} == {"<cup>": 0, "<cat>": 3}
    assert things.shown(1).keys() == {"<cup>"} and things.shown(2).keys() == {"<cat>"}
    same = read_things(folders, {"cup": {"a": 0, "b": 3}, "cat": {"trip/a": 3, "c": 0}})
    assert [[*same.shown(n)] for n in range(3)] == [[*things.shown(n)] for n in range(3)]


@pytest.mark.parametrize(
    ("same", "message"),
    [
        (["cup"], "--same cup: write NAME=FOLDER:NUMBER"),
        (["cup=a:x"], "--same cup=a:x: write NAME=FOLDER:NUMBER"),
        (["cup=a:0,d:0"], "--same cup: unknown folder 'd'; available: a, b, x/b."),
        (["cup=a:1,b:0"], "--same cup: a has no concept 1; found 0, 3"),
        (["cup=a:0,a:3"], "--same cup names a twice; a thing stands in one place of a picture"),
        (["cup=a:0", "cup=b:0"], "--same cup is given twice"),
        (["Cup=a:0"], "token name 'Cup' is not allowed"),
        (["cup=a:0,b:0", "cat=a:0,x/b:0"], "concept 0 of a is both <cup> and <cat>; give it to one of them"),
        (["cup=a:0,b:0"], "x/b is given and no --same names it; name one of its concepts, or leave it out"),
        ([], "--same names nothing; write NAME=FOLDER:NUMBER"),
        ({"cup": 3}, "--same cup: .* names no concepts; write NAME=FOLDER:NUMBER"),
        ({"cup": {"a": "0"}}, "--same cup: .* names no concepts"),
    ],
)
def test_what_it_may_not_say(make: Callable[..., str], same: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_things([make("a"), make("b"), make("x/b")], same)


def test_a_name_that_two_folders_have_is_refused(make: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="--same cup: b may be x/b or y/b; write the folder as it is given"):
        read_things([make("x/b"), make("y/b")], ["cup=b:0"])


def test_without_a_common_picture_the_commands_that_work_are_said(make: Callable[..., str]) -> None:
    with pytest.raises(ConfigError) as refused:
        read_things([make("a"), make("b"), make("c"), make("d")], ["cup=a:0,b:0", "cat=c:3,d:0"])
    assert str(refused.value) == (
        "no picture shows all of cup, cat: they cannot be learned together; learn each alone: "
        "uce learn a b --same cup=a:0,b:0 -o DIR; uce learn c d --same cat=c:3,d:0 -o DIR"
    )


def test_runs_that_do_not_go_together_are_refused(make: Callable[..., str]) -> None:
    same = ["cup=a:0,b:0"]
    with pytest.raises(ConfigError, match="a is given twice; name each folder once"):
        read_things([make("a"), "./a"], same)
    with pytest.raises(ConfigError, match=r"a was made with the model mini and b with sd2.1, which are not the same"):
        read_things([make("a"), make("b", model={"name": "sd2.1", "fingerprint": "g"})], same)
    with pytest.raises(ConfigError, match="b and a are runs of the same picture; give different pictures"):
        read_things([make("a"), make("b", input={"name": "a.png", "digest": "a", "width": 8, "height": 8})], same)
    with pytest.raises(RunFolderError, match="b holds imported tokens and no picture"):
        read_things([make("a"), make("b", input=None)], same)
    with pytest.raises(RunFolderError, match="nowhere is no run folder"):
        read_things(["a", "nowhere"], same)


def test_the_command_quotes_what_a_shell_would_take_apart() -> None:
    assert learn_command(["a b", "c"], {"<cup>": {"a b": 0, "c": 2}}, "out") == (
        "uce learn 'a b' c --same 'cup=a b:0,c:2' -o out"
    )
