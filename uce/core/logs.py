"""Logging through the standard library: one logger per module below "uce", and where its lines go from a terminal.

Whoever uses uce as a library configures the logger "uce" like any other. The command line calls `configure`; worker
processes of a batch inherit what it decided through two environment variables.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from datetime import UTC, datetime

LEVEL, JSON = "UCE_LOG_LEVEL", "UCE_LOG_JSON"
_LEVELS = {-1: "ERROR", 0: "WARNING", 1: "INFO"}


class _Text(logging.Formatter):
    """ "uce INFO core.pipeline: clusterer finch finished after 0.092 s"."""

    def format(self, record: logging.LogRecord) -> str:
        name = record.name.removeprefix("uce.")
        return f"uce {record.levelname} {name}: {_line(record)}"


class _JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        document = {"time": time, "level": record.levelname, "logger": record.name, "message": _line(record)}
        return json.dumps({**document, "process": record.process}, ensure_ascii=False)


class _Stderr(logging.Handler):
    """Writes to what stderr is now: tests and notebooks replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def _line(record: logging.LogRecord) -> str:
    return " ".join(record.getMessage().split())


def configure(verbosity: int = 0, as_json: bool = False) -> None:
    """Send lines of uce's loggers to stderr.

    Args:
        verbosity: -1 errors, 0 warnings, 1 what happens (a line per stage and picture), 2 and above all details.
        as_json: one JSON object per line.
    """
    os.environ[LEVEL] = _LEVELS.get(max(-1, verbosity), "DEBUG")
    os.environ[JSON] = "1" if as_json else ""
    configure_from_environment()


def configure_from_environment() -> None:
    """As the process that started this one was told; warnings where there was none."""
    logger = logging.getLogger("uce")
    for handler in [one for one in logger.handlers if isinstance(one, _Stderr)]:
        logger.removeHandler(handler)
    handler = _Stderr()
    handler.setFormatter(_JsonLines() if json_lines() else _Text())
    logger.addHandler(handler)
    level = os.environ.get(LEVEL, "WARNING")
    logger.setLevel(level if level in logging.getLevelNamesMapping() else "WARNING")
    logger.propagate = False
    pillow = logging.getLogger("PIL")  # what it says would come to stderr as bare text
    if not pillow.handlers:
        pillow.addHandler(logging.NullHandler())


def steady_streams() -> None:
    """Streams that were closed lead nowhere, and letters that a terminal does not know become question marks: neither
    may end a command after its work is done."""
    for name, place in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != place:  # else the next file that is opened would get the number that C libraries write to
                os.dup2(nowhere, place)
                os.close(nowhere)
            if name != "stdin":
                setattr(sys, name, open(place, "w", encoding="utf-8", errors="replace"))  # noqa: SIM115, PTH123
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            with contextlib.suppress(ValueError):  # it is closed
                stream.reconfigure(errors="replace")


def complain(line: str) -> None:
    """A line on stderr about something that went wrong and did not end the command."""
    if json_lines():
        logging.getLogger("uce").error("%s", line)
    else:
        print(line, file=sys.stderr, flush=True)


def quiet() -> bool:
    """Whether progress and lines that only tell how far things are should be left out."""
    return os.environ.get(LEVEL) == "ERROR" or json_lines()


def json_lines() -> bool:
    """Whether stderr holds JSON lines alone."""
    return bool(os.environ.get(JSON))
