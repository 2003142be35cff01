"""The sections of `params.yaml`, one model each. The defaults are the paper's; a test keeps that file equal to them.

A field's description is the comment of its key in `params.yaml`, word for word (a test compares them).
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator, with_config
from typing_extensions import TypedDict

from prn.settings.fields import (
    AtLeastOne,
    Count,
    DatasetName,
    Distinct,
    GreyLevels,
    Name,
    NotNegative,
    OddUpTo31,
    Pair,
    Positive,
    PositiveShare,
    Section,
    Seeds,
    Share,
    Side,
    WrongValue,
)
from prn.settings.methods import METHODS, MethodSections
from prn.settings.validation import suggestion

Precision = Literal["auto", "float32", "bfloat16"]
StoredPrecision = Literal["float32", "float16"]
Acceleration = Literal["auto", "none", "compile", "cuda_graphs"]


class DatasetRun(Section):
    """Which categories of a data set are run with which variants."""

    categories: Distinct[Name] = Field(description="as published; for a data set of your own, its folders")
    variants: Distinct[Name] = Field(description="keys of `variants`")


class BenchmarkSettings(Section):
    """What is run."""

    preset: str = Field("full", description="the name of this set of settings, shown on every page")
    generated_images: bool = Field(
        False, description="true marks a run on generated images: its pages say so and compare with nothing published"
    )
    seeds: Seeds = Field([42, 43, 44], description="one seed drives the split's shuffle and the training; 42 is DRA's")
    datasets: dict[DatasetName, DatasetRun] = Field(
        default_factory=dict, description="which categories of a data set are run with which variants"
    )


class DownloadSettings(Section):
    """Where a data set comes from instead of the registry."""

    sources: dict[DatasetName, str] = Field(
        default_factory=dict,
        description="by data set: an address, a folder that holds the archives, or a folder with the extracted data",
    )


class IndexSettings(Section):
    """How the images and masks of a data set of one's own are read (docs/own_data.md)."""

    mask_rule: Literal["auto", "label_map", "half"] = Field(
        "auto",
        description="auto | label_map | half; auto: a mask of up to 32 levels is a label map (all but its background is"
        " defect), one of more has soft borders (above half of its maximum is defect)",
    )
    mask_background: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None,
        description="grey level of a mask's background (0 black, 255 white in 8 bits); null: black, and a mask that"
        " holds no black or looks inverted is refused",
    )
    orphan_masks: Literal["error", "ignore"] = Field("error", description="error | ignore: masks that match no image")
    types: dict[str, Literal["good", "defect"]] = Field(
        default_factory=dict,
        description="a folder's or a CSV's type -> good | defect, where its name does not say (pass, clean, gut, ...);"
        " example: {pass: good}",
    )
    empty_masks: Literal["keep", "unmasked", "leave_out"] = Field(
        "keep",
        description="keep | unmasked | leave_out: a defect whose mask marks nothing stays as it is, counts as a defect"
        " without a mask, or is left out",
    )
    image_bits: Annotated[int, Field(ge=9, le=16)] | None = Field(
        None,
        description="bits that a camera fills of a 16-bit image (9 to 16), so that 12-bit images are not read as nearly"
        " black; null: all 16",
    )


class WeightsSettings(Section):
    """Where the ImageNet weights come from."""

    path: str | None = Field(
        None,
        description="a .safetensors or torchvision .pth file, or a folder of such; else data/weights/; else"
        " torchvision's download",
    )
    download: bool = Field(True, description="false: never ask torchvision to download")
    allow_random: bool = Field(
        False, description="true: go on with random features where no weights can be had (the demo only)"
    )


class SplitSettings(Section):
    """The few-shot split (reference: DRA's general setting; PRN supplement B.1)."""

    seen_anomalies: AtLeastOne = Field(
        10, description="drawn from the test set's anomalies of all types, and removed from the test set"
    )
    ksdd2_train_anomalies: Literal["drop", "pool"] = Field(
        "drop", description="drop | pool: what becomes of KolektorSDD2's 246 training anomalies (paper: unstated)"
    )


class TensorSettings(Section):
    """The working size (paper 4.1)."""

    size: Side = Field(256, description="pixels; images are resized straight to size x size, a multiple of 32")


class PrototypeSettings(Section):
    """K-means over whole feature maps (paper 3.1)."""

    ratio: PositiveShare = Field(0.1, description="prototypes as a share of the normal training images")
    max_iterations: AtLeastOne = Field(300, description="of k-means")
    precision: StoredPrecision = Field(
        "float32",
        description="float32 | float16: how the prototypes are stored; half moves no metric by 0.001 points"
        " (benchmarks/prototypes.md)",
    )


