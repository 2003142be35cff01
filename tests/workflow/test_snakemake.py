"""The real snakemake on a tiny benchmark: whole, idempotent, rebuilding exactly what is missing or has changed."""

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from tests.workflow.conftest import plan, planned, run, snakemake

pytestmark = pytest.mark.slow
WHOLE = {
    "download": 2,
    "index": 1,
    "split": 1,
    "weights": 1,
    "prototypes": 1,
    "train": 2,
    "predict": 2,
    "evaluate": 2,
    "report": 1,
}


def test_the_full_benchmark_is_planned_without_data_or_weights(project, tmp_path):
    """29 categories x 3 seeds, each with the variants of its data set."""
    datasets = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))["benchmark"]["datasets"]
    cells = sum(len(one["categories"]) * len(one["variants"]) for one in datasets.values())
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--directory", str(tmp_path), "all"]
    jobs = planned(run(command, project).stdout)
    assert jobs["download"] == 5
    assert jobs["index"] == 29
    assert jobs["split"] == 87
    assert jobs["train"] == jobs["predict"] == jobs["evaluate"] == 3 * cells
    # Three ratios besides the default on MVTec, one everywhere else: variants that agree share a file.
    assert jobs["prototypes"] == 3 * (15 * 4 + 14)


def test_the_readmes_rule_graph_is_the_workflows(project, tmp_path):
    def reached(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
        while more := {(a, d) for a, b in edges for c, d in edges if b == c} - edges:
            edges = edges | more
        return edges

    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--directory",
        str(tmp_path),
        "--rulegraph",
        "mermaid-js",
        "--",
        "all",
    ]
    drawn = run(command, project).stdout
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", drawn))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", drawn)}
    readme = (project / "README.md").read_text(encoding="utf-8").partition("```mermaid")[2].partition("```")[0]
    chains = [line.split(" --> ") for line in map(str.strip, readme.splitlines()) if "-->" in line]
    shown = {pair for chain in chains for pair in pairwise(chain)}
    assert reached(shown) == {(a, b) for a, b in reached(edges) if b != "all"}


