"""What the shell offers after Tab."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Offer = Callable[..., list[str]]


@pytest.fixture
def offered(cli: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """What the shell would show for some words, the last of which is being typed."""

    def ask(words: str, shell: str = "bash") -> list[str]:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("UCE_LIBRARY", str(folder / "library"))
        monkeypatch.setenv("_UCE_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", words)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        code, out, err = cli()
        assert code == 0 and not err, err
        return out.split() if shell == "bash" else out.splitlines()

    return ask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run `out` of two tokens, a library entry `beach` and a folder that is no run."""
    folder = tmp_path_factory.mktemp("completion")
    concepts = [{"index": 0, "token": "<cup>", "label": "mug"}, {"index": 2, "token": "<cat>", "label": None}]
    for place in (folder / "out", folder / "library" / "beach"):
        place.mkdir(parents=True)
        (place / "concepts.json").write_text(json.dumps({"image": None, "concepts": concepts}))
    (folder / "library" / "beach" / "entry.json").write_text("{}")
    (folder / "broken").mkdir()
    (folder / "broken" / "concepts.json").write_text("[")
    return folder


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("uce loc", ["localize"]),
        ("uce plugins n", ["new"]),
        ("uce run a.png --clusterer h", ["hdbscan", "hierarchical"]),
        ("uce run a.png --preset ", ["default", "paper", "seg4diff", "conceptattention", "ditf", "goca"]),
        ("uce run a.png --tracker t", ["tensorboard", "trackio"]),
        ("uce run a.png --set optimizer.merge", ["optimizer.merge_step="]),
        ("uce run a.png --set refiner.saliency.", ["refiner.saliency.threshold="]),
        ("uce plugins show split-", ["split-merge"]),
        ("uce plugins new x --stage re", ["refiner"]),
        ("uce generate x --scheduler eul", ["euler", "euler-a"]),
        ("uce batch x --executor p", ["processes"]),
        ("uce export out --to a", ["a1111"]),
        ("uce export out --concepts ", ["0", "2"]),
        ("uce export out --concepts 0,", ["0,2"]),
        ("uce export broken --concepts ", []),
        ("uce library show b", ["beach"]),
        ("uce generate x --concept b", ["beach:"]),
        ("uce generate x --concept beach:", ["beach:cup", "beach:cat"]),
        ("uce generate x --concept out:cu", ["out:cup"]),
        ("uce generate --run out <c", ["<cup>", "<cat>"]),
        ("uce generate --run missing <c", []),
    ],
)
def test_offers(offered: Offer, words: str, expected: list[str]) -> None:
    assert offered(words) == expected


def test_plugins_that_are_switched_off_are_not_offered(offered: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UCE_DISABLE_PLUGINS", "kmeans")
    assert offered("uce run a.png --clusterer k") == []


def test_fish_gets_the_descriptions(offered: Offer) -> None:
    line = offered("uce run a.png --clusterer fin", "fish")[0]
    name, _, about = line.partition("\t")
    assert name == "finch" and len(about) > 20


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_turns_it_on_is_shown(
    cli: Callable[..., Any], shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    code, out, err = cli("--show-completion")
    assert code == 0 and "_UCE_COMPLETE" in out, err
