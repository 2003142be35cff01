"""Files that cameras, drives and tools leave: what is whole is read, what is not is named with its own reason."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from prn.datasets import decoding
from prn.datasets.decoding import check_memory_for, read_header
from prn.datasets.images import read_image
from prn.errors import DataCorrupt, PrnError

GRAIN = np.random.default_rng(3).integers(0, 256, (64, 48, 3)).astype(np.uint8)


def saved(image, kind="PNG", **options) -> bytes:
    data = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(data, kind, **options)
    return data.getvalue()


def written(tmp_path, data: bytes, name="image.png") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "trailer", [bytes(100_000), b"\xff\xd8\xff\xe0motion", b"\x00\x00\x00\x18ftypmp42" + bytes(70_000)]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_follows_the_end_mark_does_not_matter(tmp_path, kind, trailer):
    data = saved(GRAIN, kind)
    whole = read_image(written(tmp_path, data))
    assert (read_image(written(tmp_path, data + trailer, "trailer.png")) == whole).all()


def with_thumbnail() -> tuple[bytes, int]:
    """A JPEG whose EXIF holds a whole small JPEG, and where that ends."""
    small = saved(GRAIN[:16, :16], "JPEG")
    first = struct.pack(">HHHII", 1, 0x0112, 3, 1, 1 << 16) + struct.pack(">I", 26)
    second = struct.pack(">HHHII", 2, 0x0201, 4, 1, 56) + struct.pack(">HHII", 0x0202, 4, 1, len(small)) + b"\0\0\0\0"
    head = b"MM\0*\0\0\0\x08" + first + second
    exif = b"Exif\0\0" + head + b"\0" * (56 - len(head)) + small
    data = saved(GRAIN, "JPEG", quality=95, exif=exif)
    return data, data.index(small) + len(small)


def test_a_thumbnails_end_is_not_the_images(tmp_path):
    data, end = with_thumbnail()
    assert read_image(written(tmp_path, data)).shape == (64, 48, 3)
    cut = data[: end + (len(data) - end) // 2]
    assert b"\xff\xd9" in cut
    with pytest.raises(DataCorrupt, match=r"image\.png: the image is cut off"):
        read_image(written(tmp_path, cut))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("options", [{}, {"progressive": True, "quality": 95, "restart_marker_blocks": 2}])
def test_a_picture_that_is_cut_off_anywhere_is_noticed(tmp_path, kind, options):
    data = saved(GRAIN, kind, **(options if kind == "JPEG" else {}))
    for kept in (*range(100, len(data) - 2, 97), len(data) - 1):
        with pytest.raises(DataCorrupt):
            read_image(written(tmp_path, data[:kept]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>404</html>", "perhaps an error page"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200), "a HEIC picture; convert it"),
        (b"8BPS\x00\x01" + bytes(100), "a Photoshop file"),
        (b"%PDF-1.7" + bytes(100), "a PDF"),
        (bytes(128) + b"DICM" + bytes(100), "a DICOM file"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
        (b"no image at all", r"not a readable image \(15 bytes\)"),
        (saved(np.full((8, 8), 0.5, np.float32), "TIFF"), "its pixels are floating-point, and which value is black"),
        (saved(np.full((8, 8), 70000, np.int32), "TIFF"), "its pixels are 32-bit, and which value is black"),
    ],
)
def test_each_file_has_its_own_reason(tmp_path, data, reason):
    with pytest.raises(DataCorrupt, match=rf"image\.png: .*{reason}"):
        read_image(written(tmp_path, data))


def png_of(width: int, height: int) -> bytes:
    """A black PNG of one bit a pixel, of any size."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    body = b"".join(rows.compress(bytes(1 + width // 8)) for _ in range(height)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_more_pixels_than_the_decoder_takes_are_called_that(tmp_path):
    path = written(tmp_path, png_of(40000, 30000))
    with pytest.raises(DataCorrupt, match=r"40000x30000 are 1\.20 gigapixels, more than the 1\.07 that OpenCV decodes"):
        read_image(path)


