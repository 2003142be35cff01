"""Parts of the benchmark by name."""

from prn.reporting.parts import parts

CELLS = [
    {"dataset": dataset, "category": category, "variant": variant, "seed": seed}
    for dataset, category, variants in (
        ("mvtec", "bottle", ("prn", "untrained", "prn-unet", "prn-shots-1", "dra", "dra-shots-1")),
        ("mvtec", "pill", ("prn",)),
        ("btad", "01", ("prn", "untrained")),
        ("ksdd2", "ksdd2", ("prn",)),
    )
    for variant in variants
    for seed in (42, 43)
]


def names(cells):
    return {f"{cell['dataset']}/{cell['category']}/{cell['variant']}" for cell in cells}


def test_every_data_set_category_variant_and_table_has_a_name():
    found = parts(CELLS)
    assert set(found) == {
        *("mvtec", "btad", "ksdd2", "bottle", "pill", "01"),
        *("prn", "untrained", "prn-unet", "prn-shots-1", "dra", "dra-shots-1"),
        *("table1", "table2", "table3", "table4", "table5", "table6", "table7", "tableS2", "table8"),
    }
    assert all(len(cells) == 2 * len(names(cells)) for cells in found.values())  # every seed once


def test_what_the_names_stand_for():
    found = parts(CELLS)
    assert names(found["bottle"]) == names(CELLS[:12])
    assert names(found["pill"]) == {"mvtec/pill/prn"}
    assert names(found["prn-unet"]) == {"mvtec/bottle/prn-unet"}
    assert names(found["table1"]) == {
        "mvtec/bottle/prn",
        "mvtec/bottle/untrained",
        "mvtec/bottle/dra",
        "mvtec/pill/prn",
    }
    assert names(found["table4"]) == {"mvtec/bottle/prn", "mvtec/bottle/prn-unet", "mvtec/pill/prn"}
    assert names(found["table7"]) == {
        *("mvtec/bottle/prn", "mvtec/bottle/prn-shots-1", "mvtec/bottle/dra", "mvtec/bottle/dra-shots-1"),
        "mvtec/pill/prn",
    }
    assert names(found["tableS2"]) == {"btad/01/prn", "btad/01/untrained"}
    assert names(found["table8"]) == {"ksdd2/ksdd2/prn"}


def test_a_rules_name_stays_the_rules():
    assert "bottle" not in parts(CELLS, reserved=["bottle"])
