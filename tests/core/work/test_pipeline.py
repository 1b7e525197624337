"""The orchestrator: calls exactly the chosen plugins, once, and says whose fault a failure is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import Field

import uce
from uce.core import (
    AttentionMaps,
    Clusters,
    Concepts,
    Context,
    LearnedConcepts,
    Picture,
    PluginError,
    StageInputError,
    Step,
    TokenPlan,
    hookimpl,
)
from uce.core.config.resolving import resolve_config
from uce.core.flow.plugin_info import Candidate
from uce.core.flow.serial import content_digest
from uce.core.registry.manager import Manager, load_manager
from uce.core.runs.folder import RunFolder
from uce.core.work.cache import FileCheckpoint
from uce.core.work.pipeline import Work
from uce.testing import tiny_attention, tiny_backbone, tiny_labels, tiny_picture
from uce.testing.cases import tiny_plan

TOKENS = ("<cup>", "<cat>", "<hat>")
STAGES = ("extractor", "clusterer", "refiner", "initializer", "optimizer")


class Counting:
    """Does all five stages and notes every call."""

    class Settings(uce.Settings):
        strength: float = Field(1.0, description="makes another result")

    def __init__(self) -> None:
        self.calls: list[Context] = []

    @property
    def stages(self) -> list[str]:
        """The stages called so far, forgotten after reading."""
        stages = [context.stage for context in self.calls]
        self.calls.clear()
        return stages

    @hookimpl
    def uce_extract_attention(self, context: Context) -> AttentionMaps:
        self.calls.append(context)
        return tiny_attention()

    @hookimpl
    def uce_cluster(self, attention: AttentionMaps, context: Context) -> Clusters:
        self.calls.append(context)
        return Clusters(tiny_labels())

    @hookimpl
    def uce_refine_masks(self, concepts: Concepts, settings: Settings, context: Context) -> Concepts:
        self.calls.append(context)
        return replace(concepts, scores=concepts.scores * settings.strength)

    @hookimpl
    def uce_initialize_tokens(self, concepts: Concepts, backbone: Any, context: Context) -> TokenPlan:
        self.calls.append(context)
        return tiny_plan(backbone, len(concepts), 2)

    @hookimpl
    def uce_optimize(self, plan: TokenPlan, settings: Settings, context: Context) -> LearnedConcepts:
        self.calls.append(context)
        context.emit(Step(1, 1, "merged", {"total": 0.5}))
        learned = {
            encoder: start.mean(dim=1, keepdim=True) * settings.strength for encoder, start in plan.starts.items()
        }
        return LearnedConcepts(plan.tokens, learned)


class FirstOnly:
    """Wraps the refiner: keeps only the first concept."""

    @hookimpl(wrapper=True)
    def uce_refine_masks(self) -> Any:
        concepts = yield
        return concepts.select([0])


class Observer:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    @hookimpl
    def uce_stage_started(self, event: Any) -> None:
        self.heard.append(("started", event.stage, event.plugin))

    @hookimpl
    def uce_step(self, event: Step) -> None:
        self.heard.append(("step", event.update, event.losses["total"]))

    @hookimpl
    def uce_stage_finished(self, event: Any) -> None:
        assert event.seconds >= 0
        self.heard.append(("finished", event.stage, event.cached, type(event.result).__name__))


def manager_with(*plugins: Any) -> Manager:
    manager = load_manager()
    for plugin in plugins:
        name = type(plugin).__name__.lower()
        assert manager.register(Candidate(name, plugin, "strange-things", "1.2", "installed")), manager.failures
    return manager


Make = Callable[..., Work]


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def make(counting: Counting) -> Make:
    """A pipeline of which `counting` does every stage, unless told otherwise."""

    def build(
        *others: Any,
        folder: Path | None = None,
        picture: Picture | None = None,
        settings: tuple[str, ...] = (),
        seed: int = 0,
        refiners: tuple[str, ...] = ("counting",),
        **plugins: str,
    ) -> Work:
        manager = manager_with(counting, *others)
        chosen = {stage: plugins.get(stage, "counting") for stage in STAGES if stage != "refiner"}
        config = resolve_config(
            manager, plugins=chosen, refiners=refiners, assignments=settings, values={"run.seed": seed}
        )
        run = None if folder is None else RunFolder(folder)
        return Work(manager, config, tiny_backbone(), picture or tiny_picture((40, 40)), run)

    return build


def go(pipeline: Work) -> LearnedConcepts:
    concepts = pipeline.localize(pipeline.extract())
    return pipeline.learn(concepts, TOKENS[: len(concepts)])


def test_every_stage_is_called_once_and_in_order(make: Make, counting: Counting) -> None:
    learned = go(make())
    assert learned.tokens == TOKENS, "the run's names, not the initializer's"
    assert [(context.stage, context.seed, context.device) for context in counting.calls] == [
        (stage, 0, "cpu") for stage in STAGES
    ]


def test_unchanged_stages_come_from_the_cache(make: Make, counting: Counting, tmp_path: Path) -> None:
    first = go(make(folder=tmp_path))
    assert counting.stages == list(STAGES)
    assert content_digest(go(make(folder=tmp_path))) == content_digest(first)
    assert counting.stages == []


@pytest.mark.parametrize(
    ("changed", "called"),
    [
        ({"settings": ("optimizer.strength=2",)}, ["optimizer"]),
        ({"settings": ("initializer.strength=2",)}, ["initializer", "optimizer"]),
        ({"settings": ("refiner.counting.strength=2",)}, ["refiner", "initializer", "optimizer"]),
        ({"settings": ("clusterer.strength=2",)}, ["clusterer", "refiner"]),  # it finds the same, so learning stays
        ({"settings": ("extractor.strength=2",)}, ["extractor", "clusterer", "refiner"]),
        ({"seed": 1}, list(STAGES)),
        ({"picture": tiny_picture((40, 40), 32).at(64)}, []),  # the same picture
        ({"picture": tiny_picture((44, 44))}, ["extractor", "clusterer", "refiner", "initializer", "optimizer"]),
        ({"settings": ("run.threads=7",)}, list(STAGES)),
        ({"settings": ("run.samples=3", "run.checkpoint_every=9")}, []),
    ],
)
def test_what_changed_and_what_follows_is_called_again(
    make: Make, counting: Counting, tmp_path: Path, changed: dict[str, Any], called: list[str]
) -> None:
    go(make(folder=tmp_path))
    assert counting.stages == list(STAGES)
    go(make(folder=tmp_path, **changed))
    assert counting.stages == called


def test_without_a_folder_nothing_is_remembered(make: Make, counting: Counting) -> None:
    go(make())
    go(make())
    assert counting.stages == list(STAGES) * 2


def test_only_the_optimizer_keeps_checkpoints(make: Make, counting: Counting, tmp_path: Path) -> None:
    go(make(folder=tmp_path))
    kept = [context.stage for context in counting.calls if isinstance(context.checkpoint, FileCheckpoint)]
    assert kept == ["optimizer"]


def test_a_wrapper_sees_the_chosen_refiner_and_makes_another_key(
    make: Make, counting: Counting, tmp_path: Path
) -> None:
    assert len(go(make(folder=tmp_path)).tokens) == 3
    assert counting.stages == list(STAGES)
    assert len(go(make(FirstOnly(), folder=tmp_path)).tokens) == 1
    assert counting.stages == ["refiner", "initializer", "optimizer"]
    assert len(go(make(folder=tmp_path)).tokens) == 3, "and without it, what was found without it"


def test_a_wrapper_works_around_built_ins(make: Make) -> None:
    pipeline = make(FirstOnly(), refiners=("none",))
    assert len(pipeline.localize(pipeline.extract())) == 1


def test_refiners_are_a_chain(make: Make, counting: Counting) -> None:
    pipeline = make(refiners=("saliency", "counting"), settings=("refiner.counting.strength=10",))
    concepts = pipeline.localize(pipeline.extract())
    assert len(concepts) == 2 and float(concepts.scores.min()) > 10
    assert set(pipeline.seconds) == {"extractor", "foreground", "clusterer", "refiner-saliency", "refiner-counting"}


def test_observers_hear_everything_in_order(make: Make, tmp_path: Path) -> None:
    observer = Observer()
    go(make(observer, folder=tmp_path))
    results = ("AttentionMaps", "Clusters", "Concepts", "TokenPlan", "LearnedConcepts")
    expected: list[tuple[Any, ...]] = []
    for stage, result in zip(STAGES, results, strict=True):
        expected.append(("started", stage, "counting"))
        expected += [("step", 1, 0.5)] if stage == "optimizer" else []
        expected.append(("finished", stage, False, result))
        if stage == "extractor":  # the step between stages one and two
            expected += [("started", "foreground", "salient"), ("finished", "foreground", False, "AttentionMaps")]
    assert observer.heard == expected
    again = Observer()
    go(make(again, folder=tmp_path))
    finished = [entry for entry in again.heard if entry[0] == "finished" and entry[1] != "foreground"]
    assert finished == [("finished", stage, True, result) for stage, result in zip(STAGES, results, strict=True)]


def failing(cluster: Callable[[AttentionMaps], Any]) -> Any:
    """A clusterer called "failing"."""

    class Failing:
        """Fails."""

        @hookimpl
        def uce_cluster(self, attention: AttentionMaps) -> Any:
            return cluster(attention)

    return Failing()


def raising(error: BaseException) -> Any:
    def cluster(attention: AttentionMaps) -> Any:
        raise error

    return failing(cluster)


def test_a_strangers_exception_is_one_line_and_a_file(make: Make, tmp_path: Path) -> None:
    pipeline = make(raising(ZeroDivisionError("what\na mess")), clusterer="failing", folder=tmp_path)
    with pytest.raises(PluginError) as caught:
        go(pipeline)
    path = tmp_path / "error.txt"
    assert str(caught.value) == (
        f"clusterer 'failing' (strange-things 1.2) raised ZeroDivisionError: what a mess; traceback in {path}"
    )
    assert "Traceback (most recent call last)" in path.read_text() and "raise error" in path.read_text()


def test_a_strangers_exception_without_a_folder(make: Make) -> None:
    with pytest.raises(PluginError, match="traceback in ") as caught:
        go(make(raising(KeyError("k")), clusterer="failing"))
    path = Path(str(caught.value).rpartition("traceback in ")[2])
    assert "KeyError" in path.read_text()
    path.unlink()
    path.parent.rmdir()


@pytest.mark.parametrize("error", [StageInputError("too small"), KeyboardInterrupt()])
def test_these_go_through_as_they_are(make: Make, tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error), match=str(error)):
        go(make(raising(error), clusterer="failing", folder=tmp_path))
    assert not (tmp_path / "error.txt").exists()


def test_our_own_exception_keeps_its_traceback(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **more: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("uce.core.localisation.finch.finch", broken)
    with pytest.raises(ZeroDivisionError):
        go(make(clusterer="finch"))


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (lambda a: None, "clusterer 'failing' (strange-things 1.2) returned NoneType, not Clusters; see `uce plugins"),
        (lambda a: a, "returned AttentionMaps, not Clusters"),
        (lambda a: Clusters(tiny_labels((4, 4))), "returned labels that do not fit; they must be for (8, 8)"),
    ],
)
def test_wrong_results_name_the_plugin(make: Make, result: Any, text: str) -> None:
    with pytest.raises(PluginError, match=re.escape(text)):
        go(make(failing(result), clusterer="failing"))


class Resizing:
    """Gives masks of another size than asked."""

    class Settings(uce.Settings):
        what: str = Field("masks", description="which")

    @hookimpl
    def uce_refine_masks(self, concepts: Concepts, settings: Settings) -> Concepts:
        if settings.what == "pixels":
            return replace(concepts, pixel_masks=torch.zeros(len(concepts), 3, 3, dtype=torch.bool))
        if settings.what == "nothing":
            return replace(concepts, masks=torch.zeros_like(concepts.masks))
        if settings.what == "some":
            return replace(concepts, masks=concepts.masks & (torch.arange(3) == 1)[:, None, None])
        return Concepts(concepts.masks[:, :4], concepts.maps[:, :32], concepts.scores)


def refined(make: Make, what: str) -> Concepts:
    pipeline = make(Resizing(), refiners=("resizing",), settings=(f"refiner.resizing.what={what}",))
    return pipeline.localize(pipeline.extract())


def test_wrong_masks_name_the_plugin(make: Make) -> None:
    with pytest.raises(PluginError, match=r"refiner 'resizing' .* returned masks that do not fit; .* for \(8, 8\)"):
        refined(make, "masks")
    with pytest.raises(PluginError, match=r"returned pixel_masks that do not fit; they must be for \(40, 40\)"):
        refined(make, "pixels")


def test_concepts_without_cells_are_dropped(make: Make) -> None:
    found = refined(make, "some")
    assert len(found) == 1 and torch.equal(found.masks[0], tiny_labels() == 1)
    with pytest.raises(StageInputError, match="no concept was found in this picture; try --refiner merge"):
        refined(make, "nothing")


def test_padding_is_no_part_of_a_concept(make: Make) -> None:
    picture = tiny_picture((20, 40))
    pipeline = make(picture=picture, refiners=("none",))
    concepts = pipeline.localize(pipeline.extract())
    valid = picture.valid((8, 8))
    assert not valid.all() and not (concepts.masks & ~valid).any()
    assert concepts.pixel_masks is not None and tuple(concepts.pixel_masks.shape[1:]) == (20, 40)


def test_tokens_must_be_the_plans(make: Make) -> None:
    class Renaming:
        """Learns something else."""

        @hookimpl
        def uce_optimize(self, plan: TokenPlan) -> LearnedConcepts:
            return LearnedConcepts(("<x>",), {"clip": torch.zeros(1, 1, 6)})

    with pytest.raises(PluginError, match=r"optimizer 'renaming' .* returned tokens that do not fit"):
        go(make(Renaming(), optimizer="renaming"))


def test_starts_must_be_for_the_models_encoders(make: Make) -> None:
    class OneEncoder:
        """Forgets a text encoder."""

        @hookimpl
        def uce_initialize_tokens(self, concepts: Concepts) -> TokenPlan:
            return TokenPlan(TOKENS, {"other": torch.zeros(3, 1, 6)})

    with pytest.raises(PluginError, match=r"returned starts for the encoders that do not fit; .* \('clip',\)"):
        go(make(OneEncoder(), initializer="oneencoder"))


def test_bare_maps_need_neither_model_nor_picture(counting: Counting) -> None:
    manager = manager_with(counting)
    config = resolve_config(manager, plugins={"clusterer": "counting"}, refiners=["counting"])
    concepts = Work(manager, config).localize(tiny_attention())
    assert len(concepts) == 3 and concepts.pixel_masks is None and counting.stages == ["clusterer", "refiner"]


class Falling:
    """An observer that raises."""

    error: Exception = ZeroDivisionError("what\na mess")

    @hookimpl
    def uce_step(self, event: Any) -> None:
        raise self.error


def test_a_strangers_observer_that_raises_is_named(make: Make) -> None:
    with pytest.raises(PluginError) as caught:
        go(make(Falling()))
    text = str(caught.value)
    assert "observer 'falling' (strange-things 1.2) raised ZeroDivisionError: what a mess; traceback in " in text
    assert text.endswith("error.txt; switch it off with --no-plugin falling")
    path = Path(text.partition("traceback in ")[2].partition(";")[0])
    assert "raise self.error" in path.read_text()
    path.unlink()
    path.parent.rmdir()


def test_ones_own_observer_keeps_its_traceback(make: Make) -> None:
    pipeline = make(optimizer="masked-denoising", settings=("optimizer.steps=1", "optimizer.attention_weight=0"))
    pipeline.manager.pm.register(Falling())  # as `observers=[...]` in Python does
    with pytest.raises(ZeroDivisionError):
        go(pipeline)
