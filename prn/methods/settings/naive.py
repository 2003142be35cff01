"""The naive baselines' entries; they have no settings of their own."""

from prn.methods.entry import MethodEntry

METHODS = {
    "mean_image": MethodEntry("prn.methods.naive", "MeanImage"),
    "colour_threshold": MethodEntry("prn.methods.naive", "ColourThreshold"),
}
