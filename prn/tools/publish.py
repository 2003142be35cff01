"""Publishing: a preset's finished pages, checked and made small enough for git, copied to `reports/`."""

import datetime
import os
import re
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image

from prn.errors import DataCorrupt, DataMissing, SettingsError
from prn.provenance.files import atomic_write, sha256_file, write_text
from prn.reporting.document import GENERATED
from prn.reporting.html import HTML
from prn.reporting.results import Row, from_csv, read_results
from prn.reporting.sums import SUMS, check_place, checked_files, own_files, remove_files, write_sums

RESULTS, FIRST_PAGE, MAIN = "results.csv", "README.md", "reports"
FOR_TOOLS = ("metrics", "plots")  # folders that experiment tools read in the work folder
JPEG_QUALITY = 78
LARGE = 500 * 1024  # the limit of the project's commit hook
_PRESET = re.compile(re.escape(GENERATED) + r" \(preset `([^`]+)`\)")


def publish(source: Path, target: Path, today: datetime.date) -> str:
    """Copy the report of the work folder `source` into `target`, in place of what was published there; a summary.

    Photographs become JPEG, the contact sheets of the synthesis keep 128 colours, `report.html` and the files for
    experiment tools stay behind. `target` is `reports` or, for a run that stands beside the main one, a folder in it.
    The new report is whole before a file of the old one is touched; what the old one does not list stays as it is.
    Raises `DataMissing` where a report or the metrics behind it are missing, `DataCorrupt` for a page, picture or
    number that is not what the report was made with, `SettingsError` for a target that is no place for a report.
    """
    folder = source / MAIN
    if source.resolve().is_relative_to(target.resolve()) or folder.resolve() == target.resolve():
        raise SettingsError(f"--to {target}: the report to publish lies in it; name another folder")
    files = checked_files(folder)
    rows = from_csv((folder / RESULTS).read_text(encoding="utf-8"))
    check_results(source, rows)
    preset = _preset(folder)
    check_place(target)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=target) as temporary:
        new = Path(temporary)
        names = _write_published(folder, files, new, _dating(preset, target, today))
        _swap(new, target, names)
    return _summary(target, preset, rows)


def _write_published(folder: Path, files: list[Path], new: Path, dated: Callable[[str], str]) -> list[str]:
    """Write the published form of a report's files into the folder `new`; their names in it."""
    files = [file for file in files if file.name != HTML and file.parts[0] not in FOR_TOOLS]
    pictures = {file: _compact(folder / file) for file in files if file.suffix == ".png"}
    renamed = {file.as_posix(): file.with_suffix(ending).as_posix() for file, (ending, _) in pictures.items()}
    for file in files:
        if file in pictures:
            ending, data = pictures[file]
            _write(new / file.with_suffix(ending), data)
        elif file.suffix == ".md":
            text = _page((folder / file).read_text(encoding="utf-8"), renamed)
            write_text(new / file, dated(text) if file.as_posix() == FIRST_PAGE else text)
        else:
            _write(new / file, (folder / file).read_bytes())
    return [renamed.get(file.as_posix(), file.as_posix()) for file in files]


def _swap(new: Path, target: Path, names: list[str]) -> None:
    """Move the files of the new report onto those of the old one, and delete those that are left of it.

    The list of files names both while they are moved, so that a publishing that was killed can be repeated.
    Raises `SettingsError` where a file of somebody's own stands in the way; nothing has been moved then.
    """
    before = own_files(target)
    for name in names:
        if name not in before and os.path.lexists(target / name):
            raise SettingsError(f"{target / name}: not of the report that was published there; move it away")
    kept = [name for name in before if name not in names and (target / name).is_file()]
    lines = [f"{sha256_file(new / name)}  {name}\n" for name in names]
    write_text(target / SUMS, "".join(lines + [f"{before[name]}  {name}\n" for name in kept]))
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).replace(target / name)
    remove_files(target, before.keys() - set(names))
    write_sums(target, names)


def check_results(source: Path, rows: list[Row]) -> None:
    """Hold every number of a report against the metrics file that it was read from."""
    for row in rows:
        file = row.run.metrics_file(source)
        if not file.is_file():
            raise DataMissing(f"{file}: missing, but {RESULTS} has a number from it; `python -m prn report` again")
    runs = list(dict.fromkeys(row.run for row in rows))
    today = {(row.run, row.metric): row.value for row in read_results(source, runs)}
    for row in rows:
        if row.value is not None and today[row.run, row.metric] != row.value:
            raise DataCorrupt(
                f"{row.run.metrics_file(source)}: {row.metric} is {today[row.run, row.metric]}, the report says"
                f" {row.value}; `python -m prn report` again"
            )


def _preset(folder: Path) -> str:
    found = _PRESET.search((folder / FIRST_PAGE).read_text(encoding="utf-8"))
    if found is None:
        raise DataCorrupt(f"{folder / FIRST_PAGE}: names no preset; `python -m prn report` makes it again")
    return found[1]


def _compact(path: Path) -> tuple[str, bytes]:
    """A picture as it is published: its ending and its bytes, never more than it had.

    Charts have few colours already. Contact sheets stay PNG with fewer colours, grids of photographs become JPEG.
    """
    whole = path.read_bytes()
    with Image.open(path) as opened:
        if opened.mode == "P":
            return path.suffix, whole
        picture = opened.convert("RGB")
    small = BytesIO()
    if "synthesis" in path.name:
        few = picture.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
        few.save(small, format="PNG", optimize=True)
        ending = ".png"
    else:
        picture.save(small, format="JPEG", quality=JPEG_QUALITY, optimize=True)
        ending = ".jpg"
    return (ending, small.getvalue()) if len(small.getvalue()) < len(whole) else (path.suffix, whole)


def _write(target: Path, data: bytes) -> None:
    with atomic_write(target) as temporary:
        temporary.write_bytes(data)


def _page(text: str, renamed: dict[str, str]) -> str:
    """A page with the published pictures' names, without the line that leads to the HTML report."""
    lines = [line for line in text.split("\n") if f"]({HTML})" not in line]
    return re.sub(r"\]\(([^)\s]+)\)", lambda match: f"]({renamed.get(match[1], match[1])})", "\n".join(lines))


def _dating(preset: str, target: Path, today: datetime.date) -> Callable[[str], str]:
    """What puts a line under the first page's origin that says what was published, and when."""
    beside = "" if target.name == MAIN else f" --to {MAIN}/{target.name}"
    line = (
        f"**Published on {today.isoformat()} from the preset `{preset}`** with `python -m prn publish --from"
        f" runs/{preset}{beside}`. Pictures are compressed here; that folder has them in full, and all in one HTML"
        " file."
    )

    def dated(text: str) -> str:
        head, generated, rest = text.partition("lost.*\n")
        return f"{head}{generated}\n{line}\n{rest}"

    return dated


def _summary(target: Path, preset: str, rows: list[Row]) -> str:
    files = [*own_files(target), SUMS]
    sizes = {file: (target / file).stat().st_size for file in files}
    text = f"{target}: preset {preset}, {len(files)} files, {sum(sizes.values()) / 2**20:.1f} MB"
    stale = len({row.run for row in rows if row.state == "stale"})
    text += f"; {stale} of its runs are shown as stale" if stale else ""
    large = [file for file, size in sizes.items() if size > LARGE]
    return text + (f"; larger than 500 KB: {', '.join(large)}" if large else "")
