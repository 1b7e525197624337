"""What a thing may be called is plain data."""

from __future__ import annotations

from uce.core.flow.names import Named


def test_names_without_confidences_are_complete() -> None:
    assert Named("", ("cup",)).confidences == () and Named("cup", ("cup",), (0.9,)) == Named("cup", ("cup",), (0.9,))
