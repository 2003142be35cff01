"""The real dvc and snakemake over one checkout, in either order; the stages are those of `tests.workflow.hollow`."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import adopt, commit, dvc, plan, run, set_parameter, snakemake

pytestmark = pytest.mark.slow
NOTHING = "Nothing to be done"


PHASES = ("download", "index", "split", "prototypes", "train", "evaluate", "report")
WATCHES = {"sources"}  # looks at users' own files each time


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file of a work folder with the time and the size of its last writing; Python's own caches left out."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def check_that_nothing_is_to_be_done(folder: Path) -> None:
    """Snakemake plans no job and DVC sees no change, but that it looks at users' own files each time."""
    assert plan(folder) == {}
    status = json.loads(dvc(folder, "status", "--json").partition("\n")[0])
    assert status == {"sources": ["always changed"]}


def ran(output: str) -> set[str]:
    """The DVC stages that `dvc repro` ran."""
    return set(re.findall(r"Running stage '(\w+)'", output))


def jobs(output: str) -> list[str]:
    """The rules that snakemake ran, phases left out."""
    return [name for name in re.findall(r"^(?:local)?rule (\w+):", output, re.MULTILINE) if "phase_" not in name]


def changed_stages(folder: Path) -> set[str]:
    """The stages whose own settings or code DVC sees changed."""
    status = json.loads(dvc(folder, "status", "--json").partition("\n")[0] or "{}")
    return {
        stage
        for stage, changes in status.items()
        for change in changes
        if isinstance(change, dict) and any("params.yaml" in key for key in change.get("changed deps", {}))
    }


