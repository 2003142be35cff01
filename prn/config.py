"""Typed settings of `params.yaml`. The defaults here are the paper's, and a test keeps them equal to that file.

A *variant* is a named set of overrides over the defaults; what a stage sees of the settings is its view (`prn.views`).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from prn.errors import DataMissing, SettingsError
from prn.strict import Range, from_plain, suggestion, to_plain, with_fields

Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0, open_low=True)]
NotNegative = Annotated[float, Range(0)]
Count = Annotated[int, Range(0)]
AtLeastOne = Annotated[int, Range(1)]


@dataclass(frozen=True, slots=True)
class DatasetRun:
    """Which categories of a data set are run with which variants."""

    categories: list[str]
    variants: list[str]


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """What is run."""

    preset: str = "full"
    generated_images: bool = False
    seeds: list[Count] = field(default_factory=lambda: [42, 43, 44])
    datasets: dict[str, DatasetRun] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """Where a data set comes from instead of the registry: an address, a folder of archives, an extracted folder."""

    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How the images and masks of a data set of one's own are read."""

    mask_rule: Literal["auto", "label_map", "half"] = "auto"
    mask_background: Annotated[int, Range(0, 65535)] | None = None
    orphan_masks: Literal["error", "ignore"] = "error"
    empty_masks: Literal["keep", "unmasked", "leave_out"] = "keep"
    image_bits: Annotated[int, Range(9, 16)] | None = None
    types: dict[str, Literal["good", "defect"]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WeightsSettings:
    """Where the ImageNet weights come from."""

    path: str | None = None
    download: bool = True
    allow_random: bool = False


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """The few-shot split (reference: DRA's general setting; PRN supplement B.1)."""

    seen_anomalies: AtLeastOne = 10
    ksdd2_train_anomalies: Literal["drop", "pool"] = "drop"


@dataclass(frozen=True, slots=True)
class TensorSettings:
    """The working size."""

    size: Annotated[int, Range(32)] = 256

    def check(self, path: str) -> None:
        """Sizes that are no multiple of 32 cannot pass the encoder's five halvings."""
        if self.size % 32:
            raise SettingsError(f"{path}.size: found {self.size}, expected a multiple of 32")


@dataclass(frozen=True, slots=True)
class PrototypeSettings:
    """K-means over whole feature maps (paper 3.1)."""

    ratio: Annotated[float, Range(0, 1, open_low=True)] = 0.1
    max_iterations: AtLeastOne = 300
    precision: Literal["float32", "float16"] = "float32"


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The network (paper 3.1-3.3)."""

    backbone: Literal["resnet18", "resnet34", "resnet50", "wide_resnet50_2", "vgg16"] = "resnet18"
    layer4: Literal["trainable", "frozen"] = "trainable"
    prototypes: bool = True
    fusion: bool = True
    attention: bool = True
    residual: Literal["absolute", "squared"] = "absolute"
    fusion_shared: bool = False
    fusion_norm: bool = True
    upsample_align_corners: bool = False
    attention_projection: Literal["grouped", "elementwise", "full"] = "grouped"
    attention_scale: Literal["dim", "sqrt"] = "dim"
    attention_shortcut: Literal["input", "heads"] = "input"
    attention_layers: AtLeastOne = 3
    initial_probability: Annotated[float, Range(0.001, 0.999)] = 0.5


@dataclass(frozen=True, slots=True)
class SynthesisSettings:
    """Online anomalies (paper 3.4, supplement A)."""

    extended: bool = True
    heterologous: bool = True
    homologous: bool = True
    target_area: bool = True
    heterologous_share: Share = 0.5
    opacity: list[Share] = field(default_factory=lambda: [0.2, 0.8])
    least_change: Annotated[float, Range(0, 255)] = 8.0
    least_mask: Share = 2e-4
    least_pixel_change: Annotated[float, Range(0, 255)] = 0.0
    augmentations: Annotated[int, Range(1, 7)] = 2
    gamma: list[Positive] = field(default_factory=lambda: [0.5, 2.0])
    solarize: list[Count] = field(default_factory=lambda: [32, 128])
    posterize_bits: list[Annotated[int, Range(1, 8)]] = field(default_factory=lambda: [2, 6])
    sharpness: list[NotNegative] = field(default_factory=lambda: [0.5, 2.0])
    spatial: Literal["one", "all"] = "one"
    rotate_degrees: NotNegative = 90.0
    shear_degrees: Annotated[float, Range(0, 80)] = 40.0
    shift: Share = 0.5
    grid: AtLeastOne = 8
    homologous_source: Literal["any", "same"] = "any"
    homologous_shuffle: Literal["permutation", "strips"] = "permutation"
    perlin_scale_exponents: list[Annotated[int, Range(0, 8)]] = field(default_factory=lambda: [0, 6])
    perlin_threshold: Share = 0.5
    target_area_size: list[Share] = field(default_factory=lambda: [0.15, 0.60])
    foreground: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def check(self, path: str) -> None:
        """Ranges are low-high pairs, some kind of anomaly is made, foreground rules are known."""
        for name in (
            "opacity",
            "gamma",
            "solarize",
            "posterize_bits",
            "sharpness",
            "perlin_scale_exponents",
            "target_area_size",
        ):
            pair = getattr(self, name)
            if len(pair) != 2 or pair[0] > pair[1]:
                raise SettingsError(f"{path}.{name}: found {pair}, expected two numbers, the lower first")
        if not (self.extended or self.heterologous or self.homologous):
            raise SettingsError(f"{path}: extended, heterologous and homologous are all off; training needs one kind")


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Images in a training step by kind."""

    normal: AtLeastOne = 32
    extended: Count = 16
    simulated: Count = 16


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Optimisation (paper 3.5, 4.1)."""

    shots: AtLeastOne = 10
    epochs: AtLeastOne = 700
    steps: AtLeastOne | None = None
    batch: BatchSettings = field(default_factory=BatchSettings)
    micro_batch: AtLeastOne | None = None
    raw_seen_share: Share = 0.0
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: Positive = 1e-4
    weight_decay: NotNegative = 1e-2
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: Count = 0
    focal_weight: NotNegative = 5.0
    focal_alpha: Share = 0.5
    focal_gamma: NotNegative = 4.0
    smooth_l1_beta: Positive = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    channels_last: bool = True
    acceleration: Literal["auto", "none", "compile", "cuda_graphs"] = "auto"
    threads: AtLeastOne = 2
    precise_norm_batches: Count = 32
    checkpoint_minutes: Positive = 5.0
    checkpoint_precision: Literal["float32", "float16"] = "float32"


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """From a score map to an image score, and how the time an image takes is measured."""

    top_pixels: AtLeastOne = 100
    batch_size: AtLeastOne = 32
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    channels_last: bool = True
    acceleration: Literal["auto", "none", "compile", "cuda_graphs"] = "auto"
    timing_repeats: AtLeastOne = 20
    threads: AtLeastOne = 1


class MethodSections(dict[str, Any]):
    """`methods`: by method its own settings, typed by the dataclass that its entry names (`prn.methods.settings`)."""

    @classmethod
    def from_plain(cls, data: Any, path: str, partial: bool) -> "MethodSections":
        """Sections from plain data; with `partial` those that it holds, else all, with their defaults.

        Raises `SettingsError` for a section that belongs to no method and where `prn.strict.from_plain` does.
        """
        from prn.methods import METHODS

        if not isinstance(data, Mapping):
            raise SettingsError(f"{path}: found {data!r}, expected a section with keys")
        kinds = {name: entry.options for name, entry in METHODS.items() if entry.options is not None}
        for name in data:
            if name not in kinds:
                raise SettingsError(f"{path}.{name}: no method has such settings; {suggestion(str(name), kinds)}")
        names = data if partial else kinds
        return cls(
            {name: from_plain(kinds[name], data.get(name, {}), f"{path}.{name}", partial) for name in sorted(names)}
        )

    @classmethod
    def defaults(cls) -> "MethodSections":
        """Every method's settings as its own paper has them."""
        return cls.from_plain({}, "methods", partial=False)


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """Metrics (paper 4.1; reference for PRO: MVTec's own definition)."""

    fpr_limit: Annotated[float, Range(0, 1, open_low=True)] = 0.3
    resolution: Literal["working", "original"] = "working"
    bootstrap: Count = 1000
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What the pages show."""

    tolerance: NotNegative = 1.0
    figure_rows: AtLeastOne = 6
    credits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of `params.yaml`."""

    benchmark: BenchmarkSettings = field(default_factory=BenchmarkSettings)
    download: DownloadSettings = field(default_factory=DownloadSettings)
    index: IndexSettings = field(default_factory=IndexSettings)
    weights: WeightsSettings = field(default_factory=WeightsSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    tensors: TensorSettings = field(default_factory=TensorSettings)
    prototypes: PrototypeSettings = field(default_factory=PrototypeSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    synthesis: SynthesisSettings = field(default_factory=SynthesisSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    predict: PredictSettings = field(default_factory=PredictSettings)
    methods: MethodSections = field(default_factory=MethodSections.defaults)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    method: str = "prn"
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)


# Sections that a variant may override.
VARIANT_SECTIONS = ("method", "prototypes", "model", "synthesis", "train", "predict", "methods")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file as plain data.

    Raises `DataMissing` when it is not there, `SettingsError` when it is not YAML or no mapping.
    """
    file = Path(path)
    if not file.is_file():
        raise DataMissing(f"{file}: no such settings file")
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{file}: found {type(data).__name__}, expected sections with keys")
    return data


def merged(base: Mapping[str, Any], *overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with each of `overrides` laid over it, section by section; lists and scalars are replaced."""
    result = copy.deepcopy(dict(base))
    for override in overrides:
        for key, value in override.items():
            if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
                result[key] = merged(result[key], value)
            else:
                result[key] = copy.deepcopy(value)
    return result


def load_settings(*paths: str | Path) -> Settings:
    """Settings from `params.yaml` and presets laid over it in order, checked as a whole (see `check_settings`)."""
    return parse_settings(merged({}, *(read_yaml(path) for path in paths)))


def parse_settings(data: Mapping[str, Any]) -> Settings:
    """Typed settings from plain data.

    Raises `SettingsError` with the key's path for an unknown key, a wrong type or range, an unknown data set,
    category, method or variant, or a variant whose overrides are not valid.
    """
    settings = from_plain(Settings, data)
    check_settings(settings)
    return settings


def check_settings(settings: Settings) -> None:
    """Everything that concerns more than one key; called by `parse_settings`."""
    from prn.datasets.registry import category_names, dataset_names
    from prn.methods import METHODS

    for name in settings.download.sources:
        if name not in (*dataset_names(), *settings.benchmark.datasets):
            raise SettingsError(f"download.sources.{name}: unknown data set; {suggestion(name, dataset_names())}")
    own = [name for name in settings.benchmark.datasets if name not in dataset_names()]
    for name in set(settings.report.credits).difference(own):
        raise SettingsError(f"report.credits.{name}: no data set of your own here; {suggestion(name, own)}")
    for name, run in settings.benchmark.datasets.items():
        path = f"benchmark.datasets.{name}"
        if name not in dataset_names() and name not in settings.download.sources:
            raise SettingsError(
                f"{path}: unknown data set; {suggestion(name, dataset_names())}"
                " (a data set of your own needs its folder under download.sources)"
            )
        known = category_names(name) if name in dataset_names() and name not in settings.download.sources else None
        for category in run.categories:
            if known is not None and category not in known:
                raise SettingsError(f"{path}.categories: unknown category {category!r}; {suggestion(category, known)}")
        for variant in run.variants:
            if variant not in settings.variants:
                hint = suggestion(variant, settings.variants)
                raise SettingsError(f"{path}.variants: unknown variant {variant!r}; {hint}")
    for name in settings.variants:
        resolved = resolve_variant(settings, name)
        if resolved.method not in METHODS:
            raise SettingsError(
                f"variants.{name}.method: found {resolved.method!r}; {suggestion(resolved.method, METHODS)}"
            )
        if resolved.train.shots > settings.split.seen_anomalies:
            raise SettingsError(
                f"variants.{name}: train.shots is {resolved.train.shots}, but split.seen_anomalies is only"
                f" {settings.split.seen_anomalies}"
            )


def resolve_variant(settings: Settings, variant: str) -> Settings:
    """The settings with the variant's overrides laid over them.

    Raises `SettingsError` for an unknown variant or an override outside `VARIANT_SECTIONS`.
    """
    if variant not in settings.variants:
        raise SettingsError(f"variants: unknown variant {variant!r}; {suggestion(variant, settings.variants)}")
    overrides = settings.variants[variant] or {}
    for section in overrides:
        if section not in VARIANT_SECTIONS:
            hint = suggestion(section, VARIANT_SECTIONS)
            raise SettingsError(f"variants.{variant}.{section}: a variant cannot override this; {hint}")
    try:
        sections = {section: to_plain(getattr(settings, section)) for section in overrides}
        changed = from_plain(Settings, merged(sections, overrides))
    except SettingsError as error:
        raise SettingsError(f"variants.{variant}: {error}") from error
    return with_fields(settings, **{section: getattr(changed, section) for section in overrides})