def test_the_slurm_profile_asks_for_a_gpu_for_each_rule_that_takes_one(project):
    profile = yaml.safe_load((project / "workflow/profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    text = "".join(file.read_text(encoding="utf-8") for file in (project / "workflow/rules").glob("*.smk"))
    rules = re.split(r"^rule ", text, flags=re.MULTILINE)[1:]
    taking = {rule.partition(":")[0] for rule in rules if re.search(r"^ +gpu=", rule, re.MULTILINE)}
    assert taking == {"prototypes", "train", "predict"}
    assert profile["set-resources"] == {rule: {"gpu": 1} for rule in taking}


def test_names_with_spaces_reach_the_commands_in_one_piece(project):
    for file in (project / "workflow/rules").glob("*.smk"):
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r"\{(?:wildcards\.\w+|log)\}", text), file  # `:q` quotes them


def test_a_part_is_planned_by_its_name(bench):
    assert planned(bench.snakemake("-n", "mean-image").stdout)["evaluate"] == 1
    jobs = planned(bench.snakemake("-n", "part").stdout)
    assert (jobs["evaluate"], jobs.get("report")) == (2, None)
    assert "train" in jobs
    assert planned(bench.snakemake("-n", "train_it", check=False).stdout) == {}


def kill_the_training(bench, resume: Path) -> None:
    """Send SIGKILL to the training of `bench` once it has saved a state."""
    ends = time.monotonic() + 200
    while not resume.is_file() and time.monotonic() < ends:
        time.sleep(0.02)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")
            if b"train" in command and b"prn" in command and (process / "cwd").readlink() == bench.folder.resolve():
                os.kill(int(process.name), signal.SIGKILL)


@pytest.mark.timeout(900)
def test_run_rerun_delete_and_change(bench):
    """One work folder through its life, since each whole run costs a minute."""
    assert bench.plan() == WHOLE
    data = bench.folder / "data"
    # A training that is killed leaves no output, and the rerun goes on from its last state.
    bench.change(model={"fusion": False, "attention": False}, train={"steps": 60, "checkpoint_minutes": 0.01})
    checkpoint, resume = (data / f"checkpoints/mine/part/prn/seed42.{end}" for end in ("safetensors", "resume.pt"))
    killed = threading.Thread(target=kill_the_training, args=(bench, resume))
    killed.start()
    done = bench.snakemake(checkpoint.relative_to(bench.folder).as_posix(), check=False)
    killed.join()
    assert resume.is_file(), done.stdout[-5000:]
    assert done.returncode != 0
    assert not checkpoint.exists()
    bench.snakemake("all")
    log = (data / "logs/train/mine.part.prn.seed42.log").read_text(encoding="utf-8")
    assert re.search(r"continuing after step \d+ of 60", log), log
    assert checkpoint.is_file() and not resume.exists()
    metrics = json.loads((data / "metrics/mine/part/mean-image/seed42.json").read_text(encoding="utf-8"))
    assert metrics["counts"] == {
        "train_normal": 8,
        "seen": 10,
        "test_good": 4,
        "test_defective": 3,
        "test_without_mask": 0,
    }
    assert metrics["image_auroc"] == 1.0, "bright squares on noise are plain to the distance from the mean image"
    assert "Nothing to be done" in bench.snakemake("all").stdout

    # A comment in the settings and a touched file change nothing.
    bench.preset.write_text(bench.preset.read_text(encoding="utf-8") + "\n# a remark\n", encoding="utf-8")
    (data / "index/mine/part.csv").touch()
    assert bench.plan() == {}

    # The caches may go: nothing that is finished needs them. A setting of the evaluation reruns the evaluation and the
    # report, which make the caches again, with the same bytes; no training.
    tensors = data / "tensors/mine/part/32.safetensors"
    before = tensors.read_bytes()
    for cache in ("tensors", "predictions"):
        shutil.rmtree(data / cache)
    assert bench.plan() == {}
    bench.change(evaluate={"fpr_limit": 0.2}, train={"checkpoint_minutes": 7.0})
    assert bench.plan() == {"predict": 2, "evaluate": 2, "report": 1}
    bench.snakemake("all")
    assert tensors.read_bytes() == before
    assert bench.plan() == {}

    # A kept output that was deleted is made again, with what follows.
    follows = {"index": {"split", "prototypes", "train", "predict", "evaluate", "report"}}
    follows["split"] = follows["index"] - {"split"}
    follows["prototypes"] = follows["split"] - {"prototypes"}
    for rule, name in {
        "index": "data/index/mine/part.csv",
        "split": "data/splits/mine/part/seed42.json",
        "prototypes": next((data / "prototypes").rglob("*.safetensors")),
        "train": "data/checkpoints/mine/part/mean-image/seed42.safetensors",
        "evaluate": "data/metrics/mine/part/prn/seed42.json",
        "report": "reports/mine.md",
    }.items():
        file, aside = bench.folder / name, bench.folder / "aside"
        file.rename(aside)
        phase = {
            "index": "phase_prototypes",
            "split": "phase_train",
            "prototypes": "phase_train",
            "train": "phase_evaluate",
        }
        assert rule not in phase or rule in planned(bench.snakemake("-n", phase[rule]).stdout), name
        assert set(bench.plan()) == {rule} | follows.get(
            rule, {"predict", "evaluate", "report"} if rule == "train" else {"report"}
        ), name
        if rule == "evaluate":
            bench.snakemake("all")
            aside.unlink()
        else:
            aside.rename(file)
        assert bench.plan() == {}

    # Snakemake's own report shows the tables and every run's metrics, with captions, by data set and category.
    bench.snakemake("--report", "overview.html", "all")
    shown = (bench.folder / "overview.html").read_text(encoding="utf-8")
    for words in ("every number, as a table", "Metrics of", "mine/part", "mean-image", "The data set in the paper"):
        assert words in shown, words

    # The user's images are known by what they hold (R27): an image that is added, and a mask that is edited in place
    # with its length and date kept, are noticed; touched files and another place are not.
    images, follows_all = bench.folder / "images", {"index", "split", "train", "evaluate", "report"}
    added, mask = images / "part/test/good/900.png", images / "part/ground_truth/spot/000_mask.png"
    shutil.copy(added.with_name("000.png"), added)
    assert follows_all <= set(bench.plan())
    added.unlink()
    assert bench.plan() == {}
    before, dates = mask.read_bytes(), mask.stat()
    mask.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    os.utime(mask, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    assert follows_all <= set(bench.plan())
    mask.write_bytes(before)
    for file in images.rglob("*.png"):
        os.utime(file)
    assert bench.plan() == {}
    moved = images.rename(bench.folder / "elsewhere")
    bench.change(download={"sources": {"mine": str(moved), "dtd": str(moved / "part/train")}})
    assert bench.plan() == {}
    bench.change(evaluate={"resolution": "original"})
    bench.snakemake("all")
    assert bench.plan() == {}


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("train", {"learning_rat": 1e-3}, "train.learning_rat: unknown key; did you mean 'learning_rate'?"),
        ("tensors", {"size": 100}, "tensors.size: found 100, expected a multiple of 32"),
        ("download", {"sources": {"mine": "/x", "dtdd": "/x"}}, "did you mean 'dtd'?"),
    ],
)
def test_wrong_settings_fail_before_any_job(bench, section, values, words):
    bench.change(**{section: values})
    done = bench.snakemake("all", check=False)
    assert done.returncode != 0
    assert words in done.stdout
    assert "rule download" not in done.stdout


