"""The default prompts, and files of one's own."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from uce.core.errors import ConfigError
from uce.evaluation.prompts import read_prompts


def test_the_default_set_has_twenty_prompts_in_four_groups() -> None:
    prompts = read_prompts("default")
    assert Counter(prompt.group for prompt in prompts) == {"background": 8, "colour": 4, "material": 4, "beside": 4}
    assert {prompt.background for prompt in prompts if prompt.group != "background"} == {None}
    snow = prompts[0]
    assert snow.background == "snow" and snow.of("<cup>") == "a photo of <cup> in the snow"
    assert snow.rest == "a photo of in the snow"
    assert read_prompts("none") == ()


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("places: ['{} on Mars', {prompt: 'a {} on sand', background: sand}]\nmood:\n  - a sad {}\n")
    found = read_prompts(str(path))
    assert [(one.group, one.text, one.background) for one in found] == [
        ("places", "{} on Mars", None), ("places", "a {} on sand", "sand"), ("mood", "a sad {}", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("['a photo of {}']", "found list; write groups of prompts"),
        ("a: {}", "a must be a list of prompts"),
        ("a: [3]", "a holds 3, which is no prompt"),
        ("a: [a photo]", "found 'a photo'; write {} once"),
        ("a: ['{x} and {}']", "no other braces"),
        ("a: [{prompt: 'a {}', backgroud: snow}]", "unknown key 'backgroud'; available: background, prompt. Did you"),
        ("a: [{prompt: 'a {}', background: moon}]", "unknown background 'moon'; available: black, blue"),
        ("a: ['a {}', 'a {}']", "'a {}' is there twice; write each prompt once"),
        ("a: [", "give default, none or a YAML file with groups"),
    ],
)
def test_wrong_files_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_prompts(str(path))


def test_a_missing_file_says_what_may_be_given() -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.prompts nowhere\.yaml: No such file or directory; give default,"):
        read_prompts("nowhere.yaml")
