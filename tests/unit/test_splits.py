"""The few-shot split: the draw against NumPy's published sequence, the rules of each set, no leakage (R13, R14)."""

import dataclasses
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prn.datasets.images import build_tensors
from prn.datasets.index import build_index
from prn.datasets.rows import IndexRow
from prn.errors import DataCorrupt, DataMissing, SettingsError
from prn.splits import load_split, make_split, save_split, shots
from tests.unit.archive_builders import dagm_tree, encoded, ksdd2_tree, mvtec_tree, write_tree

# np.random.seed(42); np.random.permutation(10), as printed in countless tutorials
ORDER_OF_TEN = [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]


def row(path, split="test", label=1, mask="m.png", digest=None, area=5):
    name = digest or path
    return IndexRow(path, split, "bent" if label else "good", label, mask if label else "", 8, 8, name, name, area)


def category(train=4, good=3, bad=10):
    rows = [row(f"cup/train/good/{i:03}.png", "train", 0) for i in range(train)]
    rows += [row(f"cup/test/good/{i:03}.png", label=0) for i in range(good)]
    return rows + [row(f"cup/test/bent/{i:03}.png") for i in range(bad)]


def test_the_draw_is_numpys_legacy_shuffle_of_the_sorted_paths():
    rows = category(bad=10)
    random.Random(1).shuffle(rows)
    split = make_split(rows, "mvtec", "cup", 42, seen_anomalies=9)
    assert split.seen == [f"cup/test/bent/{i:03}.png" for i in ORDER_OF_TEN[:9]]
    assert split.test == ["cup/test/bent/006.png"] + [f"cup/test/good/{i:03}.png" for i in range(3)]
    assert split.train_normal == [f"cup/train/good/{i:03}.png" for i in range(4)]


def test_all_types_are_drawn_from_together_in_posix_order():
    rows = category(bad=0)
    names = ["cup/test/B/0.png", "cup/test/a/0.png", "cup/test/a/1.png", "cup/test/a.b/0.png", "cup/test/ä/0.png"]
    names += [f"cup/test/z/{i}.png" for i in range(5)]
    rows += [row(name) for name in names]
    in_order = ["cup/test/B/0.png", "cup/test/a.b/0.png", "cup/test/a/0.png", "cup/test/a/1.png"]
    in_order += [f"cup/test/z/{i}.png" for i in range(5)] + ["cup/test/ä/0.png"]
    split = make_split(rows, "mvtec", "cup", 42, seen_anomalies=9)
    assert split.seen == [in_order[i] for i in ORDER_OF_TEN[:9]]


def test_a_decomposed_umlaut_sorts_like_a_composed_one():
    names = [f"cup/test/bent/{name}.png" for name in ("a", "ä", "b", "o", "z")]
    composed = make_split(category(bad=0) + [row(name) for name in names], "mvtec", "cup", 1, 3).seen
    decomposed = [name.replace("ä", "a\u0308") for name in names]
    drawn = make_split(category(bad=0) + [row(name) for name in decomposed], "mvtec", "cup", 1, 3).seen
    assert [name.replace("a\u0308", "ä") for name in drawn] == composed


@pytest.mark.parametrize("count", [1, 5, 9])
def test_fewer_shots_are_a_prefix_and_share_the_test_set(count):
    split = make_split(category(bad=20), "mvtec", "cup", 43)
    assert len(split.seen) == 10
    assert shots(split, count) == split.seen[:count]
    with pytest.raises(SettingsError, match="11 seen anomalies are asked for, the split holds 10"):
        shots(split, 11)


def test_seeds_differ_and_repeat():
    rows = category(bad=30)
    splits = {seed: make_split(rows, "mvtec", "cup", seed) for seed in (42, 43, 44)}
    assert len({tuple(split.seen) for split in splits.values()}) == 3
    assert make_split(rows, "mvtec", "cup", 43) == splits[43]


def test_dagm_moves_its_training_anomalies_to_the_test_set(tmp_path):
    rows = build_index("dagm", write_tree(dagm_tree(), tmp_path), "Class1")
    split = make_split(rows, "dagm", "Class1", 42, seen_anomalies=2)
    assert split.moved == ["Class1/Train/0002.PNG", "Class1/Train/0004.PNG"]
    assert split.train_normal == ["Class1/Train/0001.PNG", "Class1/Train/0003.PNG"]
    defects = {"Class1/Test/0001.PNG", "Class1/Train/0002.PNG", "Class1/Train/0004.PNG"}
    assert set(split.seen) < defects
    assert set(split.test) == (defects - set(split.seen)) | {"Class1/Test/0002.PNG", "Class1/Test/0003.PNG"}


