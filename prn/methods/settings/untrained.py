"""The untrained control's entry; it has no settings of its own."""

from prn.methods.entry import MethodEntry

METHODS = {
    "untrained": MethodEntry(
        "prn.methods.untrained", reads=("model.backbone", "prototypes"), backbone=True, prototypes=True
    )
}
