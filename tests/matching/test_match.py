"""`uce match` from end to end: what it proposes, what it writes, and that its line is what `uce learn` takes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import uce
from uce.core.errors import ConfigError
from uce.core.files.writing import write_json, write_picture, write_text
from uce.core.work.same import read_things


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs a, b and c of squares: red and green, green and blue, blue and yellow; written, not localised."""
    folder = tmp_path_factory.mktemp("runs")
    for number, (name, colours) in enumerate((("a", "red lime"), ("b", "lime blue"), ("c", "blue yellow"))):
        picture = Image.new("RGB", (64, 48), (40 + 70 * number,) * 3)
        entries = []
        for index, colour in enumerate(colours.split()):
            box = (4 + 30 * index + number, 6 + number, 24 + 30 * index - number, 30)
            picture.paste(colour, box)
            mask = np.zeros((48, 64), bool)
            mask[box[1] : box[3], box[0] : box[2]] = True
            write_picture(folder / name / "masks" / f"{index}.png", mask)
            entries.append(
                {"index": index, "token": f"<asset{index}>", "area": 1, "share": 0.1, "score": 1.0, "bbox": [*box]}
            )
        write_picture(folder / name / "input.png", np.asarray(picture))
        given = {"name": f"{name}.png", "digest": name, "width": 64, "height": 48}
        model = {"name": "mini", "fingerprint": "f"}
        write_json(folder / name / "run.json", {"format": 1, "status": "localized", "model": model, "input": given})
        write_json(folder / name / "concepts.json", {"image": {"width": 64, "height": 48}, "concepts": entries})
        write_text(folder / name / "config.yaml", "model: {name: mini}\nrun: {precision: float32}\n")
    return folder


def test_the_same_things_are_found_and_the_line_is_what_learn_takes(
    runs: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.chdir(runs)
    code, out, err = cli("match", "a", "b", "c", "--json", "--device", "cpu")
    assert code == 0, err
    found = json.loads(out)
    assert [thing["places"] for thing in found["things"]] == [{"a": 1, "b": 0}, {"b": 1, "c": 0}]
    assert found["commands"] == ["uce learn a b c --same thing0=a:1,b:0 --same thing1=b:1,c:0 -o together"]
    assert all(pair["score"] >= found["threshold"] for pair in found["pairs"])
    words = shlex.split(found["commands"][0])
    things = read_things(words[2:5], [words[6], words[8]])
    assert things.tokens == ("<thing0>", "<thing1>") and things.runs[0].path.name == "b"
    with Image.open(runs / "match.png") as sheet:
        assert sheet.width == 2 * 176 + 16  # two cut-outs in a row
    code, out, _ = cli("match", "a", "b", "--device", "cpu", "-o", "pair.png")
    assert code == 0 and out.splitlines()[1].split()[:3] == ["thing0", "a:1", "b:0"]
    assert out.splitlines()[-2:] == ["look at pair.png, then:", "uce learn a b --same thing0=a:1,b:0 -o together"]


def test_what_cannot_be_compared_is_refused(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    with pytest.raises(ConfigError, match="uce match compares runs, found 1; give two folders or more"):
        uce.match(["a"])
    with pytest.raises(ConfigError, match="a is given twice; name each folder once"):
        uce.match(["a", "./a"])
    with pytest.raises(ConfigError, match="threshold must be from -1 to 1, found 3"):
        uce.match(["a", "b"], threshold=3)


def test_what_scores_too_little_is_not_proposed(
    runs: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.chdir(runs)
    code, out, _ = cli("match", "a", "c", "--device", "cpu")
    assert code == 0 and out.startswith("nothing scores ") and "lower --threshold" in out and "uce learn" not in out
    matches: Any = uce.match(["a", "c"], device="cpu")
    assert matches.same == {} and matches.commands == [] and matches.picture is None
