"""The batched device path gives the bytes of the CPU path; on a GPU too, where there is one."""

import numpy as np
import pytest
import torch

from prn.synthesis import KINDS
from prn.synthesis.device import DeviceSynthesizer
from tests.unit.synthesis_pictures import make, pictures

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"grey": True},
        {"spatial": "all", "augmentations": 7, "homologous_shuffle": "strips"},
        {"target_area": False, "grid": 6, "opacity": [0.0, 1.0], "sharpness": [0.0, 4.0]},
        {"least_pixel_change": 12.5},
        {"least_pixel_change": 255.0},
    ],
)
def test_the_device_path_equals_the_cpu_path(device, kind, overrides):
    synthesizer = make(**overrides)
    images, masks = synthesizer.batch(kind, 2, range(40))
    device_images, device_masks = DeviceSynthesizer(synthesizer, device).batch(kind, 2, range(40))
    assert device_images.device.type == device and device_images.dtype == torch.uint8
    assert np.array_equal(device_masks.cpu().numpy(), masks)
    assert np.array_equal(device_images.cpu().numpy(), images)


def test_the_materials_are_not_changed():
    synthesizer = make(grey=True)
    before = np.array(synthesizer.materials.textures)
    DeviceSynthesizer(synthesizer, "cpu").batch("simulated", 0, range(4))
    assert np.array_equal(synthesizer.materials.textures, before)


def test_textures_that_are_no_array_are_refused():
    synthesizer = make()
    synthesizer.materials.textures = list(pictures(2, 1))
    with pytest.raises(TypeError, match="one array"):
        DeviceSynthesizer(synthesizer, "cpu")


def test_without_textures():
    synthesizer = make(heterologous=False, textures=0)
    images, _ = DeviceSynthesizer(synthesizer, "cpu").batch("simulated", 0, range(8))
    assert np.array_equal(images.numpy(), synthesizer.batch("simulated", 0, range(8))[0])
