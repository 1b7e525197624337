"""Whether a folder that is continued was begun with the same question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from uce.core.errors import ConfigError
from uce.many.question import merged, require_settings

BEGUN = {"masks_only": False, "methods": {"a": {"x": 1}}, "options": {"set": "s"}}


def test_what_is_new_is_added_and_what_was_there_stays() -> None:
    now = {**BEGUN, "methods": {"b": {"y": 2}}}
    assert merged(BEGUN, now, Path("out"))["methods"] == {"a": {"x": 1}, "b": {"y": 2}}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"methods": {"a": {"x": 2}}}, r"methods\.a"),
        ({"masks_only": True}, "masks_only"),
        ({"options": {"set": "s", "seed": "3"}}, r"options\.seed"),
    ],
)
def test_a_change_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"--resume: out was begun with another {named}; give the same, or begin"):
        merged(BEGUN, {**BEGUN, **change}, Path("out"), fixed=("options",))


def test_differing_settings_are_listed_up_to_eight() -> None:
    stored, asked = ({"run": dict.fromkeys("abcdefghij", value)} for value in (0, 1))
    require_settings(stored, stored, Path("out"))
    with pytest.raises(ConfigError, match=r"begun with other settings: run\.a=0, now 1; run\.b.* and 2 more; ask for"):
        require_settings(stored, asked, Path("out"))
