"""Stage results on disk: what is written is what is read, and only what was made for the same key is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from uce.core import AttentionMaps, Clusters, Concepts, LearnedConcepts, TokenPlan
from uce.core.files.tensors import load_tensors
from uce.core.flow.configuration import Choice
from uce.core.flow.serial import content_digest, dump, parse
from uce.core.registry.manager import load_manager
from uce.core.work.cache import FileCheckpoint, StageCache, stage_key
from uce.testing import tiny_attention, tiny_concepts

MASKS = torch.eye(2, dtype=torch.bool)[:, :, None]  # two concepts on a grid of two cells


def concepts(**more: Any) -> Concepts:
    return Concepts(masks=MASKS, maps=torch.eye(2), scores=torch.tensor([1.5, 0.5]), **more)


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


DATA = {
    "attention": tiny_attention((2, 3)),
    "attention-float64": AttentionMaps(torch.eye(2, dtype=torch.float64), torch.zeros(1, 2)),
    "clusters": Clusters(torch.tensor([[0, -1], [2, 2]]), merge_threshold=0.25),
    "clusters-plain": Clusters(torch.tensor([[0]])),
    "concepts": tiny_concepts(),
    "concepts-full": concepts(pixel_masks=MASKS.clone(), labels=["cup", "cat"], merge_threshold=1.0),
    "concepts-same-tensor": concepts(pixel_masks=MASKS),
    "no-concepts": concepts().select([]),
    "plan": TokenPlan(("<a>", "<b>"), {"clip": numbers(2, 5, 3)}, merge_step=4),
    "plan-two-encoders": TokenPlan(("<a>",), {"clip_l": torch.ones(1, 2, 3), "clip_g": torch.ones(1, 2, 5)}),
    "plan-shared": TokenPlan(("<a>",), dict.fromkeys(("clip_l", "clip_g"), torch.ones(1, 1, 3))),
    "learned": LearnedConcepts(("<a>",), {"clip": numbers(1, 1, 3)}),
    "learned-full": LearnedConcepts(
        ("<a>", "<b>"),
        {"clip_l": numbers(2, 2, 3), "clip_g": numbers(2, 2, 5)},
        weights={"unet.lora": torch.ones(2, 2, dtype=torch.bfloat16)},
        history=[
            {"update": 1, "phase": "split", "total": 0.5},
            {"update": 2, "phase": "merged", "total": float("nan")},
        ],
    ),
    "learned-no-weights": LearnedConcepts(("<a>",), {"clip": numbers(1, 1, 3)}, weights={}),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in DATA.items()])
def test_what_is_put_is_what_is_got(data: Any, tmp_path: Path) -> None:
    tensors, values = dump(data)
    assert content_digest(parse(tensors, json.loads(json.dumps(values)))) == content_digest(data)
    cache = StageCache(tmp_path)
    cache.put("stage", "key", data)
    found = cache.get("stage", "key")
    assert type(found) is type(data) and content_digest(found) == content_digest(data)
    for name, value in vars(data).items():
        if not isinstance(value, torch.Tensor | dict) and name != "history":
            assert getattr(found, name) == value
    assert [path.name for path in tmp_path.iterdir()] == ["stage.safetensors"]


def test_digest_sees_every_part() -> None:
    changed = [
        concepts(),
        concepts(labels=["cup", "cat"]),
        concepts(merge_threshold=1.0),
        concepts(pixel_masks=MASKS),
        Concepts(masks=MASKS.flip(0), maps=torch.eye(2), scores=torch.tensor([1.5, 0.5])),
        Concepts(masks=MASKS, maps=torch.eye(2), scores=torch.tensor([1.5, 0.6])),
        Concepts(masks=MASKS, maps=torch.eye(2, dtype=torch.float64), scores=torch.tensor([1.5, 0.5])),
    ]
    assert len({content_digest(data) for data in changed}) == len(changed)
    assert content_digest(concepts()) == content_digest(concepts())


def choice(name: str = "kmeans", **settings: Any) -> Choice:
    info = load_manager().get("clusterer", name)
    return Choice("clusterer", info, info.settings_class(**settings))


def test_key_holds_everything_a_result_depends_on() -> None:
    facts = {"upstream": "u", "seed": 0, "model": "m"}
    others = [
        stage_key(choice(clusters=3), [], facts),
        stage_key(choice("finch"), [], facts),
        stage_key(choice(), [], {**facts, "upstream": "v"}),
        stage_key(choice(), [], {**facts, "seed": 1}),
        stage_key(choice(), [], {**facts, "model": None}),
        stage_key(choice(), [Clusters], facts),
    ]
    assert stage_key(choice(), [], facts) == stage_key(choice(), [], dict(reversed(facts.items())))
    assert len({stage_key(choice(), [], facts), *others}) == len(others) + 1


def test_key_follows_a_plugin_files_source(tmp_path: Path) -> None:
    source = """
        import torch, uce
        from uce.core import Clusters

        class Mine:
            @uce.hookimpl
            def uce_cluster(self, attention):
                return Clusters(torch.zeros(attention.grid).long())
        """
    path = tmp_path / "mine.py"

    def key() -> str:
        manager = load_manager([str(path)])
        info = manager.get("clusterer", "mine")
        return stage_key(Choice("clusterer", info, info.settings_class()), [], {})

    path.write_text("\n".join(line[8:] for line in source.splitlines()))
    first = key()
    assert key() == first
    path.write_text(path.read_text() + "\n# changed\n")
    assert key() != first


def test_another_key_is_not_found(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    cache.put("clusterer", "key", Clusters(torch.tensor([[0]])))
    assert cache.get("clusterer", "other") is None and cache.get("refiner", "key") is None
    found = cache.find("clusterer")
    assert found is not None and found[0] == "key"


def test_without_a_folder_nothing_is_kept() -> None:
    cache = StageCache(None)
    cache.put("clusterer", "key", Clusters(torch.tensor([[0]])))
    assert cache.get("clusterer", "key") is None and cache.find("clusterer") is None


def test_results_beyond_the_limit_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uce.core.work.cache.CACHE_LIMIT_BYTES", 100)
    StageCache(tmp_path).put("extractor", "key", tiny_attention())
    assert not list(tmp_path.iterdir())


def foreign(path: Path, tensors: dict[str, Any], document: str | None) -> None:
    save_file(tensors, path, metadata=None if document is None else {"uce": document})


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-3]),
        lambda path: path.write_bytes(b"\xff" * 40),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: foreign(path, {"x": torch.ones(1)}, None),
        lambda path: foreign(path, {"x": torch.ones(1)}, "not json"),
        lambda path: foreign(path, {"x": torch.ones(1)}, "[]"),
        lambda path: foreign(path, {"x": torch.ones(1)}, "{}"),
        lambda path: foreign(path, {"x": torch.ones(1)}, '{"key": "key"}'),
        lambda path: foreign(path, {"x": torch.ones(1)}, '{"key": "key", "data": 3, "values": 3}'),
        lambda path: foreign(path, {"x": torch.ones(1)}, '{"key": "key", "data": {"kind": "Other"}}'),
        lambda path: foreign(path, {"x": torch.ones(1)}, '{"key": "key", "data": {"kind": "Clusters"}}'),
        lambda path: foreign(path, {"labels": torch.ones(1)}, '{"key": "key", "data": {"kind": "Clusters"}}'),
        lambda path: foreign(
            path, {"x": torch.ones(1)}, '{"key": "key", "data": {"kind": "TokenPlan", "tokens": [], "starts": []}}'
        ),
    ],
)
def test_damaged_and_foreign_files_are_ignored(damage: Any, tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    cache.put("clusterer", "key", Clusters(torch.tensor([[0, 1]])))
    path = tmp_path / "clusterer.safetensors"
    damage(path)
    assert cache.get("clusterer", "key") is None and cache.find("clusterer") is None
    assert FileCheckpoint(path, "key").load() is None


def test_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "stages" / "checkpoint.safetensors"
    checkpoint = FileCheckpoint(path, "key")
    assert checkpoint.load() is None
    for update in (1, 2):
        checkpoint.save({"rows": torch.full((2,), float(update))}, {"update": update})
    loaded = checkpoint.load()
    assert loaded is not None and loaded[1] == {"update": 2} and loaded[0]["rows"].tolist() == [2.0, 2.0]
    assert FileCheckpoint(path, "another").load() is None
    assert load_tensors(path) is not None
