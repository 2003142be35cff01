"""Costs and hashes are found by following the sidecars; every method of a run has its place in tables and figures."""

import csv
import json
from pathlib import Path

import pytest

from prn.provenance.sidecars import finish
from prn.reporting import build
from prn.reporting.lineage import lineage, stage_seconds
from prn.reporting.wording import groups_of, seconds_text
from tests.unit.reporting_world import make_settings, make_world

SECONDS = {"download": 3, "index": 5, "split": 1, "tensors": 7, "prototypes": 11, "predict": 2, "evaluate": 4}


def add_sidecars(root: Path, variants: list[str], seeds: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sidecars as the stages write them, for MVTec's bottle; a training takes 60 s and its seed."""
    monkeypatch.chdir(root)
    cell = "mvtec/bottle"
    receipt = Path("data/receipts/mvtec.json")
    receipt.parent.mkdir(exist_ok=True)
    receipt.write_text(json.dumps({"archives": {"mvtec.tar.xz": "ab" * 32}}), encoding="utf-8")
    index, tensors = Path(f"data/index/{cell}.csv"), Path(f"data/tensors/{cell}/32.safetensors")
    made = [("download", receipt, []), ("index", index, [receipt]), ("tensors", tensors, [index])]
    for seed in seeds:
        split = Path(f"data/splits/{cell}/seed{seed}.json")
        prototypes = Path(f"data/prototypes/{cell}/{seed}.safetensors")
        prototypes.parent.mkdir(parents=True, exist_ok=True)
        prototypes.write_bytes(b"prototypes")
        made += [("split", split, [index]), ("prototypes", prototypes, [tensors, split])]
        for variant in variants:
            files = [
                Path(f"data/{kind}/{cell}/{variant}/seed{seed}{end}")
                for kind, end in (
                    ("checkpoints", ".safetensors"),
                    ("predictions", ".npz"),
                    ("metrics", ".json"),
                )
            ]
            files[0].write_bytes(b"weights")
            made += [("train", files[0], [prototypes, split, tensors]), ("predict", files[1], [files[0], split])]
            made += [("evaluate", files[2], [files[1], split, index])]
    for stage, file, inputs in made:
        seconds = SECONDS.get(stage, 60)
        finish(file, stage, {}, inputs, "c0de", seconds=float(seconds))


@pytest.fixture(scope="module")
def many() -> list[str]:
    return ["prn", "untrained", "patchcore", "cflow", "draem", "sspcab", "rd4ad", "prn-no-msa"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, many: list[str]) -> Path:
    root = tmp_path_factory.mktemp("lineage")
    settings = make_settings({"mvtec": ["bottle"]}, many, [42, 43])
    make_world(root, settings)
    with pytest.MonkeyPatch.context() as patch:
        add_sidecars(root, many, [42, 43], patch)
    build(root, settings)
    return root


def rows(world: Path) -> list[dict[str, str]]:
    with (world / "reports/results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_result_leads_back_to_the_receipt(world: Path) -> None:
    found = lineage(world, world / "data/metrics/mvtec/bottle/prn/seed42.json")
    assert found[0].path == "data/metrics/mvtec/bottle/prn/seed42.json"
    assert {one.stage for one in found} == {*SECONDS, "train"}
    assert len({one.path for one in found}) == len(found) == 8
    assert stage_seconds(found, "mvtec", "bottle") == {**SECONDS, "train": 60}
    assert all(one.cpu_mb and one.cpu_mb > 1 for one in found)


def test_every_row_carries_its_costs(world: Path) -> None:
    for row in rows(world):
        assert {stage: float(row[f"{stage}_seconds"]) for stage in SECONDS} == SECONDS
        assert float(row["peak_cpu_mb"]) > 1
        assert row["peak_gpu_mb"] == ""


def test_what_variants_share_costs_once(world: Path, many: list[str]) -> None:
    page = (world / "reports/cost.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| MVTec AD | bottle |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")][2:]
    runs = 2 * len(many)
    # Index, tensors and download once; split and prototypes for each seed (of equal time); the rest for each run.
    train = sum(float(line["train_seconds"]) for line in rows(world) if line["metric"] == "ap")
    expected = [3, 5, 2, 7, 22, train, 2 * runs, 4 * runs]
    assert cells == [seconds_text(value) for value in [*expected, sum(expected)]]


def test_the_run_card_lists_archive_checkpoint_and_prototypes(world: Path) -> None:
    card = json.loads((world / "reports/runs/mvtec/bottle/prn/seed42.json").read_text(encoding="utf-8"))
    assert card["archives"] == {"mvtec.tar.xz": "ab" * 32}
    files = {one["file"]: one["sha256"] for one in card["lineage"]}
    for name in ("checkpoints/mvtec/bottle/prn/seed42.safetensors", "prototypes/mvtec/bottle/42.safetensors"):
        assert len(files[f"data/{name}"]) == 64
    assert card["results"]["seconds"]["prototypes"] == 11
    page = (world / "reports/runs/mvtec/bottle/prn/seed42.md").read_text(encoding="utf-8")
    for word in ("mvtec.tar.xz", "wall time by stage: download 3.0 s", "peak memory: CPU", "deterministic"):
        assert word in page


def test_every_method_has_its_place(world: Path, many: list[str]) -> None:
    reports = world / "reports"
    text = {page.name: page.read_text(encoding="utf-8") for page in reports.glob("*.md")}
    for name in ("CFLOW", "DRAEM", "SSPCAB", "RD4AD", "PatchCore"):
        assert f"{name} ours" in text["mvtec.md"]
        for figure in ("methods", "scores"):
            alt = next(line for line in text["mvtec.md"].splitlines() if f"bottle-{figure}.png" in line)
            assert name in alt
        assert sum(name in line for line in text["mvtec.md"].splitlines() if "-curves" in line) == 1
        assert f"| MVTec AD | bottle | {name} |" in text["cost.md"]
    assert "bottle-ablations.png" in text["ablations.md"]
    assert "| MVTec AD | bottle | `prn-no-msa` |" in text["ablations.md"]
    assert (reports / "figures/mvtec/bars-2.png").is_file()


@pytest.mark.parametrize("count", range(12))
def test_groups_show_every_method_once_and_the_first_in_each(count: int) -> None:
    names = [f"m{number}" for number in range(count)]
    groups = groups_of(names)
    assert all(len(group) <= 5 and group[0] == names[0] for group in groups)
    assert [name for number, group in enumerate(groups) for name in group[number > 0 :]] == names
