"""Threads that wait must cost nothing: OpenMP's runtimes let them spin on a core that somebody else needs.

A runtime reads its variables when it is loaded, so they are set before torch is imported, and processes that are
started later inherit them. Whoever set one of them has decided, and nothing is changed.
"""

from __future__ import annotations

import os
import sys

QUIET = {
    "OMP_WAIT_POLICY": "PASSIVE",  # the standard's own; libgomp (GCC), libomp (LLVM, torch on macOS) and Intel's follow
    "GOMP_SPINCOUNT": "0",  # libgomp: no turn of the loop before a thread sleeps
    "KMP_BLOCKTIME": "0",  # libomp and Intel's: no millisecond of it
}


def wait_quietly() -> bool:
    """Set the variables, unless one is set or torch is there already; whether they were."""
    if "torch" in sys.modules or any(name in os.environ for name in QUIET):
        return False
    os.environ.update(QUIET)
    return True
