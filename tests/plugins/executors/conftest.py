"""What tests of batches share."""

from __future__ import annotations

from batch_fixtures import base, flags, no_model, pictures, stable_bytes

__all__ = ["base", "flags", "no_model", "pictures", "stable_bytes"]
