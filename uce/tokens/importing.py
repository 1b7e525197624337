"""From embedding files to a run folder without a picture, which draws like any other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import ConfigError, TokenFileError
from uce.core.files.token_files import ENCODERS, FoundToken, read_token_file
from uce.core.files.token_places import token_files
from uce.tokens.exporting import renamed

if TYPE_CHECKING:
    from uce.core.config.options import Options
    from uce.core.flow.configuration import Config
    from uce.core.registry.manager import Manager

KNOWN_WIDTHS = {
    (768,): "Stable Diffusion 1.x, such as sd1.5",
    (1024,): "Stable Diffusion 2.x, such as sd2.1",
    (768, 1280): "Stable Diffusion XL, or 3 and 3.5",
    (4096,): "FLUX.1",
    (768, 4096): "FLUX.1",
    (768, 1280, 4096): "Stable Diffusion 3 and 3.5",
}


def import_files(files: Sequence[Path], out: Path, options: Options, *, overwrite: bool = False) -> None:
    """Write the tokens of `files` as a run folder.

    Args:
        files: embeddings of any layout that `uce.core.files.token_files` reads, or folders of them as on the hub.
        out: the run folder.
        options: `model` says which model they belong to; `names` renames tokens, in order.
        overwrite: replace the run in `out`.

    Raises:
        TokenFileError: a file is no embedding, or the files do not fit each other.
        ConfigError: names that clash, or no model.
        RunFolderError: `out` is occupied. Nothing was written in any of these cases.
    """
    from uce.core.files.writing import write_json, write_text
    from uce.core.runs.facts import command_line, now, versions
    from uce.core.runs.folder import FORMAT, RunFolder

    found = _joined([token for path in token_files(files) for token in read_token_file(path)])
    if not found:
        raise ConfigError("there is no file to import; give at least one")
    started = now()
    _require_alike(found)
    tokens = _names(found, options.names)
    manager = options.manager()
    carriers = {"carriers": list(widths(found[0].vectors))} if _names_carriers(found[0]) else {}
    config = options.resolve(manager, base={"model": {"name": _model(found, options.model), **carriers}})
    _require_width(found, manager, config)
    folder = RunFolder(out)
    folder.prepare(overwrite=overwrite)
    write_text(folder / "config.yaml", config.to_yaml())
    folder.write_tokens({token: one.vectors for token, one in zip(tokens, found, strict=True)})
    entries = [_entry(index, token, one) for index, (token, one) in enumerate(zip(tokens, found, strict=True))]
    write_json(folder / "concepts.json", {"image": None, "concepts": entries})
    prints = {token.facts.get("model_fingerprint") for token in found}
    document = {
        "format": FORMAT,
        "status": "imported",
        "mode": "import",
        "command": command_line(),
        "started": started,
        "finished": now(),
        "versions": versions(),
        "device": config.run.device,
        "precision": config.run.precision,
        "seed": config.run.seed,
        "model": {
            "name": config.model.name,
            "description": None,
            "fingerprint": prints.pop() if len(prints) == 1 else None,
        },
        "input": None,
        "plugins": [],
        "stages": [],
        "sources": [
            {"token": token, "file": one.path.name, "name": one.name, "digest": _digest(one.path), "facts": _said(one)}
            for token, one in zip(tokens, found, strict=True)
        ],
    }
    write_json(folder / "run.json", document)  # last: until then the folder is no run


def _require_width(found: Sequence[FoundToken], manager: Manager, config: Config) -> None:
    """A model on this disk is asked for the widths of its text encoders; one that must be downloaded is not.

    Raises:
        ConfigError: it has others than the tokens.
    """
    from uce.core.work.models import backbone_for

    name = config.model.name
    if name != "mini" and not Path(name).expanduser().exists():
        have = {"sd1.5": [768], "sd2.1": [1024], "sdxl": [768, 1280]}.get(name)
    else:
        backbone = backbone_for(manager, config)
        have = [int(backbone.embedding_table(encoder).shape[1]) for encoder in backbone.encoders]
    own = widths(found[0].vectors)
    if have is not None and list(own.values()) != have:
        raise ConfigError(
            f"{found[0].path} is {width_text(own)}, but the text encoders of model '{name}' are "
            f"{' + '.join(map(str, have))} wide; name the model it was made for with --model"
        )


def _names_carriers(token: FoundToken) -> bool:
    """Whether the file says where in a transformer its vectors live; those of Stable Diffusion leave no choice."""
    return set(token.vectors) not in ({"clip"}, {"clip_l", "clip_g"})


_SAID = ("uce", "model", "model_fingerprint", "picture", "label", "licence")


def _said(one: FoundToken) -> dict[str, str]:
    """What the file says of itself and what goes on when it is exported again: short texts."""
    return {key: value[:500] for key in _SAID if isinstance(value := one.facts.get(key), str)}


def _joined(found: Sequence[FoundToken]) -> list[FoundToken]:
    """The two halves that diffusers' script for SDXL writes, a file per text encoder, as one token."""
    halves = {768: "clip_l", 1280: "clip_g"}
    kept: list[FoundToken] = []
    for one in found:
        width = int(one.vectors["clip"].shape[1]) if set(one.vectors) == {"clip"} else 0
        other = next((k for k in kept if k.name == one.name and set(k.vectors) == {"clip"}), None)
        pair = {} if other is None else {int(other.vectors["clip"].shape[1]): other, width: one}
        if set(pair) != set(halves):
            kept.append(one)
            continue
        assert other is not None
        vectors = {halves[w]: pair[w].vectors["clip"] for w in halves}
        if vectors["clip_l"].shape[0] != vectors["clip_g"].shape[0]:
            raise TokenFileError(f"{other.path} and {one.path} hold different numbers of vectors for {one.name}")
        kept[kept.index(other)] = FoundToken(one.name, vectors, other.path, other.facts)
    return kept


