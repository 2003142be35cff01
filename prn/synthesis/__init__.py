"""Anomaly synthesis (paper 3.4, supplement A): extended and simulated anomalies, exactly reproducible."""

from prn.synthesis.batch import KINDS, Sample, Synthesizer, synthesizer_of
from prn.synthesis.foreground import ForegroundRule, foreground_rule

__all__ = ["KINDS", "ForegroundRule", "Sample", "Synthesizer", "foreground_rule", "synthesizer_of"]
