"""Learning concept tokens against a frozen backbone: schedule, token rows, losses, alignment, the loop."""
