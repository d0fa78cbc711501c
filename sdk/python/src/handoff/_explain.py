"""Says why an `assert` failed: its expression with the values that it had.

The rewritten `assert` hands over the text of its expression and the values of its parts in the
order in which `captured` names them; see `_rewrite`. The form is that of pytest:

    assert 404 == 200
     +  where 404 = answer.status_code
     +    where <Response [404]> = answer
"""

import ast
import difflib
import types
from collections.abc import Iterator
from typing import Any

MAX_REPR = 240
"""What is shown of a value, in characters."""

MAX_LINES = 40
"""How many lines may say where two values differ."""


class _Unset:
    """What stands for a part that was not evaluated."""


UNSET = _Unset()


def operands(node: ast.expr) -> list[ast.expr]:
    """The parts of an expression that have values worth showing."""
    match node:
        case ast.Compare():
            return [node.left, *node.comparators]
        case ast.BoolOp():
            return node.values
        case ast.BinOp():
            return [node.left, node.right]
        case ast.UnaryOp():
            return [node.operand]
        case ast.Attribute() | ast.Starred():
            return [node.value]
        case ast.Subscript(slice=ast.Slice() | ast.Tuple()):
            return [node.value]
        case ast.Subscript():
            return [node.value, node.slice]
        case ast.Call():
            receiver = [node.func.value] if isinstance(node.func, ast.Attribute) else []
            return [*receiver, *node.args, *(keyword.value for keyword in node.keywords)]
        case ast.Await(value=ast.Call() as call):
            return operands(call)
    return []


def is_captured(node: ast.expr) -> bool:
    """Whether the value of this part is kept, rather than that of its operands alone."""
    match node:
        case ast.UnaryOp(op=ast.Not()) | ast.UnaryOp(operand=ast.Constant()):
            return False
        case (
            ast.Name()
            | ast.Attribute()
            | ast.Subscript()
            | ast.Call()
            | ast.BinOp()
            | ast.UnaryOp()
            | ast.Await()
            | ast.List()
            | ast.Tuple()
            | ast.Dict()
            | ast.Set()
            | ast.ListComp()
            | ast.SetComp()
            | ast.DictComp()
            | ast.JoinedStr()
            | ast.IfExp()
            | ast.NamedExpr()
        ):
            return True
    return False


def captured(node: ast.expr) -> Iterator[ast.expr]:
    """All parts whose values are kept, each before its own parts."""
    if is_captured(node):
        yield node
    for operand in operands(node):
        yield from captured(operand)


def failed(source: str, values: tuple[Any, ...], *message: Any) -> AssertionError:
    """The error for a failed `assert source, message`."""
    try:
        why = _Explanation(source, values).text()
    except Exception as problem:  # whatever a value's own methods raise
        why = f"assert {source}\n (its values cannot be shown: {type(problem).__name__})"
    if message and not values:
        return AssertionError(*message)
    return AssertionError("\n".join([*(str(text) for text in message), why]))


def show(value: object) -> str:
    """The value as Python writes it, cut in the middle if it is long."""
    try:
        text = repr(value)
    except Exception as problem:
        text = f"<{type(value).__name__}, whose repr raises {type(problem).__name__}>"
    if len(text) <= MAX_REPR:
        return text
    half = (MAX_REPR - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


class _Explanation:
    def __init__(self, source: str, values: tuple[Any, ...]):
        self.tree = ast.parse(source, mode="eval").body
        self.values = dict(zip(captured(self.tree), values, strict=True))
        self.shown: set[str] = set()

    def text(self) -> str:
        lines = [f"assert {self.render(self.tree)}"]
        self.explain(self.leaves(self.tree), 0, lines)
        match self.tree:
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                lines += difference(self.value(left), self.value(right))
        return "\n".join(lines)

    def value(self, node: ast.expr) -> Any:
        if node in self.values:
            return self.values[node]
        try:
            return ast.literal_eval(node)
        except ValueError:
            return UNSET

    def render(self, node: ast.expr) -> str:
        """The expression with values in place of its outermost parts."""
        if node in self.values:
            value = self.values[node]
            return ast.unparse(node) if value is UNSET else show(value)
        match node:
            case ast.Compare():
                text = self.render(node.left)
                for operator, right in zip(node.ops, node.comparators, strict=True):
                    text += f" {_OPERATORS[type(operator)]} {self.render(right)}"
                return text
            case ast.BoolOp():
                word = " and " if isinstance(node.op, ast.And) else " or "
                return f"({word.join(self.render(value) for value in node.values)})"
            case ast.UnaryOp(op=ast.Not()):
                return f"not {self.render(node.operand)}"
        return ast.unparse(node)

    def leaves(self, node: ast.expr) -> list[ast.expr]:
        """The outermost parts of an expression that have values."""
        if node in self.values:
            return [node]
        return [leaf for operand in operands(node) for leaf in self.leaves(operand)]

    def explain(self, nodes: list[ast.expr], depth: int, lines: list[str]) -> None:
        """Says of each part what it is the value of, and then the same of its own parts."""
        word = "where"
        for node in nodes:
            value, source = self.values[node], ast.unparse(node)
            if value is UNSET or source in self.shown or _says_nothing(value):
                continue
            self.shown.add(source)
            text = show(value)
            if text != source:
                lines.append(f" +  {'  ' * depth}{word:5} {text} = {source}")
                word = "and"
            inner = [leaf for operand in operands(node) for leaf in self.leaves(operand)]
            self.explain(inner, depth + 1, lines)


def _says_nothing(value: object) -> bool:
    return isinstance(
        value, (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
    )


_OPERATORS = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}


def difference(left: object, right: object) -> list[str]:
    """Where two values differ, for those that have parts."""
    match left, right:
        case str(), str():
            lines = _of_texts(left, right)
        case dict(), dict():
            lines = _of_dicts(left, right)
        case (list(), list()) | (tuple(), tuple()) | (bytes(), bytes()):
            lines = _of_sequences(left, right)
        case ((set() | frozenset()), (set() | frozenset())):
            lines = _only("left", left - right) + _only("right", right - left)
        case _:
            lines = []
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f"... and {len(lines) - MAX_LINES} lines more"]
    return [f" {line}" for line in lines]


def _of_texts(left: str, right: str) -> list[str]:
    if "\n" not in left + right and max(len(left), len(right)) < 30:
        return []
    compared = difflib.ndiff(right[:10_000].splitlines(), left[:10_000].splitlines())
    return ["the lines with - are on the right only, those with + on the left only:"] + [
        show_line(line) for line in compared if not line.startswith("  ")
    ]


def show_line(line: str) -> str:
    return line if len(line) <= MAX_REPR else f"{line[:MAX_REPR]}..."


def _of_dicts(left: dict[Any, Any], right: dict[Any, Any]) -> list[str]:
    lines = [
        f"[{show(key)}] differs: {show(left[key])} != {show(right[key])}"
        for key in left
        if key in right and left[key] != right[key]
    ]
    lines += _only("left", [key for key in left if key not in right], left)
    return lines + _only("right", [key for key in right if key not in left], right)


def _of_sequences(left: Any, right: Any) -> list[str]:
    lines = []
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            lines.append(f"[{index}] differs: {show(one)} != {show(other)}")
            break
    if len(left) != len(right):
        lines.append(f"the left has {len(left)} items, the right {len(right)}")
    return lines


def _only(side: str, items: Any, values: dict[Any, Any] | None = None) -> list[str]:
    if values is not None:
        return [f"only on the {side}: {show(key)}: {show(values[key])}" for key in items]
    return [f"only on the {side}: {show(item)}" for item in items]
