"""Atomic files, digests of code, sidecars."""

import ast
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from modulefinder import ModuleFinder
from pathlib import Path
from types import SimpleNamespace

import pytest

from prn.errors import DataCorrupt
from prn.layout import digest_file, sidecar
from prn.provenance import code, environment
from prn.provenance.code import code_digest, stage_modules
from prn.provenance.files import atomic_write, sha256_file
from prn.provenance.sidecars import finish, stale_reason, verify_artefact
from prn.settings.methods import METHODS


def test_atomic_write_replaces_whole_or_not_at_all(tmp_path):
    target = tmp_path / "a" / "file.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("first", encoding="utf-8")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "first"
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError("killed")
    assert target.read_text(encoding="utf-8") == "first"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old", encoding="utf-8")
    code = (
        "import sys, time; from prn.provenance.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as t:\n"
        "    t.write_text('new'); print('written', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "written"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    assert target.read_text(encoding="utf-8") == "old"


def test_sha256_of_a_known_text(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def artefact(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("1", encoding="utf-8")
    Path("out.json").write_text("{}", encoding="utf-8")
    finish(Path("out.json"), "split", {"a": 1}, [Path("in.csv")], code="c0de", seed=42)
    return Path("out.json")


def test_a_sidecar_matches_until_something_changes(artefact):
    assert stale_reason(artefact, {"a": 1}, "c0de") is None
    assert "settings" in stale_reason(artefact, {"a": 2}, "c0de")
    assert "code" in stale_reason(artefact, {"a": 1}, "0ther")
    Path("in.csv").write_text("2", encoding="utf-8")
    assert "in.csv" in stale_reason(artefact, {"a": 1}, "c0de")
    Path("in.csv").unlink()
    assert stale_reason(artefact, {"a": 1}, "c0de") is None, "a cleared cache is not a change"
    artefact.write_text('{"a": 1}', encoding="utf-8")
    assert "changed after" in stale_reason(artefact, {"a": 1}, "c0de")
    Path(sidecar("out.json")).unlink()
    assert "no provenance" in stale_reason(artefact, {"a": 1}, "c0de")
    artefact.unlink()
    assert "missing" in stale_reason(artefact, {"a": 1}, "c0de")


def test_an_edited_artefact_is_refused(artefact):
    verify_artefact(artefact)
    artefact.write_text("[]", encoding="utf-8")
    with pytest.raises(DataCorrupt, match=r"out\.json: sha256 is"):
        verify_artefact(artefact)


def test_the_digest_file_does_not_depend_on_time_or_versions(artefact):
    first = Path(digest_file("out.json")).read_text(encoding="utf-8")
    time.sleep(0.01)
    finish(artefact, "split", {"a": 1}, [Path("in.csv")], code="c0de", seed=42)
    assert Path(digest_file("out.json")).read_text(encoding="utf-8") == first
    assert first == f"{sha256_file(artefact)}  out.json\n"


def test_sidecars_name_no_host_user_or_folder(artefact):
    text = Path(sidecar("out.json")).read_text(encoding="utf-8")
    assert str(Path.cwd()) not in text
    assert os.uname().nodename not in json.dumps(json.loads(text)["record"].get("device", ""))


def _package(tmp_path, monkeypatch, **files):
    folder = tmp_path / "prn"
    for name, text in files.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(code, "PACKAGE", folder)
    code.forget()


@pytest.fixture
def clean_caches():
    yield
    code.forget()


def test_code_digest_sees_code_and_ignores_comments_and_docstrings(tmp_path, monkeypatch, clean_caches):
    stage = 'from prn.room import f\n"""x"""\ndef run():\n    """Doc."""\n    return f()\n'
    _package(tmp_path, monkeypatch, stages__s=stage, room="def f():\n    return 1\n", other="x = 1\n")
    digest = code_digest("s")
    assert stage_modules("s") == ("prn.room", "prn.stages.s")
    _package(tmp_path, monkeypatch, room='def f():\n    """Longer."""\n    # why\n    return 1\n', other="x = 2\n")
    assert code_digest("s") == digest
    _package(tmp_path, monkeypatch, room="def f():\n    return 2\n")
    assert code_digest("s") != digest


def test_a_tree_says_the_same_where_newer_pythons_have_more_fields():
    node = ast.parse("def f(a, *, b=None): return {**a}").body[0]
    said = code._dump(node)
    assert "None" in said, "`**` in a dictionary is a key that is None; it stays"
    node.type_params = []  # Python 3.12
    node._fields = (*node._fields, "type_params")
    assert code._dump(node) == said


def test_code_digest_sees_the_data_files_that_a_module_names(tmp_path, monkeypatch, clean_caches):
    _package(tmp_path, monkeypatch, stages__s='FILE = "facts.yaml"\n')
    data = tmp_path / "prn" / "stages" / "facts.yaml"
    data.write_text("a: 1", encoding="utf-8")
    (tmp_path / "prn" / "stages" / "other.yaml").write_text("b: 1", encoding="utf-8")
    code.forget()
    digest = code_digest("s")
    (tmp_path / "prn" / "stages" / "other.yaml").write_text("b: 2", encoding="utf-8")
    _package(tmp_path, monkeypatch)
    assert code_digest("s") == digest
    data.write_text("a: 2", encoding="utf-8")
    _package(tmp_path, monkeypatch)
    assert code_digest("s") != digest


def test_the_training_depends_on_the_network_and_the_evaluation_does_not():
    train = stage_modules("train", "prn.methods.prn")
    assert {"prn.model.network", "prn.synthesis.batch", "prn.training", "prn.prototypes"} <= set(train)
    assert not any(name.startswith(("prn.reporting", "prn.metrics")) for name in train)
    evaluate = stage_modules("evaluate")
    assert any(name.startswith("prn.metrics") for name in evaluate)
    assert not any(
        name.startswith(("prn.model", "prn.synthesis", "prn.reporting", "prn.training")) for name in evaluate
    )


STAGES = ("download", "index", "split", "tensors", "weights", "prototypes", "train", "predict", "evaluate", "report")


def importers(module: str) -> set[tuple[str, str | None]]:
    """Stages (with the method that they load) that import a module, found by the standard library's own search."""
    return {cell for cell, found in _closures().items() if module in found}


@functools.cache
def _closures() -> dict[tuple[str, str | None], set[str]]:
    cells = [(stage, None) for stage in STAGES if stage not in ("train", "predict")]
    cells += [(stage, method.module) for stage in ("train", "predict") for method in METHODS.values()]
    return {cell: _closure(*cell) for cell in dict.fromkeys(cells)}


def _closure(stage: str, method: str | None) -> set[str]:
    root = code.PACKAGE.parent
    modules = (".".join(file.relative_to(root).with_suffix("").parts) for file in (root / "prn").rglob("*.py"))
    plumbing = [name.removesuffix(".__init__") for name in modules if code.is_plumbing(name)]
    finder = ModuleFinder(path=[str(root)], excludes=plumbing)
    for name in (f"prn.stages.{stage}", method):
        if name:
            finder.import_hook(name, None, ["run"])
    return {name for name in finder.modules if name.startswith("prn.")}


@pytest.mark.slow
def test_every_stage_depends_on_exactly_the_modules_that_it_imports():
    for (stage, method), expected in _closures().items():
        assert set(stage_modules(stage, method)) == expected, (stage, method)


@pytest.mark.slow
def test_an_edit_of_a_module_changes_the_digests_of_its_importers_and_of_no_other(tmp_path, monkeypatch, clean_caches):
    """One module of every room; with the test above, that holds for all."""
    source, package = code.PACKAGE, tmp_path / "prn"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "PACKAGE", package)
    cells = list(_closures())

    def digests():
        code.forget()
        return {cell: code_digest(*cell) for cell in cells}

    before = digests()
    for module in (
        "prn.splits",
        "prn.prototypes",
        "prn.datasets.mvtec",
        "prn.synthesis.perlin",
        "prn.model.attention",
        "prn.methods.cfa",
        "prn.metrics.detection",
        "prn.reporting.bars",
    ):
        file = package.joinpath(*module.split(".")[1:]).with_suffix(".py")
        text = file.read_text(encoding="utf-8")
        file.write_text(text + "\nADDED = 1\n", encoding="utf-8")
        after = digests()
        assert {cell for cell in cells if after[cell] != before[cell]} == importers(module) != set(), module
        file.write_text(text, encoding="utf-8")


def test_peak_memory_is_the_systems_and_a_gpus_where_there_is_one(monkeypatch):
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("this system has no /proc")
    (line,) = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
    block = bytearray(b"x") * (64 * 2**20)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    found = environment.peak_memory()
    assert found["peak_gpu_mb"] is None
    assert found["peak_cpu_mb"] == environment.peak_memory_mb() >= 0.95 * int(line.split()[1]) / 1024
    assert found["peak_cpu_mb"] > len(block) / 2**20
    cuda = SimpleNamespace(is_available=lambda: True, max_memory_allocated=lambda: 3 * 2**20)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert environment.peak_memory()["peak_gpu_mb"] == environment.peak_memory_mb() == 3
