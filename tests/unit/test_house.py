"""The picture of the rooms: imports only go down, no circle of modules, no private name of another program."""

import ast
import re
from pathlib import Path

import pytest

# From the lowest floor up; a room imports rooms of its own floor or below. `prn.x` covers all modules in it.
FLOORS = (
    ("prn.errors", "prn.layout"),
    ("prn.provenance",),
    ("prn.devices",),
    ("prn.metrics",),
    ("prn.datasets.registry", "prn.datasets.sources"),  # what is published: the settings are checked against it
    ("prn.settings",),
    ("prn.datasets",),
    ("prn.predictions", "prn.vgg", "prn.backbone", "prn.prototypes", "prn.splits", "prn.evaluation", "prn.inference"),
    ("prn.resume", "prn.fitting", "prn.encoder_files"),
    ("prn.model", "prn.synthesis", "prn.training", "prn.acceleration"),
    ("prn.methods",),
    ("prn.reporting",),
    ("prn.stages",),
    ("prn.tools",),
    ("prn.cli", "prn.__main__"),
)


def modules(package: Path) -> dict[str, Path]:
    """Every module of the package by its name."""
    names = {}
    for file in package.rglob("*.py"):
        parts = file.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def imports(known: dict[str, Path]) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports anywhere, also inside functions."""
    found: dict[str, set[str]] = {}
    for name, file in known.items():
        targets = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name}: relative import"
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                targets.update((whole & known.keys()) or {str(node.module)})
        found[name] = (targets & known.keys()) - {name}
    return found


def floor_of(name: str) -> int:
    """The floor of a module."""
    fits = [
        (len(room), floor)
        for floor, rooms in enumerate(FLOORS)
        for room in rooms
        if name == room or name.startswith(f"{room}.")
    ]
    assert fits, f"{name} stands on no floor: add it to FLOORS"
    return max(fits)[1]


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; [] where there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for target in sorted(graph[name]):
                if found := visit(target, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in graph if (found := visit(name, []))), [])


@pytest.fixture(scope="module")
def graph(project) -> dict[str, set[str]]:
    return imports({name: file for name, file in modules(project / "prn").items() if name != "prn"})


def test_no_circle_of_modules(graph):
    assert circle(graph) == []


def test_no_import_climbs(graph):
    climbing = [f"{a} -> {b}" for a, targets in graph.items() for b in targets if floor_of(a) < floor_of(b)]
    assert climbing == []


def test_no_stage_imports_another_stage(graph, project):
    stages = {f"prn.stages.{name}" for name in stage_names(project)}
    assert [f"{a} -> {b}" for a in stages for b in graph[a] & stages] == []


def stage_names(project: Path) -> list[str]:
    """The stages by the table's own text."""
    return re.findall(r'^    "(\w+)": Stage\(', (project / "prn/stages/names.py").read_text(encoding="utf-8"), re.M)


def test_the_checks_can_fail(tmp_path):
    package = tmp_path / "prn"
    for name, text in {
        "a": "import prn.b",
        "b": "def f():\n    from prn.sub import c",
        "sub/c": "from prn import a",
    }.items():
        file = package / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    assert circle(imports(modules(package))) == ["prn.a", "prn.b", "prn.sub.c", "prn.a"]
    assert floor_of("prn.metrics.curves") < floor_of("prn.stages.train")


def test_snakemake_and_dvc_are_used_by_their_public_names(project):
    """What Snakemake documents for Snakefiles, and its command line; nothing of it is replaced."""
    public = re.compile(r"snakemake\.(utils|exceptions)\b|snakemake_interface_\w+")
    files = [project / "Snakefile", *(project / "workflow").rglob("*.smk")]
    files += [
        file for folder in ("prn", "workflow", "tests", "benchmarks") for file in (project / folder).rglob("*.py")
    ]
    for file in files:
        text = file.read_text(encoding="utf-8")
        for name in re.findall(r"^\s*(?:import|from) ((?:snakemake|dvc)[\w.]*)", text, re.MULTILINE):
            assert public.fullmatch(name), f"{file}: {name}"
        if file.suffix == ".smk" or file.name == "Snakefile":
            assert not re.findall(r"workflow\._|dag\._|\._\w+ =", text), file
            assert not re.findall(r"^\s*(?:snakemake|workflow|persistence|dag)\.[\w.]+ = ", text, re.MULTILINE), file


def test_nothing_below_the_workflow_knows_snakemake_or_dvc(project):
    """`tools/adopt.py` alone speaks to Snakemake, through its command line."""
    for file in (project / "prn").rglob("*.py"):
        if file.name != "adopt.py":
            assert not re.findall(
                r"^\s*(?:import|from) (?:snakemake|dvc)\b|-m.{0,4}snakemake", file.read_text("utf-8"), re.M
            )