def test_a_key_that_stands_twice_fails_before_any_job(bench):
    """Snakemake itself takes the last one."""
    bench.preset.write_text(bench.preset.read_text(encoding="utf-8") + "train: {steps: 3}\n", encoding="utf-8")
    done = bench.snakemake("all", check=False)
    assert done.returncode != 0
    assert "preset.yaml, line" in done.stdout and "train stands here a second time" in done.stdout
    assert "rule download" not in done.stdout


def test_a_name_that_is_a_pattern_elsewhere_is_a_name(hollow):
    """Data set, category and variant with signs that regular expressions, shells and HTML read otherwise."""
    dataset, category, variant = "screws (v2)+", "Schräubchen & Co. (1)+", "prn (a) & b+"
    data = yaml.safe_load((hollow / "params.yaml").read_text(encoding="utf-8"))
    images = Path(data["download"]["sources"]["mine"])
    (images / "part").rename(images / category)
    data["variants"][variant] = {"model": {"fusion": False}}
    data["benchmark"]["datasets"] = {dataset: {"categories": [category], "variants": ["prn", variant]}}
    data["download"]["sources"] = {dataset: str(images), "dtd": str(images / category / "train")}
    (hollow / "params.yaml").write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    snakemake(hollow, "all")
    made = (hollow / "data/metrics").glob("*/*/*/seed42.json")
    assert {file.parent.relative_to(hollow / "data/metrics").parts for file in made} == {
        (dataset, category, "prn"),
        (dataset, category, variant),
    }
    assert plan(hollow) == {}


def test_missing_weights_stop_with_a_clear_error(bench):
    bench.change(weights={"allow_random": False})
    done = bench.snakemake("phase_prototypes", check=False)
    assert done.returncode != 0
    assert "ImageNet weights of resnet18: none found" in done.stdout


def test_a_cell_without_masks_has_no_pixel_metrics_and_prn_says_so(bench):
    for mask in Path(bench.folder / "images/part/ground_truth/spot").glob("*.png"):
        mask.unlink()
    done = bench.snakemake("all", check=False)
    assert done.returncode != 0
    assert "defect" in done.stdout
    assert "mask" in done.stdout


def test_noise_in_place_of_the_test_images_changes_no_trained_byte(bench):
    """No leakage: index, tensors and split see all images, prototypes and weights only those of the training."""
    data = bench.folder / "data"

    def made() -> dict[str, bytes]:
        bench.snakemake("phase_train")
        trained = load_file(data / "checkpoints/mine/part/prn/seed42.safetensors")
        prototypes = load_file(next((data / "prototypes/mine/part").glob("*.safetensors")))
        return {name: value.tobytes() for name, value in {**trained, **prototypes}.items()}

    before = made()
    split = json.loads((data / "splits/mine/part/seed42.json").read_text(encoding="utf-8"))
    shutil.rmtree(data)
    random = np.random.default_rng(7)
    for path in split["test"]:
        cv2.imwrite(str(bench.folder / "images" / path), random.integers(0, 256, (40, 48, 3)).astype(np.uint8))
    after = made()
    assert json.loads((data / "splits/mine/part/seed42.json").read_text(encoding="utf-8"))["test"] == split["test"]
    assert after == before

    # The check can fail: the seen anomalies do move the weights.
    shutil.rmtree(data)
    for path in split["seen"]:
        cv2.imwrite(str(bench.folder / "images" / path), random.integers(0, 256, (40, 48, 3)).astype(np.uint8))
    assert made() != before
