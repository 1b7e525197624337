"""evaluate and benchmark take the same flags for what both do."""

from __future__ import annotations

import inspect

from uce.commands.measure import MEASURING, benchmark, evaluate


def test_what_measures_has_the_same_flags() -> None:
    for command in (evaluate, benchmark):
        parameters = inspect.signature(command).parameters
        for name, (annotation, default) in MEASURING.items():
            assert parameters[name].annotation is annotation and parameters[name].default == default
        assert list(parameters)[-1] == "json_" and "options" not in parameters