def _entry(index: int, token: str, one: FoundToken) -> dict[str, Any]:
    return {
        "index": index,
        "token": token,
        "mask": None,
        "area": 0,
        "share": 0.0,
        "score": 0.0,
        "bbox": [0, 0, 0, 0],
        "label": _said(one).get("label"),
        "words": [],
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def widths(vectors: Any) -> dict[str, int]:
    """Text encoder -> numbers in one of its vectors."""
    names = sorted(vectors, key=lambda name: ENCODERS.index(name) if name in ENCODERS else len(ENCODERS))
    return {encoder: int(vectors[encoder].shape[-1]) for encoder in names}


def width_text(found: dict[str, int]) -> str:
    """ "768 wide (Stable Diffusion 1.x, such as sd1.5)"."""
    known = KNOWN_WIDTHS.get(tuple(found.values()))
    return f"{' + '.join(map(str, found.values()))} wide{f' ({known})' if known else ''}"


def _require_alike(found: Sequence[FoundToken]) -> None:
    first = found[0]
    for other in found[1:]:
        if widths(other.vectors) != widths(first.vectors):
            raise TokenFileError(
                f"{first.path} is {width_text(widths(first.vectors))} and {other.path} is "
                f"{width_text(widths(other.vectors))}: they belong to different models; import them into two folders"
            )


def _names(found: Sequence[FoundToken], names: Sequence[str] | None) -> list[str]:
    """The user's names first, then the files' own in the form that tokens have."""
    own = []
    for token in found:
        stem = re.sub(r"[^a-z0-9_-]+", "-", token.name.strip("<> ").lower()).strip("-_")[:41].strip("-_")
        own.append(f"<{stem or 'token'}>")
    given = list(names or [])
    later = own[len(given) :]
    for index, name in enumerate(later, start=len(given)):
        for before in range(len(given), index):
            if own[before] == name:
                raise ConfigError(
                    f"{found[before].path} and {found[index].path} both bring a token {name}; name them with --names"
                )
    return renamed(own, given)


def _model(found: Sequence[FoundToken], model: str | None) -> str:
    """The user's model. A file's own word for it counts only for the embedded model: no file leads to a download."""
    if model is not None:
        return str(model)
    said = {str(token.facts.get("model")) for token in found}
    if said == {"mini"}:
        return "mini"
    hint = "" if said == {"None"} else f", the file itself says {', '.join(sorted(said))}"
    raise ConfigError(
        f"which model is {found[0].path} for? It is {width_text(widths(found[0].vectors))}{hint}; say so with --model"
    )
