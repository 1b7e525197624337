"""Tokens of several runs and library entries for one prompt: who owns which, under what name, and do they fit?"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import ConfigError, ModelError, unknown_name
from uce.core.files.token_places import ENDINGS
from uce.core.runs.folder import RunFolder
from uce.core.runs.token_names import token_stem
from uce.core.work.held import Run
from uce.tokens.importing import import_files, width_text, widths
from uce.tokens.library import Library

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Owned:
    """A token under the name it has in prompts.

    Attributes:
        token: such as "<cup>". own: its name where it comes from. owner: that run or entry, for messages.
        run: where it comes from.
        vectors: per text encoder float32 (n, d).
    """

    token: str
    own: str
    owner: str
    run: Run
    vectors: Mapping[str, Tensor]


def gather(runs: Sequence[Run], picks: Sequence[str], library: Library) -> list[Owned]:
    """Every token of `runs`, and those that `picks` name.

    Args:
        runs: of `--run`: all of their tokens, under their own names.
        picks: of `--concept`: "OWNER:TOKEN" or "OWNER:TOKEN=NAME", where OWNER is a library entry, a run folder or an
            embedding file.

    Raises:
        ConfigError: nothing given, an unknown owner or token, one name for two tokens, or models that differ.
    """
    found = [
        Owned(token, token, str(run.path), run, vectors) for run in runs for token, vectors in run.tokens().items()
    ]
    model = next((str(run.info["model"]["name"]) for run in runs if run.info.get("model")), None)
    found += [_pick(text, library, model) for text in picks]
    if not found:
        raise ConfigError("there is no token to draw with; name a run with --run DIR, or concepts with --concept")
    by_name: dict[str, Owned] = {}
    for one in found:
        other = by_name.setdefault(one.token, one)
        if other is not one and (other.run.path != one.run.path or other.own != one.own):
            raise ConfigError(
                f"both {other.owner} and {one.owner} bring a token {one.token}; rename one, such as --concept "
                f"{one.owner}:{one.own.strip('<>')}=NAME, and name each of the others you need in the same way"
            )
    tokens = list(by_name.values())
    _require_one_model(tokens)
    return tokens


def _pick(text: str, library: Library, model: str | None) -> Owned:
    place, equals, name = text.partition("=")
    owner, colon, token = place.rpartition(":")
    if not colon or not owner or not token or (equals and not name):
        raise ConfigError(f"--concept {text}: write ENTRY:TOKEN or ENTRY:TOKEN=NAME, such as beach-trip:asset0=cup")
    run = _owner(owner, library, text, model)
    own = f"<{token.strip().removeprefix('<').removesuffix('>')}>"
    tokens = run.tokens()
    if own not in tokens:
        raise ConfigError(f"--concept {text}: {unknown_name('token', own, tokens)}")
    called = f"<{name.strip().removeprefix('<').removesuffix('>')}>" if equals else own
    token_stem(called)
    return Owned(called, own, owner, run, tokens[own])


def _owner(owner: str, library: Library, text: str, model: str | None) -> Run:
    if owner in library.names():
        return library.get(owner)
    folder = RunFolder(Path(owner))
    if folder.is_run:
        return Run(folder)
    if folder.path.is_file() and folder.path.suffix.lower() in ENDINGS:
        return _of_file(folder.path, model)
    raise ConfigError(
        f"--concept {text}: {unknown_name('library entry', owner, library.names())} It is no run folder either. "
        f"Library: {library.folder}"
    )


def _of_file(path: Path, model: str | None) -> Run:
    """An embedding file as a run, kept while this program works.

    Raises:
        TokenFileError: it is no embedding.
        ConfigError: nobody says for which model it is.
    """
    from uce.core.config.options import Options

    aside = tempfile.mkdtemp(prefix="uce-concept-")
    atexit.register(shutil.rmtree, aside, ignore_errors=True)
    run = RunFolder(Path(aside) / "run")
    try:
        import_files([path], run.path, Options(model=model))
    except ConfigError as error:
        raise ConfigError(
            f"--concept {path}: nobody says which model it is for; name a run of that model with --run, or use "
            "uce import with --model first"
        ) from error
    return Run(run)


def _require_one_model(tokens: Sequence[Owned]) -> None:
    """Widths must agree: models of one family understand each other's tokens, more or less."""
    first = next((one for one in tokens if _fingerprint(one)), tokens[0])
    for one in tokens:
        if widths(one.vectors) != widths(first.vectors):
            raise ConfigError(
                f"tokens of {first.owner} ({_model(first)}) and of {one.owner} ({_model(one)}) do not fit: a token is "
                "understood only by models of the family it was learned with; learn both with one model"
            )


def _fingerprint(one: Owned) -> Any:
    return (one.run.info.get("model") or {}).get("fingerprint")


def _model(one: Owned) -> str:
    name = (one.run.info.get("model") or {}).get("name")
    return f"model {name}, {width_text(widths(one.vectors))}"


def require_fit(backbone: Any, tokens: Sequence[Owned]) -> None:
    """A model must have the text encoders and widths that the tokens are made for.

    Raises:
        ModelError: it has others; both are named.
    """
    have = {encoder: int(backbone.embedding_table(encoder).shape[1]) for encoder in backbone.encoders}
    for one in tokens:
        if widths(one.vectors) != have:
            raise ModelError(
                f"{one.own} of {one.owner} is {width_text(widths(one.vectors))}, but the text encoders of the model "
                f"'{backbone.model}' are {width_text(have)}; import or learn it again with its own model (--model)"
            )


def trained_weights(tokens: Sequence[Owned]) -> dict[str, Tensor] | None:
    """The weights that were trained with the tokens, None where only tokens were learned.

    Raises:
        ConfigError: two of the runs trained weights, which cannot both be in the model.
    """
    runs = {one.run.path.resolve(): one for one in tokens}
    trained = [one for one in runs.values() if one.run.weights]
    if len(trained) > 1:
        raise ConfigError(
            f"both {trained[0].owner} and {trained[1].owner} trained weights beside their tokens, and a model takes "
            "one of them; draw with one, or learn tokens only (--optimizer masked-denoising)"
        )
    return trained[0].run.weights if trained else None
