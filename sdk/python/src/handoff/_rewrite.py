"""Makes plain `assert` say its operands, as pytest does: rewrites the suite's own modules when they
are imported.

`assert f(x) == 3` becomes

    if not (v0 := f((v1 := x))) == 3:
        raise failed("f(x) == 3", (v0, v1))
    v0 = v1 = None

with names that no program can have. Every node keeps the position of what it was made from, so that
tracebacks show the lines that people wrote.

The interpreter is snapshotted after the suite was imported, and the suite's files are not there
when it runs. So two more things happen here: the lines of the modules are kept for tracebacks, and
what functions import is imported at once, since it could not be later.
"""

import ast
import builtins
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

from handoff import _explain

_RUNTIME = "@handoff"


def install(directory: str, shown: str) -> None:
    """From now on rewrites what is imported from this directory. Its files are called by their
    paths below `shown`."""
    sys.meta_path.insert(0, _Finder(directory, shown))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, directory: str, shown: str):
        self.directory, self.shown = directory, shown

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            return None
        file = spec.loader.path
        inside = os.path.relpath(file, self.directory)
        if inside.startswith("..") or "site-packages" in inside:
            return None
        spec.loader = _Loader(name, file, os.path.join(self.shown, inside))
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, shown: str):
        super().__init__(name, path)
        self.shown = shown

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        return compiled(self.get_data(self.path), self.shown)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__[_RUNTIME] = _explain
        super().exec_module(module)
        import_what_functions_import(ast.parse(self.get_data(self.path)), module)


own_files: set[str] = set()
"""The suite's own files, as tracebacks call them."""


def compiled(data: bytes, shown: str) -> CodeType:
    """The code of a module with its assertions rewritten. Its lines are kept for tracebacks."""
    source = importlib.util.decode_source(data)
    # Without a time, it is taken as current although there is no such file.
    linecache.cache[shown] = (len(source), None, source.splitlines(keepends=True), shown)
    own_files.add(shown)
    return compile(rewritten(ast.parse(source, shown)), shown, "exec", dont_inherit=True)


def rewritten(module: ast.Module) -> ast.Module:
    """The module with its assertions rewritten."""
    return _Rewriter().visit(module)


def import_what_functions_import(tree: ast.Module, module: ModuleType) -> None:
    """Imports what the module's functions will import. What cannot be imported is left to them."""
    functions = (
        node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    for node in (inner for function in functions for inner in ast.walk(function)):
        with contextlib.suppress(ImportError):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    builtins.__import__(alias.name)
            elif isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
                builtins.__import__(node.module or "", module.__dict__, None, names, node.level)


class _Rewriter(ast.NodeTransformer):
    def visit_Assert(self, node: ast.Assert) -> ast.stmt | list[ast.stmt]:
        if isinstance(node.test, ast.Tuple) and node.test.elts:
            return node  # always true; Python itself warns of it
        source = ast.unparse(node.test)
        skips = any(_may_skip(part) for part in ast.walk(node.test))
        capture = _Capture()
        test = capture.visit(node.test)
        names = capture.names
        values = ast.Tuple([ast.Name(name, ast.Load()) for name in names], ast.Load())
        message = [] if node.msg is None else [node.msg]
        error = ast.Call(_runtime("failed"), [ast.Constant(source), values, *message], [])
        check = ast.If(ast.UnaryOp(ast.Not(), test), [ast.Raise(error, None)], [])
        statements: list[ast.stmt] = [check]
        if names:
            if skips:
                statements.insert(0, _assign(names, _runtime("UNSET")))
            statements.append(_assign(names, ast.Constant(None)))
        for statement in statements:
            _locate(statement, node)
        return statements


def _may_skip(node: ast.AST) -> bool:
    """Whether not all of its parts are always evaluated."""
    return isinstance(node, (ast.BoolOp, ast.IfExp)) or (
        isinstance(node, ast.Compare) and len(node.ops) > 1
    )


def _runtime(name: str) -> ast.expr:
    return ast.Attribute(ast.Name(_RUNTIME, ast.Load()), name, ast.Load())


def _assign(names: list[str], value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store()) for name in names], value)


def _locate(made: ast.AST, origin: ast.AST) -> None:
    """Gives what was made here the place of what it was made from."""
    if "lineno" in made._attributes and not hasattr(made, "lineno"):
        ast.copy_location(made, origin)
    for child in ast.iter_child_nodes(made):
        _locate(child, made if hasattr(made, "lineno") else origin)


class _Capture:
    """Keeps the values of an expression's parts, in the order of `_explain.captured`."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def visit(self, node: ast.expr) -> ast.expr:
        name = None
        if _explain.is_captured(node):
            name = f"@v{len(self.names)}"
            self.names.append(name)
        # Each operand is in one place only, so that it can be found there again.
        new = {operand: self.visit(operand) for operand in _explain.operands(node)}
        _replace(node, new)
        if name is None:
            return node
        return ast.copy_location(ast.NamedExpr(ast.Name(name, ast.Store()), node), node)


def _replace(node: ast.AST, new: dict[ast.expr, ast.expr]) -> None:
    for field, old in ast.iter_fields(node):
        if isinstance(old, list):
            old[:] = [new.get(item, item) for item in old]
            for item in old:
                if isinstance(item, ast.keyword):
                    _replace(item, new)
        elif old in new:
            setattr(node, field, new[old])
        elif isinstance(old, ast.AST) and isinstance(node, (ast.Call, ast.Await)):
            # The receiver of a method, and what an `await` calls, are one level further down.
            _replace(old, new)
