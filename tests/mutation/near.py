"""Which tests are near a module: those that somebody runs who changes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path


def near(root: Path, module: Path) -> list[Path]:
    """Test files of a module, the closest first, as paths below `root`.

    They lie in the folder of `tests` that mirrors the module's, or in the next one up that there is: the file of the
    module's own name, then those that import it or say a public name of it, then those that import a module beside it
    that uses it. Where none is there, it is all of the folder's.

    Args:
        module: below `root`, such as uce/core/training/rows.py.
    """
    folder = root / "tests" / module.parent.relative_to("uce")
    while not folder.is_dir() or not list(folder.glob("test_*.py")):
        folder = folder.parent
    files = sorted(path for path in folder.rglob("test_*.py") if "browser" not in path.name)
    if folder == root / "tests":
        files = [path for path in files if path.parent == folder]
    name = _dotted(module)
    users = [path for path in (root / module.parent).glob("*.py") if _says([name]).search(_text(path))]
    patterns = _says([name, *_public(root / module)]), _says([_dotted(path.relative_to(root)) for path in users])
    own = [path for path in files if path.name == f"test_{module.stem.strip('_')}.py"]
    others = [path for said in patterns for path in files if said.search(_text(path))]
    return [path.relative_to(root) for path in dict.fromkeys([*own, *others])] or [p.relative_to(root) for p in files]


def _dotted(module: Path) -> str:
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


def _says(names: list[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, sorted(names)))})\b" if names else "(?!)")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _public(path: Path) -> list[str]:
    """Names of a module's functions and classes, methods and properties left out."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    tree = ast.parse(_text(path))
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
