"""The source of a plugin: its file, and what it imports from the same file tree.

Imports are read from the text, those in functions included, so that the answer does not depend on what happens to be
imported already. What comes from elsewhere (torch, uce itself) is covered by its version.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[2]


def source_digest(obj: Any) -> str:
    """Hash of everything that `source_files` names; of the type's name where there is no source."""
    files = source_files(obj)
    if not files:
        return hashlib.sha256(repr(obj if inspect.ismodule(obj) else type(obj)).encode()).hexdigest()
    digests = [_read(path, *_stamp(path))[0] for path in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def source_files(obj: Any) -> list[Path]:
    """The file of a plugin object first, then its helpers, sorted; empty where there is none."""
    try:
        own = Path(inspect.getsourcefile(obj if inspect.ismodule(obj) else type(obj)) or "").resolve()
        _stamp(own)
    except (OSError, TypeError):
        return []
    tree, bases = _surroundings(own)
    found, waiting = {own}, [own]
    while waiting:
        path = waiting.pop()
        for level, parts in _read(path, *_stamp(path))[1]:
            starts = [path.parents[level - 1]] if level else [base for base, top in bases if top in (None, parts[0])]
            for helper in (file for start in starts for file in _modules(start, parts, tree)):
                if helper not in found:
                    found.add(helper)
                    waiting.append(helper)
    return [own, *sorted(found - {own})]


def _surroundings(file: Path) -> tuple[Path, list[tuple[Path, str | None]]]:
    """The tree that belongs to a plugin, and from where absolute imports may reach into it: a folder and the name with
    which they begin (None: any).

    The tree is the outermost package around the file (of uce's own: plugins, or contrib), or the folder of a file that
    is in no package.
    """
    tree = base = file.parent
    top = None
    while (base / "__init__.py").is_file():
        if base != HOME:
            tree = base
        base, top = base.parent, base.name
    return tree, [(base, top)] if top else [(base, None), (base.parent, base.name)]


def _modules(start: Path, parts: tuple[str, ...], tree: Path) -> Iterator[Path]:
    """Files within the tree of a dotted name below `start`: of every package on the way, and of the module."""
    place = start
    for part in parts:
        place = place / part
        if not str(place).startswith(str(tree)):
            continue
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file() and file.is_relative_to(tree):
                yield file


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=1024)
def _read(path: Path, changed: int, size: int) -> tuple[str, tuple[tuple[int, tuple[str, ...]], ...]]:
    """Hash of a file's bytes, and what it imports: (levels up, dotted name); the arguments after `path` say when what
    is remembered no longer holds."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError, RecursionError):
        return digest, ()
    imports: list[tuple[int, tuple[str, ...]]] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            imports += [(0, tuple(alias.name.split("."))) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            imports += [(node.level, (*module, alias.name)) for alias in node.names]
    return digest, tuple(dict.fromkeys(imports))
