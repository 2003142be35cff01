"""Foreground rules: what they find, and what they refuse."""

import dataclasses

import cv2
import numpy as np
import pytest

from prn.errors import SettingsError
from prn.settings.sections import ForegroundSettings, Settings
from prn.settings.validation import validated
from prn.synthesis.foreground import ForegroundRule, find_foregrounds, foreground_mask, foreground_rule

KEY = "synthesis.foreground.mvtec.nut"


def disc(radius: int, value: int = 200, background: int = 20, hole: int = 0) -> np.ndarray:
    image = np.full((64, 80, 3), background, np.uint8)
    cv2.circle(image, (40, 32), radius, (value,) * 3, -1)
    if hole:
        cv2.circle(image, (40, 32), hole, (background,) * 3, -1)
    return image


def truth(radius: int) -> np.ndarray:
    return disc(radius)[..., 0] > 100


@pytest.mark.parametrize("side", ["bright", "dark"])
def test_threshold_finds_the_object(side):
    image = disc(20) if side == "bright" else disc(20, value=20, background=200)
    rule = ForegroundRule("threshold", threshold=100, side=side, blur=1)
    assert np.array_equal(foreground_mask(image, rule) > 0, truth(20))


def test_specks_are_dropped_and_holes_filled():
    image = disc(20, hole=6)
    image[2:5, 2:5] = 255
    cleaned = ForegroundRule("threshold", threshold=100, blur=1)
    assert np.array_equal(foreground_mask(image, cleaned) > 0, truth(20))
    raw = ForegroundRule("threshold", threshold=100, blur=1, components=0, fill_holes=False)
    assert np.array_equal(foreground_mask(image, raw) > 0, image[..., 0] > 100)
    two = ForegroundRule("threshold", threshold=100, blur=1, components=2)
    assert foreground_mask(image, two)[3, 3] == 1


def test_an_object_that_touches_the_border_is_filled_not_lost():
    image = np.full((40, 40, 3), 200, np.uint8)
    image[10:20, 10:20] = 20
    assert foreground_mask(image, ForegroundRule("threshold", threshold=100)).all()


@pytest.mark.parametrize(
    ("channel", "colour"), [("red", (200, 20, 20)), ("blue", (20, 20, 200)), ("saturation", (20, 200, 20))]
)
def test_channels(channel, colour):
    image = np.full((40, 40, 3), 60, np.uint8)
    image[5:25, 5:25] = colour
    mask = foreground_mask(image, ForegroundRule("threshold", channel=channel, threshold=100, blur=1))
    assert mask.sum() == 400 and mask[5:25, 5:25].all()


def test_coverage_and_pixels():
    normals = np.stack([disc(20), disc(12), disc(0, value=20)])
    found = find_foregrounds(normals, ForegroundRule("threshold", threshold=100, blur=1, key=KEY))
    assert found is not None and found.not_found == 1
    assert found.coverage[0] == pytest.approx(truth(20).mean()) and found.coverage[2] == 0
    assert found.masks[2].all()  # an image without a foreground takes the whole image
    pixels = {found.pixel(1, (n + 0.5) / truth(12).sum()) for n in range(truth(12).sum())}
    assert pixels == {(int(y), int(x)) for y, x in zip(*np.nonzero(truth(12)), strict=True)}


def test_whole_and_none_are_the_whole_image():
    normals = disc(10)[None]
    assert find_foregrounds(normals, None) is None
    assert find_foregrounds(normals, ForegroundRule("whole", key=KEY)) is None


@pytest.mark.parametrize(("threshold", "share"), [(250, "0.0 %"), (5, "100.0 %")])
def test_absurd_coverage_names_the_key(threshold, share):
    rule = ForegroundRule("threshold", threshold=threshold, key=KEY)
    with pytest.raises(SettingsError, match=f"{KEY}: .*{share}") as caught:
        find_foregrounds(disc(10)[None], rule)
    assert "threshold" in str(caught.value)


REAL = {
    "bottle": ({"method": "threshold", "threshold": 250, "side": "dark"}, 0.65, "circle"),
    "pill": ({"method": "threshold", "threshold": 100}, 0.40, "ellipse"),
    "toothbrush": ({"method": "threshold", "threshold": 30}, 0.30, None),
    "transistor": ({"method": "threshold", "channel": "saturation", "threshold": 14, "side": "dark"}, 0.21, None),
}


@pytest.mark.real
@pytest.mark.parametrize("category", REAL)
def test_real_objects_are_found(shared_dir, category):
    data, coverage, shape = REAL[category]
    rule = ForegroundRule(**data, key=KEY)
    for path in sorted((shared_dir / "real" / "mvtec" / category / "train" / "good").glob("*.png"))[::10]:
        mask = foreground_mask(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), rule)
        assert mask.mean() == pytest.approx(coverage, abs=0.07)
        if shape:
            contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            ideal = cv2.ellipse(np.zeros_like(mask), cv2.fitEllipse(contours[0]), 1, -1)
            assert (ideal & mask).sum() / (ideal | mask).sum() > 0.97


def given(data) -> Settings:
    return validated(Settings, {"synthesis": {"foreground": {"mvtec": {"nut": data}}}})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"method": "treshold"}, f"{KEY}.method"),
        ({"treshold": 3}, f"{KEY}.treshold: unknown key; did you mean 'threshold'"),
        ({"method": "threshold", "threshold": 300}, f"{KEY}.threshold"),
        ({"side": "left"}, f"{KEY}.side"),
        ({"blur": 4}, f"{KEY}.blur: found 4, expected an odd number"),
        ({"key": "x"}, f"{KEY}.key: unknown key"),
        ("whole", f"{KEY}: found 'whole'"),
    ],
)
def test_a_wrong_rule_names_its_key(data, message):
    with pytest.raises(SettingsError, match=message):
        given(data)


def test_a_rule_of_the_settings_keeps_what_it_says_and_takes_the_rest_from_the_code():
    rules = given({"threshold": 100, "method": "threshold"}).synthesis.foreground
    assert rules == {"mvtec": {"nut": {"threshold": 100, "method": "threshold"}}}
    assert foreground_rule(rules, "mvtec", "nut") == ForegroundRule("threshold", threshold=100, key=KEY)
    assert foreground_rule(rules, "mvtec", "bottle") is None
    fields = {field.name for field in dataclasses.fields(ForegroundRule)}
    assert fields == {*ForegroundSettings.__annotations__, "key"}
