"""What plugins may import: faces, modules that show names and import each one when it is first used.

A face says `__getattr__, __dir__ = face(__name__, _HOMES)`, where `_HOMES` maps a name to the module behind it. A
public name goes away in two steps: it moves into `_RETIRED: dict[str, Retired]`, the third argument of `face`, where it
still works with a warning, and leaves one minor version later.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

PUBLIC = ("uce", "uce.core", "uce.core.files", "uce.core.localisation", "uce.core.model", "uce.core.runs",
          "uce.core.training", "uce.testing")  # fmt: skip
"""The faces. Whatever is not in one of them is private, and may change from one version to the next."""


class RetiredNameWarning(UserWarning):
    """A plugin uses a public name that will go away. Shown to everybody, since a user can ask for a newer plugin."""


@dataclass(frozen=True)
class Retired:
    """A public name on its way out.

    Attributes:
        home: as in a face's homes, what it still gives.
        instead: what to use, such as "uce.core.train".
        until: the minor version that no longer has it, such as "0.3".
    """

    home: str
    instead: str
    until: str


def face(
    package: str, homes: Mapping[str, str], retired: Mapping[str, Retired] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a face.

    Args:
        package: the face's own name.
        homes: public name -> its module within the package; "module:other" where it is called otherwise there.
        retired: names that still work, with a `RetiredNameWarning`.
    """
    gone = retired or {}

    def get(name: str) -> Any:
        if name in gone:
            warn_retired(f"{package}.{name}", gone[name].instead, gone[name].until)
        elif name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, other = (gone[name].home if name in gone else homes[name]).partition(":")
        return getattr(import_module(f"{package}.{module}"), other or name)

    return get, lambda: sorted(homes)


def warn_retired(what: str, instead: str, until: str) -> None:
    """Say who uses `what`, what to use instead, and until when it works; once per place."""
    frame = _user(sys._getframe(1))
    module = str(frame.f_globals.get("__name__", "?")) if frame else "?"
    if frame and module.startswith("uce_plugin_file_"):  # of `--plugin FILE`
        module = Path(frame.f_code.co_filename).name
    text = f"plugin {module} uses {what}, which goes away in uce {until}; use {instead} instead"
    if frame is None:
        warnings.warn(text, RetiredNameWarning, stacklevel=2)
        return
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(text, RetiredNameWarning, frame.f_code.co_filename, frame.f_lineno, module, registry)


def _user(frame: FrameType | None) -> FrameType | None:
    """The nearest frame that is neither a face's nor the import system's."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name != __name__ and not name.startswith("importlib"):
            return frame
        frame = frame.f_back
    return None


def retired_field(old: str, new: str, until: str) -> Callable[[type[T]], type[T]]:
    """Class decorator for a dataclass one of whose fields was renamed: the old name is still taken and given.

    What is stored under the old name is read by the class's `retired_fields`, {old: new}.
    """

    def decorate(cls: type[T]) -> type[T]:
        what, instead, made = f"{cls.__name__}.{old}", f"{cls.__name__}.{new}", cls.__init__

        @functools.wraps(made)
        def make(self: T, *args: Any, **kwargs: Any) -> None:
            if old in kwargs:
                warn_retired(what, instead, until)
                kwargs[new] = kwargs.pop(old)
            made(self, *args, **kwargs)

        def get(self: T) -> Any:
            warn_retired(what, instead, until)
            return getattr(self, new)

        cls.__init__ = make  # type: ignore[method-assign, assignment]
        setattr(cls, old, property(get))
        known: Any = cls
        known.retired_fields = {**getattr(cls, "retired_fields", {}), old: new}
        return cls

    return decorate


def public_names(packages: Sequence[str] = PUBLIC) -> dict[str, list[str]]:
    """Every face's names."""
    return {package: sorted(import_module(package).__all__) for package in packages}
