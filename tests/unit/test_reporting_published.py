"""The paper's numbers: every printed mean follows from its rows, and each number is found under the right variant."""

from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

from prn.reporting.paper_tables import paper_categories
from prn.reporting.published import (
    FILE,
    MEAN,
    SETTING_VARIANTS,
    published,
    published_mean,
    published_value,
    table_rows,
)

# ARD's printed PRO mean on DAGM is 94.7, its classes average 91.7 (a contradiction of the source itself).
CONTRADICTION = ("ARD2", "ARD", "pro")


def columns() -> dict[tuple[str, str, str, str], dict[str, float]]:
    found: dict[tuple[str, str, str, str], dict[str, float]] = defaultdict(dict)
    for row in published():
        if not row.setting and row.table != "8":
            found[row.table, row.dataset, row.method, row.metric][row.category] = row.value
    return found


@pytest.mark.parametrize("key", sorted(columns()), ids="-".join)
def test_every_printed_mean_follows_from_its_rows(key: tuple[str, str, str, str]) -> None:
    values = columns()[key]
    rows = [value for category, value in values.items() if category != MEAN]
    if (key[0], key[2], key[3]) == CONTRADICTION:
        assert fmean(rows) == pytest.approx(91.7, abs=0.05)
        assert values[MEAN] == 94.7
    else:
        assert values[MEAN] == pytest.approx(fmean(rows), abs=0.1 + 1e-9)


def test_all_numbers_are_there() -> None:
    assert len(published()) == 1483
    assert {len(rows) for rows in columns().values()} == {16, 11, 4}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        # Read from the printed tables by eye.
        (("mvtec", "bottle", "prn", "ap"), 92.3),
        (("mvtec", "screw", "devnet", "pro"), 31.1),
        (("mvtec", MEAN, "patchcore", "image_auroc"), 99.2),
        (("mvtec", MEAN, "cflow-resnet18", "pixel_auroc"), 98.1),
        (("mvtec", MEAN, "rd4ad", "seconds_per_image"), 0.094),
        (("mvtec", MEAN, "prn-no-mf", "ap"), 78.1),
        (("mvtec", MEAN, "prn-no-msa", "ap"), 77.0),
        (("mvtec", MEAN, "prn-no-mp", "pixel_auroc"), 97.0),
        (("mvtec", MEAN, "prn-ea-only", "pro"), 93.4),
        (("mvtec", MEAN, "prn-no-hoa", "image_auroc"), 99.1),
        (("mvtec", MEAN, "prn-no-hea", "ap"), 75.2),
        (("mvtec", MEAN, "prn-no-ea", "ap"), 73.4),
        (("mvtec", MEAN, "prn-no-ta", "ap"), 77.6),
        (("mvtec", MEAN, "prn-ratio-100", "image_auroc"), 86.2),
        (("mvtec", MEAN, "prn-shots-1", "ap"), 74.7),
        (("mvtec", MEAN, "dra-shots-5", "pro"), 68.6),
        (("dagm", "Class8", "prn", "pixel_auroc"), 97.1),
        (("btad", "03", "sspcab", "ap"), 5.0),
        (("ksdd2", "ksdd2", "prn", "ap"), 72.5),
        (("dagm", MEAN, "dra", "image_auroc"), 93.5),
    ],
)
def test_numbers_are_found_under_their_variant(cell: tuple[str, str, str, str], expected: float) -> None:
    assert published_value(*cell) == expected


def test_tables_1_and_2_go_before_the_contradicting_row_of_table_3() -> None:
    assert published_value("mvtec", MEAN, "dra", "pixel_auroc") == 85.3
    printed = [r.value for r in table_rows("3") if r.method == "DRA" and r.metric == "pixel_auroc"]
    assert printed == [84.1]


def test_what_the_paper_does_not_have_is_none() -> None:
    assert published_value("mvtec", "bottle", "untrained", "ap") is None
    assert published_value("dagm", "Class1", "dra", "ap") is None
    assert published_mean("dagm", ("Class1", "Class2"), "dra", "ap") is None


def test_the_mean_of_some_categories_is_that_of_their_printed_values() -> None:
    assert published_mean("mvtec", ("bottle", "pill"), "prn", "ap") == pytest.approx((92.3 + 91.3) / 2)
    assert published_mean("mvtec", tuple(paper_categories("mvtec")), "prn", "ap") == 78.6
    assert published_mean("ksdd2", ("ksdd2",), "prn", "pro") == 94.9


def test_every_configuration_of_the_paper_has_a_variant_in_the_settings(project: Path) -> None:
    import yaml

    variants = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))["variants"]
    wanted = {name for name in SETTING_VARIANTS.values() if name.startswith("prn")}
    assert wanted <= set(variants)


def test_the_copy_is_the_source(shared_dir: Path) -> None:
    source = shared_dir / "paper" / "published_results.csv"
    if not source.is_file():
        pytest.skip("the paper's numbers are not beside the project")
    assert FILE.read_bytes() == source.read_bytes()
