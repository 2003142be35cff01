r"""Draw what `benchmarks/trajectory.py` wrote: losses in training, in prediction and with recalibrated statistics.

    python benchmarks/trajectory_figure.py --out benchmarks/gpu_pill/trajectory.png \
        "Adam (the paper's)=benchmarks/gpu_pill/pill.prn-light.steps4000.seed42.jsonl" \
        "AdamW=benchmarks/gpu_pill/pill.prn-light-adamw.steps4000.seed42.jsonl"
"""

import argparse
import json
from pathlib import Path

from prn.reporting import style

LINES = {
    "prediction": ("with the running averages", style.VERMILION, "solid"),
    "training": ("as in training", style.BLUE, "solid"),
    "precise": ("with recalibrated statistics", style.BLACK, "dotted"),
}
TOP = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("files", nargs="+", metavar="TITLE=FILE")
    arguments = parser.parse_args()
    with style.figure(4.2 * len(arguments.files), 3.0) as figure:
        panels = figure.subplots(1, len(arguments.files), sharey=True, squeeze=False)[0]
        for axes, entry in zip(panels, arguments.files, strict=True):
            title, file = entry.split("=", 1)
            rows = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]
            steps = [row["step"] for row in rows]
            for name, (label, colour, dashes) in LINES.items():
                values = [row[f"loss_{name}"] for row in rows]
                axes.plot(steps, values, color=colour, linestyle=dashes, label=label)
                for step, value in zip(steps, values, strict=True):
                    if value > TOP:
                        axes.annotate(
                            f"{value:.1f}",
                            (step, TOP),
                            (5, -4),
                            textcoords="offset points",
                            va="top",
                            fontsize=8,
                            color=colour,
                        )
            axes.set(title=title, xlabel="step", yscale="log", ylim=(0.002, TOP))
        panels[0].set_ylabel("loss on coming batches")
        panels[-1].legend(frameon=False)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        style.save(figure, arguments.out)


if __name__ == "__main__":
    main()
