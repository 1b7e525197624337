"""The contract kit: every stage hook of a plugin on tiny inputs, as the orchestrator calls it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from uce.core import data, events
from uce.core.backbone import Backbone
from uce.core.context import Context
from uce.core.errors import StageInputError, UceError
from uce.core.hookspecs import STAGE_HOOKS
from uce.core.manager import Manager, PluginInfo
from uce.core.plugin_sources import Candidate, kebab
from uce.core.settings import Settings
from uce.testing.cases import RESULTS, Case, cases
from uce.testing.results import findings
from uce.testing.rules import ContractError, differing, digests, global_state, seeded_globals

FEW_STEPS = 3
_REFUSED = "refused"
_EVENTS = (events.Step, events.StageStarted, events.StageFinished)


def check_plugin(
    plugin: Any, *, settings: Mapping[str, Any] | None = None, backbone: Backbone | None = None
) -> PluginInfo:
    """Run every stage hook of `plugin` on tiny inputs and check what DESIGN asks of a plugin.

    Rules: its hooks are hooks of uce; it has a docstring and a kebab-case name; its settings are a frozen
    `uce.Settings` with every field described; a stage returns its own type, of the right shapes, on the inputs' device;
    it changes neither its inputs nor anything global; the same seed gives the same bytes, whatever else drew random
    numbers before; what it cannot work on is a `StageInputError` of one sentence.

    Args:
        plugin: an object, a class (made without arguments), or a module whose functions are marked with `@hookimpl`.
        settings: settings to run with, such as fewer steps. A setting called `steps` is 3 unless given here.
        backbone: a model of your own (on the CPU) for plugins that need more than `tiny_backbone` has.

    Returns:
        what uce knows about the plugin.

    Raises:
        ContractError: a rule is broken; the text names it, what was found and how to mend it.
    """
    manager, info = _register(_instance(plugin))
    _check_description(info)
    _check_settings_class(info)
    for stage in info.stages:
        if stage in STAGE_HOOKS:
            chosen = _settings(info, settings)
            for case in cases(stage, backbone):
                _check_case(manager, info, stage, case, chosen)
    return info


def _instance(plugin: Any) -> Any:
    if not inspect.isclass(plugin):
        return plugin
    try:
        return plugin()
    except Exception as error:
        raise ContractError(
            "made without arguments",
            f"plugin {plugin.__name__}",
            f"{plugin.__name__}() raised {type(error).__name__}: {error}",
            "uce makes the object without arguments; take what can be chosen as Settings",
        ) from error


def _register(obj: Any) -> tuple[Manager, PluginInfo]:
    """A manager that knows this plugin alone."""
    own = getattr(obj, "name", None)
    label = obj.__name__ if inspect.ismodule(obj) else type(obj).__name__
    name = own if isinstance(own, str) and not inspect.ismodule(obj) else kebab(label.rpartition(".")[2])
    manager = Manager()
    info = manager.register(Candidate(name, obj, "under test", "", "under test"))
    if info is None:
        raise ContractError(
            "known hooks",
            f"plugin {label}",
            manager.failures[-1].cause,
            "see uce.core.hookspecs for every hook and its arguments, and mark methods with @uce.hookimpl",
        )
    return manager, info


def _where(info: PluginInfo, stage: str = "", case: str = "") -> str:
    return f"{stage or 'plugin'} {info.name!r}" + (f" (on {case})" if case else "")


def _check_description(info: PluginInfo) -> None:
    """Name and docstring: what `uce plugins` lists."""
    target = info.obj if inspect.ismodule(info.obj) else type(info.obj)
    if not inspect.cleandoc(target.__doc__ or "").strip():
        raise ContractError(
            "docstring",
            _where(info),
            f"{target.__name__} has no docstring",
            "its first line is what `uce plugins` shows: say in one line what it does and when to choose it",
        )
    own = getattr(info.obj, "name", info.name)
    if not isinstance(own, str) or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", own):
        raise ContractError(
            "kebab-case name", _where(info), f"its name is {own!r}", "use small letters, digits and single dashes"
        )


def _check_settings_class(info: PluginInfo) -> None:
    """The schema: a frozen `uce.Settings`, no unknown keys, every field described."""
    found = getattr(info.obj, "Settings", Settings)
    where = _where(info)
    if not inspect.isclass(found) or not issubclass(found, Settings):
        raise ContractError("settings", where, f"its Settings is {found!r}", "write class Settings(uce.Settings)")
    if not found.model_config.get("frozen") or found.model_config.get("extra") != "forbid":
        raise ContractError(
            "settings",
            where,
            "its Settings is not frozen or takes unknown keys",
            "leave model_config as uce.Settings has it, so that a misspelt key is refused",
        )
    for name, field in found.model_fields.items():
        if not (field.description or "").strip():
            raise ContractError(
                "every setting described",
                where,
                f"the setting {name!r} has no description",
                f'write {name}: ... = pydantic.Field(..., description="what it does")',
            )


def _settings(info: PluginInfo, given: Mapping[str, Any] | None) -> Settings:
    """Validated settings: those given, else the defaults; few steps where there is such a setting."""
    model, values = info.settings_class, dict(given or {})
    try:
        if "steps" in model.model_fields and "steps" not in values:
            values["steps"] = FEW_STEPS
        chosen = model(**values)
        again = model(**chosen.model_dump(mode="json"))
    except (ValidationError, ValueError, TypeError) as error:
        raise ContractError(
            "settings",
            _where(info),
            f"settings {values} are refused: {' '.join(str(error).split())}",
            "give every setting a default, or pass check_plugin(..., settings={...}) what it needs",
        ) from error
    if again != chosen:
        raise ContractError(
            "settings",
            _where(info),
            "written to a configuration file and read again its settings are not the same",
            "use types that survive model_dump(mode='json'): numbers, words, lists",
        )
    return chosen


def _check_case(manager: Manager, info: PluginInfo, stage: str, case: Case, settings: Settings) -> None:
    """Two calls, between which only what must not matter differs."""
    where = _where(info, stage, case.name)
    first = _call(manager, info, stage, case, settings, global_seed=1)
    if first is not _REFUSED:
        kind = RESULTS[stage]
        if not isinstance(first, kind):
            raise ContractError(
                "returned type",
                where,
                f"it returned {type(first).__name__}",
                f"{STAGE_HOOKS[stage]} returns uce.core.{kind.__name__}",
            )
        for rule, found, mend in findings(stage, first, case.make(), case.degenerate):
            raise ContractError(rule, where, found, mend)
    before = digests(first)
    second = _call(manager, info, stage, case, settings, global_seed=2, strict=True)
    changed = differing(before, digests(second))
    if changed:
        raise ContractError(
            "same seed, same bytes",
            where,
            f"called twice with the same seed it gave another {changed[0] or 'result'}",
            "draw all randomness from context.generator() or context.derived_seed(), and keep no state between calls",
        )


def _call(
    manager: Manager,
    info: PluginInfo,
    stage: str,
    case: Case,
    settings: Settings,
    *,
    global_seed: int,
    strict: bool = False,
) -> Any:
    """The hook's result, or `_REFUSED` where it refused a degenerate input; inputs must be as they were.

    `strict`: global state must be, too (not asked at the first call, where imports may draw random numbers).
    """
    where, arguments = _where(info, stage, case.name), case.make()
    heard: list[Any] = []
    context = Context(seed=7, stage=stage, emit=heard.append)
    before = digests(arguments)
    with seeded_globals(global_seed):
        state = global_state()
        try:
            result = manager.caller(stage, info)(**arguments, settings=settings, context=context)
        except Exception as error:
            _judge(error, where, case)
            result = _REFUSED
        touched = differing(state, global_state())
    if touched and strict:
        raise ContractError(
            "nothing global",
            where,
            f"it changed {touched[0]}",
            "draw from context.generator() or context.derived_seed(), and put back what you set",
        )
    changed = differing(before, digests(arguments))
    if changed:
        raise ContractError(
            "inputs unchanged",
            where,
            f"it changed {changed[0]}",
            "work on a copy: .clone() (torch), .copy() (numpy; .cpu().numpy() alone shares the memory)",
        )
    for event in heard:
        if not isinstance(event, _EVENTS):
            raise ContractError(
                "events", where, f"it emitted {type(event).__name__}", "emit uce.core.Step, which observers know"
            )
    return result


def _judge(error: Exception, where: str, case: Case) -> None:
    """A refusal of a degenerate input is fine; everything else breaks a rule."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, StageInputError) and _from_data(error):
        raise ContractError(
            "valid data", where, f"it made data that is not valid: {text}", "mend what it puts into its result"
        ) from error
    if not isinstance(error, UceError):
        raise ContractError(
            "error style",
            where,
            f"it raised {kind}: {text}",
            "return a result, or raise uce.core.StageInputError with one sentence: what, found, allowed, next step",
        ) from error
    if not case.degenerate:
        raise ContractError(
            "works on ordinary input",
            where,
            f"it refused: {text}",
            "let it work here, or pass check_plugin(..., settings={...}) that fit so small an input",
        ) from error
    if not isinstance(error, StageInputError):
        raise ContractError(
            "error style",
            where,
            f"it raised {kind}: {text}",
            "raise a uce.core.StageInputError",
        ) from error
    if "\n" in str(error).strip() or not 10 <= len(text) <= 400:
        raise ContractError(
            "error style",
            where,
            f"its error is not one sentence: {str(error)[:200]!r}",
            "say in one line what is wrong, what was found and what to do",
        ) from error


def _from_data(error: Exception) -> bool:
    """Whether one of the data classes refused what the plugin put into it."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
        if traceback.tb_frame.f_code.co_filename == data.__file__:
            return True
    return False
