"""The report as a whole: made from files alone, the same bytes each time, and every link in it leads somewhere."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from prn.reporting import build
from prn.reporting.results import from_csv
from tests.unit.reporting_world import make_settings, make_world

LINK = re.compile(r"\]\(([^)]+)\)")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    """A finished benchmark of three categories and its report."""
    root = tmp_path_factory.mktemp("world")
    settings = make_settings({"mvtec": ["bottle", "carpet"], "dagm": ["Class1"]}, ["prn", "untrained"], [42, 43])
    make_world(root, settings)
    build(root, settings)
    return root, settings


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_rebuilt_report_has_the_same_bytes(world) -> None:
    root, settings = world
    before = digests(root / "reports")
    shutil.rmtree(root / "reports")
    build(root, settings)
    assert digests(root / "reports") == before
    assert len(before) > 20


def test_every_link_and_image_exists(world) -> None:
    reports = world[0] / "reports"
    for page in reports.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        for target in LINK.findall(text):
            if target.startswith("https://"):
                continue
            if target.startswith("#"):
                # GitHub's anchors: lower case, spaces as hyphens, no punctuation.
                headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
                anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert target[1:] in anchors, f"{page.name}: {target}"
                continue
            assert (page.parent / target).exists(), f"{page.name}: {target}"
        for alt in re.findall(r"!\[([^\]]*)\]", text):
            assert len(alt) > 20, f"{page.name}: an image without a text for those who cannot see it"


def test_no_cell_of_a_table_is_blank(world) -> None:
    for page in (world[0] / "reports").rglob("*.md"):
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("|"):
                assert all(cell.strip() for cell in line.strip("|").split("|")), f"{page.name}: {line}"


def test_every_picture_is_shown_on_a_page(world) -> None:
    reports = world[0] / "reports"
    shown = {target for page in reports.glob("*.md") for target in LINK.findall(page.read_text(encoding="utf-8"))}
    assert {path.relative_to(reports).as_posix() for path in reports.rglob("*.png")} <= shown


def test_no_page_names_a_folder_of_this_machine(world) -> None:
    root = world[0]
    for page in (root / "reports").rglob("*"):
        if page.suffix in (".md", ".json", ".csv", ".html"):
            text = page.read_text(encoding="utf-8")
            assert str(root) not in text, page
            assert "/home/" not in text, page


def test_without_prn_the_trained_variant_shows_where_it_fails_and_not_the_control(tmp_path: Path) -> None:
    settings = make_settings({"mvtec": ["bottle"]}, ["untrained", "patchcore"], [42])
    make_world(tmp_path, settings)
    build(tmp_path, settings)
    failures = (tmp_path / "reports/failures.md").read_text(encoding="utf-8")
    assert "PatchCore, seed 42" in failures
    assert "untrained, seed" not in failures


def test_nothing_run_is_a_report_that_says_so(tmp_path: Path) -> None:
    settings = make_settings({"mvtec": ["bottle"]}, ["prn", "untrained"], [42])
    build(tmp_path, settings)
    assert "Nothing has been run yet" in (tmp_path / "reports/README.md").read_text(encoding="utf-8")
    assert "not run" in (tmp_path / "reports/mvtec.md").read_text(encoding="utf-8")
    assert from_csv((tmp_path / "reports/results.csv").read_text(encoding="utf-8")) == []


def test_without_predictions_the_pages_say_which_figure_is_missing(tmp_path: Path) -> None:
    settings = make_settings({"mvtec": ["bottle"]}, ["prn"], [42])
    make_world(tmp_path, settings, predictions=False)
    build(tmp_path, settings)
    page = (tmp_path / "reports/mvtec.md").read_text(encoding="utf-8")
    assert "the predictions of prn with seed 42 are not kept here" in page
    assert "](figures/mvtec/bottle.png)" not in page


def test_generated_images_are_never_compared(tmp_path: Path) -> None:
    settings = make_settings({"btad": ["01"]}, ["prn", "untrained", "mean-image"], [42], generated=True, preset="demo")
    make_world(tmp_path, settings)
    build(tmp_path, settings)
    for name in ("README.md", "btad.md"):
        title = (tmp_path / "reports" / name).read_text(encoding="utf-8").splitlines()[0]
        assert "generated images" in title
    readme = (tmp_path / "reports/README.md").read_text(encoding="utf-8")
    assert "Not comparable" in readme
    assert "mean-image" in readme


def test_what_was_edited_by_hand_or_left_over_is_gone_after_a_build(tmp_path: Path) -> None:
    wide = make_settings({"mvtec": ["bottle"], "btad": ["01"]}, ["untrained"], [42])
    make_world(tmp_path, wide)
    build(tmp_path, wide)
    reports = tmp_path / "reports"
    whole = digests(reports)
    table = reports / "results.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("mvtec,bottle", "mvtec,bottle,"), encoding="utf-8")
    (reports / "mvtec.md").write_text("edited", encoding="utf-8")
    (reports / "notes.md").write_text("a page of somebody's own", encoding="utf-8")
    build(tmp_path, make_settings({"mvtec": ["bottle"]}, ["untrained"], [42]))
    left = digests(reports)
    assert left["figures/mvtec/bottle.png"] == whole["figures/mvtec/bottle.png"]
    assert not [name for name in left if "btad" in name]
    assert "notes.md" in left
    assert "edited" not in (reports / "mvtec.md").read_text(encoding="utf-8")
    build(tmp_path, wide)
    (reports / "notes.md").unlink()
    assert digests(reports) == whole


def test_a_stale_result_is_shown_as_stale_on_every_page(tmp_path: Path) -> None:
    settings = make_settings({"mvtec": ["bottle", "carpet"]}, ["prn", "untrained"], [42])
    make_world(tmp_path, settings)
    build(
        tmp_path, settings, lambda path, *cell: "data/x.json: it was edited" if cell[1:] == ("bottle", "prn") else None
    )
    reports = tmp_path / "reports"
    readme = (reports / "README.md").read_text(encoding="utf-8")
    assert "1 run stale, shown as such**: it was edited" in readme
    assert "(1 of 2)" in readme
    row = next(line for line in (reports / "mvtec.md").read_text(encoding="utf-8").splitlines() if "| bottle |" in line)
    assert row.split("|")[3].strip() == "stale"
    assert not (reports / "runs/mvtec/bottle/prn").exists() or not list((reports / "runs/mvtec/bottle/prn").iterdir())
    assert "**stale**" in (reports / "failures.md").read_text(encoding="utf-8")
