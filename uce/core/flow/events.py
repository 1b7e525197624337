"""What observers hear. Events carry references, never copies: an observer must not change what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core.flow.configuration import Config
    from uce.core.flow.picture import Picture


class Stopped(KeyboardInterrupt):
    """An observer that raises it in `uce_step` interrupts the training there, with a checkpoint of that moment."""


class Enough(KeyboardInterrupt):
    """An observer that raises it in `uce_step` ends the training there: what is learned so far is the result."""


@dataclass(frozen=True)
class RunStarted:
    """A run begins, with the model `backbone`. `folder` is None where nothing is written (`uce.localize`)."""

    config: Config
    image: Picture | None
    folder: Path | None
    backbone: Any = None


@dataclass(frozen=True)
class StageStarted:
    """`stage` is about to be done by `plugin`; `total` is the number of steps where it is known."""

    stage: str
    plugin: str
    total: int | None = None


@dataclass(frozen=True)
class Step:
    """One optimiser update is done.

    Attributes:
        update: 1-based number of the update.
        total: how many there will be.
        phase: such as "split" or "merged".
        losses: unweighted and weighted terms; tensors stay on the device until an observer asks (`float(value)`).
        tokens: copies of what each concept token has become so far, per text encoder float32 (1, d) on the CPU (split
            tokens averaged), for who wants to draw a sample now; None where the optimizer does not say.
    """

    update: int
    total: int
    phase: str = ""
    losses: Mapping[str, Any] = field(default_factory=dict)
    tokens: Callable[[], dict[str, dict[str, Tensor]]] | None = None


@dataclass(frozen=True)
class StageFinished:
    """`stage` returned `result` after `seconds`; `cached` where it was not computed again."""

    stage: str
    plugin: str
    result: Any
    seconds: float
    cached: bool = False


@dataclass(frozen=True)
class RunFinished:
    """A run ended with `status` "done", "localized", "failed" or "interrupted"."""

    status: str
    folder: Path | None
    error: str | None = None


@dataclass(frozen=True)
class CellFinished:
    """A cell of an ablation ended on a picture.

    Attributes:
        number: 1-based; `total`: how many there are, over all pictures.
        picture: the picture's name. cell: what the cell changes, such as "clusterer=kmeans".
        status: "done", "localized" or "failed".
        seconds: what this cell computed took; 0 where all of it was there already.
        error: what went wrong.
        earlier: it was finished before, by the ablation that is resumed.
    """

    number: int
    total: int
    picture: str
    cell: str
    status: str
    seconds: float = 0.0
    error: str | None = None
    earlier: bool = False


@dataclass(frozen=True)
class PictureFinished:
    """A picture of a batch ended.

    Attributes:
        number: 1-based, in the order in which they end; `total`: how many there are.
        picture: its name in the batch.
        status: "done", "localized" or "failed".
        seconds: what its stages took.
        error: what went wrong.
        earlier: it was finished before, by the batch that is continued.
    """

    number: int
    total: int
    picture: str
    status: str
    seconds: float = 0.0
    error: str | None = None
    earlier: bool = False
