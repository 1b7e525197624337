"""Whether a plugin's hooks are hooks of this uce, said in the words of whoever wrote or installed it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pluggy

from uce.core.errors import PluginError, unknown_name
from uce.version import __version__


def hooks_of(pm: pluggy.PluginManager, obj: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """(hook, implementation) of everything in `obj` that is marked with `@uce.hookimpl`."""
    for name in dir(obj):
        options = pm.parse_hookimpl_opts(obj, name)
        if options is not None:
            yield options.get("specname") or name, getattr(obj, name)


def require_hooks(pm: pluggy.PluginManager, obj: Any, known: list[str]) -> None:
    """Refuse an object whose hooks this uce does not call.

    Args:
        known: names of the hooks that it may have.

    Raises:
        PluginError: no hook, an unknown one, or one that asks for an argument that is not given.
    """
    hooks = list(hooks_of(pm, obj))
    if not hooks:
        raise PluginError("it implements no hook; mark its methods with @uce.hookimpl")
    for hook, method in hooks:
        if hook not in known:
            raise PluginError(unknown_name("hook", hook, known))
        spec = getattr(pm.hook, hook).spec
        offered = list(spec.argnames)
        for name in _asked(method):
            if name not in offered:
                raise PluginError(
                    f"its {hook} asks for what uce {__version__} does not give: "
                    f"{unknown_name('argument', name, offered)} It may be made for another version of uce: update the "
                    "one or the other"
                )


def _asked(method: Callable[..., Any]) -> list[str]:
    """Arguments that pluggy would have to fill: those without a default."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(method).parameters.values()
    return [one.name for one in parameters if one.kind in kinds and one.default is inspect.Parameter.empty]
