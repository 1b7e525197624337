"""Names: what people call a thing, in any script, and the word of ours that stands for it in prompts and file names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count

from uce.core.errors import ConfigError
from uce.core.runs.token_names import token_stem

LONGEST = 41
"""Letters of a word, as `token_stem` has it."""


def clean_title(text: str) -> str:
    """What a person types, as it is shown: "  My  Cup! " -> "My Cup!".

    Raises:
        ConfigError: no letter and no digit is in it.
    """
    kept = "".join(" " if letter in "<>" or unicodedata.category(letter)[0] == "C" else letter for letter in text)
    title = " ".join(unicodedata.normalize("NFC", kept).split())[:LONGEST].strip()
    if not ascii_stem(title):
        raise ConfigError("give a name with letters or digits, such as cup")
    return title


def ascii_stem(text: str) -> str:
    """A name as a token and a file may have it, "" where nothing is left: "Чашка" -> "chashka"."""
    from anyascii import anyascii

    return re.sub(r"[^a-z0-9_]+", "-", anyascii(text).lower()).strip("-_")[:LONGEST].rstrip("-_")


def free_word(title: str, taken: Collection[str], picture: str) -> str:
    """The word for a title that no other thing of this person has: "cup", else "desk-cup", "desk-cup-2", ...

    Args:
        picture: the ASCII name of the thing's picture.

    Raises:
        ConfigError: it is a name that no file may have.
    """
    base = ascii_stem(title)
    room = max(0, LONGEST - len(base) - 5)
    longer = f"{picture[:room].rstrip('-')}-{base}".strip("-")
    word = next(word for word in chain([base, longer], _numbered(longer)) if word not in taken)
    token_stem(f"<{word}>")
    return word


def free_title(titles: Collection[str]) -> str:
    """The first of thing1, thing2, ... that no thing of this picture has."""
    return next(title for title in (f"thing{number}" for number in count(1)) if title not in titles)


def free_stem(title: str, taken: Collection[str]) -> str:
    """The ASCII name of a picture, for files: that of its title, numbered where another has it."""
    stem = ascii_stem(title)[:30].strip("-_") or "picture"
    return next(one for one in chain([stem], _numbered(stem)) if one not in taken)


def _numbered(stem: str) -> Iterator[str]:
    return (f"{stem[: LONGEST - 4]}-{number}" for number in count(2))


@dataclass(frozen=True)
class Word:
    """A learned word.

    Attributes:
        name: of the token, without angle brackets. title: what people call it. picture: the title of its picture.
    """

    name: str
    title: str
    picture: str


def understand(prompt: str, words: Sequence[Word], picture: str | None = None) -> tuple[str, list[str]]:
    """A prompt with every word as its token, and what must be said about it.

    "<cup>" may hold a word or a title. A bare title is read as the word where it cannot be plain English ("thing1",
    "чашка"), or where the prompt holds no word otherwise; else it stays, and is named.

    Args:
        picture: of which things are meant first, where two pictures have things of one title.

    Raises:
        ConfigError: a word that nobody learned, a title that two things have, or no words yet.
    """
    if not words:
        raise ConfigError("there are no words yet; learn some first")
    parts = re.split(r"<([^<>]*)>", prompt)
    found = [f"<{_named(part, words, picture)}>" if place % 2 else part for place, part in enumerate(parts)]
    inside, notes = len(parts) > 1, []
    titles = sorted({t for w in words for t in (w.title, w.name)}, key=len, reverse=True)
    bare = re.compile(rf"(?<![\w<-])(?:{'|'.join(map(re.escape, titles))})(?![\w>-])", re.IGNORECASE)

    def read(match: re.Match[str]) -> str:
        name = _named(match[0], words, picture, bare=True)
        if inside and re.fullmatch("[a-z]+", match[0], re.IGNORECASE):
            notes.append(f"“{match[0]}” was read as a plain word; write <{name}> to draw yours")
            return match[0]
        notes.append(f"“{match[0]}” was read as your word <{name}>")
        return f"<{name}>"

    found = [part if place % 2 else bare.sub(read, part) for place, part in enumerate(found)]
    return "".join(found), list(dict.fromkeys(notes))


def _named(text: str, words: Sequence[Word], picture: str | None, *, bare: bool = False) -> str:
    """The one word that a person means. In brackets a word is itself, whoever else is called so; bare, a title of the
    picture at hand comes first."""
    wanted = unicodedata.normalize("NFC", " ".join(text.split())).casefold()
    if not bare and any(word.name == wanted for word in words):
        return wanted
    alike = [word for word in words if wanted in (word.title.casefold(), word.name)]
    here = [word for word in alike if word.picture == picture] or alike
    if not here:
        known = ", ".join(f"<{word.name}>" for word in words)
        raise ConfigError(f"<{text}> has not been learned; the words are {known}")
    if len(here) > 1:
        ways = " or ".join(f"<{word.name}> ({word.picture})" for word in here)
        raise ConfigError(f"several things are called {text!r}; write {ways}")
    return here[0].name
