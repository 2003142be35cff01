"""Parts of a benchmark that can be run by name: a data set, a category, a variant, or a table of the paper."""

from collections.abc import Iterable

from prn.reporting.published import SETTING_VARIANTS
from prn.reporting.wording import is_ablation

Cell = dict[str, str | int]
# Tables of methods by category, and the data set that they are about; Tables 3 to 7 compare settings on MVTec AD.
TABLES_OF_DATASETS = {"table1": "mvtec", "table2": "mvtec", "tableS1": "dagm", "tableS2": "btad", "table8": "ksdd2"}
TABLES_OF_SETTINGS = ("3", "4", "5", "6", "7")


def parts(cells: Iterable[Cell], reserved: Iterable[str] = ()) -> dict[str, list[Cell]]:
    """Name -> the cells it stands for, of the planned `cells` (data set, category, variant, seed).

    A table stands for its planned variants only; one of which nothing is planned has no name. Categories of the same
    name in several data sets run together. Names in `reserved` (the workflow's rules) are left out.
    """
    cells = list(cells)
    found: dict[str, list[Cell]] = {}

    def add(name: str, cell: Cell) -> None:
        members = found.setdefault(name, [])
        if cell not in members:
            members.append(cell)

    swept = {table: {v for (t, _, _), v in SETTING_VARIANTS.items() if t == table} for table in TABLES_OF_SETTINGS}
    for cell in cells:
        for key in ("dataset", "category", "variant"):
            add(str(cell[key]), cell)
        for name, dataset in TABLES_OF_DATASETS.items():
            if cell["dataset"] == dataset and not _is_swept(str(cell["variant"])):
                add(name, cell)
        for table, variants in swept.items():
            if cell["dataset"] == "mvtec" and cell["variant"] in variants:
                add(f"table{table}", cell)
    return {name: members for name, members in found.items() if name not in set(reserved)}


def _is_swept(variant: str) -> bool:
    """Whether a variant stands in no table of methods: an ablation of PRN, a method with fewer shots or smaller."""
    return is_ablation(variant) or "-shots-" in variant or variant.endswith("-resnet18")
