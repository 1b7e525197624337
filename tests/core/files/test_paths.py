"""Paths as people see and type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from uce.core.files.paths import shown_path, typed_path, user_path


def test_shown_and_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "a b") == "a b" and typed_path(tmp_path / "a b") == "'a b'"
    assert typed_path(tmp_path / "-q") == "./-q" and typed_path(Path("--x y")) == "'./--x y'"
    assert shown_path(tmp_path.parent) == str(tmp_path.parent) and shown_path(Path("/elsewhere")) == "/elsewhere"


def test_a_home_that_nobody_knows_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/x") == Path("/home/me/x")
    assert user_path("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
