"""Damage: bytes of good files, cut, flipped, doubled and set to telling values; documents with wrong values."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

TELLING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"../../x",
    b"\n",
    b"{",
    b"]",
    b'"',
)

NASTY = [
    "",
    " ",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "C:\\x",
    "con",
    "nul",
    ".",
    "~",
    "$HOME",
    "%s",
    "{}",
    "<>",
    "<a>",
    "\0",
    "\n",
    "\u202e",
    "é",
    "𝕏",
    "\ud800",
    "a" * 300,
    "-x",
    "--help",
    "*",
    "mini",
    "null",
    "1e999",
    "9" * 5000,
    "0x" + "f" * 3000,
    "2001-99-99",
    "!!python/object/apply:os.system [id]",
]

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(NASTY),
    st.text(max_size=30),
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.sampled_from(NASTY), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    """A good file after up to six blows."""
    data = bytearray(draw(good))
    for _ in range(draw(st.integers(0, 6))):
        blow = draw(st.sampled_from(("cut", "flip", "set", "insert", "double", "drop")))
        if not data:
            break
        # most of what a parser trusts stands near the beginning
        at = draw(st.integers(0, min(len(data) - 1, 255)) | st.integers(0, len(data) - 1))
        if blow == "cut":
            del data[at:]
        elif blow == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif blow == "set":
            piece = draw(st.sampled_from(TELLING) | st.binary(min_size=1, max_size=8))
            data[at : at + len(piece)] = piece
        elif blow == "insert":
            data[at:at] = draw(st.sampled_from(TELLING) | st.binary(max_size=20))
        elif blow == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
        else:
            del data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


def _paths(document: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [prefix] if prefix else []
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += _paths(value, (*prefix, key))
    return found


@st.composite
def altered(draw: st.DrawFn, good: Any) -> Any:
    """A good document with values replaced, dropped or added."""
    document = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 4))):
        paths = _paths(document)
        if not paths:
            break
        *way, last = draw(st.sampled_from(paths))
        parent = document
        for key in way:
            parent = parent[key]
        blow = draw(st.sampled_from(("replace", "drop", "add")))
        if blow == "replace":
            parent[last] = draw(values)
        elif blow == "drop":
            del parent[last]
        elif isinstance(parent, dict):
            parent[draw(st.sampled_from(NASTY) | st.text(max_size=8))] = draw(values)
        else:
            parent.append(draw(values))
    return document
