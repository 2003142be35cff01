"""Results: read strictly, written and read back without loss, averaged over what is there, stale ones left out."""

import json
from pathlib import Path

import pytest

from prn.errors import DataCorrupt
from prn.reporting.results import (
    METRICS,
    Results,
    Row,
    Run,
    from_csv,
    planned_runs,
    read_results,
    to_csv,
    unplanned_runs,
)
from prn.reporting.wording import measured, number, signed
from tests.unit.reporting_world import make_settings

RUN = Run("mvtec", "bottle", "prn", 42)


def write(root: Path, run: Run = RUN, **changes) -> Path:
    """A metrics file; `changes` replace entries."""
    data = {
        "dataset": run.dataset,
        "category": run.category,
        "variant": run.variant,
        "method": "prn",
        "seed": run.seed,
        "image_auroc": 0.9,
        "pixel_auroc": 0.95,
        "pro": 0.8,
        "ap": 0.5,
        "seconds_per_image": 0.0125,
        "reasons": {},
        "counts": {"train_normal": 10, "seen": 2, "test_good": 3, "test_defective": 4, "test_without_mask": 0},
        "train": None,
        "device": "a device, with a comma",
        "commit": "c0ffee",
        "tree_clean": True,
        "parameters": "abc",
        "split": "def",
        "weights": "imagenet",
        "warnings": ["one", "two"],
        **changes,
    }
    file = run.metrics_file(root)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


def results(root: Path, runs: list[Run], stale=None) -> Results:
    return Results(from_csv(to_csv(read_results(root, runs, stale))), runs)


def test_values_are_percent_and_times_seconds(tmp_path: Path) -> None:
    write(tmp_path)
    rows = {row.metric: row for row in read_results(tmp_path, [RUN])}
    assert rows["image_auroc"].value == 90.0
    assert rows["ap"].value == 50.0
    assert rows["seconds_per_image"].value == 0.0125
    assert rows["ap"].n_test_defective == 4


def test_the_csv_gives_back_every_row(tmp_path: Path) -> None:
    write(tmp_path, ap=None, reasons={"ap": 'no mask, "none"'}, image_auroc=1 / 3)
    rows = read_results(tmp_path, [RUN])
    assert from_csv(to_csv(rows)) == rows
    assert to_csv(rows).splitlines()[0].startswith("dataset,category,variant,seed,metric,value,")


@pytest.mark.parametrize(
    "changes",
    [
        {"ap": 1.5},
        {"ap": -0.1},
        {"ap": "0.5"},
        {"ap": True},
        {"pro": float("nan")},
        {"seconds_per_image": float("inf")},
        {"seed": 43},
        {"category": "cable"},
    ],
)
def test_a_file_that_cannot_be_this_runs_is_refused(tmp_path: Path, changes: dict) -> None:
    file = write(tmp_path, **changes)
    with pytest.raises(DataCorrupt, match=file.name):
        read_results(tmp_path, [RUN])


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text(encoding="utf-8")[:40], encoding="utf-8")
    with pytest.raises(DataCorrupt, match="not a metrics file"):
        read_results(tmp_path, [RUN])


def test_means_over_seeds_and_categories(tmp_path: Path) -> None:
    runs = [Run("mvtec", c, "prn", seed) for c in ("bottle", "pill") for seed in (42, 43, 44)]
    values = {("bottle", 42): 0.9, ("bottle", 43): 0.8, ("bottle", 44): 0.7}
    values |= {("pill", 42): 0.5, ("pill", 43): 0.7, ("pill", 44): 0.6}
    for run in runs:
        write(tmp_path, run, ap=values[run.category, run.seed])
    found = results(tmp_path, runs)
    bottle = found.value("mvtec", "bottle", "prn", "ap")
    assert bottle.mean == pytest.approx(80.0)
    assert bottle.spread == pytest.approx(10.0)
    mean = found.mean("mvtec", "prn", "ap")
    assert mean.mean == pytest.approx(70.0)
    # Per seed 70, 75 and 65: their standard deviation is 5.
    assert mean.spread == pytest.approx(5.0)
    assert (mean.seeds, mean.categories, mean.of_categories) == (3, 2, 2)


def test_a_mean_goes_over_what_is_there_and_says_so(tmp_path: Path) -> None:
    runs = [Run("mvtec", c, "prn", 42) for c in ("bottle", "pill", "screw")]
    write(tmp_path, runs[0], ap=0.6)
    write(tmp_path, runs[1], ap=None, reasons={"ap": "3 defective test images have no mask"})
    found = results(tmp_path, runs)
    mean = found.mean("mvtec", "prn", "ap")
    assert mean.mean == pytest.approx(60.0)
    assert measured(mean) == "60.0 (1 of 3)"
    pill = found.value("mvtec", "pill", "prn", "ap")
    assert (measured(pill), pill.reason) == ("n/a", "3 defective test images have no mask")
    assert measured(found.value("mvtec", "screw", "prn", "ap")) == "not run"
    assert measured(found.mean("mvtec", "prn", "ap", ["screw"])) == "not run"
    assert [run.category for run in found.missing] == ["screw"]


def test_a_stale_result_has_no_value_anywhere(tmp_path: Path) -> None:
    other = Run("mvtec", "pill", "prn", 42)
    write(tmp_path)
    write(tmp_path, other)

    def stale(path: Path, dataset: str, category: str, variant: str) -> str | None:
        assert path.is_file()
        return "the settings have changed" if category == "bottle" else None

    found = results(tmp_path, [RUN, other], stale)
    assert measured(found.value("mvtec", "bottle", "prn", "ap")) == "stale"
    assert found.stale == {RUN: "the settings have changed"}
    assert found.done == {other}
    assert all(row.value is None for row in found.rows if row.category == "bottle")
    assert found.mean("mvtec", "prn", "ap").categories == 1
    assert found.seeds_of("mvtec", "bottle", "prn") == []


def test_runs_that_the_settings_do_not_ask_for_are_counted_and_left_out(tmp_path: Path) -> None:
    settings = make_settings({"mvtec": ["bottle"]}, ["prn"], [42])
    write(tmp_path)
    write(tmp_path, Run("mvtec", "pill", "prn", 42))
    (RUN.metrics_file(tmp_path).parent / "seed42.json.prov.json").write_text("{}", encoding="utf-8")
    plan = planned_runs(settings)
    assert unplanned_runs(tmp_path, plan) == 1
    assert {row.run for row in read_results(tmp_path, plan)} == {RUN}


def test_every_metric_of_a_run_has_a_row(tmp_path: Path) -> None:
    write(tmp_path, image_auroc=None)
    rows = read_results(tmp_path, [RUN])
    assert [row.metric for row in rows] == [*METRICS, "seconds_per_image"]
    assert isinstance(rows[0], Row)
    assert (rows[0].state, rows[0].reason) == ("n/a", "no reason was recorded")


@pytest.mark.parametrize(
    ("value", "text"), [(100.0, "100"), (99.96, "100"), (99.94, "99.9"), (0.0, "0.0"), (5.05, "5.0")]
)
def test_numbers_read_as_in_the_paper(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.04, "0.0"), (-0.04, "0.0"), (-1.26, "-1.3"), (2.0, "+2.0")])
def test_differences_have_a_sign(value: float, text: str) -> None:
    assert signed(value) == text
