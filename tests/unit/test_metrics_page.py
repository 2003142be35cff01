"""What docs/metrics.md shows runs as it stands there, and `prn.metrics` needs numpy and OpenCV alone."""

import re
import subprocess
import sys

import numpy as np
import pytest

from prn import metrics
from tests.unit.metrics_reference import realistic_images

NEEDED = {"numpy", "cv2"}


@pytest.fixture
def page(project) -> str:
    return (project / "docs/metrics.md").read_text(encoding="utf-8")


def test_the_examples_run_and_give_what_the_page_says(page):
    maps, masks = realistic_images(12, 48)
    labels = masks.any(axis=(1, 2))
    names = {
        **vars(metrics),
        "score_maps": maps,
        "masks": masks,
        "scores": maps.max(axis=(1, 2)),
        "image_scores": maps.max(axis=(1, 2)),
        "labels": labels,
        "types": np.where(labels, "dent", "good").tolist(),
        "paths": range(len(maps)),
        "maps": maps[:, ::2, ::2],
        "read_mask": lambda path: masks[path],
    }
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "docs/metrics.md", "exec"), names)
    assert names["ranking"].metrics() == metrics.localization_metrics(maps, masks)
    assert list(metrics.localization_metrics(maps, masks)) == ["pixel_auroc", "ap", "pro"]


def test_the_page_quotes_the_explanation_of_the_legacy_columns(page):
    quoted = " ".join(line.lstrip("> ") for line in page.splitlines() if line.startswith(">"))
    assert quoted == metrics.LEGACY_EXPLANATION


def test_importing_and_using_it_needs_numpy_and_opencv_alone(project):
    program = f"""
import sys, sysconfig
class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {NEEDED | {"prn"}!r} and top not in sys.stdlib_module_names and not top.startswith("_"):
            raise ImportError("refused: " + name)
sys.meta_path.insert(0, Refuse())
import numpy as np
from prn.metrics import *
maps = np.random.default_rng(0).random((6, 24, 24))
masks = np.zeros(maps.shape, np.uint8)
masks[::2, 4:12, 5:15] = 1
ranking = rank_pixels(maps, masks)
types = ["dent", "good"] * 3
print(localization_metrics(maps, masks), image_auroc(maps.max((1, 2)), masks.max((1, 2))))
print(pro_curve(ranking), metrics_by_type(ranking, types), metrics_by_area(ranking))
print(localization_intervals(maps, masks, replicates=10), resize_score_map(maps[0], 30, 30).shape)
print(operating_points(maps.max((1, 2)), masks.max((1, 2))))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