def test_short_memory_is_called_that_and_not_a_broken_file(tmp_path):
    """In a process of its own, which may take 200 MB more than it has: a whole image of 432 MB."""
    path = written(tmp_path, png_of(12000, 12000))
    code = (
        "import resource, sys\n"
        "from prn.datasets.images import read_image\n"
        "from prn.errors import PrnError\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 200 * 2**20,) * 2)\n"
        "try:\n"
        "    read_image(sys.argv[1])\n"
        "except PrnError as error:\n"
        "    print(error.exit_code, error)\n"
    )
    root = Path(decoding.__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith(f"1 {path}: "), done.stdout + done.stderr
    assert "memory" in done.stdout
    assert "12000x12000" in done.stdout


def test_a_large_image_is_held_against_the_free_memory_before_it_is_decoded(monkeypatch):
    data = png_of(10000, 10000)
    head = read_header(data)
    monkeypatch.setattr(decoding, "free_memory", lambda: 2**30)
    check_memory_for(data, head, "a.png")
    monkeypatch.setattr(decoding, "free_memory", lambda: 2**27)
    with pytest.raises(PrnError, match=r"a\.png: 0\.28 GiB of memory are needed and 0\.12 free"):
        check_memory_for(data, head, "a.png")
    check_memory_for(saved(GRAIN), read_header(saved(GRAIN)), "small.png")


@pytest.mark.parametrize(("bits", "top"), [(10, 1023), (12, 4095), (14, 16383)])
def test_the_bits_that_a_camera_fills(tmp_path, bits, top):
    values = np.array([[0, top // 2, top]], np.uint16)
    path = written(tmp_path, cv2.imencode(".png", values)[1].tobytes())
    exact = [256 * value // (top + 1) for value in (0, top // 2, top)]
    assert exact == [0, 127, 255]
    assert read_image(path, bits)[0, :, 0].tolist() == exact
    assert read_image(path)[0, 2].max() < 64
    with pytest.raises(DataCorrupt, match=rf"holds the value {top + 1}, but index\.image_bits: {bits} ends at {top}"):
        read_image(written(tmp_path, cv2.imencode(".png", values + np.uint16(1))[1].tobytes()), bits)
    colour = np.array([[[1000, 500, 250]]], np.uint16)  # BGR, as OpenCV writes it
    path = written(tmp_path, cv2.imencode(".png", colour)[1].tobytes())
    assert read_image(path, bits)[0, 0].tolist() == [256 * value // (top + 1) for value in (250, 500, 1000)]


def test_eight_bits_do_not_ask_for_the_setting(tmp_path):
    for kind in ("PNG", "JPEG"):
        for pixels in (GRAIN, GRAIN[..., 0]):
            path = written(tmp_path, saved(pixels, kind))
            assert (read_image(path, 12) == read_image(path)).all()


def test_kinds_of_pixels_show_what_was_saved(tmp_path):
    plain = Image.new("RGB", (32, 32), (200, 60, 30))
    for name, data in (
        ("cmyk.jpg", saved(plain.convert("CMYK"), "JPEG", quality=95)),
        ("cmyk.tif", saved(plain.convert("CMYK"), "TIFF")),
        ("palette.png", saved(plain.quantize(4))),
        ("webp", saved(plain, "WEBP", lossless=True)),
        ("rgba.png", saved(plain.convert("RGBA"))),
    ):
        found = read_image(written(tmp_path, data, name))[0, 0].astype(int)
        assert np.abs(found - (200, 60, 30)).max() <= 2, name


def test_what_a_header_says():
    first, other = Image.fromarray(GRAIN), Image.fromarray(GRAIN[:20])
    assert read_header(saved(first, "TIFF", save_all=True, append_images=[first, other])).pages == 2
    assert read_header(saved(first, "WEBP", lossless=False)).lossy
    assert not read_header(saved(first, "WEBP", lossless=True)).lossy
    assert read_header(saved(first, "TIFF", compression="jpeg")).lossy
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert read_header(saved(first, icc_profile=srgb)).profile == ""
    assert "Lab" in read_header(saved(first, icc_profile=lab)).profile
    assert read_header(saved(first, icc_profile=b"damaged")).profile == "unreadable"
    assert read_header(saved(first)).profile == ""
    assert read_header(b"no image") is None
