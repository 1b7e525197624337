"""Which parts of a model are on the device: `model.offload`.

A part comes when it is used, and those that are not in use leave then. Nothing moves between a forward pass with
gradients and its backward pass, which needs the same weights at the same place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor


class Residence:
    """The parts and where they are.

    Attributes:
        here: names of the parts on the device.
    """

    def __init__(self, parts: Mapping[str, Any], device: str) -> None:
        self.parts, self.device = dict(parts), device
        self.here: set[str] = set()
        self._settled = False
        self._kept: Counter[str] = Counter()
        self._waiting: set[object] = set()

    def settle(self) -> None:
        """All parts on the device, for good."""
        for name in self.parts:
            self._move(name, self.device)
        self.here, self._settled = set(self.parts), True

    @contextmanager
    def using(self, *names: str) -> Iterator[None]:
        """Within the block, these parts are on the device."""
        if not self._settled:
            free = {name for name in self.here - set(names) if not self._kept[name]}
            for name in () if self._waiting else sorted(free):
                self._move(name, "cpu")
                self.here.discard(name)
            for name in names:
                if name not in self.here:
                    self._move(name, self.device)
                    self.here.add(name)
        yield

    @contextmanager
    def keeping(self, *names: str) -> Iterator[None]:
        """Within the block, these parts stay on the device, whatever else is used."""
        with self.using(*names):
            self._kept.update(names)
            try:
                yield
            finally:
                self._kept.subtract(names)

    def keep_until_backward(self, leaves: Iterable[Tensor]) -> None:
        """Nothing leaves until a gradient has reached one of these tensors: the text encoder's backward pass, which
        comes last, is then done."""
        if self._settled:
            return
        pass_, leaf = object(), next(leaf for leaf in leaves if leaf.requires_grad)
        self._waiting.add(pass_)

        def done(gradient: Tensor) -> None:
            self._waiting.discard(pass_)
            handle.remove()

        handle = leaf.register_hook(done)  # type: ignore[no-untyped-call]

    def _move(self, name: str, device: str) -> None:
        self.parts[name].to(device)