def test_ksdd2_drops_its_training_anomalies_or_pools_them(tmp_path):
    rows = build_index("ksdd2", write_tree(ksdd2_tree(), tmp_path), "ksdd2")
    dropped = make_split(rows, "ksdd2", "ksdd2", 42, seen_anomalies=1)
    assert dropped.dropped == {"train/10001.png": "a training anomaly of KolektorSDD2"}
    assert set(dropped.seen) | set(dropped.test) == {f"test/{20000 + i}.png" for i in range(4)}
    pooled = make_split(rows, "ksdd2", "ksdd2", 42, seen_anomalies=1, ksdd2_train_anomalies="pool")
    assert pooled.dropped == {}
    assert pooled.moved == ["train/10001.png"]
    assert set(pooled.seen) | set(pooled.test) == {f"test/{20000 + i}.png" for i in range(4)} | {"train/10001.png"}


def test_an_anomaly_without_a_mask_or_with_an_empty_one_is_never_seen():
    rows = category(bad=0) + [row(f"cup/test/bent/{i:03}.png") for i in range(6)]
    rows += [row(f"cup/test/bent/{i:03}.png", mask="") for i in range(6, 9)]
    rows += [row("cup/test/bent/009.png", area=0)]
    split = make_split(rows, "mvtec", "cup", 42, seen_anomalies=5)
    assert split.seen == [f"cup/test/bent/{i:03}.png" for i in (1, 5, 0, 2, 4)]  # ORDER_OF_TEN without 6 to 9
    assert split.note == "3 of 10 anomalies have no mask: pixel metrics are n/a"
    assert "cup/test/bent/007.png" in split.test


def test_without_any_mask_nothing_is_seen_and_the_note_says_why():
    rows = category(bad=0) + [row(f"cup/test/bent/{i:03}.png", mask="") for i in range(12)]
    split = make_split(rows, "mvtec", "cup", 42)
    assert split.seen == []
    assert len(split.test) == 15
    assert "no anomaly has a mask" in split.note
    with pytest.raises(SettingsError, match="no anomaly has a mask"):
        shots(split, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (category(bad=9), "10 seen anomalies are asked for, the test set has 9"),
        (category(bad=10), "none is left to test"),
        (category(bad=0), "10 seen anomalies are asked for, the test set has 0"),
        (category(train=0, bad=20), "no normal image left to train on"),
        (category(bad=6) + [row(f"cup/test/z/{i}.png", mask="") for i in range(9)], "only 6 different ones of 15"),
    ],
)
def test_too_few_images_are_an_error_that_says_so(rows, message):
    with pytest.raises(DataMissing, match=message):
        make_split(rows, "mvtec", "cup", 42)


def test_no_shots_at_all_are_possible():
    split = make_split(category(bad=3), "mvtec", "cup", 42, seen_anomalies=0)
    assert (split.seen, len(split.test)) == ([], 6)


def test_an_image_in_train_and_test_is_dropped_from_train_and_counted():
    rows = category(bad=14)
    rows += [row("cup/train/good/900.png", "train", 0, digest="cup/test/good/001.png")]
    rows += [row("cup/train/good/901.png", "train", 0, digest="cup/test/bent/003.png")]
    split = make_split(rows, "mvtec", "cup", 42)
    assert split.dropped == {
        "cup/train/good/900.png": "the same bytes as a test image",
        "cup/train/good/901.png": "the same bytes as a test image",
    }
    assert len(split.train_normal) == 4


