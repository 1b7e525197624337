"""A run on disk: its folder, documents, names of tokens, and how it is read and shown later.

Nothing here computes a stage or loads a model. Begin with `folder.py` (writing) and `stored.py` (reading).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uce.faces import face

_HOMES = {
    "cut_out": "contact_sheet",
    "token_file": "token_names",
    "token_tensors": "token_names",
}

__all__ = [
    "cut_out",
    "token_file",
    "token_tensors",
]

if TYPE_CHECKING:
    from uce.core.runs.contact_sheet import cut_out
    from uce.core.runs.token_names import token_file, token_tensors

__getattr__, __dir__ = face(__name__, _HOMES)
