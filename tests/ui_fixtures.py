"""What tests of the app share."""

from __future__ import annotations

import time

from uce.ui.workspace import Workspace


def wait(workspace: Workspace, seconds: float = 300) -> None:
    """Until the job is over."""
    end = time.monotonic() + seconds
    while workspace.busy and time.monotonic() < end:
        time.sleep(0.02)
    assert not workspace.busy, "the job did not end"
