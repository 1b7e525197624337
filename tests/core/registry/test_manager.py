"""Finding plugins, refusing wrong ones, calling exactly the selected one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import uce
from uce.core import AttentionMaps, Clusters
from uce.core.errors import PluginError
from uce.core.flow.events import Step
from uce.core.flow.plugin_info import kebab
from uce.core.registry.host import ExitedError
from uce.core.registry.manager import load_manager
from uce.testing import tiny_backbone


class OneCluster:
    """Puts every cell into one cluster."""

    @uce.hookimpl
    def uce_cluster(self, attention: AttentionMaps) -> Clusters:
        return Clusters(np.zeros(attention.grid, dtype=np.int64))


class Misspelt:
    @uce.hookimpl
    def uce_clustr(self, attention: AttentionMaps) -> None: ...


class WrongArgument:
    @uce.hookimpl
    def uce_cluster(self, attentions: AttentionMaps) -> None: ...


class NoGenerator:
    @uce.hookimpl(wrapper=True)
    def uce_cluster(self) -> None: ...


class NoHooks:
    pass


class Wrapper:
    """Adds one to every label."""

    @uce.hookimpl(wrapper=True)
    def uce_cluster(self) -> Any:
        clusters = yield
        return Clusters(clusters.labels + 1)


def entry(name: str, obj: Any, distribution: str) -> SimpleNamespace:
    """What importlib.metadata gives for an installed entry point."""

    def load() -> Any:
        if isinstance(obj, Exception):
            raise obj
        return obj

    return SimpleNamespace(name=name, load=load, dist=SimpleNamespace(name=distribution, version="1.0"))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that distributions with these entry points are installed."""
    return lambda *entries: monkeypatch.setattr(metadata, "entry_points", lambda group: list(entries))


def maps() -> AttentionMaps:
    return AttentionMaps(np.full((4, 4), 0.25), np.eye(2))


def call(manager: Any, name: str) -> Clusters:
    info = manager.get("clusterer", name)
    settings = info.settings_class()
    return manager.caller("clusterer", info)(attention=maps(), image=None, settings=settings, context=None)


def test_builtins_load_and_every_stage_has_its_default() -> None:
    manager = load_manager()
    assert manager.failures == []
    for stage, name in [
        ("extractor", "self-attention"),
        ("clusterer", "finch"),
        ("clusterer", "kmeans"),
        ("clusterer", "hierarchical"),
        ("clusterer", "hdbscan"),
        ("refiner", "saliency"),
        ("refiner", "merge"),
        ("refiner", "none"),
        ("initializer", "split-merge"),
        ("initializer", "random"),
        ("optimizer", "masked-denoising"),
    ]:
        info = manager.get(stage, name)
        assert info.distribution == "uce-concepts" and info.summary


def test_every_setting_of_every_builtin_is_described() -> None:
    for info in load_manager().plugins:
        for name, field in info.settings_class.model_fields.items():
            assert field.description, f"{info.name}.{name} has no description"


def test_unknown_name_lists_the_known_ones_and_the_nearest() -> None:
    line = r"unknown clusterer 'hdbscn'; available: diffseg, finch, .* Did you mean 'hdbscan'\?"
    with pytest.raises(PluginError, match=line):
        load_manager().get("clusterer", "hdbscn")


def test_installed_plugin_is_selected_by_its_entry_point_name(installed: Callable[..., None]) -> None:
    installed(entry("one", OneCluster, "strangers-package"))
    manager = load_manager()
    assert manager.get("clusterer", "one").distribution == "strangers-package"
    assert call(manager, "one").num_clusters == 1


def test_third_party_takes_a_builtins_place(installed: Callable[..., None]) -> None:
    installed(entry("finch", OneCluster, "strangers-package"))
    manager = load_manager()
    info = manager.get("clusterer", "finch")
    assert (info.distribution, info.replaces) == ("strangers-package", ("clusterer",))
    assert call(manager, "finch").num_clusters == 1


