"""How long does Snakemake plan the full benchmark, beside a bare Snakefile with as many empty jobs?

    python benchmarks/planning.py --page benchmarks/planning.md      # 25 minutes

In a temporary folder: a dry run of `all` with `params.yaml` where nothing exists, then the same where everything does
(empty files, recorded as finished with `snakemake --touch`) and nothing is to be done. The two Snakefiles take turns;
each ratio is the median over the rounds of the ratio within a round, of CPU seconds.
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BARE = """
rule all:
    input:
        expand("out/{{number}}", number=range({jobs})),


rule one:
    output:
        "out/{{number}}",
    shell:
        "touch {{output}}"
"""
OURS, PLAIN = "the benchmark", "bare Snakefile"


def snakemake(folder: Path, snakefile: Path, *options: str) -> str:
    """What Snakemake prints of `all`. Raises `CalledProcessError`."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--snakefile", snakefile, "--directory", folder]
    done = subprocess.run(
        [*command, *options, "--", "all"],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PRN_ADOPTING": "1"},  # the files are not judged here: they are empty
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout[-2000:])
    return done.stdout


def timed_plan(folder: Path, snakefile: Path) -> tuple[float, float, str]:
    """CPU seconds and seconds on the clock of a dry run, and what it printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    printed = snakemake(folder, snakefile, "--dry-run")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        time.perf_counter() - start,
        printed,
    )


def finish(folder: Path, snakefile: Path, plan: str) -> None:
    """Make every planned output as an empty file and let Snakemake record it as finished."""
    for line in re.findall(r"^    output: (.+)$", plan, re.MULTILINE):
        for name in line.split(", "):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    snakemake(folder, snakefile, "--touch", "--quiet", "all")
    printed = snakemake(folder, snakefile, "--dry-run")
    if "Nothing to be done" not in printed:
        raise SystemExit(f"{snakefile}: a finished run is planned again:\n{printed[-2000:]}")


def rounds_of(workflows: dict[str, tuple[Path, Path]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """CPU and clock seconds of each workflow's plan, in turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in workflows}
    for _ in range(rounds):
        for name, (folder, snakefile) in workflows.items():
            cpu, clock, _ = timed_plan(folder, snakefile)
            times[name].append((cpu, clock))
            print(f"{name}: {cpu:.1f} CPU s, {clock:.1f} s", file=sys.stderr, flush=True)
    return times


def row(case: str, times: dict[str, list[tuple[float, float]]]) -> str:
    def median(name: str, which: int) -> float:
        return statistics.median(pair[which] for pair in times[name])

    ratio = statistics.median(ours[0] / bare[0] for ours, bare in zip(times[OURS], times[PLAIN], strict=True))
    cells = [f"{median(name, 0):.1f} CPU s ({median(name, 1):.1f} s)" for name in (OURS, PLAIN)]
    return f"| {case} | {cells[0]} | {cells[1]} | {ratio:.2f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path, help="write the result there")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folders = {OURS: Path(temporary) / "ours", PLAIN: Path(temporary) / "bare"}
        for folder in folders.values():
            folder.mkdir()
        plan = timed_plan(folders[OURS], ROOT / "Snakefile")[2]
        jobs = int(re.search(r"^total +(\d+)$", plan, re.MULTILINE).group(1))  # type: ignore[union-attr]
        bare = Path(temporary) / "Snakefile"
        bare.write_text(BARE.format(jobs=jobs - 1), encoding="utf-8")
        workflows = {OURS: (folders[OURS], ROOT / "Snakefile"), PLAIN: (folders[PLAIN], bare)}
        lines = [row("nothing exists", rounds_of(workflows, options.rounds))]
        finish(*workflows[OURS], plan)
        finish(*workflows[PLAIN], timed_plan(*workflows[PLAIN])[2])
        lines.append(row("everything is done", rounds_of(workflows, options.rounds)))
    page = "\n".join(
        [
            "# Planning the full benchmark",
            "",
            f"| dry run of {jobs:,} jobs | {OURS} | {PLAIN} | ratio |",
            "|---|---:|---:|---:|",
            *lines,
            "",
        ]
    )
    print(page)
    if options.page:
        options.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
