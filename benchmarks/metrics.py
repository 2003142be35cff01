"""How fast are the pixel metrics, and how much memory do they take, beside every peer?

    pip install anomalib adeval torchmetrics scikit-learn scikit-image
    python benchmarks/metrics.py --maps 100 1000 --page docs/metrics.md

Needs the packages above (none of them is needed by `prn.metrics`) and writes a table with its run card into the page,
between the two markers that stand there. Every measurement runs in a process of its own, one thread, CPU time (so that
a busy machine distorts little), after a warm-up on small maps; the peers take turns, and the median over the rounds
counts. Memory is the growth of the process's resident peak during the first full call (Linux only). About half an hour
with 1000 maps, nearly all of it in the loop over thresholds; `--maps 100` takes a few minutes.

The re-creations of MVTec's definition and of the loop over 200 thresholds are written from the descriptions of those
protocols, plainly and with vectorised numpy. The anchors are times of the originals, measured once on two cores of
another machine: a re-creation that is slower by more than 1.3 times would make us look good and does not count.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import cv2
import numpy as np

Values = Mapping[str, float | None]

SIZE = 256
LONG_SECONDS = 25  # a call is repeated until it has taken this much, at most five times
KINDS = ("realistic", "quantised", "saturated")
PACKAGES = (
    "numpy",
    "opencv-python",
    "torch",
    "scikit-learn",
    "scikit-image",
    "torchmetrics",
    "anomalib",
    "adeval",
)
ANCHOR_SECONDS = {"MVTec's definition": 0.99, "200-threshold loop": 14.5}  # 100 maps of 256 x 256
MARKERS = ("<!-- benchmark: begin -->", "<!-- benchmark: end -->")


def generated_maps(count: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Score maps and masks: smooth noise, higher on random ellipses; 30 % good images, 1.5 % defect pixels."""
    random = np.random.default_rng(0)
    masks = np.zeros((count, SIZE, SIZE), np.uint8)
    maps = np.empty((count, SIZE, SIZE), np.float32)
    for image in range(count):
        for _ in range(0 if image % 10 < 3 else random.integers(1, 4)):
            centre, axes = random.integers(20, SIZE - 20, 2).tolist(), random.integers(4, 26, 2).tolist()
            cv2.ellipse(masks[image], centre, axes, float(random.integers(180)), 0, 360, 1, -1)
        noise = cv2.GaussianBlur(random.normal(size=(SIZE, SIZE)).astype(np.float32), (0, 0), 4)
        defect = cv2.GaussianBlur(masks[image].astype(np.float32), (0, 0), 3)
        fine = random.normal(size=(SIZE, SIZE)).astype(np.float32)
        maps[image] = 8 * noise + random.normal() * 0.2 + random.uniform(0.5, 4) * defect + 0.02 * fine
    if kind == "quantised":
        maps = np.round((maps - maps.min()) / np.ptp(maps) * 255).astype(np.float32) / 255
    if kind == "saturated":
        maps = (1 / (1 + np.exp(-8 * (maps - 2)))).astype(np.float32)
    return maps, masks


def ours(maps: np.ndarray, masks: np.ndarray) -> Values:
    from prn.metrics import localization_metrics

    return localization_metrics(maps, masks)


def mvtec_definition(maps: np.ndarray, masks: np.ndarray) -> Values:
    """PRO by MVTec's definition: all pixels ranked, running sums of false positives and of overlap, ties closed."""
    from scipy.ndimage import label

    overlap = np.zeros(maps.shape, np.float64)
    negative = np.empty(maps.shape, bool)
    regions = 0
    for image, mask in enumerate(masks):
        labels, count = label(mask, np.ones((3, 3)))
        regions += count
        np.equal(labels, 0, out=negative[image])
        share = 1 / np.bincount(labels.ravel())
        share[0] = 0
        overlap[image] = share[labels]
    ranked, order = falling_order(maps.ravel())
    false_positives = np.cumsum(negative.ravel()[order], dtype=np.uint32)
    good = false_positives[-1]
    limit = 0.3
    end = int(
        np.searchsorted(false_positives, limit * good, side="right")
    )  # what lies beyond the limit counts for nothing
    if end < len(ranked):
        later = ranked[end:] != ranked[end]
        end = end + int(later.argmax()) if later.any() else len(ranked)
    ranked, fpr = ranked[:end], false_positives[:end] / good
    pro = overlap.ravel()[order[:end]]
    np.cumsum(pro, out=pro)
    pro /= regions
    last_of_score = np.append(ranked[1:] != ranked[:-1], True)
    fpr, pro = np.append(0, fpr[last_of_score]), np.append(0, pro[last_of_score])
    inside = fpr <= limit
    fpr, pro = np.append(fpr[inside], limit), np.append(pro[inside], np.interp(limit, fpr, pro))
    return {"pro": float(np.trapezoid(pro, fpr) / limit)}


