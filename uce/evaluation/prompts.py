"""Prompts that a token must obey: the default set, or a file of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.core.errors import ConfigError, unknown_name
from uce.core.files.documents import parse_yaml
from uce.core.files.paths import user_path
from uce.scenes.textures import COLOURS, TEXTURES

DEFAULT, NONE = "default", "none"
LAYOUT = "groups of prompts with {} where the token stands, such as \"background: ['a photo of {} in the snow']\""


@dataclass(frozen=True)
class Prompt:
    """What is asked.

    Attributes:
        group: such as "background".
        text: with {} where the token stands.
        background: the recipe's name of the background that is asked for, where it has one.
    """

    group: str
    text: str
    background: str | None = None

    def of(self, token: str) -> str:
        """What the model is asked."""
        return self.text.replace("{}", token)

    @property
    def rest(self) -> str:
        """The text with the token's word left out, as pictures are compared with it."""
        return " ".join(self.text.replace("{}", "").split())


def read_prompts(chosen: str) -> tuple[Prompt, ...]:
    """The prompts of `evaluate.prompts`.

    Args:
        chosen: "default", "none", or a YAML file: group -> list of prompts, each a text, or a mapping with `prompt` and
            `background`.

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    if chosen == NONE:
        return ()
    path = Path(__file__).with_name("prompts.yaml") if chosen == DEFAULT else user_path(chosen)
    where = f"evaluate.prompts {chosen}"
    try:
        document: Any = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{where}: {reason}; give {DEFAULT}, {NONE} or a YAML file with {LAYOUT}") from error
    if not isinstance(document, Mapping) or not document:
        raise ConfigError(f"{where}: found {type(document).__name__}; write {LAYOUT}")
    found = tuple(_prompts(document, where))
    texts = [prompt.text for prompt in found]
    for text in texts:
        if texts.count(text) > 1:
            raise ConfigError(f"{where}: {text!r} is there twice; write each prompt once")
    return found


def _prompts(document: Mapping[Any, Any], where: str) -> Iterator[Prompt]:
    for group, rows in document.items():
        if not isinstance(rows, list) or not rows:
            raise ConfigError(f"{where}: {group} must be a list of prompts; write {LAYOUT}")
        for row in rows:
            body = {"prompt": row} if isinstance(row, str) else row
            if not isinstance(body, Mapping) or not isinstance(body.get("prompt"), str):
                raise ConfigError(f"{where}: {group} holds {row!r}, which is no prompt; write {LAYOUT}")
            for key in body.keys() - {"prompt", "background"}:
                raise ConfigError(f"{where}: {group}: {unknown_name('key', str(key), ['prompt', 'background'])}")
            require_one_place(body["prompt"], where)
            background = body.get("background")
            if background is not None and background not in (*COLOURS, *TEXTURES):
                raise ConfigError(f"{where}: {unknown_name('background', str(background), (*COLOURS, *TEXTURES))}")
            yield Prompt(str(group), body["prompt"], background)


def require_one_place(text: str, where: str) -> None:
    """Refuse a prompt without one place for the token.

    Raises:
        ConfigError: {} is not there once, or there are other braces.
    """
    if text.count("{}") != 1 or set(text.replace("{}", "")) & set("{}"):
        raise ConfigError(
            f"{where}: found {text!r}; write {{}} once, where the token stands, and no other braces, such as "
            "'a photo of {} in the snow'"
        )
