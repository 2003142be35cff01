"""The code of a stage as a digest: over the modules of `prn` that it imports, without comments and docstrings.

What a source says is remembered by its hash, beside Python's own bytecode: a job or a plan starts without parsing the
package again.
"""

import ast
import contextlib
import functools
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prn.artifacts import atomic_write

PACKAGE = Path(__file__).resolve().parent
# Plumbing that can move files but cannot change a result: what it decides (settings, hashes) is compared itself.
PLUMBING = frozenset(
    {
        "prn.artifacts",
        "prn.cli",
        "prn.code_digest",
        "prn.config",
        "prn.devices",
        "prn.errors",
        "prn.layout",
        "prn.provenance",
        "prn.strict",
        "prn.views",
    }
)
DATA_SUFFIXES = (".yaml", ".csv", ".css", ".js")
REMEMBERED = 2000  # sources, the newest

# What a source says: the modules of `prn` it may import, the digest of its tree, the names of data files in it.
Facts = dict[str, Any]


def stage_modules(stage: str, method_module: str | None = None) -> tuple[str, ...]:
    """The modules of `prn` that a stage imports, directly or through others, plumbing left out, sorted.

    `method_module` names the module of the variant's method, which a stage loads by name.
    """
    start = [f"prn.stages.{stage}"] + ([method_module] if method_module else [])
    found: set[str] = set()
    todo = list(start)
    while todo:
        module = todo.pop()
        if module in found or module in PLUMBING:
            continue
        found.add(module)
        todo.extend(_imports(module))
    return tuple(sorted(found))


@functools.lru_cache(maxsize=256)
def code_digest(stage: str, method_module: str | None = None) -> str:
    """Sixteen hex digits over the syntax trees of `stage_modules` and the data files that they name."""
    with _memory().kept():
        total = hashlib.sha256()
        for module in stage_modules(stage, method_module):
            total.update(f"{module}:{_module_digest(module)}\n".encode())
        return total.hexdigest()[:16]


def forget() -> None:
    """Look at the files anew: for tests that edit the package under a running process."""
    for function in (code_digest, _memory, _facts, _imports, _module_digest):
        function.cache_clear()


class _Memory:
    """Facts by the hash of their source, in a file that any process may replace and that may be missing."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.known: dict[str, Facts] = {}
        self.new = False
        # Facts count that this very module found, under the grammar of this Python.
        self.by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest() + f" Python {sys.version_info[:2]}"
        with contextlib.suppress(OSError, ValueError):
            stored = json.loads(file.read_text(encoding="utf-8"))
            if stored["by"] == self.by:
                self.known = stored["facts"]

    def facts(self, source: bytes) -> Facts:
        """What a source says, parsed where nobody has yet."""
        digest = hashlib.sha256(source).hexdigest()
        if digest not in self.known:
            self.known[digest] = read_source(source.decode("utf-8"))
            self.new = True
        return self.known[digest]

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Write down what was learnt meanwhile; a package that cannot be written to is parsed each time."""
        yield
        if self.new:
            self.new = False
            facts = dict(list(self.known.items())[-REMEMBERED:])
            with contextlib.suppress(OSError), atomic_write(self.file) as temporary:
                temporary.write_text(json.dumps({"by": self.by, "facts": facts}), encoding="utf-8")


def read_source(text: str) -> Facts:
    """The `Facts` of a module's source."""
    tree = _without_docstrings(ast.parse(text))
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {
        "imports": sorted(name for name in names if name.startswith("prn.")),
        "tree": hashlib.sha256(_dump(tree).encode()).hexdigest(),
        "data": sorted(text for text in texts if text.endswith(DATA_SUFFIXES)),
    }


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


@functools.lru_cache(maxsize=1)
def _memory() -> _Memory:
    return _Memory(PACKAGE / "__pycache__" / "code-digests.json")


def _file(module: str) -> Path | None:
    """The source file of a module of this package, None for a name that is no module."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


@functools.lru_cache(maxsize=512)
def _facts(module: str) -> Facts:
    file = _file(module)
    assert file is not None
    return _memory().facts(file.read_bytes())


@functools.lru_cache(maxsize=512)
def _imports(module: str) -> tuple[str, ...]:
    if _file(module) is None:
        return ()
    names = set(_facts(module)["imports"])
    parents = {name.rpartition(".")[0] for name in names} | {module.rpartition(".")[0]}
    return tuple(sorted(name for name in names | parents if name.startswith("prn.") and _file(name) is not None))


@functools.lru_cache(maxsize=512)
def _module_digest(module: str) -> str:
    """Over a module's syntax tree, and over the data files beside it that it names."""
    file, facts = _file(module), _facts(module)
    assert file is not None
    total = hashlib.sha256(facts["tree"].encode())
    for name in facts["data"]:
        if (file.parent / name).is_file():
            total.update((file.parent / name).read_bytes())
    return total.hexdigest()
