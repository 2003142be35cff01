"""The synthesizer: reproducible, true to its mask, never empty, for random settings and for the edge cases."""

import hashlib
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prn.errors import DataMissing, PrnError, SettingsError
from prn.settings.sections import SynthesisSettings
from prn.synthesis import KINDS, Synthesizer
from prn.synthesis.anomalies import TRIES
from prn.synthesis.visible import PIXELS, Contrast, Site
from tests.unit.synthesis_pictures import HEIGHT, RULE, WIDTH, make, pictures, regions


def pair(low, high, numbers=st.floats):
    return st.tuples(numbers(low, high), numbers(low, high)).map(sorted)


random_settings = st.builds(
    SynthesisSettings,
    heterologous_share=st.floats(0, 1),
    target_area=st.booleans(),
    opacity=pair(0, 1),
    least_change=st.sampled_from([0.0, 8.0, 255.0]),
    least_mask=st.sampled_from([0.0, 2e-4, 0.05]),
    least_pixel_change=st.sampled_from([0.0, 2.5, 8.0, 255.0]),
    augmentations=st.integers(1, 7),
    gamma=pair(0.1, 5),
    solarize=pair(0, 255, st.integers),
    posterize_bits=pair(1, 8, st.integers),
    sharpness=pair(0, 4),
    spatial=st.sampled_from(["one", "all"]),
    rotate_degrees=st.floats(0, 180),
    shear_degrees=st.floats(0, 80),
    shift=st.floats(0, 1),
    grid=st.integers(1, 12),
    homologous_source=st.sampled_from(["any", "same"]),
    homologous_shuffle=st.sampled_from(["permutation", "strips"]),
    perlin_scale_exponents=pair(0, 8, st.integers),
    perlin_threshold=st.floats(0, 1),
    target_area_size=pair(0, 1),
)


@given(
    random_settings, st.sampled_from(KINDS), st.integers(0, 10**9), st.integers(0, 10**6), st.booleans(), st.booleans()
)
@settings(max_examples=100, deadline=None)
def test_mask_and_image_agree(synthesis, kind, epoch, index, grey, whole):
    synthesizer = make(synthesis, rule=None if whole else RULE, grey=grey)
    sample = synthesizer.sample(kind, epoch, index)
    plan, normal = sample.plan, synthesizer.materials.normals[sample.plan.background]
    assert sample.image.dtype == np.uint8 and sample.image.shape == (HEIGHT, WIDTH, 3)
    assert sample.mask.dtype == np.uint8 and set(np.unique(sample.mask)) <= {0, 1}
    assert sample.mask.any()
    unmarked_change = np.abs(sample.image.astype(int) - normal)[sample.mask == 0].mean(axis=1)
    unmarked_limit = synthesis.least_pixel_change if kind == "extended" else 0
    assert ((unmarked_change == 0) | (unmarked_change < unmarked_limit)).all()
    area = np.zeros((HEIGHT, WIDTH), np.uint8)
    area[plan.area.box.slices] = plan.area.mask
    assert not (sample.mask & ~area & 1).any()
    if synthesis.target_area and not whole:
        assert synthesizer.materials.foreground is not None
        assert synthesizer.materials.foreground.masks[plan.background][sample.mask > 0].all()
    assert synthesis.opacity[0] - 1 / 512 <= plan.opacity / 256 <= synthesis.opacity[1] + 1 / 512
    assert len(set(plan.operations)) == synthesis.augmentations
    if grey:
        assert np.array_equal(sample.image[..., 0], sample.image[..., 1])
        assert np.array_equal(sample.image[..., 0], sample.image[..., 2])


@given(
    st.sampled_from(KINDS),
    st.integers(0, 50),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=6),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_a_sample_depends_on_seed_kind_epoch_and_index_alone(kind, epoch, indices, seed):
    images, masks = make(seed=seed).batch(kind, epoch, indices)
    other = make(seed=seed)
    other.batch("simulated", epoch + 1, range(3))
    for position in reversed(range(len(indices))):
        sample = other.sample(kind, epoch, indices[position])
        assert np.array_equal(images[position], sample.image) and np.array_equal(masks[position], sample.mask)


