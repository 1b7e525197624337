"""The plan before the work: what fits is left as it is, what does not is made smaller in a fixed order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from uce.core.model import costs as module
from uce.core.model.costs import GIGABYTE, Costs, Plan, carry_out, make_plan, plan_for

COSTS = Costs(
    weights={"unet": 4 * GIGABYTE, "vae": 1 * GIGABYTE, "text_encoder": 2 * GIGABYTE},
    kept=2 * GIGABYTE,
    kept_checkpointed=GIGABYTE // 2,
    largest=GIGABYTE // 100,
    decode=3 * GIGABYTE,
    decode_tiled=GIGABYTE,
    forward=1e12,
    cells=64,
)


def plan(free: float | None, **given: Any) -> Plan:
    return make_plan(COSTS, None if free is None else int(free * GIGABYTE), **{"cuda": False, **given})


def test_where_nobody_knows_nothing_is_saved() -> None:
    found = plan(None, most=8)
    assert found.fits and found.micro_batch == 8
    assert not (found.checkpointing or found.tiling or found.offload)
    assert str(found).startswith("memory: extract ") and "free" not in str(found)


def test_an_update_holds_the_weights_and_its_prompts() -> None:
    assert plan(None, micro_batch=2).update == 7 * GIGABYTE + 2 * 3 * GIGABYTE
    assert plan(None, micro_batch=2, offload=True).update == 6 * GIGABYTE + 2 * 3 * GIGABYTE, "without the VAE"
    assert plan(None, micro_batch=2, cuda=True).update - plan(None, micro_batch=2).update == int(0.6 * GIGABYTE)


@pytest.mark.parametrize(
    ("free", "prompts", "checkpointing"),
    [(1000, 64, False), (30, 6, False), (10, 1, False), (9.99, 2, True), (7.1, 1, True)],
)
def test_fewer_prompts_then_checkpointing(free: float, prompts: int, checkpointing: bool) -> None:
    found = plan(free)
    assert (found.micro_batch, found.checkpointing) == (prompts, checkpointing)


def test_what_was_asked_for_is_not_chosen() -> None:
    found = plan(8, micro_batch=5, checkpointing=False, tiling=False)
    assert (found.micro_batch, found.checkpointing, found.tiling, found.fits) == (5, False, False, False)
    assert plan(1000, checkpointing=True, tiling=True).checkpointing
    assert plan(1000, most=3).micro_batch == 3


def test_tiles_where_a_whole_picture_does_not_fit() -> None:
    whole = 7 + 1.5 * 3
    assert not plan(whole).tiling and plan(whole - 0.01).tiling
    assert plan(whole).draw == whole * GIGABYTE and plan(whole - 0.01).draw == 8.5 * GIGABYTE
    assert not plan(whole - 0.01, offload=True).tiling, "only the VAE lies there then"


def test_what_does_not_fit_says_what_still_helps() -> None:
    assert str(plan(5)).endswith("it will not fit: add --set model.offload=true")
    found = plan(1, offload=True)
    assert not found.fits and "free 1.0 GB" in str(found) and "tiling, offload" in str(found)
    assert str(found).endswith("give a smaller model, or a device with more memory")


def test_a_model_that_does_not_say_is_not_planned() -> None:
    assert plan_for(SimpleNamespace(), None) is None
    assert plan_for(SimpleNamespace(costs=lambda quick: None), None) is None


@pytest.mark.parametrize(("side", "prompts"), [(8, 32), (64, 2), (128, 1)])
def test_on_a_cpu_the_latents_size_decides(monkeypatch: pytest.MonkeyPatch, side: int, prompts: int) -> None:
    monkeypatch.setattr(module, "free_memory", lambda device: 1 * GIGABYTE)
    backbone = SimpleNamespace(costs=lambda quick: COSTS, device="cpu", latent_side=side)
    settings = SimpleNamespace(checkpointing=None, tiling=None, offload=False)
    found = plan_for(backbone, settings)
    assert found is not None and found.micro_batch == prompts and found.free == 8 * GIGABYTE, "weights lie there"
    assert not found.checkpointing and not found.tiling, "free memory says little on a CPU"
    settings.checkpointing = True
    asked = plan_for(backbone, settings, micro_batch=7)
    assert asked is not None and asked.checkpointing and asked.micro_batch == 7


def test_a_plan_is_carried_out_by_whoever_can() -> None:
    done: list[str] = []
    backbone = SimpleNamespace(save_memory=lambda: done.append("save"), tile=lambda: done.append("tile"))
    carry_out(Plan(1, 1, 1, 1, False, False, False, None), backbone)
    assert done == []
    carry_out(Plan(1, 1, 1, 1, True, True, False, None), backbone)
    carry_out(Plan(1, 1, 1, 1, True, True, False, None), SimpleNamespace())
    assert done == ["save", "tile"]
