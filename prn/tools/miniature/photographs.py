"""The photographs that scikit-image ships in its wheel, pinned by content: what every miniature image is cut from."""

import hashlib
import io
from functools import cache
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from prn.errors import DataCorrupt, DataMissing

# sha256 of the shipped files: other bytes would silently give other images under the same names.
PHOTOGRAPHS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "clock_motion.png": "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "coins.png": "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
    "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    "ihc.png": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    "moon.png": "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "page.png": "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
    "retina.jpg": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    "text.png": "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
}


@cache
def photograph(name: str) -> np.ndarray:
    """A shipped photograph as float64 H x W x C in 0..255, C = 3 (RGB) or 1 (grey). Read-only.

    Raises DataMissing when the installed scikit-image does not ship it, DataCorrupt when its bytes are not the
    pinned ones.
    """
    path = Path(skimage.data.__file__).parent / name
    if not path.is_file():
        raise DataMissing(
            f"{path}: a photograph that scikit-image ships is not there; reinstall scikit-image from its wheel"
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != PHOTOGRAPHS[name]:
        raise DataCorrupt(
            f"{path}: sha256 {found}, expected {PHOTOGRAPHS[name]}; reinstall scikit-image from its wheel"
        )
    image = np.asarray(Image.open(io.BytesIO(content)))
    photo = np.atleast_3d(image).astype(np.float64)
    photo.flags.writeable = False
    return photo