class ModelSettings(Section):
    """The network (paper 3.1-3.3)."""

    backbone: Literal["resnet18", "resnet34", "resnet50", "wide_resnet50_2", "vgg16"] = Field(
        "resnet18", description="resnet18 | resnet34 | resnet50 | wide_resnet50_2 | vgg16 (KDAD's alone)"
    )
    layer4: Literal["trainable", "frozen"] = Field(
        "trainable", description="trainable | frozen (paper: only layer1-3 are said to be frozen)"
    )
    prototypes: bool = Field(True, description="MP: the residual branch")
    fusion: bool = Field(True, description="MF: multi-scale fusion")
    attention: bool = Field(True, description="MSA: multi-size self-attention")
    residual: Literal["absolute", "squared"] = Field(
        "absolute", description='absolute |a-b| | squared (paper: "element-wise Euclidean distance")'
    )
    fusion_shared: bool = Field(
        False, description='true: one fusion module for features and residuals (paper: "separately")'
    )
    fusion_norm: bool = Field(True, description="BatchNorm inside the fusion (paper: unstated)")
    upsample_align_corners: bool = Field(
        False, description="of the bilinear upsampling, as in PyTorch (paper: unstated)"
    )
    attention_projection: Literal["grouped", "elementwise", "full"] = Field(
        "grouped", description="grouped (1x1 convolutions on a quarter of the channels per head) | elementwise | full"
    )
    attention_scale: Literal["dim", "sqrt"] = Field("dim", description="dim (divide by c^s, as printed) | sqrt")
    attention_shortcut: Literal["input", "heads"] = Field(
        "input",
        description="input | heads: what the residual block after the heads adds: the attention's input (as M2TR) or"
        " the heads",
    )
    attention_layers: AtLeastOne = Field(3, description="attention blocks at each scale")
    initial_probability: Annotated[float, Field(ge=0.001, le=0.999)] = Field(
        0.5,
        description="of a defect, at every pixel, before training: the bias of the last layer (paper: unstated)",
    )


@with_config(ConfigDict(extra="forbid", strict=True))
class ForegroundSettings(TypedDict, total=False):
    """`synthesis.foreground.<data set>.<category>`: the object among the pixels (`prn.synthesis.foreground`).

    What a rule leaves out has the defaults of the code there. It stays as it is written: a stage compares it by value.
    """

    method: Annotated[Literal["whole", "threshold"], Field(description="whole: the object fills the view")]
    channel: Annotated[
        Literal["grey", "red", "green", "blue", "saturation"], Field(description="what is compared with the threshold")
    ]
    threshold: Annotated[int, Field(ge=0, le=255, description="grey levels")]
    side: Annotated[Literal["dark", "bright"], Field(description="the object is darker or brighter than the threshold")]
    blur: Annotated[OddUpTo31, Field(description="side of the median filter before; 1: none")]
    components: Annotated[int, Field(ge=0, description="how many of the largest regions are kept; 0: all")]
    fill_holes: Annotated[bool, Field(description="what a region encloses belongs to it")]