@pytest.mark.timeout(1200)
def test_dvc_and_snakemake_in_either_order_a_clone_and_what_a_person_sees(hollow):
    """One checkout through its life, since each `dvc repro` starts snakemake for each phase."""
    # Snakemake first, DVC second: DVC records, no job runs again.
    snakemake(hollow, "all")
    assert jobs(dvc(hollow, "repro")) == []
    check_that_nothing_is_to_be_done(hollow)
    commit(hollow, "results")

    # A comment, a docstring and time stamps rerun nothing; the docstring wakes DVC's phases, which find nothing to do.
    with (hollow / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("# a remark\n")
    code = hollow / "prn/model/losses.py"
    code.write_text(code.read_text(encoding="utf-8").replace('"""', '"""Longer. ', 1), encoding="utf-8")
    for path in (hollow / "data").rglob("*"):
        os.utime(path)
    assert plan(hollow) == {}
    said = dvc(hollow, "repro")
    assert ran(said) == WATCHES | set(PHASES)
    assert jobs(said) == []
    check_that_nothing_is_to_be_done(hollow)

    # DVC first, Snakemake second, after a change of the test-time setting: no training.
    trained = (hollow / "trained").read_text(encoding="utf-8")
    set_parameter(hollow, "evaluate.fpr_limit", 0.2)
    assert plan(hollow) == {"evaluate": 2, "report": 1}
    done = dvc(hollow, "repro")
    assert ran(done) == WATCHES | {"evaluate", "report"}
    assert sorted(jobs(done)) == ["evaluate", "evaluate", "report"]
    assert NOTHING in snakemake(hollow, "all")
    check_that_nothing_is_to_be_done(hollow)
    assert (hollow / "trained").read_text(encoding="utf-8") == trained

    # What a person sees.
    assert "mine.image_auroc" in dvc(hollow, "metrics", "show")
    difference = dvc(hollow, "metrics", "diff")
    assert re.search(r"reports/metrics/prn.json\s+mine.ap\s+[\d.]+\s+[\d.]+\s+-?[\d.]+", difference)
    assert re.search(r"params.yaml\s+evaluate.fpr_limit\s+0.3\s+0.2", dvc(hollow, "params", "diff"))
    shown = dvc(hollow, "plots", "show")
    assert "failed" not in shown
    text = Path(re.search(r"file://(\S+)", shown)[1]).read_text(encoding="utf-8")
    assert "image_auroc" in text
    assert "mine part" in text
    assert "data:image/png" in text or "part.png" in text
    tracked = dvc(hollow, "list", ".", "--dvc-only", "--recursive")
    for kind in ("archives", "prototypes", "checkpoints", "metrics", "splits", "index"):
        assert f"data/{kind}/" in tracked
    assert "data/predictions" not in tracked
    assert "data/tensors" not in tracked
    commit(hollow, "a smaller limit")

    # A clone with pulled files has no records: Snakemake refuses them until `prn adopt` has taken over what matches.
    remote = hollow.parent / "remote"
    dvc(hollow, "remote", "add", "--default", "store", str(remote))
    commit(hollow, "a remote")
    dvc(hollow, "push")
    clone = hollow.parent / "clone"
    run(["git", "clone", "-q", str(hollow), str(clone)], hollow)
    dvc(clone, "pull")
    assert not (clone / "data/predictions").exists()
    assert "prn adopt" in snakemake(clone, "-n", "all", check=False)
    assert ran(dvc(clone, "repro")) == WATCHES, "DVC knows the files by their hashes, and asks Snakemake nothing"
    before = files_of(clone)
    # Two receipts, index, split, encoder, prototypes, two checkpoints, two files of metrics, the results.
    assert "11 artefacts match" in (said := adopt(clone, "--dry-run")), said
    assert files_of(clone) == before
    adopt(clone)
    check_that_nothing_is_to_be_done(clone)

    # What does not match today's settings is made again, with what follows.
    shutil.rmtree(clone / ".snakemake")
    set_parameter(clone, "variants.prn", {"train": {"learning_rate": 0.5}})
    said = adopt(clone)
    assert "checkpoints/mine/part/prn/seed42.safetensors: the settings have changed" in said
    assert plan(clone) == {"train": 1, "predict": 1, "evaluate": 1, "report": 1}
    assert changed_stages(clone) >= {"train", "evaluate", "report"}
    done = dvc(clone, "repro")
    assert sorted(jobs(done)) == ["evaluate", "predict", "report", "train"]
    assert NOTHING in snakemake(clone, "all")

    # Neither are results of other images, those of the textures among them.
    shutil.rmtree(clone / ".snakemake")
    added = clone.parent / "images/part/test/good/900.png"
    shutil.copy(added.with_name("000.png"), added)
    assert "the images that it was made from are not those of today" in adopt(clone, "--dry-run")
    added.rename(added.parents[2] / "train/good/900.png")
    assert "checkpoints/mine/part/prn/seed42.safetensors: the images that" in adopt(clone, "--dry-run")
    (added.parents[2] / "train/good/900.png").unlink()
    adopt(clone)
    check_that_nothing_is_to_be_done(clone)

    # DVC notices an image that is added, and one that is gone again.
    shutil.copy(added.with_name("000.png"), added)
    assert {"index", "split", "train", "evaluate", "report"} <= ran(dvc(clone, "repro"))
    added.unlink()
    assert {"index", "split", "train", "evaluate", "report"} <= ran(dvc(clone, "repro"))
    check_that_nothing_is_to_be_done(clone)

    # Where the user's images are not on this machine, what was made from them stands.
    images = added.parents[3].rename(clone.parent / "images elsewhere")
    check_that_nothing_is_to_be_done(clone)
    shutil.rmtree(clone / ".snakemake")
    assert "do not, and are made again" not in adopt(clone)
    set_parameter(clone, "evaluate.fpr_limit", 0.25)
    assert plan(clone) == {"evaluate": 2, "report": 1}
    set_parameter(clone, "evaluate.fpr_limit", 0.2)
    images.rename(clone.parent / "images")

    # A moved folder is the same project.
    moved = clone.rename(hollow.parent / "moved to another place")
    check_that_nothing_is_to_be_done(moved)


LEAVES = {
    # One leaf of every section (another value) -> the rules that Snakemake plans, the stages that DVC sees changed.
    "benchmark.generated_images": (False, {"report"}, {"split", "prototypes", "train", "evaluate", "report"}),
    "weights.allow_random": (
        False,
        {"weights", "prototypes", "train", "predict", "evaluate", "report"},
        {"sources", "prototypes"},
    ),
    "split.seen_anomalies": (
        11,
        {"split", "prototypes", "train", "predict", "evaluate", "report"},
        {"split", "report"},
    ),
    "tensors.size": (
        64,
        {"prototypes", "train", "predict", "evaluate", "report"},
        {"prototypes", "train", "evaluate", "report"},
    ),
    "prototypes.ratio": (
        0.4,
        {"prototypes", "train", "predict", "evaluate", "report"},
        {"prototypes", "train", "report"},
    ),
    "model.fusion_norm": (False, {"train", "predict", "evaluate", "report"}, {"train", "report"}),
    "synthesis.grid": (4, {"train", "predict", "evaluate", "report"}, {"train", "report"}),
    "train.learning_rate": (0.5, {"train", "predict", "evaluate", "report"}, {"train", "report"}),
    "train.checkpoint_minutes": (9.0, set(), {"train", "report"}),
    "predict.top_pixels": (5, {"predict", "evaluate", "report"}, {"evaluate", "report"}),
    "methods.patchcore.coreset": (0.5, {"report"}, {"train", "report"}),
    "evaluate.bootstrap": (10, {"evaluate", "report"}, {"evaluate", "report"}),
    "report.tolerance": (2.0, {"report"}, {"report"}),
    "variants.prn": (
        {"model": {"layer4": "frozen"}},
        {"train", "predict", "evaluate", "report"},
        {"prototypes", "train", "evaluate", "report"},
    ),
}


@pytest.mark.timeout(1200)
def test_one_leaf_of_every_section_in_both_plans(hollow):
    """Snakemake's plan is exact; DVC's phases are at least as wide, since they know sections only."""
    dvc(hollow, "repro")
    original = (hollow / "params.yaml").read_text(encoding="utf-8")
    for leaf, (value, rules, stages) in LEAVES.items():
        (hollow / "params.yaml").write_text(original, encoding="utf-8")
        set_parameter(hollow, leaf, value)
        planned = plan(hollow)
        assert set(planned) == rules, leaf
        assert changed_stages(hollow) == stages, leaf
        if leaf == "variants.prn":
            assert planned["train"] == 1, "only this variant's"

    # A new seed and a new variant compute their own cells only.
    (hollow / "params.yaml").write_text(original, encoding="utf-8")
    set_parameter(hollow, "benchmark.seeds", [42, 43])
    assert plan(hollow) == {"split": 1, "prototypes": 1, "train": 2, "predict": 2, "evaluate": 2, "report": 1}


@pytest.mark.timeout(600)
def test_an_experiment_of_dvc(hollow):
    """`dvc exp run -S` changes a setting and runs what follows from it, with the records of the work folder."""
    dvc(hollow, "repro")
    commit(hollow, "results")
    trained = (hollow / "trained").read_text(encoding="utf-8")
    said = dvc(hollow, "exp", "run", "--name", "shorter", "-S", "train.steps=3")
    assert sorted(jobs(said)) == ["evaluate", "predict", "report", "train"]
    assert yaml.safe_load((hollow / "params.yaml").read_text(encoding="utf-8"))["train"]["steps"] == 3
    assert (hollow / "trained").read_text(encoding="utf-8") == f"{trained}mine/part/prn\n"
    assert "shorter" in dvc(hollow, "exp", "list")
    check_that_nothing_is_to_be_done(hollow)


@pytest.mark.timeout(600)
def test_push_to_s3_and_pull(hollow, tmp_path):
    """An S3 server on loopback, no other address: what is pushed from one checkout is pulled into another."""
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed")
    pytest.importorskip("flask_cors", reason="moto's server is not installed")
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("s3_server.py")), "bucket"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        dvc(hollow, "repro", "split")
        dvc(hollow, "remote", "add", "--default", "s3", "s3://bucket/prn")
        for key, value in (("endpointurl", address), ("access_key_id", "test"), ("secret_access_key", "test")):
            dvc(hollow, "remote", "modify", "s3", key, value)
        commit(hollow, "a remote")
        assert "pushed" in dvc(hollow, "push", "split")
        clone = tmp_path / "clone"
        run(["git", "clone", "-q", str(hollow), str(clone)], hollow)
        dvc(clone, "pull", "split")
        split = "data/splits/mine/part/seed42.json"
        assert (clone / split).read_bytes() == (hollow / split).read_bytes()
    finally:
        server.kill()
        server.wait()
