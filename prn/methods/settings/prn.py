"""PRN's entry; its settings are the sections `model`, `prototypes`, `synthesis` and `train`."""

from prn.methods.entry import MethodEntry

METHODS = {
    "prn": MethodEntry(
        "prn.methods.prn",
        reads=("model", "prototypes", "synthesis", "train"),
        backbone=True,
        prototypes="model.prototypes",
        textures="synthesis.heterologous",
        masks="synthesis.extended",
    )
}