def digests(synthesizer: Synthesizer, kind, epoch: int, count: int) -> list[str]:
    images, masks = synthesizer.batch(kind, epoch, range(count))
    return [hashlib.sha256(i.tobytes() + m.tobytes()).hexdigest() for i, m in zip(images, masks, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_draws_do_not_repeat(kind):
    first = digests(make(), kind, 0, 100)
    assert len(set(first)) == 100
    assert not set(first) & set(digests(make(), kind, 1, 100))
    assert not set(first) & set(digests(make(seed=8), kind, 0, 100))


def test_the_same_bytes_everywhere():
    """Recorded once; a difference on another machine or library version means that trainings cannot be compared."""
    joined = "".join(digests(make(), "extended", 3, 40) + digests(make(), "simulated", 3, 40))
    assert hashlib.sha256(joined.encode()).hexdigest() == GOLDEN


@pytest.mark.parametrize(
    ("share", "heterologous", "homologous", "expected"),
    [(0.5, True, True, 0.5), (0.2, True, True, 0.2), (0.2, True, False, 1), (0.8, False, True, 0), (0, True, True, 0)],
)
def test_the_share_of_each_kind_is_as_set(share, heterologous, homologous, expected):
    synthesizer = make(heterologous_share=share, heterologous=heterologous, homologous=homologous)
    plans = [synthesizer.plan("simulated", 0, index) for index in range(1000)]
    found = np.mean([plan.strategy == "heterologous" for plan in plans])
    assert abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / 1000)
    assert all(synthesizer.plan("extended", 0, index).strategy == "extended" for index in range(10))


def test_backgrounds_sources_and_shapes_are_all_drawn():
    synthesizer = make()
    extended = [synthesizer.plan("extended", 0, index) for index in range(200)]
    simulated = [synthesizer.plan("simulated", 0, index) for index in range(400)]
    assert {plan.background for plan in extended} == {0, 1, 2} == {plan.background for plan in simulated}
    assert {plan.source for plan in extended} == {0, 1}
    assert {plan.source for plan in simulated if plan.strategy == "heterologous"} == {0, 1, 2, 3}
    assert {plan.source for plan in simulated if plan.strategy == "homologous"} == {0, 1, 2}
    assert {plan.area.shape for plan in simulated} == {"circle", "rectangle", "polygon"}
    assert {plan.affine.name for plan in extended if plan.affine} == {"rotate", "shear", "shift"}


# Ranges that make gamma, sharpness and posterize leave an image as it is.
NEUTRAL = {"augmentations": 1, "gamma": [1.0, 1.0], "sharpness": [1.0, 1.0], "posterize_bits": [8, 8]}
NEUTRAL_NAMES = {"gamma", "sharpness", "posterize"}


def neutral_samples(synthesizer: Synthesizer, kind, count: int = 60):
    samples = [synthesizer.sample(kind, 0, index) for index in range(count)]
    chosen = [sample for sample in samples if set(sample.plan.operations) <= NEUTRAL_NAMES]
    assert len(chosen) > count // 5
    return chosen


def assert_blended(sample, normal, anomaly):
    """Equations 4 and 1 in floating point, compared inside the mask."""
    beta = sample.plan.opacity / 256
    expected = (1 - beta) * anomaly.astype(float) + beta * normal.astype(float)
    inside = sample.mask > 0
    assert np.abs(sample.image.astype(float) - expected)[inside].max() <= 0.5


def test_extended_anomalies_follow_equation_4():
    synthesizer = make(**NEUTRAL, rotate_degrees=0.0, shear_degrees=0.0, shift=0.0, target_area=False)
    materials = synthesizer.materials
    for sample in neutral_samples(synthesizer, "extended"):
        assert np.array_equal(sample.mask, materials.seen_masks[sample.plan.source])
        assert_blended(sample, materials.normals[sample.plan.background], materials.seen[sample.plan.source])


def test_heterologous_anomalies_follow_equation_1():
    synthesizer = make(**NEUTRAL, homologous=False)
    materials = synthesizer.materials
    for sample in neutral_samples(synthesizer, "simulated"):
        assert_blended(sample, materials.normals[sample.plan.background], materials.textures[sample.plan.source])


def test_homologous_anomalies_follow_equation_1():
    synthesizer = make(**NEUTRAL, heterologous=False)
    materials = synthesizer.materials
    for sample in neutral_samples(synthesizer, "simulated"):
        source, shuffled = materials.normals[sample.plan.source], np.empty((HEIGHT, WIDTH, 3), np.uint8)
        for target, cell in enumerate(sample.plan.cells.ravel()):
            (row, column), (from_row, from_column) = divmod(target, 8), divmod(int(cell), 8)
            shuffled[row * 5 : row * 5 + 5, column * 7 : column * 7 + 7] = source[
                from_row * 5 : from_row * 5 + 5, from_column * 7 : from_column * 7 + 7
            ]
        assert_blended(sample, materials.normals[sample.plan.background], shuffled)


def test_the_same_normal_unshuffled_changes_nothing():
    synthesizer = make(**NEUTRAL, heterologous=False, homologous_source="same", grid=1, least_change=0.0)
    for sample in neutral_samples(synthesizer, "simulated"):
        assert np.array_equal(sample.image, synthesizer.materials.normals[sample.plan.background])


def mean_change(synthesizer: Synthesizer, sample) -> float:
    """Mean difference to the normal inside the mask, in grey levels."""
    normal = synthesizer.materials.normals[sample.plan.background]
    return float(np.abs(sample.image.astype(int) - normal)[sample.mask > 0].mean())


@pytest.mark.parametrize("kind", KINDS)
def test_anomalies_can_be_seen(kind):
    """Most draws of opacities near 1 change little; the estimate leaves sharpening out and looks at some pixels."""
    faint = {"opacity": [0.8, 1.0]}
    drawn = make(least_change=0.0, **faint), make(least_change=8.0, **faint)
    any_change, visible = ([mean_change(made, made.sample(kind, 0, n)) for n in range(80)] for made in drawn)
    assert np.mean(np.array(any_change) < 7) > 0.3
    assert np.mean(np.array(visible) < 7) < 0.1


def test_the_estimate_of_a_change_is_that_of_the_image():
    for kind in KINDS:
        synthesizer = make(sharpness=[1.0, 1.0])
        for index in range(60):
            sample = synthesizer.sample(kind, 0, index)
            plan = sample.plan
            moved = plan.cells if plan.affine is None else plan.affine
            site = Site(plan.strategy, plan.source, plan.background, plan.box, plan.mask, moved)
            contrast = Contrast(synthesizer.materials, site)
            found = contrast.change(plan.steps, plan.opacity)
            assert found == pytest.approx(mean_change(synthesizer, sample), rel=0.4, abs=3)
            if plan.mask.sum() < PIXELS and plan.affine is None and "sharpness" not in plan.operations:
                assert found == pytest.approx(mean_change(synthesizer, sample), abs=0.5)


def test_pixels_that_hardly_change_can_be_left_unmarked():
    least = 12.5
    whole, visible = make(), make(least_pixel_change=least)
    fewer = 0
    for index in range(60):
        marked, kept = whole.sample("extended", 0, index), visible.sample("extended", 0, index)
        normal = whole.materials.normals[marked.plan.background]
        change = np.abs(marked.image.astype(int) - normal).mean(axis=2)
        expected = (marked.mask > 0) & (change >= least)
        assert np.array_equal(kept.image, marked.image)
        assert np.array_equal(kept.mask > 0, expected if expected.any() else marked.mask > 0)
        fewer += int(kept.mask.sum() < marked.mask.sum())
        simulated = whole.sample("simulated", 0, index), visible.sample("simulated", 0, index)
        assert np.array_equal(simulated[0].mask, simulated[1].mask)
    assert fewer > 30


def test_an_anomaly_that_changes_too_little_everywhere_stays_marked():
    whole, visible = make(), make(least_pixel_change=255.0)
    for index in range(10):
        assert np.array_equal(visible.sample("extended", 0, index).mask, whole.sample("extended", 0, index).mask)


def test_simulated_masks_are_more_than_specks():
    area = HEIGHT * WIDTH
    sizes = [make(least_mask=0.02).plan("simulated", 0, index) for index in range(150)]
    for plan in sizes:
        least = min(round(0.02 * area), int(plan.area.mask.sum()) // 10)
        assert plan.mask.sum() >= least or plan.tries == TRIES
    assert np.mean([plan.tries == TRIES for plan in sizes]) < 0.1
    assert min(make(least_mask=0.0).plan("simulated", 0, index).mask.sum() for index in range(150)) < 0.005 * area


def test_black_defects_count():
    synthesizer = Synthesizer(
        pictures(2, 0),
        np.zeros((1, HEIGHT, WIDTH, 3), np.uint8),
        regions(1),
        [],
        settings=SynthesisSettings(heterologous=False, **NEUTRAL),
        seed=0,
    )
    for sample in neutral_samples(synthesizer, "extended"):
        assert sample.mask.any()
        assert_blended(sample, synthesizer.materials.normals[sample.plan.background], np.zeros((HEIGHT, WIDTH, 3)))


def with_region(mask: np.ndarray, **overrides) -> Synthesizer:
    return Synthesizer(
        pictures(2, 0),
        pictures(1, 50),
        mask[None],
        [],
        settings=SynthesisSettings(heterologous=False, **overrides),
        seed=1,
        foreground=RULE,
    )


def test_a_seen_anomaly_that_covers_the_whole_image():
    synthesizer = with_region(np.ones((HEIGHT, WIDTH), np.uint8))
    for index in range(30):
        sample = synthesizer.sample("extended", 0, index)
        assert 0 < sample.mask.sum() <= sample.plan.area.mask.sum()


def test_a_seen_anomaly_of_a_single_pixel_outside_the_object():
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[0, 0] = 1
    synthesizer = with_region(mask, rotate_degrees=0.0, shear_degrees=0.0, shift=0.0)
    for index in range(30):
        plan = synthesizer.sample("extended", 0, index).plan
        assert plan.fallback and plan.tries == TRIES
        assert plan.mask.sum() == 1 and (plan.box.top, plan.box.left) == plan.area.centre


def test_one_seen_anomaly_one_normal_one_texture():
    synthesizer = Synthesizer(
        pictures(1, 0),
        pictures(1, 50),
        regions(1),
        pictures(1, 9),
        settings=SynthesisSettings(),
        seed=0,
        foreground=RULE,
    )
    for kind in KINDS:
        images, masks = synthesizer.batch(kind, 0, range(20))
        assert images.shape == (20, HEIGHT, WIDTH, 3) and masks.any(axis=(1, 2)).all()


def test_noise_that_never_passes_takes_its_highest_pixel():
    synthesizer = make(perlin_threshold=1.0)
    sample = synthesizer.sample("simulated", 0, 0)
    assert sample.plan.fallback and sample.mask.sum() == 1


def test_noise_that_misses_the_area_takes_the_foreground():
    synthesizer = make(perlin_threshold=0.8, target_area_size=[0.0, 0.0])
    plans = [synthesizer.plan("simulated", 0, index) for index in range(20)]
    fallen = [plan for plan in plans if plan.fallback]
    assert fallen and all(plan.area.shape == "foreground" and plan.mask.any() for plan in fallen)


@pytest.mark.parametrize(("height", "width"), [(32, 90), (96, 33)])
def test_elongated_images(height, width):
    synthesizer = Synthesizer(
        pictures(2, 0, height=height, width=width),
        pictures(1, 50, height=height, width=width),
        regions(1, height, width),
        pictures(2, 100, height=height, width=width),
        settings=SynthesisSettings(spatial="all"),
        seed=3,
        foreground=RULE,
    )
    for kind in KINDS:
        images, masks = synthesizer.batch(kind, 0, range(40))
        assert images.shape == (40, height, width, 3) and masks.any(axis=(1, 2)).all()


def test_grey_categories_get_grey_textures():
    synthesizer = make(grey=True, homologous=False)
    assert not np.array_equal(synthesizer.materials.textures[0][..., 0], synthesizer.materials.textures[0][..., 1])
    images, _ = synthesizer.batch("simulated", 0, range(20))
    assert np.array_equal(images[..., 0], images[..., 1]) and np.array_equal(images[..., 0], images[..., 2])


def test_coverage_is_logged_and_kept(caplog):
    with caplog.at_level(logging.INFO, logger="prn.synthesis.batch"):
        synthesizer = make()
    assert synthesizer.foreground_coverage == pytest.approx(np.mean(pictures(3, 0)[..., 0] > 60), abs=0.02)
    assert f"{100 * synthesizer.foreground_coverage:.1f} %" in caplog.text


def test_textures_may_be_decoded_when_asked():
    class Decoded:
        calls = 0

        def __len__(self):
            return 4

        def __getitem__(self, index):
            Decoded.calls += 1
            return pictures(4, 100)[index, :, ::-1]

    eager, lazy = make(homologous=False), make(homologous=False)
    lazy.materials.textures = Decoded()
    for index in range(10):
        assert np.array_equal(eager.sample("simulated", 0, index).image, lazy.sample("simulated", 0, index).image)
    assert Decoded.calls <= 10


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"normals": np.zeros((0, 8, 8, 3), np.uint8)}, DataMissing, "normal"),
        ({"textures": []}, DataMissing, "synthesis.heterologous"),
        ({"seen": np.zeros((0, HEIGHT, WIDTH, 3), np.uint8), "masks": regions(0)}, DataMissing, "synthesis.extended"),
        ({"masks": np.zeros((2, HEIGHT, WIDTH), np.uint8)}, PrnError, r"\[0, 1\] have an empty mask"),
        ({"masks": regions(1)}, PrnError, "2 seen anomalies have 1 masks"),
        ({"masks": regions(2)[:, 1:]}, PrnError, "masks are"),
        ({"textures": pictures(1, 0)[:, 1:]}, PrnError, "textures are"),
        ({"settings": SynthesisSettings(grid=41)}, SettingsError, "synthesis.grid: found 41"),
    ],
)
def test_what_does_not_fit_is_refused(changes, error, message):
    parts = {
        "normals": pictures(1, 0),
        "seen": pictures(2, 50),
        "masks": regions(2),
        "textures": pictures(1, 9),
        "settings": SynthesisSettings(),
    } | changes
    with pytest.raises(error, match=message):
        Synthesizer(
            parts["normals"], parts["seen"], parts["masks"], parts["textures"], settings=parts["settings"], seed=0
        )


def test_kinds_that_are_switched_off_are_refused():
    with pytest.raises(SettingsError, match=r"synthesis\.extended is off"):
        make(extended=False).sample("extended", 0, 0)
    with pytest.raises(SettingsError, match=r"synthesis\.heterologous"):
        make(heterologous=False, homologous=False).sample("simulated", 0, 0)


def test_switched_off_kinds_need_no_sources():
    synthesizer = make(extended=False, seen=0)
    assert synthesizer.sample("simulated", 0, 0).mask.any()


GOLDEN = "2f0be65408e33bf943f48e7f09eabb4079d38fcd75667d23ad3dbaad34509b8c"
