"""The code of a stage as a digest: over the modules of `prn` that it imports, without comments and docstrings."""

import ast
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
# Plumbing, modules or whole rooms: it can move files but cannot change a result. What it decides (settings, hashes) is
# compared itself.
PLUMBING = (
    "prn.cli",
    "prn.devices",
    "prn.errors",
    "prn.layout",
    "prn.provenance",
    "prn.settings",
)
DATA_SUFFIXES = (".yaml", ".csv", ".css", ".js")


@dataclass(frozen=True)
class Source:
    """What a module's source says: the modules of `prn` that it may import, the digest of its syntax tree without
    docstrings, and the names of data files that stand in it."""

    imports: tuple[str, ...]
    tree: str
    data: tuple[str, ...]


def stage_modules(stage: str, method_module: str | None = None) -> tuple[str, ...]:
    """The modules of `prn` that a stage imports, directly or through others, plumbing left out, sorted.

    `method_module` names the module of the variant's method, which a stage loads by name.
    """
    found: set[str] = set()
    todo = [f"prn.stages.{stage}"] + ([method_module] if method_module else [])
    while todo:
        module = todo.pop()
        if module in found or is_plumbing(module):
            continue
        found.add(module)
        todo.extend(_imports(module))
    return tuple(sorted(found))


def is_plumbing(module: str) -> bool:
    """Whether a module counts in no digest."""
    return any(module == name or module.startswith(f"{name}.") for name in PLUMBING)


@functools.cache
def code_digest(stage: str, method_module: str | None = None) -> str:
    """Sixteen hex digits over the syntax trees of `stage_modules` and the data files that they name."""
    total = hashlib.sha256()
    for module in stage_modules(stage, method_module):
        total.update(f"{module}:{_module_digest(module)}\n".encode())
    return total.hexdigest()[:16]


def forget() -> None:
    """Look at the files anew: for tests that edit the package under a running process."""
    for function in (code_digest, _source, _module_digest):
        function.cache_clear()


def read_source(text: str) -> Source:
    """What the source of a module says."""
    tree = _without_docstrings(ast.parse(text))
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return Source(
        imports=tuple(sorted(name for name in names if name.startswith("prn."))),
        tree=hashlib.sha256(_dump(tree).encode()).hexdigest(),
        data=tuple(sorted(text for text in texts if text.endswith(DATA_SUFFIXES))),
    )


def _dump(node: Any) -> str:
    """A syntax tree as text, without places. Empty fields are left out: newer Pythons have more of them."""
    if isinstance(node, ast.AST):
        fields = (
            f"{name}={_dump(value)}" for name, value in ast.iter_fields(node) if value is not None and value != []
        )
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(_dump, node))}]" if isinstance(node, list) else repr(node)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """A module and its statements at every depth; expressions, the bulk of a tree, are not walked."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            children = getattr(node, block, None)
            if isinstance(children, list):  # a lambda and a conditional expression have a single one
                todo.extend(children)


def _file(module: str) -> Path | None:
    """The source file of a module of this package, None for a name that is no module."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


@functools.cache
def _source(file: Path) -> Source:
    return read_source(file.read_text(encoding="utf-8"))


def _imports(module: str) -> tuple[str, ...]:
    """The modules that importing `module` loads directly: those that it names, and the packages above these and it."""
    file = _file(module)
    if file is None:
        return ()
    names = set(_source(file).imports)
    parents = {name.rpartition(".")[0] for name in names} | {module.rpartition(".")[0]}
    return tuple(sorted(name for name in names | parents if name.startswith("prn.") and _file(name) is not None))


@functools.cache
def _module_digest(module: str) -> str:
    """Over a module's syntax tree, and over the data files beside it that it names."""
    file = _file(module)
    assert file is not None
    source = _source(file)
    total = hashlib.sha256(source.tree.encode())
    for name in source.data:
        if (file.parent / name).is_file():
            total.update((file.parent / name).read_bytes())
    return total.hexdigest()