def test_two_third_parties_of_one_name_matter_only_to_who_chooses_it(installed: Callable[..., None]) -> None:
    installed(entry("one", OneCluster, "left"), entry("one", OneCluster(), "right"))
    manager = load_manager()
    text = r"two plugins claim the clusterer 'one': left and right; .*--no-plugin right"
    with pytest.raises(PluginError, match=text):
        manager.get("clusterer", "one")
    assert re.search(text, str(manager.clashes[0])) and len(manager.clashes) == 1
    assert call(manager, "hierarchical").num_clusters >= 1, "everything else goes on"
    assert load_manager(no_plugins=["right"]).get("clusterer", "one").distribution == "left"
    assert load_manager(no_plugins=["right"]).clashes == []


def test_two_third_parties_in_a_builtins_place_clash_too(installed: Callable[..., None]) -> None:
    installed(entry("finch", OneCluster, "left"), entry("finch", OneCluster(), "right"))
    with pytest.raises(PluginError, match=r"two plugins claim the clusterer 'finch': left and right"):
        load_manager().get("clusterer", "finch")


def test_wrapper_stays_whichever_clusterer_is_selected(installed: Callable[..., None]) -> None:
    installed(entry("plus-one", Wrapper, "wrapping"), entry("one", OneCluster, "strangers-package"))
    manager = load_manager()
    assert call(manager, "one").labels.unique().tolist() == [1]
    assert [info.name for info in manager.wrappers("clusterer")] == ["plus-one"]


def test_broken_plugin_is_an_error_only_for_who_selects_it(installed: Callable[..., None]) -> None:
    installed(entry("broken", ImportError("no module named 'left_pad'"), "broken-package"))
    manager = load_manager()
    assert manager.get("clusterer", "finch").name == "finch"
    with pytest.raises(PluginError, match=r"'broken' of broken-package could not be loaded: ImportError: no module"):
        manager.get("clusterer", "broken")


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (Misspelt, r"unknown hook 'uce_clustr'.*Did you mean 'uce_cluster'"),
        (
            WrongArgument,
            r"'wrong' of wrong-package could not be loaded: its uce_cluster asks for what uce .* does not give: "
            r"unknown argument 'attentions'; available: attention, context, image, settings. "
            r"Did you mean 'attention'\? It may be made for another version of uce",
        ),
        (NoGenerator, r"Declared as wrapper=True or hookwrapper=True but function is not a generator function$"),
        (NoHooks, r"it implements no hook; mark its methods with @uce.hookimpl"),
    ],
)
def test_wrong_plugins_are_refused_with_the_cause(installed: Callable[..., None], obj: Any, text: str) -> None:
    installed(entry("wrong", obj, "wrong-package"))
    with pytest.raises(PluginError, match=text):
        load_manager().get("clusterer", "wrong")


def test_no_plugin_and_environment_switch_off(installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    installed(entry("one", OneCluster, "strangers-package"))
    assert "one" not in load_manager(no_plugins=["one"]).available("clusterer")
    monkeypatch.setenv("UCE_DISABLE_PLUGINS", "one,kmeans")
    assert {"one", "kmeans"}.isdisjoint(load_manager().available("clusterer"))
    with pytest.raises(PluginError, match="--no-plugin: unknown plugin 'onne'"):
        load_manager(no_plugins=["onne"])


FILE = """
import uce
from uce.core import Clusters

class {name}:
    '''One cluster.'''
    {attribute}
    @uce.hookimpl
    def uce_cluster(self, attention):
        return Clusters(attention.saliency.long() * 0)
"""


def test_file_plugin_is_named_by_its_stem_or_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "my_clusterer.py").write_text(FILE.format(name="Whatever", attribute=""))
    (tmp_path / "other.py").write_text(FILE.format(name="Whatever", attribute="name = 'own-name'"))
    manager = load_manager([str(tmp_path / "my_clusterer.py"), str(tmp_path / "other.py")])
    assert call(manager, "my-clusterer").num_clusters == 1
    assert manager.get("clusterer", "own-name").origin.endswith("other.py")


