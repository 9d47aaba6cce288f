"""Single small faults of a Python module, made on its syntax tree.

Left alone are what no test should look at: docstrings, sentences of errors, annotations, decorators, imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.MatMult: ast.Mult,
}
_SWAPS = {
    one: two
    for pair in (
        ("min", "max"),
        ("amin", "amax"),
        ("argmin", "argmax"),
        ("minimum", "maximum"),
        ("clamp_min", "clamp_max"),
        ("floor", "ceil"),
        ("any", "all"),
        ("sin", "cos"),
    )
    for one, two in (pair, pair[::-1])
}
_LEFT_ALONE = (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.arg)
_FIELDS_LEFT_ALONE = {"annotation", "returns", "decorator_list", "type_params"}


@dataclass(frozen=True, order=True)
class Mutant:
    """One change of one module; ``path`` is relative to the tree."""

    path: Path
    line: int
    function: str
    change: str
    number: int
    file: Path = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """As it is printed: file:line function: old -> new."""
        return f"{self.path}:{self.line} {self.function}: {self.change}"

    @property
    def name_without_line(self) -> str:
        """A name that outlives edits above it."""
        return f"{self.path} {self.function}: {self.change}"

    def source(self) -> str:
        """The module with the change made."""
        tree = ast.parse(self.file.read_text())
        for number, (_, _, parent, key, index, new) in enumerate(_changes(tree, "module")):
            if number == self.number:
                _put(parent, key, index, new)
                return ast.unparse(ast.fix_missing_locations(tree))
        raise LookupError(f"{self.file} has changed since {self.name} was listed")


def mutants_of(file: Path, root: Path) -> list[Mutant]:
    """All mutants of a module below ``root``."""
    found = []
    for number, (function, old, parent, key, index, new) in enumerate(
        _changes(ast.parse(file.read_text()), "module")
    ):
        # A number or a name says nothing alone: it is shown within the expression or statement that it is part of.
        alone = isinstance(old, ast.Constant | ast.Name | ast.UnaryOp) and not isinstance(
            parent, ast.If | ast.While
        )
        context = parent if alone else old
        before = _shown(context)
        _put(parent, key, index, new)
        after = _shown(context if context is parent else new)
        _put(parent, key, index, old)
        line = old.lineno  # type: ignore[attr-defined]
        found.append(Mutant(file.relative_to(root), line, function, f"{before} -> {after}", number, file))
    return found


def _shown(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:120]


def _put(parent: ast.AST, key: str, index: int | None, new: ast.AST) -> None:
    if index is None:
        setattr(parent, key, new)
    else:
        getattr(parent, key)[index] = new


def _changes(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST, ast.AST, str, int | None, Any]]:
    """(function, old node, parent, field, index, new node) of every change below a node."""
    for key, value in ast.iter_fields(node):
        if key in _FIELDS_LEFT_ALONE:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, _LEFT_ALONE):
                continue
            in_function = getattr(child, "name", function)
            for new in _alternatives(child, (node, key)):
                yield function, child, node, key, index, new
            if not isinstance(child, ast.Raise):
                yield from _changes(child, in_function)


def _alternatives(node: ast.AST, place: tuple[ast.AST, str]) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    match node:
        case ast.Compare(left, [operator], rest):
            yield from (ast.Compare(left, [other()], rest) for other in _COMPARISONS[type(operator)])
        case ast.Compare(left, operators, rest):
            for k, operator in enumerate(operators):
                for other in _COMPARISONS[type(operator)]:
                    yield ast.Compare(left, [*operators[:k], other(), *operators[k + 1 :]], rest)
        case ast.BinOp(left, operator, right) if type(operator) in _ARITHMETIC:
            yield ast.BinOp(left, _ARITHMETIC[type(operator)](), right)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.And() if isinstance(operator, ast.Or) else ast.Or(), values)
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            yield operand
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            yield from (ast.Constant(other) for other in {value + 1, value * 2} - {value})
        case ast.Name(name) if name in _SWAPS:
            yield ast.Name(_SWAPS[name], ast.Load())
        case ast.Attribute(value, name) if name in _SWAPS:
            yield ast.Attribute(value, _SWAPS[name], ast.Load())
        case ast.Return(value) if value is not None:
            yield ast.Return(ast.Constant(None))
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
    if place[1] == "test" and isinstance(node, ast.Name | ast.Attribute | ast.Call):
        yield ast.UnaryOp(ast.Not(), node)
