"""The contract kit: every hook of a plugin on tiny inputs, as uce calls it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from uce.core.flow import events
from uce.core.flow.context import Context
from uce.core.flow.plugin_info import Candidate, PluginInfo, is_plugin_name, kebab
from uce.core.flow.settings import Settings
from uce.core.hookspecs import STAGE_HOOKS
from uce.core.model.backbone import Backbone
from uce.core.registry.manager import Manager
from uce.testing.cases import INNER, RESULTS, Case, cases
from uce.testing.others import check_kind, kinds_of
from uce.testing.refusals import judge
from uce.testing.results import findings
from uce.testing.rules import ContractError, differing, digests, global_state, seeded_globals

FEW_STEPS = 3
_REFUSED = "refused"
_EVENTS = (events.Step, events.StageStarted, events.StageFinished)


def check_plugin(
    plugin: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    backbone: Backbone | None = None,
    model: str | None = None,
) -> PluginInfo:
    """Run every hook of `plugin` on tiny inputs and check what uce asks of a plugin.

    A wrapper of a stage is run around a built-in of that stage, and what comes out must keep the same rules.

    Rules: its hooks are hooks of uce; it has a docstring and a kebab-case name; its settings are a frozen
    `uce.Settings` with every field described; a stage returns its own type, of the right shapes, on the inputs' device;
    it changes neither its inputs nor anything global; the same seed gives the same bytes, whatever else drew random
    numbers before; what it cannot work on is a `StageInputError` of one sentence. Encoders, exporters, executors,
    backbones and observers have rules of their own; docs/plugins.md lists them.

    Args:
        plugin: an object, a class (made without arguments), or a module whose functions are marked with `@hookimpl`.
        settings: settings to run with, such as fewer steps. A setting called `steps` is 3 unless given here.
        backbone: a model of your own (on the CPU) for plugins that need more than `tiny_backbone` has.
        model: for a plugin that loads backbones: a `--model` that it understands; None tries the plugin's own name.

    Returns:
        what uce knows about the plugin.

    Raises:
        ContractError: a rule is broken; the text names it, what was found and how to mend it.
    """
    manager, info = _register(_instance(plugin))
    _check_description(info)
    _check_settings_class(info)
    tried = [(stage, info) for stage in info.stages if stage in STAGE_HOOKS]
    tried += [(stage, _wrapped(manager, stage)) for stage in info.wraps if stage in STAGE_HOOKS]
    for stage, called in tried:
        own = called is info
        chosen = _settings(called, settings if own else INNER[stage][1])
        where = _where(info, f"{'' if own else 'wrapper of the '}{stage}")
        for case in cases(stage, backbone):
            _check_case(_Call(manager, called, stage, chosen, where), case)
    for kind in kinds_of(info):
        check_kind(manager, info, kind, _settings(info, settings), _where(info, kind), model)
    return info


@dataclass(frozen=True)
class _Call:
    """Whom to call for a stage, with which settings, and how messages name it."""

    manager: Manager
    called: PluginInfo
    stage: str
    settings: Settings
    where: str


def _wrapped(manager: Manager, stage: str) -> PluginInfo:
    """The built-in of `stage` that a wrapper is tried around."""
    module, _, attribute = INNER[stage][0].partition(":")
    obj = getattr(import_module(module), attribute)()
    info = manager.register(Candidate(f"inner-{stage}", obj, "uce-concepts", "", "built-in"))
    assert info is not None, manager.failures
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


def _where(info: PluginInfo, stage: str = "plugin") -> str:
    return f"{stage} {info.name!r}"


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
    if not isinstance(own, str) or not is_plugin_name(own):
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
    try:
        found.model_json_schema()
    except Exception as error:
        raise ContractError(
            "settings",
            where,
            f"its Settings have no JSON schema: {' '.join(str(error).split())}",
            "use types that `uce plugins show` can describe: numbers, words, lists",
        ) from error


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


def _check_case(call: _Call, case: Case) -> None:
    """Two calls, between which only what must not matter differs."""
    where = f"{call.where} (on {case.name})"
    first = _result(call, case, where, global_seed=1)
    if first is not _REFUSED:
        kind = RESULTS[call.stage]
        if not isinstance(first, kind):
            raise ContractError(
                "returned type",
                where,
                f"it returned {type(first).__name__}",
                f"{STAGE_HOOKS[call.stage]} returns uce.core.{kind.__name__}",
            )
        for rule, found, mend in findings(call.stage, first, case.make(), case.degenerate):
            raise ContractError(rule, where, found, mend)
    before = digests(first)
    second = _result(call, case, where, global_seed=2, strict=True)
    changed = differing(before, digests(second))
    if changed:
        raise ContractError(
            "same seed, same bytes",
            where,
            f"called twice with the same seed it gave another {changed[0] or 'result'}",
            "draw all randomness from context.generator() or context.derived_seed(), and keep no state between calls",
        )


def _result(call: _Call, case: Case, where: str, *, global_seed: int, strict: bool = False) -> Any:
    """The hook's result, or `_REFUSED` where it refused a degenerate input; inputs must be as they were.

    `strict`: global state must be, too (not asked at the first call, where imports may draw random numbers).
    """
    arguments, heard = case.make(), list[Any]()
    context = Context(seed=7, stage=call.stage, emit=heard.append)
    before = digests(arguments)
    with seeded_globals(global_seed):
        state = global_state()
        try:
            hook = call.manager.caller(call.stage, call.called).hook  # unguarded: what it changes is to show
            result = hook(**arguments, settings=call.settings, context=context)
        except Exception as error:
            judge(error, where, case.degenerate)
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
