"""For plugin authors: the contract kit, and tiny inputs to test with.

    from uce.testing import check_plugin

    def test_contract():
        check_plugin(MyClusterer)

Works in any test runner; pytest finds the fixtures of `uce.testing.pytest_plugin` by itself. Everything is imported
when first used, so that a pytest run that needs none of it stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.faces import face

_HOMES = {
    "ContractError": "rules",
    "check_backbone": "backbones",
    "check_plugin": "contract",
    "tiny_attention": "doubles",
    "tiny_backbone": "doubles",
    "tiny_concepts": "doubles",
    "tiny_labels": "doubles",
    "tiny_picture": "doubles",
    "tiny_run": "run",
}

__all__ = [
    "ContractError",
    "check_backbone",
    "check_plugin",
    "tiny_attention",
    "tiny_backbone",
    "tiny_concepts",
    "tiny_labels",
    "tiny_picture",
    "tiny_run",
]

if TYPE_CHECKING:
    from uce.testing.backbones import check_backbone
    from uce.testing.contract import check_plugin
    from uce.testing.doubles import tiny_attention, tiny_backbone, tiny_concepts, tiny_labels, tiny_picture
    from uce.testing.rules import ContractError
    from uce.testing.run import tiny_run

__getattr__, __dir__ = face(__name__, _HOMES)
