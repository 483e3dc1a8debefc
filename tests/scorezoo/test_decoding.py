"""Images of every mode; labels of every kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scorezoo.data import load_images
from scorezoo.decoding import decode, to_bytes
from scorezoo.labels import number_labels, parse_labels


def _put(folder, name, image):
    path = folder / "data" / "train" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return folder / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _flat(value, mode="RGB", size=(8, 8)):
    return Image.new(mode, size, value)


def test_deep_grey_keeps_its_range(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    folder = _put(tmp_path, "a.png", Image.fromarray(ramp))
    pixels = load_images(str(folder), progress=False).pixels
    assert pixels.shape == (1, 1, 8, 8)
    assert np.abs(pixels[0, 0].numpy() - ramp / 257).max() <= 0.5


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (_flat(1, "1"), [255]),
        (_flat(77, "L"), [77]),
        (_flat((77, 0), "LA"), [255]),
        (_flat((200, 0, 0, 0), "RGBA"), [255, 255, 255]),
        (_flat((200, 0, 0, 255), "RGBA"), [200, 0, 0]),
        (_flat((200, 0, 0, 51), "RGBA"), [244, 204, 204]),
        (_flat(0.5, "F"), [128]),
        (_flat((255, 0, 0, 0), "CMYK"), [0, 255, 255]),
    ],
)
def test_modes_become_bytes(image, expected):
    array = to_bytes(image)
    assert array.dtype == np.uint8 and array.shape[1:] == (8, 8)
    assert array[:, 0, 0].tolist() == expected


def test_values_without_a_range_are_refused():
    for image in (_flat(7.0, "F"), Image.fromarray(np.full((4, 4), 70000, np.int32))):
        with pytest.raises(ValueError, match="values"):
            to_bytes(image)


def test_mixed_modes_get_three_channels_and_sizes_are_named(tmp_path):
    _put(tmp_path, "a.png", _flat(9, "L"))
    folder = _put(tmp_path, "b.png", _flat((1, 2, 3)))
    pixels = load_images(str(folder), progress=False).pixels
    assert sorted(p[:, 0, 0].tolist() for p in pixels) == [[1, 2, 3], [9, 9, 9]]
    _put(tmp_path, "c.png", _flat((1, 2, 3), size=(8, 9)))
    with pytest.raises(ValueError, match=r"c\.png is 8x9"):
        load_images(str(folder), progress=False)


def test_a_damaged_file_is_named_or_left_out_and_counted(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(3):
        noise = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        folder = _put(tmp_path, f"{k}.png", noise)
    path = folder / "train" / "1.png"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"1\.png"):
        load_images(str(folder), progress=False)
    left = load_images(str(folder), skip_corrupt=True, progress=False)
    assert len(left) == 2
    assert len(left.skipped) == 1 and "1.png" in left.skipped[0]


def test_a_bomb_is_an_error_with_its_name(monkeypatch, tmp_path):
    folder = _put(tmp_path, "big.png", _flat(0, "L", (64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"big\.png.*too many pixels"):
        decode([{"bytes": None, "path": str(folder / "train" / "big.png")}])


def test_numeric_folders_stand_in_numeric_order_and_names_are_kept(tmp_path):
    for k in (0, 2, 10):
        folder = _put(tmp_path, f"{k}/a.png", _flat((k, k, k)))
    data = load_images(str(folder), progress=False)
    assert data.classes == ("0", "2", "10")
    shades = data.pixels[:, 0, 0, 0].tolist()
    assert dict(zip(shades, data.labels.tolist(), strict=True)) == {0: 0, 2: 1, 10: 2}


def test_a_part_of_a_plain_folder_is_held_out_by_what_the_images_are(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(40):
        folder = _put(
            tmp_path, f"{k}.png", Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        )
    parts = [load_images(str(folder), s, holdout=0.25, progress=False) for s in ("train", "test")]
    assert sum(map(len, parts)) == 40
    assert 3 <= len(parts[1]) <= 20
    (folder / "train" / "0.png").rename(folder / "train" / "zzz.png")
    again = load_images(str(folder), "test", holdout=0.25, progress=False)
    seen = [sorted(p.flatten().tolist() for p in part.pixels) for part in (parts[1], again)]
    assert seen[0] == seen[1]
    with pytest.raises(ValueError, match="write --split train"):
        load_images(str(folder), "test", progress=False)


@given(st.lists(st.integers(0, 20) | st.none(), min_size=1))
def test_whole_numbers_stay_what_they_are(values):
    numbers, names = number_labels(values)
    assert numbers == [-1 if v is None else v for v in values]
    assert names == ()


def test_labels_are_never_rounded():
    assert number_labels(["b", "a", None])[0] == [1, 0, -1]
    for wrong in ([0.7, 1.0], ["a", 1], [[1]]):
        with pytest.raises(ValueError, match="label of row"):
            number_labels(wrong)


def test_labels_are_asked_for_by_name_or_number():
    assert parse_labels("all", 3) == [0, 1, 2]
    assert parse_labels("cat, 0", 2, ("dog", "cat")) == [1, 0]
    for wrong in ("bird", "2", "-1", ""):
        with pytest.raises(ValueError, match="labels are all"):
            parse_labels(wrong, 2, ("dog", "cat"))
