"""Whether a plugin's hooks are hooks of this uce: found by their mark, refused in the words of whoever wrote them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import uce
from uce.core.errors import PluginError
from uce.core.registry.examining import hooks_of, require_hooks
from uce.core.registry.manager import load_manager

KNOWN = ["uce_cluster", "uce_step"]


class Two:
    """One hook under its own name, one under another's, and a method that is no hook."""

    @uce.hookimpl
    def uce_cluster(self, attention: Any) -> Any:
        return attention

    @uce.hookimpl(specname="uce_step")
    def listen(self, event: Any) -> None: ...

    def uce_refine_masks(self) -> None: ...


def test_hooks_are_what_is_marked_under_the_name_that_is_called() -> None:
    two = Two()
    found = dict(hooks_of(load_manager().pm, two))
    assert found == {"uce_cluster": two.uce_cluster, "uce_step": two.listen}
    require_hooks(load_manager().pm, two, KNOWN)


@pytest.mark.parametrize("obj", [SimpleNamespace(), SimpleNamespace(uce_cluster=lambda attention: attention)])
def test_an_object_without_a_marked_method(obj: Any) -> None:
    with pytest.raises(PluginError, match=r"it implements no hook; mark its methods with @uce\.hookimpl"):
        require_hooks(load_manager().pm, obj, KNOWN)


def test_a_misspelt_hook_is_told_which_was_meant() -> None:
    class Misspelt:
        @uce.hookimpl
        def uce_clusters(self) -> None: ...

    with pytest.raises(PluginError, match=r"unknown hook 'uce_clusters'; .*Did you mean 'uce_cluster'"):
        require_hooks(load_manager().pm, Misspelt(), KNOWN)


def test_a_hook_that_is_not_for_its_kind_is_unknown() -> None:
    with pytest.raises(PluginError, match="unknown hook 'uce_cluster'"):
        require_hooks(load_manager().pm, Two(), ["uce_step"])


def test_an_argument_that_is_not_given() -> None:
    class Asks:
        @uce.hookimpl
        def uce_cluster(self, attention: Any, imge: Any) -> None: ...

    text = rf"its uce_cluster asks for what uce {uce.__version__} does not give: unknown argument 'imge'.*'image'"
    with pytest.raises(PluginError, match=text):
        require_hooks(load_manager().pm, Asks(), KNOWN)


def test_what_has_a_default_or_takes_the_rest_is_not_asked_for() -> None:
    class Calm:
        @uce.hookimpl
        def uce_cluster(self, attention: Any, own: int = 3, *, further: int = 4) -> None: ...

    require_hooks(load_manager().pm, Calm(), KNOWN)
