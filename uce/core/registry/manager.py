"""Find plugins, know what each one does, and call exactly the selected one of a stage.

Built-ins come through the same hooks as third parties: installed distributions (entry-point group ``uce``),
``--plugin file.py`` and ``--plugin module:object``. A plugin that fails to load is remembered with its cause and is
an error only for whoever selects it.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import os
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from uce.core.errors import PluginError, UceError, is_out_of_memory, unknown_name
from uce.core.files.writing import write_traceback
from uce.core.flow.plugin_info import Candidate, Clash, LoadFailure, PluginInfo, kebab
from uce.core.hookspecs import (
    SELECTED_HOOKS,
    BackboneSpecs,
    EncoderSpecs,
    ExecutorSpecs,
    ExporterSpecs,
    ObserverSpecs,
    StageSpecs,
    hookimpl,
)
from uce.core.registry.examining import require_hooks
from uce.core.registry.host import Call, ExitedError, kept
from uce.core.registry.sources import from_argument

if TYPE_CHECKING:
    from uce.core.model.backbone import Backbone

Names = str | Path | Sequence[str | Path]
GROUP = "uce"
log = logging.getLogger(__name__)
_HOOK_STAGES = {hook: stage for stage, hook in SELECTED_HOOKS.items()} | {"uce_load_backbone": "backbone"}


@dataclass
class Manager:
    """Every plugin of one run. Make a fresh one with `load_manager`; tests make their own."""

    pm: pluggy.PluginManager = field(default_factory=lambda: _new_plugin_manager())
    plugins: list[PluginInfo] = field(default_factory=list)
    failures: list[LoadFailure] = field(default_factory=list)

    def register(self, candidate: Candidate) -> PluginInfo | None:
        """Register one plugin object; what is wrong with it becomes a `LoadFailure`, not an exception."""
        try:
            info = self._examine(candidate)
        except PluginError as error:
            self.failures.append(LoadFailure(candidate.name, candidate.distribution, str(error)))
            return None
        rivals = [p for p in self.plugins if p.name == info.name and p.origin == "built-in"]
        replaced = {stage for rival in rivals for stage in rival.stages if stage in info.stages} - {"backbone"}
        info = dataclasses.replace(info, replaces=tuple(sorted(replaced)))
        self.plugins.append(info)
        return info

    def observe(self, observer: Any) -> None:
        """Register an object that listens, as `observers=[...]` gives it.

        Raises:
            PluginError: a hook of it is none that observers have.
        """
        name = observer.__name__ if inspect.isclass(observer) else type(observer).__name__
        if inspect.isclass(observer):
            raise PluginError(f"observers: {name} is a class; give an object of it, {name}()")
        try:
            require_hooks(self.pm, observer, _observer_hooks())
            self.pm.register(observer)
        except (PluginError, ValueError) as error:
            raise PluginError(f"observers: {name}: {error}") from error

    def offer(self, backbone: Backbone) -> None:
        """Make a model that is loaded already the one that its name stands for."""
        given = _Given(backbone)
        self.pm.register(given)
        who = f"given-{id(backbone)}"
        self.plugins.append(PluginInfo("given", ("backbone",), (), (), who, "", "given", given))

    @property
    def clashes(self) -> list[Clash]:
        """Names that several third parties claim."""
        claims: dict[tuple[str, str], list[str]] = {}
        for info in self.plugins:
            for stage in info.stages if info.origin != "built-in" else ():
                if stage != "backbone":
                    claims.setdefault((stage, info.name), []).append(info.distribution)
        return [Clash(stage, name, tuple(who)) for (stage, name), who in claims.items() if len(who) > 1]

    def _examine(self, candidate: Candidate) -> PluginInfo:
        """Register with pluggy and find out what the object implements."""
        require_hooks(self.pm, candidate.obj, [*_HOOK_STAGES, *_observer_hooks()])
        try:
            self.pm.register(candidate.obj)
        except pluggy.PluginValidationError as error:
            if self.pm.is_registered(candidate.obj):
                self.pm.unregister(candidate.obj)
            raise PluginError(str(error).strip().rpartition("\n")[2]) from error
        except ValueError as error:
            raise PluginError("it is registered already") from error
        stages, wraps, observes = set(), set(), set()
        for caller in self.pm.get_hookcallers(candidate.obj) or []:
            wrapper = any(impl.wrapper or impl.hookwrapper for impl in _impls(caller, candidate.obj))
            stage = _HOOK_STAGES.get(caller.name)
            if stage is None:
                observes.add(caller.name.removeprefix("uce_"))
            elif wrapper:
                wraps.add(stage)
            else:
                stages.add(stage)
        asked = getattr(candidate.obj, "refiners", ())
        if not isinstance(asked, str | list | tuple) or not all(isinstance(name, str) for name in asked):
            self.pm.unregister(candidate.obj)
            raise PluginError("its attribute 'refiners' must be a list of names")
        order = [*SELECTED_HOOKS, "backbone"]
        return PluginInfo(
            name=candidate.name,
            stages=tuple(s for s in order if s in stages),
            wraps=tuple(s for s in order if s in wraps),
            observes=tuple(sorted(observes)),
            distribution=candidate.distribution,
            version=candidate.version,
            origin=candidate.origin,
            obj=candidate.obj,
        )

    def available(self, stage: str) -> dict[str, PluginInfo]:
        """Name -> plugin for one stage; a third party that takes a built-in's name stands in its place."""
        return {info.name: info for info in self.plugins if stage in info.stages}

    def get(self, stage: str, name: str) -> PluginInfo:
        """The plugin of that stage and name.

        Raises:
            PluginError: unknown, claimed by several, or not loadable (with its distribution and the cause).
        """
        for clash in self.clashes:
            if (clash.stage, clash.name) == (stage, name):
                raise PluginError(str(clash))
        known = self.available(stage)
        if name in known:
            return known[name]
        for failure in self.failures:
            if failure.name == name:
                raise PluginError(f"{stage} {name!r} of {failure.distribution} could not be loaded: {failure.cause}")
        raise PluginError(unknown_name(stage, name, known))

    def caller(self, stage: str, info: PluginInfo) -> Call:
        """The stage's hook with every other implementation taken out; wrappers stay."""
        others = [p.obj for p in self.plugins if stage in p.stages and p.obj is not info.obj]
        return Call(self.pm.subset_hook_caller(SELECTED_HOOKS[stage], remove_plugins=others))

    def wrappers(self, stage: str) -> list[PluginInfo]:
        """Plugins that wrap `stage`."""
        return [info for info in self.plugins if stage in info.wraps]

    def emit(self, event: Any) -> None:
        """Tell the observers: event class `StageFinished` goes to hook `uce_stage_finished`.

        Raises:
            PluginError: a third party's observer raised something.
        """
        caller = Call(getattr(self.pm.hook, "uce_" + kebab(type(event).__name__).replace("-", "_")))
        if not caller.hook.get_hookimpls():
            return
        try:
            caller(event=event)
        except UceError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            info = self.raiser(caller, error)
            if info is None and isinstance(error, ExitedError):
                raise PluginError(f"an observer called {error}; take that out, or run without it") from error
            if info is None or info.origin == "built-in":
                raise
            message = " ".join(str(error).split())[:200]
            off = f"switch it off with --no-plugin {info.name}" if info.origin == "installed" else "run without it"
            raise PluginError(
                f"observer {info} raised {type(error).__name__}: {message}; traceback in {write_traceback(None)}; {off}"
            ) from error

    def raiser(self, caller: Call, error: Exception) -> PluginInfo | None:
        """Whose implementation of the hook raised: the innermost that the exception came through, since a wrapper is
        passed by what the plugin inside it raises."""
        owners = {getattr(impl.function, "__code__", None): impl.plugin for impl in caller.hook.get_hookimpls()}
        inner = [owners[f.f_code] for f, _ in traceback.walk_tb(error.__traceback__) if f.f_code in owners]
        return next((info for info in self.plugins if inner and info.obj is inner[-1]), None)