class SynthesisSettings(Section):
    """Online anomalies (paper 3.4, supplement A)."""

    extended: bool = Field(True, description="EA: seen defects, augmented and moved")
    heterologous: bool = Field(True, description="HEA: textures of DTD under Perlin noise")
    homologous: bool = Field(True, description="HOA: shuffled normal images under Perlin noise")
    target_area: bool = Field(
        True, description="TA: anomalies only inside a circle, rectangle or polygon on the foreground"
    )
    heterologous_share: Share = Field(
        0.5, description="of the simulated anomalies, when both kinds are on (paper: unstated)"
    )
    opacity: Pair[Share] = Field(
        [0.2, 0.8], description="beta is uniform in it (paper: unstated; the first author's later work)"
    )
    least_change: GreyLevels = Field(
        8.0,
        description="grey levels, mean over the mask: below it colours and opacity are drawn again; 0: never (paper:"
        " unstated)",
    )
    least_mask: Share = Field(
        2e-4,
        description="share of the image that a simulated mask should cover: 13 pixels of 256 x 256 (paper: unstated)",
    )
    least_pixel_change: GreyLevels = Field(
        0.0,
        description="grey levels, mean over the channels: pixels of an extended anomaly that change by less are not"
        " marked; 0: all are",
    )
    augmentations: Annotated[int, Field(ge=1, le=7)] = Field(
        2, description="of {equalize, solarize, posterize, sharpness, autocontrast, invert, gamma}"
    )
    gamma: Pair[Positive] = Field([0.5, 2.0], description="the operations' ranges (paper: unstated)")
    solarize: Pair[Count] = Field([32, 128], description="grey levels from which on values are inverted")
    posterize_bits: Pair[Annotated[int, Field(ge=1, le=8)]] = Field(
        [2, 6], description="bits of a channel that are kept"
    )
    sharpness: Pair[NotNegative] = Field([0.5, 2.0], description="0: smoothed, 1: unchanged, more: sharpened")
    spatial: Literal["one", "all"] = Field("one", description="one | all of {rotate, shear, shift} (paper: unstated)")
    rotate_degrees: NotNegative = Field(90.0, description="at most, in either direction (paper: unstated)")
    shear_degrees: Annotated[float, Field(ge=0, le=80)] = Field(40.0, description="at most, along x (paper: unstated)")
    shift: Share = Field(0.5, description="at most, in any direction, as a share of the side (paper: unstated)")
    grid: AtLeastOne = Field(8, description="HOA: the normal image is cut into grid x grid cells")
    homologous_source: Literal["any", "same"] = Field("any", description="any | same normal image (paper: unstated)")
    homologous_shuffle: Literal["permutation", "strips"] = Field("permutation", description="permutation | strips")
    perlin_scale_exponents: Pair[Annotated[int, Field(ge=0, le=8)]] = Field(
        [0, 6], description="cells along a side: 2^n"
    )
    perlin_threshold: Share = Field(0.5, description="an anomaly is where the noise is above it")
    target_area_size: Pair[Share] = Field([0.15, 0.60], description="of the side (paper: unstated)")
    foreground: dict[DatasetName, dict[Name, ForegroundSettings]] = Field(
        default_factory=dict,
        description="where the object is; without an entry the whole image: textures, and objects that fill the view",
    )

    @model_validator(mode="after")
    def _makes_anomalies(self) -> "SynthesisSettings":
        if not (self.extended or self.heterologous or self.homologous):
            raise WrongValue("extended, heterologous and homologous are all off; training needs one kind")
        return self


class BatchSettings(Section):
    """Images in a training step by kind (paper 4.1)."""

    normal: AtLeastOne = Field(32, description="normal images")
    extended: Count = Field(16, description="extended anomalies")
    simulated: Count = Field(16, description="heterologous and homologous anomalies")


class TrainSettings(Section):
    """Optimisation (paper 3.5, 4.1)."""

    shots: AtLeastOne = Field(10, description="how many of the ten seen anomalies are used, counted from the first")
    epochs: AtLeastOne = Field(700, description="one epoch is one pass over the normal images")
    steps: AtLeastOne | None = Field(None, description="a number of steps in place of the epochs")
    batch: BatchSettings = Field(default_factory=BatchSettings, description="images in a step by kind")
    micro_batch: AtLeastOne | None = Field(
        None,
        description="images computed at once, in the batch's mix; fewer need less memory (null: the whole batch)",
    )
    raw_seen_share: Share = Field(
        0.0, description="share of the extended anomalies that are the seen images themselves (paper: none)"
    )
    optimizer: Literal["adam", "adamw"] = Field("adam", description="adam (coupled L2) | adamw")
    learning_rate: Positive = Field(1e-4, description="of the optimizer")
    weight_decay: NotNegative = Field(1e-2, description="of the optimizer")
    schedule: Literal["constant", "cosine"] = Field("constant", description="constant | cosine (to 0)")
    warmup_steps: Count = Field(0, description="steps in which the learning rate rises linearly to its value")
    focal_weight: NotNegative = Field(5.0, description="lambda: of the focal loss, beside the smooth L1 loss")
    focal_alpha: Share = Field(0.5, description="alpha: weight of defects; that of other pixels is 1 - alpha")
    focal_gamma: NotNegative = Field(4.0, description="gamma: of the focal loss")
    smooth_l1_beta: Positive = Field(1.0, description="the difference at which the smooth L1 loss turns linear")
    precise_norm_batches: Count = Field(
        32,
        description="training batches from which BatchNorm's statistics are recalibrated at the end; 0: the running"
        " averages stay (paper: unstated)",
    )
    precision: Precision = Field("auto", description="auto (bfloat16 on CUDA, float32 on a CPU) | float32 | bfloat16")
    channels_last: bool = Field(True, description="memory layout of the network; false: the plain one, slower")
    acceleration: Acceleration = Field(
        "auto",
        description="auto (cuda_graphs on a GPU, else none) | none | compile | cuda_graphs; what fails becomes none and"
        " says so",
    )
    threads: AtLeastOne = Field(
        2, description="of one training on a CPU; part of what makes a result repeatable to the byte"
    )
    checkpoint_minutes: Positive = Field(5.0, description="a killed training goes on from its last checkpoint")
    checkpoint_precision: StoredPrecision = Field(
        "float32", description="float32 | float16 (half the disk): how the trained weights are stored"
    )


