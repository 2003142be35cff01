"""Pages: printed numbers are recomputed here from `results.csv` and `published.csv`, without the report's own code."""

import csv
import json
import re
from pathlib import Path
from statistics import fmean, stdev

import pytest

from prn.reporting import build
from prn.reporting.delta import judge
from prn.reporting.wording import image_credit
from prn.settings.sections import ReportSettings
from tests.unit.reporting_world import make_settings, make_world

CATEGORIES = {"mvtec": ["bottle", "carpet"], "btad": ["01", "02", "03"]}
VARIANTS = ["prn", "untrained", "prn-no-msa", "patchcore"]
LETTERS = {"image_auroc": "Image AUROC", "pixel_auroc": "Pixel AUROC", "pro": "PRO", "ap": "AP"}
NAMES = {"prn": "PRN", "patchcore": "PatchCore"}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pages")
    settings = make_settings(CATEGORIES, VARIANTS, [42, 43])
    make_world(root, settings, predictions=False)
    # A value that cannot be given, and a run that was not done.
    file = root / "data/metrics/mvtec/carpet/patchcore/seed42.json"
    file.unlink()
    (root / "data/metrics/mvtec/carpet/patchcore/seed43.json").unlink()
    for seed in (42, 43):
        file = root / f"data/metrics/btad/02/prn/seed{seed}.json"
        data = json.loads(file.read_text(encoding="utf-8"))
        data |= {"pro": None, "ap": None, "reasons": {"pro": "2 images have no mask", "ap": "2 images have no mask"}}
        file.write_text(json.dumps(data), encoding="utf-8")
    build(root, settings)
    return root / "reports"