def test_a_twin_of_a_seen_anomaly_leaves_the_test_set():
    rows = category(bad=0) + [row(f"cup/test/bent/{i:03}.png", digest=f"h{i // 2}") for i in range(10)]
    split = make_split(rows, "mvtec", "cup", 42, seen_anomalies=3)
    # 8, then 1, then 5; their twins are 9, 0 and 4
    assert split.seen == ["cup/test/bent/008.png", "cup/test/bent/001.png", "cup/test/bent/005.png"]
    assert sorted(split.dropped) == ["cup/test/bent/000.png", "cup/test/bent/004.png", "cup/test/bent/009.png"]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_parts_are_disjoint_by_content_and_hold_everything(data):
    digests = st.integers(0, 25).map(lambda i: f"h{i}")
    rows = []
    for i in range(data.draw(st.integers(12, 40))):
        split = data.draw(st.sampled_from(["train", "test", "test"]))
        label = data.draw(st.integers(0, 1))
        rows.append(row(f"c/{split}/{i:03}.png", split, label, digest=data.draw(digests)))
    dataset = data.draw(st.sampled_from(["mvtec", "dagm", "ksdd2"]))
    count = data.draw(st.integers(1, 4))
    try:
        split = make_split(rows, dataset, "c", data.draw(st.integers(0, 5)), count)
    except DataMissing:
        return
    parts = (split.train_normal, split.seen, split.test)
    hashes = [{split.hashes[path] for path in part} for part in parts]
    assert not (hashes[0] & hashes[1] or hashes[0] & hashes[2] or hashes[1] & hashes[2])
    assert len(split.seen) == len(set(split.seen)) == count
    everything = [*split.train_normal, *split.seen, *split.test, *split.dropped]
    assert sorted(everything) == sorted(r.path for r in rows)
    labels = {r.path: r.label for r in rows}
    assert all(labels[path] == 1 for path in split.seen)
    assert all(labels[path] == 0 for path in split.train_normal)
    assert make_split(rows[::-1], dataset, "c", split.seed, count) == split


def test_the_file_comes_back_and_is_the_same_bytes_every_time(tmp_path):
    split = make_split(category(bad=12), "mvtec", "cup", 42)
    for name in ("a.json", "b.json"):
        save_split(split, tmp_path / "splits" / name)
    assert (tmp_path / "splits/a.json").read_bytes() == (tmp_path / "splits/b.json").read_bytes()
    assert load_split(tmp_path / "splits/a.json") == split
    text = json.loads((tmp_path / "splits/a.json").read_text())
    assert text["version"] == 1
    assert "RandomState" in text["algorithm"]
    assert len(text["seen"]) == 10
    assert set(text["hashes"]) == set(text["train_normal"] + text["seen"] + text["test"])


def test_a_damaged_or_leaking_file_is_refused(tmp_path):
    split = make_split(category(bad=12), "mvtec", "cup", 42)
    path = tmp_path / "s.json"
    save_split(dataclasses.replace(split, test=[*split.test, split.seen[0]]), path)
    with pytest.raises(DataCorrupt, match="in two parts"):
        load_split(path)
    save_split(dataclasses.replace(split, version=2), path)
    with pytest.raises(DataCorrupt, match="version 2, expected 1"):
        load_split(path)
    for text in ("", "{", "[]", '{"seen": []}'):
        path.write_text(text)
        with pytest.raises(DataCorrupt, match=r"s\.json: not a split"):
            load_split(path)
    with pytest.raises(DataMissing, match="absent"):
        load_split(tmp_path / "absent.json")


def test_names_that_differ_in_case_only_are_two_images(tmp_path):
    rows = category(bad=0)
    rows += [row(f"cup/test/{kind}/{i}.png") for kind in ("Bent", "bent") for i in range(5)]
    in_order = [f"cup/test/{kind}/{i}.png" for kind in ("Bent", "bent") for i in range(5)]
    assert make_split(rows, "mvtec", "cup", 42, 9).seen == [in_order[i] for i in ORDER_OF_TEN[:9]]


def test_test_images_replaced_by_noise_change_nothing_that_is_trained_on(tmp_path):
    """R14 as far as data go: the same training normals and seen anomalies, their pixels unchanged."""
    files = mvtec_tree("grid", train=6, good=3, defects={"bent": 14})
    before = write_tree(files, tmp_path / "before")
    rows = build_index("mvtec", before, "grid")
    split = make_split(rows, "mvtec", "grid", 42)
    noise = np.random.default_rng(0)
    for path in split.test:
        files[path] = encoded(noise.integers(0, 255, (12, 16, 3), np.uint8))
    after = write_tree(files, tmp_path / "after")
    rows_after = build_index("mvtec", after, "grid")
    split_after = make_split(rows_after, "mvtec", "grid", 42)
    assert (split_after.train_normal, split_after.seen, split_after.test) == (
        split.train_normal,
        split.seen,
        split.test,
    )
    tensors, tensors_after = build_tensors(rows, before, 16), build_tensors(rows_after, after, 16)
    used = tensors.index_of(split.train_normal + split.seen)
    assert (tensors.images[used] == tensors_after.images[used]).all()
    assert (tensors.masks[used] == tensors_after.masks[used]).all()
    unused = tensors.index_of(split.test)
    assert not (tensors.images[unused] == tensors_after.images[unused]).all()
