"""Embedding files of every common layout, read without running anything that they hold.

Read are safetensors and torch's own format (`weights_only`, which knows plain tensors and containers alone), whatever
the file's name ends in. docs/export.md lists the layouts.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import TokenFileError
from uce.core.files.documents import parse_json
from uce.core.files.token_places import read_png

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 64 << 20
MAX_HEADER = 4 << 20
MAX_VECTORS, MAX_WIDTH = 75, 16384
MAX_TOKENS = 1000
GIVE = "give an embedding as .safetensors, .bin or .pt"
ENCODERS = ("clip", "clip_l", "clip_g", "t5", "clip_l_out", "clip_g_out", "t5_out")
"""Where vectors live, in the order in which models have them: at an encoder's input, or (`_out`) at its output."""
_ENCODERS = {name: name for name in ENCODERS[1:]} | {
    "t5xxl": "t5",  # as ComfyUI and Forge call it
    "text_encoders_0": "clip_l",
    "text_encoders_1": "clip_g",
}
_NAMELESS = ("emb_params", "emp_params", "*")
_OUTPUTS = ("clip_l_out", "clip_g_out")
"""What OneTrainer adds behind the text encoder; no other program reads it. Our own files have a header."""
_BUNDLED = "bundle_emb."
_PICTURE = (b"\x89PNG", b"RIFF")


@dataclass(frozen=True, eq=False)
class FoundToken:
    """One token of a file.

    Attributes:
        name: as the file has it, else the file's own name.
        vectors: per text encoder float32 (n, d).
        path: the file.
        facts: what uce wrote into its header; empty for others' files.
    """

    name: str
    vectors: dict[str, Tensor]
    path: Path
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_token_file(path: Path) -> list[FoundToken]:
    """Every token of `path`.

    Raises:
        TokenFileError: missing, damaged, too large, no embedding, or a pickle that holds more than plain tensors.
    """
    document, facts = _read(path)
    if not isinstance(document, Mapping) or not document:
        raise TokenFileError(f"{path} holds {_kind(document)}, not tensors by name; {GIVE}")
    found = {name: _checked(vectors, path, name) for name, vectors in _by_name(document, path, facts).items()}
    if len(found) > MAX_TOKENS:
        raise TokenFileError(f"{path} holds {len(found)} tokens, at most {MAX_TOKENS} are read; split it")
    return [FoundToken(name, vectors, path, facts) for name, vectors in found.items()]


def _read(path: Path) -> tuple[Any, dict[str, Any]]:
    """(content, facts of the header)."""
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise TokenFileError(f"{path} is a folder; {GIVE}, one file or several")
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise TokenFileError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    if size > MAX_BYTES and not _is_bundle(path, head):
        raise TokenFileError(
            f"{path} has {size / 2**20:.0f} MiB, embeddings have at most {MAX_BYTES >> 20}; is it a model? {GIVE}"
        )
    if head[:4] in _PICTURE:
        return read_png(path), {}
    if head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[8:9] != b"{"):
        return _read_torch(path, zipped=head[:2] == b"PK"), {}
    return _read_safetensors(path, size, head)


def _is_bundle(path: Path, head: bytes) -> bool:
    """Whether it is a LoRA that carries its embeddings, of which nothing else is read."""
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or length > MAX_HEADER:
        return False
    with path.open("rb") as file:
        return f'"{_BUNDLED}'.encode() in file.read(8 + length)


def _read_safetensors(path: Path, size: int, head: bytes) -> tuple[Any, dict[str, Any]]:
    from safetensors import safe_open

    length = int.from_bytes(head[:8], "little")
    if len(head) < 9 or head[8:9] != b"{":
        raise TokenFileError(f"{path} is neither safetensors nor a torch file; {GIVE}")
    if length > min(size - 8, MAX_HEADER):
        raise TokenFileError(f"{path} is damaged: its header says {length} bytes, the file has {size}; get it again")
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            bundled = [name for name in names if name.startswith(_BUNDLED)]
            tensors = {name: file.get_tensor(name) for name in bundled or names}
            said = file.metadata() or {}
            text = said.get("uce", "{}")
    except Exception as error:  # the reader raises whatever it meets in a damaged file
        raise TokenFileError(f"{path} is damaged ({_short(error)}); get it again") from error
    try:
        facts = parse_json(text)
    except ValueError:
        facts = {}
    facts = facts if isinstance(facts, dict) else {}
    if not facts and said.get("modelspec.license"):  # another program's word for it
        facts = {"licence": said["modelspec.license"][:200]}
    return tensors, facts


