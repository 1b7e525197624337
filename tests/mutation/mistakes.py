"""Small, realistic mistakes that can be made in a source file, one at a time: a bound, a sign, a line that is dropped.

A mistake is a span of the text and what stands there instead, so that the rest of the file stays as it is written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

COMPARED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
COMPUTED = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "/", ast.BitAnd: "|", ast.BitOr: "&"}
OTHER_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "amax": "amin", "amin": "amax"}
STEPS = {
    "absolute", "abs", "casefold", "clone", "copy", "cpu", "detach", "double", "exp", "expanduser", "float", "flush",
    "lower", "lstrip", "resolve", "round", "rstrip", "sqrt", "square", "strip", "upper",
}  # fmt: skip
"""Methods that give something of the same kind, so that leaving them out is easily done and breaks nothing at once."""
BLOCKS = {"body", "orelse", "finalbody", "handlers", "cases"}
KEPT_OUT = {"log", "Field", "field", "TypeVar", "face", "literal", "warn"}
"""Calls whose arguments are words for people, or wiring: a change there is no mistake in what is computed."""


@dataclass(frozen=True)
class Mistake:
    """`text[start:end]` becomes `instead`; `line` counts from 1."""

    line: int
    start: int
    end: int
    instead: str
    kind: str

    def made(self, text: str) -> str:
        return text[: self.start] + self.instead + text[self.end :]

    def shown(self, text: str) -> str:
        """What was there and what is there now, in one line."""
        before = " ".join(text[self.start : self.end].split())
        return f"{self.kind}: {before[:80]!r} -> {' '.join(self.instead.split())[:80]!r}"


def mistakes(text: str) -> list[Mistake]:
    """All mistakes that this file offers; a few make no program, or the same one (`sound` tells)."""
    found = {(mistake.start, mistake.end, mistake.instead): mistake for mistake in _Finder(text).found()}
    return [found[key] for key in sorted(found)]


def sound(mistake: Mistake, text: str) -> bool:
    """Whether it leaves a file that compiles and is another program."""
    try:
        return ast.dump(ast.parse(mistake.made(text))) != ast.dump(ast.parse(text))
    except SyntaxError:
        return False


class _Finder:
    def __init__(self, text: str) -> None:
        self.text, self.tree = text, ast.parse(text)
        self.lines = [line.encode() for line in text.split("\n")]
        self.starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]

    def found(self) -> Iterator[Mistake]:
        for body in self._bodies():
            for statement in body:
                yield from self._dropped(statement)
                for node in _expressions(statement):
                    yield from self._changed(node)

    def _bodies(self) -> Iterator[list[ast.stmt]]:
        """Every block of statements that runs when something is computed: not the imports and tables of a module."""
        functions = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        inside = {inner for function in functions for inner in ast.walk(function)}
        for node in inside:
            for name in ("body", "orelse", "finalbody"):
                block = getattr(node, name, None)
                if isinstance(block, list):
                    yield [item for item in block if isinstance(item, ast.stmt) and not _words(item)]

    def _position(self, line: int, column: int) -> int:
        """Of an AST's line and column (bytes), in characters of the text."""
        return self.starts[line - 1] + len(self.lines[line - 1][:column].decode())

    def _span(self, node: ast.AST) -> tuple[int, int]:
        first, last = self._position(node.lineno, node.col_offset), self._position(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        return first, last

    def _instead(self, node: ast.AST, text: str, kind: str) -> Mistake:
        start, end = self._span(node)
        return Mistake(node.lineno, start, end, text, kind)  # type: ignore[attr-defined]

    def _source(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self.text[start:end]

    def _dropped(self, statement: ast.stmt) -> Iterator[Mistake]:
        """A line that is missing; a guard that is missing; an addition that only sets."""
        if isinstance(statement, ast.AugAssign):
            yield self._instead(statement, f"{self._source(statement.target)} = {self._source(statement.value)}", "set")
        value = getattr(statement, "value", None)
        call = isinstance(statement, ast.Expr) and isinstance(value, ast.Call) and not _spoken(value)
        guard = isinstance(statement, ast.If) and not statement.orelse and isinstance(statement.body[-1], ast.Raise)
        stored = isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Attribute | ast.Subscript)
        if call or guard or stored or isinstance(statement, ast.AugAssign):
            yield self._instead(statement, "pass", "dropped")

    def _changed(self, node: ast.AST) -> Iterator[Mistake]:
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = self._source(node.left), self._source(node.comparators[0])
            yield self._instead(node, f"{left} {COMPARED[type(node.ops[0])]} {right}", "compared")
        elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED and not _text(node):
            left, right = self._source(node.left), self._source(node.right)
            yield self._instead(node, f"({left} {COMPUTED[type(node.op)]} {right})", "computed")
        elif isinstance(node, ast.BoolOp):
            word = " or " if isinstance(node.op, ast.And) else " and "
            yield self._instead(node, f"({word.join(f'({self._source(value)})' for value in node.values)})", "joined")
            yield self._instead(node, f"({self._source(node.values[0])})", "joined")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield self._instead(node, f"({self._source(node.operand)})", "sign")
        elif isinstance(node, ast.IfExp):
            yield self._instead(node, f"({self._source(node.body)})", "chosen")
        elif isinstance(node, ast.Constant):
            yield from self._number(node)
        elif isinstance(node, ast.Call):
            yield from self._call(node)

    def _number(self, node: ast.Constant) -> Iterator[Mistake]:
        if isinstance(node.value, bool):
            yield self._instead(node, str(not node.value), "constant")
        elif isinstance(node.value, int):
            yield self._instead(node, str(node.value + 1), "constant")
        elif isinstance(node.value, float):
            yield self._instead(node, repr(node.value * 2 if node.value else 1.0), "constant")

    def _call(self, node: ast.Call) -> Iterator[Mistake]:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in OTHER_NAMES:
            owner = f"{self._source(node.func.value)}." if isinstance(node.func, ast.Attribute) else ""
            yield self._instead(node.func, owner + OTHER_NAMES[name], "called")
        if isinstance(node.func, ast.Attribute) and name in STEPS and not node.args and not node.keywords:
            yield self._instead(node, self._source(node.func.value), "step left out")
        for keyword in node.keywords:
            if keyword.arg is not None and len(node.args) + len(node.keywords) > 1:
                start, end = self._span(keyword)
                before = self.text[:start].rstrip()
                first = len(before) - 1 if before.endswith(",") else start
                yield Mistake(keyword.value.lineno, first, end, "", "argument left out")


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """What a statement computes itself, without the blocks inside it, annotations and words for people."""
    if isinstance(statement, ast.Raise | ast.Assert | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Call) and _spoken(node)):
            continue
        yield node
        for name, value in ast.iter_fields(node):
            if name == "annotation" or (node is statement and name in BLOCKS):
                continue
            waiting += [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, ast.AST)]


def _spoken(node: ast.Call) -> bool:
    names = {part.id for part in ast.walk(node.func) if isinstance(part, ast.Name)}
    last = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    return bool(KEPT_OUT & (names | {last}))


def _words(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _text(node: ast.BinOp) -> bool:
    """Whether it joins strings."""
    constants = [part.value for part in (node.left, node.right) if isinstance(part, ast.Constant)]
    joined = isinstance(node.left, ast.JoinedStr) or isinstance(node.right, ast.JoinedStr)
    return joined or any(isinstance(value, str) for value in constants)
