"""Entries of the methods without a section of their own: PRN, the untrained control and the naive baselines."""

from prn.settings.methods.entry import MethodEntry

# PRN's settings are the sections `model`, `prototypes`, `synthesis` and `train`.
PRN = MethodEntry(
    "prn.methods.prn",
    reads=("model", "prototypes", "synthesis", "train"),
    backbone=True,
    prototypes="model.prototypes",
    textures="synthesis.heterologous",
    masks="synthesis.extended",
)
UNTRAINED = MethodEntry("prn.methods.untrained", reads=("model.backbone", "prototypes"), backbone=True, prototypes=True)
MEAN_IMAGE = MethodEntry("prn.methods.naive", "MeanImage")
COLOUR_THRESHOLD = MethodEntry("prn.methods.naive", "ColourThreshold")