def _read_torch(path: Path, *, zipped: bool) -> Any:
    import pickle
    import warnings

    import torch

    try:
        if zipped:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(item.file_size for item in archive.infolist())
            if unpacked > MAX_BYTES:
                raise TokenFileError(f"{path} unpacks to {unpacked / 2**20:.0f} MiB, which no embedding has; {GIVE}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except TokenFileError:
        raise
    except pickle.UnpicklingError as error:
        said = str(error)
        named = re.search(r"GLOBAL ([\w.]+)", said) or re.search(r"[Uu]nsupported (?:class|global)\W+([\w.]+)", said)
        what = f" ({named[1]})" if named else ""
        raise TokenFileError(
            f"{path} is a pickle that holds more than plain tensors{what}; nothing in it was run. Save the tensors as "
            "safetensors with the program that made it"
        ) from error
    except Exception as error:  # torch raises whatever its parsers meet in a damaged file
        raise TokenFileError(f"{path} is damaged ({_short(error)}); get it again") from error


def _by_name(document: Mapping[Any, Any], path: Path, facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Token name -> text encoder -> what stands there, for every layout that is known."""
    own = str(facts.get("token") or path.stem)
    if "string_to_param" in document:
        parameters = document["string_to_param"]
        if not isinstance(parameters, Mapping) or len(parameters) != 1:
            raise TokenFileError(f"{path}: string_to_param must hold one tensor, found {_kind(parameters)}; {GIVE}")
        name = document.get("name")
        return {name if isinstance(name, str) and name.strip() else own: {"clip": next(iter(parameters.values()))}}
    for key, value in document.items():
        if not isinstance(key, str) or not hasattr(value, "detach"):
            raise TokenFileError(f"{path}: {str(key)[:60]!r} is {_kind(value)}, not a tensor; {GIVE}")
    if any(key.startswith(_BUNDLED) for key in document):
        return _bundled(document, path)
    inputs = {key: value for key, value in document.items() if key not in _OUTPUTS}
    if not inputs:
        raise TokenFileError(f"{path} holds only output embeddings (clip_l_out), which no other program reads; {GIVE}")
    if not facts and "clip_l" in inputs:
        document = inputs
    if list(document) == ["clip_l"]:  # for a model with that one encoder
        return {own: {"clip": document["clip_l"]}}
    if all(key in _ENCODERS for key in document):
        vectors = {_ENCODERS[key]: value for key, value in document.items()}
        if len(vectors) == 1 and next(iter(vectors)).startswith("clip") and not facts:
            raise TokenFileError(f"{path} holds only {', '.join(document)}; SDXL embeddings hold clip_l and clip_g")
        return {own: {encoder: vectors[encoder] for encoder in ENCODERS if encoder in vectors}}
    if len(document) == 1 and next(iter(document)).rpartition(".")[2] not in ENCODERS[1:]:
        name, value = next(iter(document.items()))
        return {own if name in _NAMELESS else name: {"clip": value}}
    found: dict[str, dict[str, Any]] = {}
    for key, value in document.items():
        name, dot, encoder = key.rpartition(".")
        split = bool(dot) and encoder in ENCODERS[1:]
        found.setdefault(name if split else key, {})[encoder if split else "clip"] = value
    for name, vectors in found.items():
        if "." in name or ("clip" in vectors and len(vectors) > 1) or set(vectors) in ({"clip_l"}, {"clip_g"}):
            raise TokenFileError(
                f"{path}: {name[:60]!r} is no token with its vectors; this looks like weights of a model or a "
                f"LoRA. {GIVE}"
            )
    return {name: {e: vectors[e] for e in ENCODERS if e in vectors} for name, vectors in found.items()}


def _bundled(document: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """Embeddings inside a LoRA: "bundle_emb.NAME.string_to_param.*", "bundle_emb.NAME.emb_params", or ".clip_l"."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in document.items():
        name, _, rest = key.removeprefix(_BUNDLED).partition(".")
        encoder = rest if rest in ("clip_l", "clip_g") else "clip"
        if not name or encoder in found.setdefault(name, {}):
            raise TokenFileError(f"{path}: {key[:60]!r} is no bundled embedding that is known; {GIVE}")
        found[name][encoder] = value
    for name, vectors in found.items():
        if set(vectors) not in ({"clip"}, {"clip_l"}, {"clip_l", "clip_g"}):
            raise TokenFileError(f"{path}: {name[:60]!r} holds {', '.join(vectors)}; SDXL's hold clip_l and clip_g")
    return {
        name: {"clip": vectors["clip_l"]} if set(vectors) == {"clip_l"} else vectors for name, vectors in found.items()
    }


def _checked(vectors: Mapping[str, Tensor], path: Path, name: str) -> dict[str, Tensor]:
    """Float32 (n, d) of their own memory, equally many per text encoder."""
    import torch

    checked: dict[str, Tensor] = {}
    for encoder, value in vectors.items():
        what = f"{path}: {name[:60]!r}" + ("" if encoder == "clip" else f" ({encoder})")
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise TokenFileError(f"{what} is {_kind(value)}, not a plain tensor; {GIVE}")
        if not value.is_floating_point():
            raise TokenFileError(f"{what} has numbers of type {_dtype(value)}; embeddings are floats")
        if value.ndim not in (1, 2) or not value.numel():
            raise TokenFileError(f"{what} has shape {tuple(value.shape)}; embeddings are (d,) or (n, d)")
        rows = value.detach().reshape(-1, value.shape[-1])
        if rows.shape[0] > MAX_VECTORS or not 2 <= rows.shape[1] <= MAX_WIDTH:
            raise TokenFileError(
                f"{what} has shape {tuple(value.shape)}; at most {MAX_VECTORS} vectors of 2 to {MAX_WIDTH} "
                "numbers make a token"
            )
        checked[encoder] = rows.float().clone().contiguous()
        if not torch.isfinite(checked[encoder]).all():
            raise TokenFileError(f"{what} holds values that are not finite; it was damaged, or its training failed")
    if len({value.shape[0] for value in checked.values()}) != 1:
        found = ", ".join(f"{encoder}: {value.shape[0]}" for encoder, value in checked.items())
        raise TokenFileError(f"{path}: {name[:60]!r} has another number of vectors per text encoder ({found})")
    return checked


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{len(value)} entries"
    return {"str": "text", "int": "a number", "NoneType": "nothing"}.get(type(value).__name__, type(value).__name__)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
