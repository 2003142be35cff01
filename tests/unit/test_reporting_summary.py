"""The summaries for `dvc metrics` and `dvc plots`: means of what is complete, one file a variant, no file left over."""

import csv
import json

from prn.reporting.results import Run
from prn.reporting.summary import write_summary
from tests.unit.test_reporting_results import results, write

BOTTLE, PILL = (Run("mvtec", name, "prn", 42) for name in ("bottle", "pill"))
OTHER = Run("mvtec", "bottle", "untrained", 42)
OTHER_PILL = Run("mvtec", "pill", "untrained", 42)


def means(folder, variant: str) -> dict:
    return json.loads((folder / "metrics" / f"{variant}.json").read_text())


def rows(folder, variant: str) -> list[dict[str, str]]:
    with (folder / "plots" / f"{variant}.csv").open() as file:
        return list(csv.DictReader(file))


def test_means_are_percent_over_the_categories_and_each_variant_has_its_own_file(tmp_path):
    write(tmp_path, BOTTLE, image_auroc=0.9)
    write(tmp_path, PILL, image_auroc=0.6)
    write(tmp_path, OTHER, ap=0.25)
    write(tmp_path, OTHER_PILL, ap=0.75)

    write_summary(tmp_path / "out", results(tmp_path, [BOTTLE, PILL, OTHER, OTHER_PILL]))

    assert means(tmp_path / "out", "prn")["mvtec"]["image_auroc"] == 75.0
    assert means(tmp_path / "out", "untrained")["mvtec"]["ap"] == 50.0
    assert [(row["category"], row["image_auroc"]) for row in rows(tmp_path / "out", "prn")] == [
        ("mvtec bottle", "90.0"),
        ("mvtec pill", "60.0"),
    ]


def test_a_mean_over_some_of_the_planned_categories_is_left_out(tmp_path):
    write(tmp_path, BOTTLE)
    write(tmp_path, PILL, ap=None, reasons={"ap": "no masks"})

    write_summary(tmp_path / "out", results(tmp_path, [BOTTLE, PILL]))

    assert "ap" not in means(tmp_path / "out", "prn")["mvtec"]
    assert [row["ap"] for row in rows(tmp_path / "out", "prn")] == ["50.0", ""]
