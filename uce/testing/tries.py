"""One call of a plugin's hook that is no stage: nothing given is changed, nothing global, and errors are sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from uce.core.errors import UceError
from uce.testing.rules import ContractError, differing, digests, global_state, seeded_globals

T = TypeVar("T")


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The plugin cannot be tried here, and said so in one sentence."""


@contextmanager
def judged(where: str, *refusals: type[UceError]) -> Iterator[None]:
    """What the block raises is a broken rule, but for a refusal of one sentence.

    Raises:
        Refused: it is one of `refusals`.
        ContractError: it is anything else.
    """
    try:
        yield
    except ContractError:
        raise
    except refusals as error:
        require_sentence(error, where)
        raise Refused(str(error)) from error
    except Exception as error:
        allowed = " or ".join(f"uce.core.{kind.__name__}" for kind in refusals)
        raise ContractError(
            "error style",
            where,
            f"it raised {type(error).__name__}: {' '.join(str(error).split())}",
            f"let it work here{f', or raise {allowed} with one sentence' if allowed else ''}",
        ) from error


def require_sentence(error: BaseException, where: str) -> None:
    """
    Raises:
        ContractError: an error's text is not one line of 10 to 600 characters.
    """
    text = str(error).strip()
    if "\n" in text or not 10 <= len(text) <= 600:
        raise ContractError(
            "error style",
            where,
            f"its error is not one sentence: {text[:200]!r}",
            "say in one line what is wrong, what was found and what to do",
        )


def left_alone(work: Callable[[], T], given: Any, where: str, seed: int = 1) -> T:
    """`work()`, after which what it was given and everything global must be as before.

    Raises:
        ContractError: something is not.
    """
    before = digests(given)
    with seeded_globals(seed):
        state = global_state()
        result = work()
        touched = differing(state, global_state())
    if touched:
        raise ContractError("nothing global", where, f"it changed {touched[0]}", "put back what you set")
    changed = differing(before, digests(given))
    if changed:
        raise ContractError("inputs unchanged", where, f"it changed {changed[0] or 'what it was given'}", "use a copy")
    return result


def require(holds: bool, rule: str, where: str, found: str, mend: str) -> None:
    """
    Raises:
        ContractError: it does not hold.
    """
    if not holds:
        raise ContractError(rule, where, found, mend)