def test_module_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strange_module_for_uce.py").write_text(FILE.format(name="OneGroup", attribute=""))
    monkeypatch.syspath_prepend(tmp_path)
    manager = load_manager(["strange_module_for_uce:OneGroup"])
    assert call(manager, "one-group").num_clusters == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("raise RuntimeError('boom')", "importing it raised RuntimeError: boom"),
        ("x = 1", "nothing in it is marked with @uce.hookimpl"),
        ("def broken(:", "importing it raised SyntaxError"),
    ],
)
def test_broken_file_plugins(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(content)
    with pytest.raises(PluginError, match=text):
        load_manager([str(path)])


def test_missing_plugin_arguments(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no such file"):
        load_manager([str(tmp_path / "missing.py")])
    with pytest.raises(PluginError, match=r"give a path to a \.py file, or package\.module:object"):
        load_manager(["finch"])
    with pytest.raises(PluginError, match="has no 'Nothing'"):
        load_manager(["uce.plugins.clusterers.finch:Nothing"])


class MisspeltObserver:
    @uce.hookimpl
    def uce_run_startd(self, event: Any) -> None: ...


class GreedyObserver:
    @uce.hookimpl
    def uce_step(self, event: Any, loss: float) -> None: ...


class Listener:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    @uce.hookimpl
    def uce_step(self, event: Any) -> None:
        self.heard.append(event)


@pytest.mark.parametrize(
    ("observer", "text"),
    [
        (MisspeltObserver(), r"observers: MisspeltObserver: unknown hook 'uce_run_startd'; .*mean 'uce_run_started'"),
        (GreedyObserver(), r"observers: GreedyObserver: its uce_step asks for .* unknown argument 'loss'; .*event"),
        (OneCluster(), r"observers: OneCluster: unknown hook 'uce_cluster'; available: uce_cell_finished"),
        (NoHooks(), r"observers: NoHooks: it implements no hook; mark its methods"),
        (Listener, r"observers: Listener is a class; give an object of it, Listener\(\)"),
    ],
)
def test_observers_are_examined_as_plugins_are(observer: Any, text: str) -> None:
    with pytest.raises(PluginError, match=text):
        load_manager().observe(observer)


def test_an_observer_hears_its_event_and_is_given_once() -> None:
    manager, listener = load_manager(), Listener()
    manager.observe(listener)
    event = Step(1, 2)
    manager.emit(event)
    assert listener.heard == [event]
    with pytest.raises(PluginError, match=r"observers: Listener: .*already registered"):
        manager.observe(listener)


class Leaver:
    """Calls sys.exit wherever it can."""

    @uce.hookimpl
    def uce_step(self, event: Any) -> None:
        sys.exit(0)

    @uce.hookimpl
    def uce_execute(self, jobs: Any) -> Any:
        yield from jobs
        print("nearly done")
        sys.exit(3)


def test_sys_exit_is_an_error_of_whoever_calls_it(installed: Callable[..., None]) -> None:
    installed(entry("leaver", Leaver, "leaving"))
    manager = load_manager()
    with pytest.raises(PluginError, match=r"observer 'leaver' \(leaving 1.0\) raised ExitedError: sys.exit\(0\); "):
        manager.emit(Step(1, 1))
    found = manager.caller("executor", manager.get("executor", "leaver"))(jobs=[1, 2], assignment=None, settings=None,
                                                                           manager=None)  # fmt: skip
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ExitedError, match=r"sys.exit\(3\)"):
        next(found)
    own = load_manager(no_plugins=["leaver"])
    own.pm.register(Leaver())
    with pytest.raises(PluginError, match=r"an observer called sys.exit\(0\); take that out, or run without it"):
        own.emit(Step(1, 1))


def test_a_plugin_that_leaves_while_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import sys\nprint('bye')\nsys.exit(0)")
    with pytest.raises(PluginError, match=r"importing it raised ExitedError: sys.exit\(0\)"):
        load_manager([str(tmp_path / "bad.py")])


def test_a_given_model_is_what_its_name_stands_for() -> None:
    manager, backbone = load_manager(), tiny_backbone()
    manager.offer(backbone)
    load = manager.pm.hook.uce_load_backbone
    assert load(model=backbone.model, settings=None, device="cpu", precision="float32") is backbone


def test_kebab() -> None:
    assert [kebab(n) for n in ("MyClusterer", "my_clusterer", "RunStarted")] == [
        "my-clusterer",
        "my-clusterer",
        "run-started",
    ]
