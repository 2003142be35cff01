"""The methods by name, and a section of settings for each comparison method; loads neither torch nor a method.

A new method is one module here, a line in `METHODS` and a field of `MethodSections`.
"""

from pydantic import Field

from prn.settings.fields import Section
from prn.settings.methods.cfa import CFA, CFASettings
from prn.settings.methods.cflow import CFLOW, CFLOWSettings
from prn.settings.methods.devnet import DEVNET, DevNetSettings
from prn.settings.methods.dra import DRA, DRASettings
from prn.settings.methods.draem import DRAEM, DRAEMSettings
from prn.settings.methods.entry import MethodEntry
from prn.settings.methods.kdad import KDAD, KDADSettings
from prn.settings.methods.ours import COLOUR_THRESHOLD, MEAN_IMAGE, PRN, UNTRAINED
from prn.settings.methods.patchcore import PATCHCORE, PatchCoreSettings
from prn.settings.methods.rd4ad import RD4AD, RD4ADSettings

METHODS: dict[str, MethodEntry] = {
    "prn": PRN,
    "untrained": UNTRAINED,
    "mean_image": MEAN_IMAGE,
    "colour_threshold": COLOUR_THRESHOLD,
    "patchcore": PATCHCORE,
    "cflow": CFLOW,
    "draem": DRAEM,
    "rd4ad": RD4AD,
    "cfa": CFA,
    "devnet": DEVNET,
    "dra": DRA,
    "kdad": KDAD,
}


class MethodSections(Section):
    """`methods`: by method its own settings."""

    patchcore: PatchCoreSettings = Field(
        default_factory=PatchCoreSettings, description="Roth et al., CVPR 2022, through anomalib"
    )
    cflow: CFLOWSettings = Field(
        default_factory=CFLOWSettings, description="Gudovskiy et al., WACV 2022, with anomalib's flows"
    )
    draem: DRAEMSettings = Field(
        default_factory=DRAEMSettings,
        description="Zavrtanik et al., ICCV 2021, with anomalib's networks; also SSPCAB",
    )
    rd4ad: RD4ADSettings = Field(
        default_factory=RD4ADSettings,
        description="Deng and Li, CVPR 2022, with anomalib's bottleneck and decoder",
    )
    cfa: CFASettings = Field(
        default_factory=CFASettings, description="Lee et al., IEEE Access 2022, with anomalib's descriptor"
    )
    devnet: DevNetSettings = Field(
        default_factory=DevNetSettings,
        description="Pang et al., 2021, ours; its anomalies are the first train.shots of the seen ones",
    )
    dra: DRASettings = Field(
        default_factory=DRASettings,
        description="Ding et al., CVPR 2022, ours; its anomalies are the first train.shots of the seen ones",
    )
    kdad: KDADSettings = Field(default_factory=KDADSettings, description="Salehi et al., CVPR 2021, ours; needs VGG-16")