@pytest.fixture(scope="module")
def values(reports: Path) -> dict[tuple[str, str, str, str], list[float]]:
    """(data set, category, variant, metric) -> values of the seeds."""
    found: dict[tuple[str, str, str, str], list[float]] = {}
    with (reports / "results.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["value"]:
                key = (row["dataset"], row["category"], row["variant"], row["metric"])
                found.setdefault(key, []).append(float(row["value"]))
    return found


@pytest.fixture(scope="module")
def paper(project: Path) -> dict[tuple[str, str, str, str], float]:
    """(data set, category, method, metric) -> the printed value of Tables 1, 2, S1, S2 and 8."""
    with (project / "prn/reporting/published.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["table"] in ("1", "2", "S1", "S2", "8")]
    return {(r["dataset"], r["category"], r["method"], r["metric"]): float(r["value"]) for r in rows}


def tables(page: Path) -> dict[str, list[list[list[str]]]]:
    """A page's tables (header first) by the heading above them."""
    found: dict[str, list[list[list[str]]]] = {}
    heading, open_table = "", False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = (
                f"{heading.partition(' / ')[0]} / {line.lstrip('# ')}" if line.startswith("### ") else line.lstrip("# ")
            )
        if not line.startswith("|"):
            open_table = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not open_table:
            found.setdefault(heading, []).append([])
            open_table = True
        if not set(line) <= set("|:- "):
            found[heading][-1].append(cells)
    return found


def printed(value: float) -> str:
    text = f"{value:.1f}"
    return "100" if text == "100.0" else text


def plain(cell: str) -> str:
    return cell.replace("**", "")


def measured_mean(values: dict, dataset: str, variant: str, metric: str) -> tuple[float, int]:
    cells = [values.get((dataset, category, variant, metric)) for category in CATEGORIES[dataset]]
    known = [fmean(cell) for cell in cells if cell]
    return fmean(known), len(known)


def test_every_mean_and_difference_to_the_paper(reports: Path, values: dict, paper: dict) -> None:
    checked = 0
    for heading, found in tables(reports / "delta_to_paper.md").items():
        dataset = {"MVTec AD": "mvtec", "BTAD": "btad"}.get(heading.partition(" / ")[0])
        if dataset is None or not heading.endswith("/ Means"):
            continue
        for row in found[0][1:]:
            method = {name: key for key, name in NAMES.items()}.get(row[0], row[0])
            metric = {name: key for key, name in LETTERS.items()}[row[1]]
            mean, count = measured_mean(values, dataset, method, metric)
            expected = printed(mean) + (
                "" if count == len(CATEGORIES[dataset]) else f" ({count} of {len(CATEGORIES[dataset])})"
            )
            assert row[2] == expected
            present = [c for c in CATEGORIES[dataset] if (dataset, c, method, metric) in values]
            theirs = [paper.get((dataset, c, row[0], metric)) for c in present]
            if None in theirs:
                assert row[-1] == "no published number"
                continue
            whole = dataset == "btad" and len(present) == 3
            published = paper[dataset, "mean", row[0], metric] if whole else fmean(theirs)
            assert row[5] == printed(published)
            difference = round(round(mean, 1) - round(published, 1), 1)
            assert float(row[6]) == difference
            verdict = "within" if abs(difference) <= 1 else "above: possible leak" if difference > 0 else "below"
            assert plain(row[7]) == verdict
            checked += 1
    assert checked == 16


def test_every_category_against_the_paper(reports: Path, values: dict, paper: dict) -> None:
    rows = tables(reports / "delta_to_paper.md")["BTAD / PRN"][0][1:]
    assert len(rows) == 12
    for category, name, ours, spread, seeds, published, difference, verdict in rows:
        metric = {text: key for key, text in LETTERS.items()}[name]
        known = values.get(("btad", category, "prn", metric))
        assert published == printed(paper["btad", category, "PRN", metric])
        if known is None:
            assert (ours, spread, difference, verdict) == ("n/a", "n/a", "n/a", "n/a")
            continue
        assert ours == printed(fmean(known))
        assert spread == printed(stdev(known))
        assert seeds == "2"
        assert float(difference) == round(round(fmean(known), 1) - float(published), 1)


def test_the_data_set_page_shows_published_beside_measured(reports: Path, values: dict, paper: dict) -> None:
    found = tables(reports / "mvtec.md")
    header, *rows = found["Image AUROC / pixel AUROC (Table 1)"][0]
    assert header == ["Category", "PRN paper", "PRN ours", "untrained ours", "PatchCore paper", "PatchCore ours"]
    by_name = {plain(row[0]): row for row in rows}
    pair = ("image_auroc", "pixel_auroc")
    for category in CATEGORIES["mvtec"]:
        row = by_name[category]
        assert row[1] == "/".join(printed(paper["mvtec", category, "PRN", metric]) for metric in pair)
        assert plain(row[2]) == "/".join(printed(fmean(values["mvtec", category, "prn", m])) for m in pair)
        assert plain(row[3]) == "/".join(printed(fmean(values["mvtec", category, "untrained", m])) for m in pair)
    assert by_name["carpet"][5] == "not run"
    assert "(1 of 2)" in by_name["Mean"][5]


def test_the_data_set_page_shows_how_sure_the_numbers_are(reports: Path, values: dict) -> None:
    header, *rows = tables(reports / "mvtec.md")["Confidence intervals"][0]
    assert header == ["Category", "Method", "Image AUROC", "Pixel AUROC", "PRO", "AP"]
    row = next(row for row in rows if row[:2] == ["carpet", "PRN"])
    mean = printed(fmean(values["mvtec", "carpet", "prn", "image_auroc"]))
    assert row[2:] == [f"{mean} [50.0, 80.0]", "-", "-", "-"]
    assert not any(row[:2] == ["carpet", "PatchCore"] for row in rows)  # not run


def test_the_data_set_page_shows_operating_points_and_legacy_columns(reports: Path) -> None:
    files = [reports.parent / f"data/metrics/mvtec/bottle/prn/seed{seed}.json" for seed in (42, 43)]
    stored = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    found = tables(reports / "mvtec.md")
    points = [{point["rule"]: point for point in data["operating_points"]} for data in stored]
    (row,) = [row for row in found["Operating points"][0] if row[:2] == ["bottle", "PRN"]]
    assert row[2] == printed(fmean(100 * each["fpr <= 0.01"]["recall"] for each in points))
    assert row[5] == printed(fmean(each["recall >= 1"]["false_alarms_per_1000_good"] for each in points))
    (row,) = [row for row in found["PRO as other evaluations compute it"][0] if row[:2] == ["bottle", "PRN"]]
    assert row[2:] == [printed(100 * fmean(data["pro"] for data in stored)), "50.0", "25.0"]
    assert "not run" not in {cell for row in found["Operating points"][0] for cell in row}


def test_missing_values_are_named_with_their_reason(reports: Path) -> None:
    text = (reports / "btad.md").read_text(encoding="utf-8")
    assert "n/a: 2 images have no mask: 02 (prn)" in text
    assert "(2 of 3)" in text
    readme = (reports / "README.md").read_text(encoding="utf-8")
    assert "patchcore 2" in readme
    failures = (reports / "failures.md").read_text(encoding="utf-8")
    assert "`mvtec/carpet/patchcore` seed 42: not started" in failures


def test_the_best_measured_value_of_a_row_is_bold(reports: Path, values: dict) -> None:
    header, *rows = tables(reports / "mvtec.md")["PRO / AP (Table 2)"][0]
    for row in rows[:2]:
        cells = {name: row[header.index(f"{name} ours")] for name in ("PRN", "untrained", "PatchCore")}
        known = {name: cell.split("/") for name, cell in cells.items() if cell != "not run"}
        for place in (0, 1):
            numbers = {name: float(plain(parts[place])) for name, parts in known.items()}
            bold = {name for name, parts in known.items() if parts[place].startswith("**")}
            assert bold == {name for name, value in numbers.items() if value == max(numbers.values())}


def test_paper_tables_hold_every_printed_number(reports: Path, paper: dict) -> None:
    found = tables(reports / "paper_tables.md")
    assert len(found) == 12
    header, *rows = found["Table 2: MVTec AD, PRO / AP"][0]
    for row in rows:
        if row[1] != "paper":
            continue
        category = "mean" if row[0] == "Average" else row[0]
        for method, cell in zip(header[2:-1], row[2:-1], strict=True):
            assert plain(cell) == "/".join(printed(paper["mvtec", category, method, m]) for m in ("pro", "ap"))
    # As printed: in the carpet row CFLOW's PRO and PRN's AP are bold.
    carpet = dict(zip(header, rows[0], strict=True))
    assert carpet["CFLOW"].startswith("**97.6**/")
    assert carpet["PRN"] == "97.0/**82.0**"


def test_table_4_has_the_ticks_of_the_poster(reports: Path) -> None:
    header, *rows = tables(reports / "paper_tables.md")["Table 4: modules of PRN on MVTec AD"][0]
    printed_rows = [row for row in rows if row[4] == "paper" and row[0] == "✓"]
    assert header[:5] == ["U-Net", "MP", "MSA", "MF", "Source"]
    assert [row[1:4] for row in printed_rows] == [
        ["-", "-", "-"],
        ["✓", "-", "✓"],
        ["-", "✓", "✓"],
        ["✓", "✓", "-"],
        ["✓", "✓", "✓"],
    ]


def test_ablations_compare_on_the_same_categories(reports: Path, values: dict) -> None:
    header, *rows = next(iter(tables(reports / "ablations.md").values()))[0]
    row = next(row for row in rows if row[0] == "BTAD")
    assert row[1] == "`prn-no-msa`"
    differences = []
    for category in CATEGORIES["btad"]:
        ours, base = (values.get(("btad", category, variant, "ap")) for variant in ("prn-no-msa", "prn"))
        if ours and base:
            differences.append(fmean(ours) - fmean(base))
    assert float(row[header.index("Δ AP")]) == pytest.approx(fmean(differences), abs=0.0501)


def test_a_change_of_the_light_network_is_compared_with_the_light_network(tmp_path: Path) -> None:
    settings = make_settings({"mvtec": ["bottle"]}, ["prn-light", "prn-light-ea-only", "untrained"], [42])
    make_world(tmp_path, settings, predictions=False)
    build(tmp_path, settings)
    found = tables(tmp_path / "reports/ablations.md")
    header, row = next(iter(found.values()))[0]
    every = found["Every variant, category by category"][0][1:]
    shown = {line[2]: float(plain(line[-1])) for line in every if line[1] == "bottle"}
    assert list(shown) == ["`prn-light`", "`untrained`", "`prn-light-ea-only`"]
    difference = shown["`prn-light-ea-only`"] - shown["`prn-light`"]
    assert float(row[header.index("Δ AP")]) == pytest.approx(difference, abs=0.151)


def test_the_headline_shows_spread(reports: Path, values: dict) -> None:
    rows = tables(reports / "README.md")["Verdict"][0]
    row = next(row for row in rows if row[0].startswith("[MVTec") and row[1] == "PRN")
    per_seed = [fmean(values["mvtec", c, "prn", "ap"][place] for c in CATEGORIES["mvtec"]) for place in (0, 1)]
    assert row[5] == f"{printed(fmean(per_seed))} ± {printed(stdev(per_seed))}"


def test_the_first_page_warns_of_another_recipe_than_the_papers(tmp_path: Path) -> None:
    settings = make_settings({"btad": ["01"]}, ["prn", "untrained"], [42])
    make_world(tmp_path, settings, predictions=False)
    build(tmp_path, settings)
    page = tmp_path / "reports/README.md"
    assert "Not the paper's recipe" not in page.read_text(encoding="utf-8")
    settings = settings.changed(train=settings.train.changed(steps=20), tensors=settings.tensors.changed(size=32))
    build(tmp_path, settings)
    assert "2 settings differ from it (`tensors.size` and `train.steps`;" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(0.0, "within"), (1.0, "within"), (-1.0, "within"), (1.1, "above"), (-1.1, "below")],
)
def test_verdicts(difference: float, verdict: str) -> None:
    assert judge(difference, 1.0) == verdict