class PredictSettings(Section):
    """From a score map to an image score (paper 3.5), and how the time an image takes is measured."""

    top_pixels: AtLeastOne = Field(100, description="the image score is the mean of the highest pixels")
    batch_size: AtLeastOne = Field(32, description="images scored at once")
    precision: Precision = Field("auto", description="auto (bfloat16 on CUDA, float32 on a CPU) | float32 | bfloat16")
    channels_last: bool = Field(True, description="memory layout of the network")
    acceleration: Acceleration = Field("auto", description="auto | none | compile | cuda_graphs, as in `train`")
    timing_repeats: AtLeastOne = Field(20, description="batches that are timed after a warm-up")
    threads: AtLeastOne = Field(1, description="on a CPU")


class EvaluateSettings(Section):
    """Metrics (paper 4.1; reference for PRO: MVTec's own definition)."""

    fpr_limit: PositiveShare = Field(
        0.3, description="PRO is integrated up to this false positive rate (paper: cites the work that uses 0.3)"
    )
    resolution: Literal["working", "original"] = Field(
        "working",
        description="working (the paper's 256x256) | original: score maps are resized to each image's own size",
    )
    bootstrap: Count = Field(1000, description="replicates of the confidence intervals; 0: none")
    legacy: bool = Field(False, description="true: also the PRO of RD4AD's and CFLOW's evaluation, for comparison only")


class ReportSettings(Section):
    """What the pages show."""

    tolerance: NotNegative = Field(1.0, description="points within which a measured number counts as the published one")
    figure_rows: AtLeastOne = Field(6, description="images in a category's figure")
    credits: dict[DatasetName, str] = Field(
        default_factory=dict,
        description="a data set of your own -> whose images its pages show, and the licence (published ones are known)",
    )


def _known_method(name: str) -> str:
    if name not in METHODS:
        raise WrongValue(f"found {name!r}; {suggestion(name, METHODS)}")
    return name


class Settings(Section):
    """All of `params.yaml`; `method` is the variants' alone."""

    benchmark: BenchmarkSettings = Field(default_factory=BenchmarkSettings, description="what is run")
    download: DownloadSettings = Field(
        default_factory=DownloadSettings, description="where data sets come from in place of the registry's addresses"
    )
    index: IndexSettings = Field(
        default_factory=IndexSettings,
        description="how one's own images and masks are read (docs/own_data.md); published masks have their own"
        " conventions: the first two keys do not concern them",
    )
    weights: WeightsSettings = Field(
        default_factory=WeightsSettings,
        description="the ImageNet weights of the encoders, found by name: <backbone>*.safetensors, <backbone>-*.pth",
    )
    split: SplitSettings = Field(
        default_factory=SplitSettings, description="paper, supplement B.1: DRA's general setting"
    )
    tensors: TensorSettings = Field(default_factory=TensorSettings, description="the working size (paper 4.1)")
    prototypes: PrototypeSettings = Field(default_factory=PrototypeSettings, description="paper 3.1")
    model: ModelSettings = Field(default_factory=ModelSettings, description="paper 3.1-3.3")
    synthesis: SynthesisSettings = Field(default_factory=SynthesisSettings, description="paper 3.4, supplement A")
    train: TrainSettings = Field(default_factory=TrainSettings, description="paper 3.5, 4.1")
    predict: PredictSettings = Field(default_factory=PredictSettings, description="paper 3.5")
    methods: MethodSections = Field(
        default_factory=MethodSections,
        description="a section a comparison method, with its own paper's values; the backbone is model.backbone of its"
        " variant",
    )
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings, description="paper 4.1")
    report: ReportSettings = Field(default_factory=ReportSettings, description="what the pages show")
    method: Annotated[str, AfterValidator(_known_method)] = Field("prn", description="which method a variant is")
    variants: dict[Name, dict[str, Any]] = Field(
        default_factory=dict,
        description="named overrides over the settings above (of method, prototypes, model, synthesis, train, predict,"
        " methods)",
    )


# Sections that a variant may override.
VARIANT_SECTIONS = ("method", "prototypes", "model", "synthesis", "train", "predict", "methods")
