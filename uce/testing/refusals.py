"""What an exception of a plugin says about it: a refusal that is fine, or a rule that is broken."""

from __future__ import annotations

from uce.core.errors import StageInputError, UceError
from uce.core.flow import data
from uce.testing.rules import ContractError


def judge(error: Exception, where: str, degenerate: bool) -> None:
    """Let a refusal of a degenerate input pass.

    Raises:
        ContractError: everything else.
    """
    kind, text = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, StageInputError) and _from_data(error):
        raise ContractError(
            "valid data", where, f"it made data that is not valid: {text}", "mend what it puts into its result"
        ) from error
    if not isinstance(error, UceError):
        raise ContractError(
            "error style",
            where,
            f"it raised {kind}: {text}",
            "return a result, or raise uce.core.StageInputError with one sentence: what, found, allowed, next step",
        ) from error
    if not degenerate:
        raise ContractError(
            "works on ordinary input",
            where,
            f"it refused: {text}",
            "let it work here, or pass check_plugin(..., settings={...}) that fit so small an input",
        ) from error
    if not isinstance(error, StageInputError):
        raise ContractError(
            "error style",
            where,
            f"it raised {kind}: {text}",
            "raise a uce.core.StageInputError",
        ) from error
    if "\n" in str(error).strip() or not 10 <= len(text) <= 400:
        raise ContractError(
            "error style",
            where,
            f"its error is not one sentence: {str(error)[:200]!r}",
            "say in one line what is wrong, what was found and what to do",
        ) from error


def _from_data(error: Exception) -> bool:
    """Whether one of the data classes refused what the plugin put into it."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
        if traceback.tb_frame.f_code.co_filename == data.__file__:
            return True
    return False