def test_a_run_card_has_no_folder_or_user_of_this_machine(reports: Path) -> None:
    card = json.loads((reports / "runs/mvtec/bottle/prn/seed42.json").read_text(encoding="utf-8"))
    assert card["training"]["command"] == "python -m prn train --root . --variant prn --weights …/r18.pth"
    assert card["results"]["metrics"]["image_auroc"] > 50
    text = (reports / "runs/mvtec/bottle/prn/seed42.md").read_text(encoding="utf-8")
    for word in ("commit", "deterministic", "peak memory", "`prototypes`", "single member"):
        assert word in text


def test_html_holds_everything_and_asks_for_nothing(reports: Path) -> None:
    text = (reports / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#|https://)", text)
    assert not re.search(r"<(link|script)[^>]+(src|href)=", text)
    anchors = set(re.findall(r'id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= anchors
    assert text.count("data:image/png;base64") == len(list((reports / "figures").rglob("*.png"))) > 0
    assert "<strong>" in text
    assert "**" not in re.sub(r"<script>.*</script>", "", text, flags=re.S)


@pytest.mark.parametrize("page", ["mvtec.md", "failures.md"])
def test_pages_with_pictures_name_the_data_sets_licence(reports: Path, page: str) -> None:
    text = (reports / page).read_text(encoding="utf-8")
    assert "MVTec AD](https://www.mvtec.com/company/research/datasets/mvtec-ad), CC BY-NC-SA 4.0" in text
    assert "research use only" in text  # the textures'


def test_pages_name_whose_the_images_of_ones_own_data_set_are() -> None:
    settings = make_settings({"own": ["part"], "mvtec": ["pill"]}, ["prn"], [42])
    assert image_credit("own", settings) == []
    settings = settings.changed(report=ReportSettings(credits={"own": "[Own](https://own.example), CC0"}))
    (line,) = image_credit("own", settings)
    assert "[Own](https://own.example), CC0" in line
    assert "research use only" in line
