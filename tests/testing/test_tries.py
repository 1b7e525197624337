"""What a plugin's exception says, and what must be left alone."""

from __future__ import annotations

import random

import pytest
import torch

from uce.core import ModelError
from uce.testing import ContractError
from uce.testing.tries import Refused, judged, left_alone, require


def test_a_sentence_is_a_refusal_and_anything_else_a_broken_rule() -> None:
    with pytest.raises(Refused, match="the weights are not here"), judged("it", ModelError):
        raise ModelError("the weights are not here; install them")
    with pytest.raises(ContractError, match="its error is not one sentence"), judged("it", ModelError):
        raise ModelError("short")
    text = r"raised KeyError: 'x'.*or raise uce\.core\.ModelError with"
    with pytest.raises(ContractError, match=text), judged("it", ModelError):
        raise KeyError("x")
    with pytest.raises(ContractError, match="mine"), judged("it"):
        require(False, "mine", "it", "found", "mend")


def test_what_was_given_and_what_is_global_stay() -> None:
    given = torch.zeros(2)
    assert left_alone(lambda: 3, given, "it") == 3
    with pytest.raises(ContractError, match="inputs unchanged"):
        left_alone(lambda: given.add_(1), given, "it")
    with pytest.raises(ContractError, match=r"it changed Python's random state"):
        left_alone(random.random, given, "it")
