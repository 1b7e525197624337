"""One token on its way to another program."""

from __future__ import annotations

import json
from typing import Any

import torch

from uce.core.runs.token_export import TokenExport

CONCEPT: Any = None


def test_the_header_is_one_entry_in_a_fixed_order() -> None:
    facts = {"model": "mini", "label": "é"}
    one = TokenExport("<cup>", "cup", {"clip": torch.ones(1, 4)}, CONCEPT, facts)
    two = TokenExport("<cup>", "cup", {"clip_l": torch.ones(1, 4), "clip_g": torch.ones(1, 6)}, CONCEPT,
                      dict(reversed(facts.items())))  # fmt: skip
    assert one.header == two.header and "uce" in one.header
    assert json.loads(one.header["uce"]) == facts and "é" in one.header["uce"]
    assert not one.two_encoders and two.two_encoders
