"""What is known of a plugin: who it is, where it comes from, what it serves."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

from uce.core.flow.settings import Settings


@dataclass(frozen=True)
class PluginInfo:
    """One registered plugin.

    Attributes:
        name: kebab-case, unique per stage.
        stages: what it can be selected for, "encoder", "exporter", "executor" included ("backbone": only asked).
        wraps: stages it wraps without replacing.
        observes: events it listens to, without "uce_".
        distribution, version: who ships it.
        origin: "built-in", "installed" or the `--plugin` argument.
        obj: the plugin object.
        replaces: stages in which it takes a built-in's place.
    """

    name: str
    stages: tuple[str, ...]
    wraps: tuple[str, ...]
    observes: tuple[str, ...]
    distribution: str
    version: str
    origin: str
    obj: Any
    replaces: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """First line of the plugin's docstring."""
        doc = inspect.getdoc(self.obj if inspect.ismodule(self.obj) else type(self.obj)) or ""
        return doc.split("\n", 1)[0]

    @property
    def settings_class(self) -> type[Settings]:
        """The plugin's nested `Settings`, or the empty one."""
        found = getattr(self.obj, "Settings", None)
        return found if inspect.isclass(found) and issubclass(found, Settings) else Settings

    @property
    def foreground(self) -> str:
        """The foreground step that a clusterer asks for (its attribute `foreground`) where the user names none."""
        wanted = getattr(self.obj, "foreground", "")
        return wanted if isinstance(wanted, str) else ""

    @property
    def refiners(self) -> tuple[str, ...]:
        """The chain that a clusterer asks for (its attribute `refiners`) where the user names none; () for any."""
        wanted = getattr(self.obj, "refiners", ())
        return (wanted,) if isinstance(wanted, str) else tuple(wanted)

    def __str__(self) -> str:
        return f"{self.name!r} ({self.distribution} {self.version})".replace(" )", ")")


@dataclass(frozen=True)
class LoadFailure:
    """A plugin that could not be loaded, and why."""

    name: str
    distribution: str
    cause: str


@dataclass(frozen=True)
class Clash:
    """A name that several distributions claim for one stage: nobody can choose it, and nothing else is in the way.

    Attributes:
        distributions: who claims it, in the order of loading.
    """

    stage: str
    name: str
    distributions: tuple[str, ...]

    def __str__(self) -> str:
        number = {2: "two"}.get(len(self.distributions), len(self.distributions))
        return (
            f"{number} plugins claim the {self.stage} {self.name!r}: "
            f"{' and '.join(self.distributions)}; uninstall one or switch one off with --no-plugin "
            f"{self.distributions[-1]}"
        )


@dataclass(frozen=True)
class Candidate:
    """A plugin object before it is registered, with who brings it."""

    name: str
    obj: Any
    distribution: str
    version: str
    origin: str


def kebab(name: str) -> str:
    """`MyClusterer`, `my_clusterer` -> "my-clusterer"."""
    return re.sub(r"[_\s]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)).lower()


def is_plugin_name(name: str) -> bool:
    """Whether `name` is kebab-case, as plugin names are: small letters, digits, single dashes, a letter first."""
    return re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) is not None
