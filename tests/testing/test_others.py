"""A plugin of several kinds is tried as each of them."""

from __future__ import annotations

from typing import Any

import pytest

import uce
from uce.testing import ContractError, check_plugin
from uce.testing.others import KINDS, kinds_of


class Two:
    """Exports and listens."""

    @uce.hookimpl
    def uce_export(self, tokens: Any, out: Any) -> str:
        for token in tokens:
            (out / token.stem).write_text(str(token.vectors))
        return "read them"

    @uce.hookimpl
    def uce_run_started(self, event: Any) -> None:
        pass


def test_kinds() -> None:
    info = check_plugin(Two)
    assert kinds_of(info) == ("exporter", "observer") and set(kinds_of(info)) <= set(KINDS)


def test_each_kind_is_tried() -> None:
    class Bad(Two):
        """Exports, and cannot listen."""

        @uce.hookimpl
        def uce_run_started(self, event: Any) -> None:
            raise KeyError("folder")

    with pytest.raises(ContractError, match=r"observer 'bad'.*error style.*KeyError"):
        check_plugin(Bad)