def falling_order(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float32 scores from the largest to the smallest as whole numbers that rank like them, and their positions.

    Value and position are sorted as one integer: numpy 2.4 sorts 64-bit integers in 60 % of the time of its argsort,
    and the re-creation should not be slow.
    """
    bits = scores.view(np.uint32)
    ranks = (bits.view(np.int32) >> 31).view(np.uint32)  # all ones for a negative score, whose bits fall as it rises
    ranks |= np.uint32(1 << 31)
    ranks ^= bits
    rising = ranks.astype(np.uint64)
    rising <<= np.uint64(32)
    rising |= np.arange(len(scores), dtype=np.uint32)
    rising.sort()
    low, high = (rising.view(np.uint32)[word::2] for word in ((0, 1) if sys.byteorder == "little" else (1, 0)))
    return high[::-1], low[::-1].astype(np.int64)


def scikit_learn(maps: np.ndarray, masks: np.ndarray) -> Values:
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores, truth = maps.ravel(), masks.ravel()
    return {"pixel_auroc": roc_auc_score(truth, scores), "ap": average_precision_score(truth, scores)}


def torchmetrics(maps: np.ndarray, masks: np.ndarray) -> Values:
    import torch
    from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

    torch.set_num_threads(1)
    scores, truth = torch.from_numpy(maps).flatten(), torch.from_numpy(masks).flatten().int()
    low, high = scores.min(), scores.max()
    if low < 0 or high > 1:  # torchmetrics would apply a sigmoid, which makes ties
        scores = (scores - low) / (high - low)
    return {"pixel_auroc": BinaryAUROC()(scores, truth).item(), "ap": BinaryAveragePrecision()(scores, truth).item()}


def anomalib(maps: np.ndarray, masks: np.ndarray) -> Values:
    import torch
    from anomalib.data import ImageBatch
    from anomalib.metrics import AUPRO

    torch.set_num_threads(1)
    metric = AUPRO(fields=["anomaly_map", "gt_mask"])
    scores, truth = torch.from_numpy(maps), torch.from_numpy(masks)
    metric.update(ImageBatch(image=torch.zeros(len(maps), 3, 1, 1), anomaly_map=scores, gt_mask=truth))
    return {"pro": metric.compute().item()}


def adeval(maps: np.ndarray, masks: np.ndarray) -> Values:
    vars(np).setdefault("trapz", np.trapezoid)  # adeval 1.1.0 calls a name that numpy 2.4 dropped
    from adeval import auroc_aupr_aupro

    auroc, ap, pro = auroc_aupr_aupro(maps, masks)
    return {"pixel_auroc": float(auroc), "ap": float(ap), "pro": float(pro)}


def threshold_loop(maps: np.ndarray, masks: np.ndarray) -> Values:
    """PRO over 200 thresholds: at each one the regions of each mask are found and their overlaps counted anew."""
    from skimage.measure import label, regionprops

    fprs, pros = [], []
    good = 1 - masks
    for threshold in np.linspace(maps.min(), maps.max(), 200, endpoint=False):
        predicted = maps > threshold
        overlaps = []
        for image, mask in zip(predicted, masks, strict=True):
            for region in regionprops(label(mask)):
                rows, columns = region.coords.T
                overlaps.append(image[rows, columns].sum() / region.area)
        pros.append(np.mean(overlaps))
        fprs.append(np.logical_and(good, predicted).sum() / good.sum())
    fpr, pro = np.array(fprs), np.array(pros)
    kept = fpr < 0.3
    return {"pro": float(abs(np.trapezoid(pro[kept], fpr[kept] / fpr[kept].max())))}


PEERS: dict[str, Callable[[np.ndarray, np.ndarray], Values]] = {
    "prn.metrics": ours,
    "MVTec's definition": mvtec_definition,
    "scikit-learn": scikit_learn,
    "torchmetrics": torchmetrics,
    "anomalib AUPRO": anomalib,
    "adeval": adeval,
    "200-threshold loop": threshold_loop,
}


def measure(peer: str, folder: Path, kind: str) -> dict:
    """CPU seconds of up to five calls (one, if it takes long), memory of the first, and the values.

    `folder` holds the maps and masks that all peers get.
    """
    cv2.setNumThreads(1)
    function = PEERS[peer]
    function(*generated_maps(10, kind))
    maps, masks = (np.load(folder / f"{name}.npy") for name in ("maps", "masks"))
    reset_peak()
    before = status_bytes("VmRSS")
    seconds: list[float] = []
    while len(seconds) < 5 and sum(seconds) < LONG_SECONDS:
        start = time.process_time()
        values = function(maps, masks)
        seconds.append(time.process_time() - start)
        if len(seconds) == 1:
            extra = status_bytes("VmHWM") - before
    return {"seconds": seconds, "extra_bytes": extra, "values": values}


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def measured_apart(peer: str, folder: Path, kind: str) -> dict:
    command = [sys.executable, str(Path(__file__)), "--measure", peer, str(folder), kind]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{peer}, {kind} maps: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def run_all(counts: list[int], rounds: int, log: Path | None) -> dict[tuple[int, str, str], dict]:
    """All measurements, the peers taking turns; calls that take long are measured in the first round alone.

    `log` receives each measurement as a line of JSON, so that a run that was stopped says what it had found.
    """
    results: dict[tuple[int, str, str], dict] = {}
    for count in counts:
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                for part, values in zip(("maps", "masks"), generated_maps(count, kind), strict=True):
                    np.save(folder / f"{part}.npy", values)
                for turn in range(rounds):
                    for peer in PEERS:
                        known = results.get((count, kind, peer), {"seconds": []})
                        if turn and sum(known["seconds"]) > LONG_SECONDS * (turn + 1):
                            continue
                        found = measured_apart(peer, folder, kind)
                        if log:
                            with log.open("a", encoding="utf-8") as file:
                                print(json.dumps({"maps": count, "kind": kind, "peer": peer, **found}), file=file)
                        results[count, kind, peer] = {**found, "seconds": known["seconds"] + found["seconds"]}
    return results


def seconds_of(results: dict, count: int, kind: str, peer: str) -> float:
    return statistics.median(results[count, kind, peer]["seconds"])


def counts(results: dict, count: int, peer: str) -> bool:
    """Whether a peer's time may be compared: a re-creation slower than 1.3 times its anchor would make us look good."""
    slowest = max(seconds_of(results, count, kind, peer) for kind in KINDS)
    return slowest <= 1.3 * ANCHOR_SECONDS.get(peer, float("inf")) * count / 100


def table(results: dict, counts: list[int]) -> list[str]:
    """One row a peer, for each number of maps."""
    lines = []
    for count in counts:
        lines += [f"### {count} maps of {SIZE} x {SIZE}", ""]
        lines += ["| peer | gives | CPU seconds: " + " | ".join(KINDS) + " | extra memory, MiB | largest error |"]
        lines += ["|---|---|" + "---:|" * (len(KINDS) + 2)]
        for peer in PEERS:
            cells = [f"{seconds_of(results, count, kind, peer):.3g}" for kind in KINDS]
            memory = max(results[count, kind, peer]["extra_bytes"] for kind in KINDS) / 2**20
            names = ", ".join(results[count, KINDS[0], peer]["values"])
            error = max(largest_error(results, count, kind, peer) for kind in KINDS)
            lines.append(f"| {peer} | {names} | " + " | ".join(cells) + f" | {memory:.0f} | {error:.1g} |")
        lines.append("")
    return lines


def largest_error(results: dict, count: int, kind: str, peer: str) -> float:
    """Largest difference to the exact values: scikit-learn's, and PRO by MVTec's definition."""
    exact = results[count, kind, "scikit-learn"]["values"] | results[count, kind, "MVTec's definition"]["values"]
    return max(abs(value - exact[name]) for name, value in results[count, kind, peer]["values"].items())


def bars(results: dict, numbers: list[int]) -> list[str]:
    """The promised ratios, at their worst over the kinds of maps."""
    lines = ["| bar | promised | " + " | ".join(f"{count} maps" for count in numbers) + " |"]
    lines.append("|---|---|" + "---|" * len(numbers))

    def row(name: str, promised: str, ratio: Callable[[int, str], float], bound: float, at_least: bool) -> None:
        cells = []
        for count in numbers:
            found = [ratio(count, kind) for kind in KINDS]
            worst = min(found) if at_least else max(found)
            holds = worst >= bound if at_least else worst <= bound  # not for NaN: a peer that does not count
            cells.append(f"{worst:.3g} {'holds' if holds else 'FAILS'}")
        lines.append(f"| {name} | {promised} | " + " | ".join(cells) + " |")

    def times(*peers: str) -> Callable[[int, str], float]:
        def ratio(count: int, kind: str) -> float:
            if not all(counts(results, count, peer) for peer in peers):
                return float("nan")
            together = sum(seconds_of(results, count, kind, peer) for peer in peers)
            return together / seconds_of(results, count, kind, "prn.metrics")

        return ratio

    def share(peer: str, what: str) -> Callable[[int, str], float]:
        def ratio(count: int, kind: str) -> float:
            mine, theirs = (np.median(results[count, kind, name][what]) for name in ("prn.metrics", peer))
            return float(mine / theirs)

        return ratio

    row("faster than MVTec's definition + scikit-learn", ">= 20", times("MVTec's definition", "scikit-learn"), 20, True)
    row("faster than anomalib AUPRO alone", ">= 8", times("anomalib AUPRO"), 8, True)
    row("faster than the 200-threshold loop", ">= 50", times("200-threshold loop"), 50, True)
    row("time as a share of adeval's", "<= 1.5", share("adeval", "seconds"), 1.5, False)
    row("memory as a share of MVTec's definition", "<= 0.25", share("MVTec's definition", "extra_bytes"), 0.25, False)
    lines += ["", "Re-creations beside the anchors (CPU seconds, slowest kind of maps):", ""]
    for peer, anchor in ANCHOR_SECONDS.items():
        for count in numbers:
            found, allowed = max(seconds_of(results, count, kind, peer) for kind in KINDS), anchor * count / 100
            verdict = "counts" if counts(results, count, peer) else "over 1.3 times: does not count"
            lines.append(f"- {peer}, {count} maps: {found:.3g} (anchor {allowed:.3g}), {verdict}")
    return lines


def legacy_table(count: int) -> list[str]:
    """Exact PRO beside the legacy columns: the three kinds of maps rank (nearly) alike, so they should score alike."""
    from prn.metrics import legacy_pro

    lines = ["| maps | PRO | RD4AD's 200 thresholds | CFLOW's 1000 thresholds |", "|---|---:|---:|---:|"]
    for kind in KINDS:
        maps, masks = generated_maps(count, kind)
        legacy = legacy_pro(maps, masks)
        values = ours(maps, masks)["pro"], legacy["legacy_pro_rd4ad_200"], legacy["legacy_pro_cflow_1000"]
        lines.append(f"| {kind} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    return lines


def interval_seconds(count: int) -> float:
    """CPU seconds of the bootstrap intervals of pixel AUROC, AP and PRO, 1000 replicates, ranking included."""
    from prn.metrics import localization_intervals

    maps, masks = generated_maps(count, KINDS[0])
    start = time.process_time()
    localization_intervals(maps, masks)
    return time.process_time() - start


def run_card(counts: list[int], rounds: int) -> list[str]:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = [line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    versions = f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    maps = " ".join(str(count) for count in counts)
    return [
        f"- command: `python benchmarks/metrics.py --maps {maps} --rounds {rounds}`, commit {commit.stdout.strip()}",
        f"- finished: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load averages then: {load}",
        f"- processor: {cpu[0]}, {len(cpu)} cores, one thread used; {platform.system()}",
        f"- versions: {versions}",
        f"- maps: generated, {SIZE} x {SIZE}, float32, 30 % of them good, seed 0",
    ]


def write_page(page: Path, lines: list[str]) -> None:
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(MARKERS[0])
    _, found, tail = rest.partition(MARKERS[1])
    if not found:
        raise SystemExit(f"{page} lacks the markers {' and '.join(MARKERS)}")
    page.write_text("\n".join((head + MARKERS[0], "", *lines, "", MARKERS[1] + tail)), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, nargs="+", default=[100, 1000], help="numbers of score maps")
    parser.add_argument("--rounds", type=int, default=3, help="how often the peers take turns")
    parser.add_argument("--page", type=Path, help="Markdown page that receives the table; standard output without")
    parser.add_argument("--log", type=Path, help="file that receives every single measurement as a line of JSON")
    parser.add_argument("--measure", nargs=3, metavar=("PEER", "FOLDER", "KIND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        peer, folder, kind = arguments.measure
        print(json.dumps(measure(peer, Path(folder), kind)))
        return
    results = run_all(arguments.maps, arguments.rounds, arguments.log)
    lines = [*bars(results, arguments.maps), "", *table(results, arguments.maps)]
    for count in arguments.maps:
        lines.append(f"Bootstrap intervals, {count} maps, 1000 replicates: {interval_seconds(count):.2g} CPU seconds.")
    lines += ["", f"### Legacy columns on the same {arguments.maps[0]} maps", "", *legacy_table(arguments.maps[0])]
    lines += ["", "### Run card", ""]
    lines += run_card(arguments.maps, arguments.rounds)
    if arguments.page:
        write_page(arguments.page, lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
