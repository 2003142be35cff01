"""Every leaf of params.yaml, changed one at a time: which stages of `mvtec/bottle/prn` read it, by a written table."""

import copy
from collections.abc import Iterator

from prn.layout import settings_digest
from prn.settings.loading import parse_settings, read_yaml
from prn.settings.views import VIEWS, view, view_of_prototypes

CELL = ("mvtec", "bottle", "prn")
# The longest prefix counts. What follows a stage reruns through its files and is not listed; the report reads all
# settings that it prints and is listed for those that nothing else reads.
READ_BY = {
    "benchmark": {"report"},
    "download": set(),  # the sources of other data sets
    "download.sources.mvtec": set(),  # a place: what lies there is compared itself
    "index": {"index"},
    "index.image_bits": {"index", "predict"},
    "weights": {"weights"},
    "weights.path": set(),  # likewise
    "split": {"split"},
    "tensors.size": {"tensors", "prototypes", "train", "predict", "evaluate"},
    "prototypes": {"prototypes", "train"},
    "model": {"train"},
    "model.prototypes": {"prototypes", "train"},
    "model.backbone": {"weights", "prototypes", "train"},
    "synthesis": {"train"},
    "synthesis.foreground": set(),  # other categories
    "synthesis.foreground.mvtec.bottle": {"train"},
    "train": {"train"},
    "train.checkpoint_minutes": set(),  # changes no result
    "methods": set(),  # other methods
    "predict": {"predict"},
    "evaluate": {"evaluate"},
    "report": {"report"},
    "variants": set(),  # other variants
    "variants.prn": {"train"},
}
OTHER = {
    "benchmark.preset": "another",
    "download.sources": {"btad": "/elsewhere"},
    "index.mask_rule": "half",
    "index.mask_background": 255,
    "index.orphan_masks": "ignore",
    "index.types": {"pass": "good"},
    "index.empty_masks": "unmasked",
    "index.image_bits": 12,
    "weights.path": "/w.safetensors",
    "split.ksdd2_train_anomalies": "pool",
    "prototypes.precision": "float16",
    "model.backbone": "resnet34",
    "model.layer4": "frozen",
    "model.residual": "squared",
    "model.attention_projection": "full",
    "model.attention_scale": "sqrt",
    "model.attention_shortcut": "heads",
    "synthesis.spatial": "all",
    "synthesis.homologous_source": "same",
    "synthesis.homologous_shuffle": "strips",
    "methods.patchcore.crop": 128,
    "methods.kdad.layers_train": 5,
    "methods.kdad.layers_test": 2,
    "train.shots": 5,
    "split.seen_anomalies": 20,
    "train.steps": 10,
    "train.micro_batch": 16,
    "train.optimizer": "adamw",
    "train.schedule": "cosine",
    "train.precision": "float32",
    "train.acceleration": "compile",
    "train.checkpoint_precision": "float16",
    "predict.precision": "float32",
    "predict.acceleration": "compile",
    "evaluate.resolution": "original",
    "variants.prn": {"model": {"layer4": "frozen"}},
}


def leaves(data: dict, prefix: str = "") -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def changed(params: dict, leaf: str) -> dict:
    """`params` with another valid value at `leaf`."""
    result = copy.deepcopy(params)
    *path, last = leaf.split(".")
    section = result
    for key in path:
        section = section[key]
    section[last] = OTHER[leaf] if leaf in OTHER else _other(leaf, section[last])
    return result


def _other(leaf: str, value):
    if isinstance(value, bool):
        return not value
    if leaf.endswith(".threshold"):  # at most 255
        return value // 2
    if isinstance(value, int):
        return value * 2 if value else 1
    if isinstance(value, float):
        return value / 2 if value else 0.25
    if isinstance(value, list):
        if all(isinstance(one, (int, float)) for one in value) and len(value) == 2:
            return [value[0], value[1] - (value[1] - value[0]) / 4 if isinstance(value[1], float) else value[1] - 1]
        return value[:-1]
    if leaf.endswith(".side"):
        return "bright" if value == "dark" else "dark"
    return None


def digests(settings) -> dict[str, str]:
    found = {stage: settings_digest(view(settings, stage, *CELL)) for stage in VIEWS if stage != "report"}
    found["report"] = settings_digest(view(settings, "report"))
    train = view(settings, "train", variant="prn")
    found["prototypes"] = settings_digest(view_of_prototypes(train)) if "prototypes" in train else "none"
    return found


def expected(leaf: str) -> set[str]:
    prefixes = [prefix for prefix in READ_BY if leaf == prefix or leaf.startswith(f"{prefix}.")]
    return READ_BY[max(prefixes, key=len)]


def test_the_leaves_of_the_settings_rerun_exactly_the_stages_of_the_table(project):
    params = read_yaml(project / "params.yaml")
    # Few variants, so that none forbids the values that others are tried with.
    params["variants"] = {name: params["variants"][name] for name in ("prn", "untrained", "prn-unet")}
    for run in params["benchmark"]["datasets"].values():
        run["variants"] = ["prn", "untrained"]
    params["methods"] = {"patchcore": params["methods"]["patchcore"]}  # one method's section stands for all
    before = digests(parse_settings(params))
    wrong, tried = {}, 0
    for leaf in [*leaves(params), "download.sources.mvtec", "variants.prn"]:
        if leaf.endswith((".method", ".channel")):
            continue  # their other values need other keys beside them
        base = copy.deepcopy(params)
        if leaf == "download.sources.mvtec":
            base["download"]["sources"] = {"mvtec": "/elsewhere"}
            after = digests(parse_settings(base))
        elif leaf.startswith("variants.") and leaf != "variants.prn":
            base["variants"][leaf.split(".")[1]] = {"model": {"fusion_norm": False}}
            after = digests(parse_settings(base))
        elif leaf == "report.credits":
            base["download"]["sources"] = {"own": "/elsewhere"}
            base["benchmark"]["datasets"]["own"] = {"categories": [], "variants": []}
            without = digests(parse_settings(base))
            base["report"]["credits"] = {"own": "me"}
            after = digests(parse_settings(base))
            assert {stage for stage in after if after[stage] != without[stage]} == expected(leaf)
            continue
        else:
            after = digests(parse_settings(changed(base, leaf)))
        read = {stage for stage in after if after[stage] != before[stage]}
        tried += 1
        if read - {"report"} != expected(leaf) - {"report"} or ("report" in expected(leaf) and "report" not in read):
            wrong[leaf] = read
    assert not wrong
    assert tried > 100


def test_an_address_elsewhere_counts_and_a_place_on_this_machine_does_not(project):
    """What lies on this machine is compared by its content; of another machine the address is all that is known."""
    params = read_yaml(project / "params.yaml")

    def view_of_download(source: str) -> dict:
        params["download"] = {"sources": {"mvtec": source}}
        return view(parse_settings(params), "download", "mvtec")

    assert view_of_download("/data/a") == view_of_download("/data/b") == view_of_download("file:archives")
    addresses = [view_of_download(f"https://{host}.example.org/mvtec.tar.xz") for host in ("a", "b")]
    assert addresses[0] != addresses[1]
    assert "sources" not in view_of_download("/data/a")["download"]
