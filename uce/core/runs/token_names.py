"""Names of tokens: which are allowed, what their files are called, which concept gets which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from uce.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


def choose_concepts(count: int, wanted: Sequence[int] | None) -> list[int]:
    """Indexes to learn, in order.

    Raises:
        ConfigError: an index that does not exist, or one given twice.
    """
    if wanted is None:
        return list(range(count))
    for index in wanted:
        if not 0 <= index < count:
            raise ConfigError(f"--concepts: there is no concept {index}; found {count}, allowed 0 to {count - 1}")
    if len(set(wanted)) != len(wanted) or not wanted:
        raise ConfigError(f"--concepts {','.join(map(str, wanted))}: give each index once, such as 0,2")
    return list(wanted)


def check_names(names: Sequence[str] | None, wanted: Sequence[int] | None) -> None:
    """What can be said of the user's names before anything is computed.

    Args:
        wanted: indexes of the concepts to learn; None where all are, and nobody knows how many that will be.

    Raises:
        ConfigError: as `name_tokens`.
    """
    name_tokens(range(len(names or ())) if wanted is None else wanted, names)


def name_tokens(indexes: Sequence[int], names: Sequence[str] | None) -> tuple[str, ...]:
    """Concept tokens in order: the user's names first, "<asset{index}>" for the rest.

    Raises:
        ConfigError: more names than concepts, a name twice, or one that is not allowed.
    """
    names = list(names or [])
    if len(names) > len(indexes):
        raise ConfigError(f"--names: {len(names)} names for {len(indexes)} concepts; give at most {len(indexes)}")
    tokens = [f"<{name.strip().removeprefix('<').removesuffix('>')}>" for name in names]
    tokens += [f"<asset{index}>" for index in indexes[len(tokens) :]]
    for token in tokens:
        token_stem(token)
    if len(set(tokens)) != len(tokens):
        raise ConfigError(f"--names {','.join(names)}: two tokens would have the same name; give each concept its own")
    return tuple(tokens)


_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
DEVICES = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))])
"""Names that no file can have on Windows, whatever its ending."""


def token_stem(token: str) -> str:
    """ "<asset0>" -> "asset0", the name of files that belong to a token: no angle brackets, nothing but [a-z0-9_-].

    Raises:
        ConfigError: the token has another form.
    """
    stem = token.removeprefix("<").removesuffix(">")
    if token != f"<{stem}>" or not _NAME.fullmatch(stem):
        raise ConfigError(
            f"token name {stem!r} is not allowed; use small letters, digits, '-' and '_', at most 41, such as cup"
        )
    if stem in DEVICES:
        raise ConfigError(f"token name {stem!r} is a device of Windows, where no file can be called so; add a letter")
    return stem


def token_tensors(token: str, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names and tensors of one token in embeddings.safetensors: "<t>" -> (d,) or (n, d), "<t>.clip_l" where the
    model's text encoders have names."""
    plain = {e: (v[0] if v.shape[0] == 1 else v).contiguous() for e, v in vectors.items()}
    if set(plain) == {"clip"}:
        return {token: plain["clip"]}
    return {f"{token}.{encoder}": value for encoder, value in plain.items()}


def token_file(token: str, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Content of a token's own file: key "<t>"; where text encoders have names their names, as SDXL loaders expect.

    Tensors are (n, d), also where n is 1: the web UIs take the number of vectors from the first axis.
    """
    return {token if encoder == "clip" else encoder: value.contiguous() for encoder, value in vectors.items()}
