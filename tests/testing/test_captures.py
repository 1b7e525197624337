"""What is read from passes: deliberately broken captures, features, weights and drawings are each found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from uce.core import Capture, LayerMap
from uce.testing import ContractError, check_backbone
from uce.testing.backbone import TinyBackbone


def broken(backbone: Any, rule: str) -> str:
    with pytest.raises(ContractError, match="breaks the rule") as caught:
        check_backbone(backbone)
    assert caught.value.rule == rule, caught.value
    return str(caught.value)


class Changed(TinyBackbone):
    """Its maps pass through `change` once they were kept."""

    def _keep(self, name: str, kind: str, grid: tuple[int, int], probs: Tensor) -> None:
        kept = len(self._maps)
        super()._keep(name, kind, grid, probs)
        self._maps[kept:] = [self.change(layer) for layer in self._maps[kept:]]

    def change(self, layer: LayerMap) -> LayerMap:
        return layer


def test_rows_that_do_not_sum_to_one() -> None:
    class Scores(Changed):
        def change(self, layer: LayerMap) -> LayerMap:
            return replace(layer, probs=layer.probs * 2)

    text = broken(Scores(), "rows sum to 1")
    assert "layer 'down_blocks.0'" in text and "rows sum to 2 up to 2" in text


def test_maps_of_another_grid() -> None:
    class Mixed(Changed):
        def change(self, layer: LayerMap) -> LayerMap:
            return replace(layer, grid=(3, 3))

    assert "on a grid of (3, 3)" in broken(Mixed(), "maps of their grid")


def test_watching_that_changes_the_prediction() -> None:
    class Clumsy(TinyBackbone):
        def predict(self, *given: Any) -> Tensor:
            return super().predict(*given) + 1e-7 * bool(self._requests)

    assert "let the layer compute as before" in broken(Clumsy(), "capture changes no bit")


def test_no_maps_at_all() -> None:
    class Blind(TinyBackbone):
        def _keep(self, *given: Any) -> None:
            pass

    broken(Blind(), "attention maps")


def test_requests_that_are_not_told_apart() -> None:
    class Greedy(TinyBackbone):
        @contextmanager
        def capture(self, *requests: Capture) -> Iterator[list[LayerMap]]:
            with super().capture(Capture("self"), Capture("cross")) as maps:
                yield maps

    broken(Greedy(), "the kind that is asked for")


@pytest.mark.parametrize(
    ("forgotten", "rule"), [("sides", "layers of a side"), ("columns", "text positions"), ("layers", "")]
)
def test_wishes_that_are_not_heard(forgotten: str, rule: str) -> None:
    class Careless(TinyBackbone):
        @contextmanager
        def capture(self, *requests: Capture) -> Iterator[list[LayerMap]]:
            with super().capture(*(replace(request, **{forgotten: None}) for request in requests)) as maps:
                yield maps

    if rule:
        broken(Careless(), rule)
    else:
        check_backbone(Careless())  # one of before patterns keeps more than was asked for, which is allowed


def test_watching_that_does_not_end() -> None:
    class Sticky(TinyBackbone):
        @contextmanager
        def capture(self, *requests: Capture) -> Iterator[list[LayerMap]]:
            self._requests, self._maps = requests, []
            yield self._maps
            if requests == (Capture("self"), Capture("cross")):
                return
            self._requests = ()

    assert "still appends maps" in broken(Sticky(), "capture leaves the model as found")


def test_a_hook_that_stays_after_an_error() -> None:
    class Hooked(TinyBackbone):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Identity()

        @contextmanager
        def capture(self, *requests: Capture) -> Iterator[list[LayerMap]]:
            hook = self.layer.register_forward_hook(lambda *given: None)
            with super().capture(*requests) as maps:
                yield maps
            hook.remove()  # not reached after an error

    text = broken(Hooked(), "capture leaves the model as found")
    assert "after a block that ended with an error" in text and "undo it in `finally`" in text


def test_features() -> None:
    class Half(TinyBackbone):
        @contextmanager
        def capture_features(self, *blocks: int) -> Iterator[dict[int, Tensor]]:
            yield {}

    assert "block 0 has no float32" in broken(Half(), "features")


def test_weights_that_stay() -> None:
    class Kept(TinyBackbone):
        @contextmanager
        def _computing(self, trained: Any, scale: float = 1.0) -> Iterator[None]:
            self._trained, self._scale = trained, scale
            yield

    # LoRA begins without effect, so that what stays is seen once it has one
    broken(Kept(), "weights leave the model as found")


def test_weights_with_one_half_missing() -> None:
    class One(TinyBackbone):
        use_weights = property()  # type: ignore[assignment]

    broken(One(), "weights")


def test_pictures_that_depend_on_their_neighbours() -> None:
    class Shared(TinyBackbone):
        def generate(self, prompts: Any, tokens: Any = None, *, seeds: Any, **given: Any) -> list[Any]:
            return super().generate(prompts, tokens, seeds=[sum(seeds) + n for n, _ in enumerate(seeds)], **given)

    broken(Shared(), "same seed, same picture")


def test_pictures_that_ignore_the_seed_or_are_too_small() -> None:
    class Same(TinyBackbone):
        def generate(self, prompts: Any, tokens: Any = None, *, seeds: Any, **given: Any) -> list[Any]:
            return super().generate(prompts, tokens, seeds=[0] * len(seeds), **given)

    broken(Same(), "another seed, another picture")

    class Small(TinyBackbone):
        def generate(self, prompts: Any, tokens: Any = None, **given: Any) -> list[Any]:
            return [Image.new("RGB", (8, 8))] * len(prompts)

    broken(Small(), "pictures")


def test_steps_that_are_not_told() -> None:
    class Silent(TinyBackbone):
        def generate(self, prompts: Any, tokens: Any = None, *, on_step: Any = None, **given: Any) -> list[Any]:
            return super().generate(prompts, tokens, **given)

    broken(Silent(), "on_step")
