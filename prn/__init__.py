"""PRN (CVPR 2023) as a reproducible anomaly-detection benchmark."""
