"""Exporters: each rule, with an exporter that breaks it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import uce
from uce.core import StageInputError
from uce.testing import ContractError, check_plugin


def exporter(write: Callable[..., Any]) -> type:
    class Sample:
        """A sample."""

        @uce.hookimpl
        def uce_export(self, run: Any, tokens: Any, out: Path) -> Any:
            return write(run, tokens, out)

    return Sample


def good(run: Any, tokens: Any, out: Path) -> str:
    for token in tokens:
        (out / f"{token.stem}.txt").write_text(str({e: v.tolist() for e, v in token.vectors.items()}))
    return "read them"


def one_encoder_only(run: Any, tokens: Any, out: Path) -> str:
    if tokens[0].two_encoders:
        raise StageInputError("this program knows no model of two text encoders; choose --to diffusers")
    return good(run, tokens, out)


def test_good_ones() -> None:
    assert check_plugin(exporter(good)).stages == ("exporter",)
    check_plugin(exporter(one_encoder_only))


def after(change: Callable[[Any, Any, Path], Any]) -> type:
    """A good one that then does `change`."""

    def write(run: Any, tokens: Any, out: Path) -> Any:
        good(run, tokens, out)
        return change(run, tokens, out) or "read them"

    return exporter(write)


@pytest.mark.parametrize(
    ("sample", "rule"),
    [
        (exporter(lambda run, tokens, out: good(run, tokens, out) and None), "how to use them"),
        (exporter(lambda run, tokens, out: "read them"), "some file"),
        (exporter(lambda run, tokens, out: good(run, tokens[:1], out)), "every token"),
        (after(lambda run, tokens, out: (out / tokens[0].token).write_text("x") and None), "plain file names"),
        (
            after(lambda run, tokens, out: (out / "when").write_text(str(time.time_ns())) and None),
            "same run, same bytes",
        ),
        (after(lambda run, tokens, out: (run.path / "more").write_text("x") and None), "the run stays as it is"),
        (after(lambda run, tokens, out: tokens[0].vectors["clip"].zero_().tolist() and None), "inputs unchanged"),
        (after(lambda run, tokens, out: 1 / 0), "error style"),
    ],
)
def test_broken_exporters(sample: type, rule: str) -> None:
    with pytest.raises(ContractError, match="breaks the rule") as caught:
        check_plugin(sample)
    assert caught.value.rule == rule, caught.value