class _Given:
    """A loaded model in the place of the plugin that would load it."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    @hookimpl(tryfirst=True)
    def uce_load_backbone(self, model: str) -> Backbone | None:
        return self.backbone if model == self.backbone.model else None


def _new_plugin_manager() -> pluggy.PluginManager:
    pm = pluggy.PluginManager(GROUP)
    for specs in (StageSpecs, BackboneSpecs, EncoderSpecs, ExporterSpecs, ExecutorSpecs, ObserverSpecs):
        pm.add_hookspecs(specs)
    return pm


def _observer_hooks() -> list[str]:
    return [name for name in vars(ObserverSpecs) if name.startswith("uce_")]


def _impls(caller: pluggy.HookCaller, obj: Any) -> Iterable[pluggy.HookImpl]:
    return [impl for impl in caller.get_hookimpls() if impl.plugin is obj]


def _builtin_candidates() -> Iterable[Candidate]:
    for path in (*import_module("uce.plugins").BUILTINS, *import_module("uce.contrib").BUILTINS):
        module, _, attribute = path.partition(":")
        obj = getattr(import_module(module), attribute)()
        yield Candidate(obj.name, obj, "uce-concepts", import_module("uce").__version__, "built-in")


def _installed_candidates(failures: list[LoadFailure], disabled: set[str]) -> Iterable[Candidate]:
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name):
        distribution = entry.dist.name if entry.dist else "unknown"
        if entry.name in disabled or distribution in disabled:
            continue
        try:
            with kept():
                obj = entry.load()
                obj = obj() if inspect.isclass(obj) else obj
        except Exception as error:  # a stranger's import may raise anything
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            failures.append(LoadFailure(entry.name, distribution, cause))
            log.info("plugin %s of %s could not be loaded: %s", entry.name, distribution, cause)
            continue
        yield Candidate(entry.name, obj, distribution, entry.dist.version if entry.dist else "", "installed")


def load_manager(plugins: Names = (), no_plugins: Names = ()) -> Manager:
    """A fresh manager with built-ins, installed plugins and those named by `--plugin`.

    Args:
        plugins: arguments of `--plugin`, one or several: a path to a `.py` file, or "package.module:object".
        no_plugins: names (or distributions) to leave out; UCE_DISABLE_PLUGINS (comma-separated) adds to them.

    Raises:
        PluginError: a `--plugin` that cannot be loaded.
    """
    plugins, no_plugins = _texts(plugins), _texts(no_plugins)
    manager = Manager()
    disabled = {*no_plugins, *filter(None, os.environ.get("UCE_DISABLE_PLUGINS", "").split(","))}
    for candidate in _builtin_candidates():
        if candidate.name not in disabled:
            manager.register(candidate)
    assert not manager.failures, manager.failures  # a built-in that does not load is our own fault
    for candidate in _installed_candidates(manager.failures, disabled):
        manager.register(candidate)
    for argument in plugins:
        for candidate in from_argument(argument):
            if manager.register(candidate) is None:
                raise PluginError(f"--plugin {argument}: {manager.failures[-1].cause}")
    manager.pm.check_pending()
    if no_plugins:
        known = {c.name for c in _builtin_candidates()} | _installed_names()
        for name in no_plugins:
            if name not in known:
                raise PluginError("--no-plugin: " + unknown_name("plugin", name, {p.name for p in manager.plugins}))
    return manager


def _texts(given: Names) -> list[str]:
    return [str(one) for one in ([given] if isinstance(given, str | Path) else given)]


def _installed_names() -> set[str]:
    entries = metadata.entry_points(group=GROUP)
    return {entry.name for entry in entries} | {entry.dist.name for entry in entries if entry.dist}
