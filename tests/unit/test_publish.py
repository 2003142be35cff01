"""Publishing: what was edited or is out of date is refused; what is published is whole and small."""

import datetime
import hashlib
import json
import re
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prn.cli import main
from prn.errors import DataCorrupt, DataMissing, SettingsError
from prn.reporting import build
from prn.tools.publish import _compact, publish
from tests.unit.reporting_world import make_settings, make_world

DAY = datetime.date(2026, 3, 1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("publish") / "runs" / "small"
    settings = make_settings({"mvtec": ["bottle"]}, ["prn", "untrained"], [42], preset="small")
    make_world(root, settings)
    build(root, settings)
    return root


@pytest.fixture
def source(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished work folder that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "small"))


def test_the_published_pages_are_whole(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "reports"
    assert "preset small" in publish(finished, target, DAY)
    first = (target / "README.md").read_text(encoding="utf-8")
    assert "Published on 2026-03-01 from the preset `small`" in first
    assert not (target / "report.html").exists()
    for page in target.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert "(preset `small`)" in text
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert link.startswith("https://") or (page.parent / link).is_file(), f"{page.name}: {link}"
    numbers = (target / "results.csv").read_bytes()
    assert numbers == (finished / "reports/results.csv").read_bytes()
    whole = sum(file.stat().st_size for file in (finished / "reports").rglob("*.png"))
    small = sum(file.stat().st_size for file in (target / "figures").rglob("*.*"))
    assert 0 < small <= whole
    for line in (target / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((target / name).read_bytes()).hexdigest() == digest


def test_a_run_beside_the_main_one_leaves_it_alone(finished: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["publish", "--from", str(finished)]) == 0
    before = {file: file.read_bytes() for file in Path("reports").rglob("*") if file.is_file()}
    assert main(["publish", "--from", str(finished), "--to", "reports/small"]) == 0
    assert main(["publish", "--from", str(finished)]) == 0
    assert {file: file.read_bytes() for file in before} == before
    assert "--from runs/small --to reports/small`" in Path("reports/small/README.md").read_text(encoding="utf-8")
    assert "--from runs/small`" in Path("reports/README.md").read_text(encoding="utf-8")


def test_pictures_get_smaller_and_stay_what_they_are(tmp_path: Path) -> None:
    ground = np.random.default_rng(0).normal(128, 12, (120, 160, 1)) + np.linspace(-60, 60, 160)[:, None]
    ground = np.repeat(ground, 3, axis=2) + np.linspace(-20, 20, 120)[:, None, None] * np.array([1, 0, -1])
    photograph = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    for name, ending in (("cup.png", ".jpg"), ("cup-synthesis.png", ".png")):
        photograph.save(tmp_path / name)
        found, data = _compact(tmp_path / name)
        assert found == ending
        assert len(data) < 0.6 * (tmp_path / name).stat().st_size
        with Image.open(BytesIO(data)) as small:
            difference = np.asarray(small.convert("RGB"), float) - np.asarray(photograph, float)
        assert np.abs(difference).mean() < 12
    chart = photograph.quantize(8)
    chart.save(tmp_path / "bars.png")
    assert _compact(tmp_path / "bars.png") == (".png", (tmp_path / "bars.png").read_bytes())


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_publishing_again_replaces_what_was_published_and_nothing_else(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "reports"
    publish(finished, target, DAY)
    before = files_in(target)
    own = {"notes.md": b"a page of somebody's own", "figures/my-photo.jpg": b"a photograph", "data.bin": b"data"}
    for name, data in own.items():
        (target / name).write_bytes(data)
    leftover = target / "figures/dagm/bars.png"
    leftover.parent.mkdir()
    leftover.write_bytes(b"of an earlier preset")
    with (target / "SHA256SUMS").open("a", encoding="utf-8") as sums:
        sums.write(f"{hashlib.sha256(leftover.read_bytes()).hexdigest()}  figures/dagm/bars.png\n")
    publish(finished, target, DAY)
    assert files_in(target) == before | own
    assert not leftover.parent.exists()


def test_a_folder_that_is_no_report_keeps_what_it_holds(finished: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(finished.parents[1])
    with pytest.raises(SettingsError, match=r"--to \.: the report to publish lies in it"):
        publish(Path("runs/small"), Path(), DAY)
    site = tmp_path / "site"
    (site / "figures").mkdir(parents=True)
    (site / "figures/my-photo.jpg").write_bytes(b"a photograph")
    with pytest.raises(SettingsError, match="no earlier report"):
        publish(finished, site, DAY)
    assert files_in(site) == {"figures/my-photo.jpg": b"a photograph"}


def test_nothing_behind_a_link_is_touched(finished: Path, tmp_path: Path) -> None:
    target, photos = tmp_path / "reports", tmp_path / "photos"
    publish(finished, target, DAY)
    shutil.move(target / "figures", photos)
    (photos / "my-photo.jpg").write_bytes(b"a photograph")
    before = files_in(photos)
    (target / "figures").symlink_to(photos)
    with pytest.raises(SettingsError, match="figures: a link"):
        publish(finished, target, DAY)
    (target / "figures").unlink()
    (target / "figures").mkdir()
    (target / "figures/mvtec").symlink_to(photos)
    with pytest.raises(SettingsError, match="figures/mvtec: a link"):
        publish(finished, target, DAY)
    assert files_in(photos) == before


def test_a_file_in_the_way_stops_before_anything_is_moved(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "reports"
    target.mkdir()
    (target / "cost.md").write_text("my own notes", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"cost\.md: not of the report"):
        publish(finished, target, DAY)
    assert files_in(target) == {"cost.md": b"my own notes"}


def test_a_publishing_that_was_killed_is_repeated(finished: Path, tmp_path: Path, monkeypatch) -> None:
    target, moved = tmp_path / "reports", []
    publish(finished, target, DAY)
    before = files_in(target)
    replace = Path.replace

    def killed(file: Path, to: Path) -> Path:
        moved.append(to.name)
        if len(moved) == 7:
            raise KeyboardInterrupt
        return replace(file, to)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(finished, target, DAY)
    monkeypatch.undo()
    publish(finished, target, DAY)
    assert files_in(target) == before


def test_a_list_that_names_files_elsewhere_deletes_nothing(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "reports"
    publish(finished, target, DAY)
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with (target / "SHA256SUMS").open("a", encoding="utf-8") as sums:
        sums.write(f"{'0' * 64}  ../mine.txt\n")
    with pytest.raises(DataCorrupt, match="names no file of this report"):
        publish(finished, target, DAY)
    assert (tmp_path / "mine.txt").is_file()


def test_the_report_deletes_only_its_own(source: Path) -> None:
    """A variant less: its files go; a person's own files stay, and what a link leads to."""
    folder = source / "reports"
    (folder / "figures/my-photo.jpg").write_bytes(b"a photograph")
    (folder / "metrics/mine.json").write_text("{}", encoding="utf-8")
    assert (folder / "metrics/untrained.json").is_file()
    build(source, make_settings({"mvtec": ["bottle"]}, ["prn"], [42], preset="small"))
    assert not (folder / "metrics/untrained.json").exists()
    assert not (folder / "runs/mvtec/bottle/untrained").exists()
    assert (folder / "figures/my-photo.jpg").is_file()
    assert (folder / "metrics/mine.json").is_file()
    shutil.move(folder / "runs", source / "elsewhere")
    (folder / "runs").symlink_to(source / "elsewhere")
    kept = files_in(source / "elsewhere")
    with pytest.raises(SettingsError, match="runs: a link"):
        build(source, make_settings({"mvtec": ["bottle"]}, ["prn"], [42], preset="small"))
    assert files_in(source / "elsewhere") == kept


@pytest.mark.parametrize("name", ["mvtec.md", "results.csv", "figures/mvtec/bars.png"])
def test_a_file_edited_by_hand_is_refused(source: Path, tmp_path: Path, name: str) -> None:
    file = source / "reports" / name
    file.write_bytes(file.read_bytes().replace(b"9", b"8", 1))
    with pytest.raises(DataCorrupt, match=re.escape(name)):
        publish(source, tmp_path / "reports", DAY)
    assert not (tmp_path / "reports").exists()


def test_metrics_that_moved_on_are_refused(source: Path, tmp_path: Path) -> None:
    file = source / "data/metrics/mvtec/bottle/prn/seed42.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**data, "ap": 0.25}), encoding="utf-8")
    with pytest.raises(DataCorrupt, match=r"ap is 25\.0"):
        publish(source, tmp_path / "reports", DAY)
    file.unlink()
    with pytest.raises(DataMissing, match="seed42"):
        publish(source, tmp_path / "reports", DAY)


def test_what_cannot_be_published(tmp_path: Path, finished: Path) -> None:
    with pytest.raises(DataMissing, match="prn report"):
        publish(tmp_path, tmp_path / "elsewhere", DAY)
    with pytest.raises(SettingsError, match="the report to publish lies in it"):
        publish(finished, finished / "reports", DAY)


def test_the_command(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["publish", "--from", "runs/small"]) == 0
    assert "reports: preset small" in capsys.readouterr().out
    assert (tmp_path / "reports/README.md").is_file()
    assert main(["publish", "--from", "runs/none"]) == 3
    assert "python -m prn report" in capsys.readouterr().err
