"""For plugin authors: the contract kit, and tiny inputs to test with.

    from uce.testing import check_plugin

    def test_contract():
        check_plugin(MyClusterer)

Needs nothing but uce itself; works in any test runner.
"""

from __future__ import annotations

from uce.testing.contract import check_plugin
from uce.testing.doubles import tiny_attention, tiny_backbone, tiny_concepts, tiny_labels, tiny_picture
from uce.testing.rules import ContractError

__all__ = [
    "ContractError",
    "check_plugin",
    "tiny_attention",
    "tiny_backbone",
    "tiny_concepts",
    "tiny_labels",
    "tiny_picture",
]
