"""Pictures of every kind, and what is none."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms

from sam3port.errors import UsageError
from sam3port.runtime.picture import model_input, read
from tests.conftest import RunPython

PHOTO = skimage.data.astronaut()[60:180, 150:310].copy()
"""120 x 160."""
GREY = PHOTO[..., 1]
ORIENTATION = 0x0112


def saved(folder: Path, image: Image.Image, name: str, **options: object) -> Path:
    file = folder / name
    image.save(file, **options)
    return file


def test_a_file_an_image_and_an_array_are_the_same(tmp_path: Path) -> None:
    file = saved(tmp_path, Image.fromarray(PHOTO), "a.png")
    for picture in (file, str(file), Image.open(file), PHOTO, PHOTO.astype(np.uint16) * 257):
        pixels = read(picture)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, PHOTO)


def test_an_array_is_copied() -> None:
    array = PHOTO.copy()
    pixels = read(array)
    array[:] = 0
    np.testing.assert_array_equal(pixels, PHOTO)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(PHOTO)
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.rotate(180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.rotate(90, expand=True),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.rotate(270, expand=True),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    np.testing.assert_array_equal(read(saved(tmp_path, stored, "a.png", exif=exif)), PHOTO)


@pytest.mark.parametrize("block", [b"nonsense", b"II*\0"])
def test_a_damaged_exif_block_is_announced(tmp_path: Path, block: bytes) -> None:
    file = saved(tmp_path, Image.fromarray(PHOTO), "a.png", exif=b"Exif\0\0" + block)
    with pytest.warns(UserWarning, match=r"a\.png: its EXIF block cannot be read"):
        np.testing.assert_array_equal(read(file), PHOTO)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV"])
def test_modes_are_pillows_rgb(mode: str) -> None:
    image = Image.fromarray(PHOTO).convert(mode)
    np.testing.assert_array_equal(read(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_keep_their_colour(mode: str) -> None:
    image = Image.fromarray(PHOTO if mode == "RGBA" else GREY).convert(mode)
    opaque = np.asarray(image.convert("RGB"))
    image.putalpha(Image.fromarray(np.tile(np.arange(160, dtype=np.uint8), (120, 1))))
    np.testing.assert_array_equal(read(image), opaque)
    np.testing.assert_array_equal(read(np.dstack([PHOTO, GREY])), PHOTO)


def test_a_palette_with_transparency_warns_of_nothing(tmp_path: Path) -> None:
    image = Image.fromarray(PHOTO).quantize(16)
    file = saved(tmp_path, image, "a.png", transparency=bytes(range(16)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = read(file)
    np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))


def test_grey_of_16_bits_keeps_the_upper_8(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 256 + 255
    expected = np.repeat(GREY[..., None], 3, 2)
    image = Image.fromarray(deep)
    assert image.mode == "I;16"
    for picture in (deep, deep[..., None], image, saved(tmp_path, image, "a.png"), saved(tmp_path, image, "a.tif")):
        np.testing.assert_array_equal(read(picture), expected)


def test_a_profile_is_ignored_and_the_first_frame_taken(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    file = saved(tmp_path, Image.fromarray(PHOTO), "a.png", icc_profile=profile)
    np.testing.assert_array_equal(read(file), PHOTO)
    frames = [Image.fromarray(PHOTO), Image.fromarray(PHOTO[::-1].copy())]
    animation = saved(tmp_path, frames[0], "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(read(animation), PHOTO)


@pytest.mark.parametrize(("bits", "announced"), [(10, True), (12, True), (14, True), (16, False)])
def test_fewer_bits_in_a_tiff_of_16_are_stretched(tmp_path: Path, bits: int, announced: bool) -> None:
    """As microscopes write them; they would come out black."""
    deep = GREY.astype(np.uint16) << (bits - 8)
    deep[0, 0] = 2**bits - 1
    Image.fromarray(deep).save(tmp_path / "a.tif")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        pixels = read(tmp_path / "a.tif")
    expected = GREY.copy()
    expected[0, 0] = 255
    np.testing.assert_array_equal(pixels, np.repeat(expected[..., None], 3, 2))
    said = [str(warning.message) for warning in warned]
    assert said == ([f"{tmp_path / 'a.tif'}: its values of 16 bits end at {2**bits - 1}, and are taken as {bits} bits: "
                     f"0 to {2**bits - 1}"] if announced else [])  # fmt: skip


def test_a_tiff_that_says_its_largest_value_is_believed(tmp_path: Path) -> None:
    dark = GREY.astype(np.uint16) << 2
    Image.fromarray(dark).save(tmp_path / "a.tif", tiffinfo={281: 4095})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read(tmp_path / "a.tif")[..., 0], GREY >> 2)


def test_heic_is_read_with_its_package(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    pillow_heif.register_heif_opener()
    Image.fromarray(PHOTO).save(tmp_path / "a.heic", quality=95)
    assert np.abs(read(tmp_path / "a.heic").astype(int) - PHOTO).mean() < 5


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (PHOTO.astype(np.float32) / 255, "an array of float32"),
        (PHOTO > 127, "an array of bool"),
        (PHOTO.astype(np.int64), "an array of int64"),
        (PHOTO.transpose(2, 0, 1), r"shape \(3, 120, 160\)"),
        (PHOTO[None], r"shape \(1, 120, 160, 3\)"),
        (PHOTO[0, 0], r"shape \(3,\)"),
        (PHOTO[..., :2], r"shape \(120, 160, 2\)"),
        (PHOTO[:0], "no pixels: 160 x 0"),
        ([[1, 2]], "cannot be a builtins.list"),
        (None, "cannot be a builtins.NoneType"),
        (Image.fromarray(GREY.astype(np.float32)), "32 bits a value"),
        (Image.fromarray(GREY.astype(np.int32)), "32 bits a value"),
    ],
)
def test_what_is_no_picture_is_refused(array: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(array)  # type: ignore[arg-type]


def test_bad_files_are_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "page.png").write_text("<html>not found</html>")
    Image.fromarray(PHOTO).save(buffer := io.BytesIO(), "EPS")
    (tmp_path / "drawing.eps").write_bytes(buffer.getvalue())
    expected = {
        "absent.jpg": "does not exist",
        "empty.jpg": "is empty",
        "folder.jpg": "is a folder",
        "page.png": "is no picture",
        "drawing.eps": "is a drawing",
        "nul\0.png": "cannot be opened",
    }
    for name, said in expected.items():
        with pytest.raises(UsageError, match=said) as caught:
            read(tmp_path / name)
        assert str(tmp_path) in caught.value.problem
        assert "\n" not in caught.value.problem


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
def test_files_that_are_cut_off_are_refused(tmp_path: Path, format_: str) -> None:
    Image.fromarray(PHOTO).save(buffer := io.BytesIO(), format_)
    content = buffer.getvalue()
    for part in (0.02, 0.3, 0.7):
        file = tmp_path / f"cut.{format_.lower()}"
        file.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(UsageError, match=r"cut\.") as caught:
            read(file)
        assert "\n" not in caught.value.problem


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
def test_damaged_files_are_pictures_or_errors_and_never_crash(tmp_path: Path, format_: str) -> None:
    Image.fromarray(PHOTO).save(buffer := io.BytesIO(), format_)
    random = np.random.default_rng(0)
    file = tmp_path / "damaged"
    for _ in range(60):
        content = bytearray(buffer.getvalue())
        for place in random.integers(0, len(content), 8):
            content[place] = random.integers(256)
        file.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow thinks of odd files
            try:
                pixels = read(file)
            except UsageError as error:
                assert "\n" not in error.problem
            else:
                assert pixels.ndim == 3


@pytest.mark.parametrize("over", [1, 3])
def test_more_pixels_than_pillows_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: int) -> None:
    """Pillow itself warns above the limit, and fails above twice as many."""
    file = saved(tmp_path, Image.fromarray(PHOTO), "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PHOTO[..., 0].size // over - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UsageError, match=r"bomb\.png has more pixels than the limit of"):
            read(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PHOTO[..., 0].size)
    np.testing.assert_array_equal(read(file), PHOTO)


UPSTREAM = """
import numpy as np
import skimage.data
from PIL import Image
from sam3.model.sam3_image_processor import Sam3Processor
from torchvision.transforms import v2

photos = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee()[:, :77], skimage.data.rocket()]
found = {}
for side in (112, 1008):
    transform = Sam3Processor(model=None, resolution=side, device="cpu").transform
    for index, photo in enumerate(photos):
        found[f"{side}_{index}"] = transform(v2.functional.to_image(Image.fromarray(photo))).unsqueeze(0).numpy()
np.savez("inputs.npz", *photos, **found)
"""


def test_the_models_input_is_upstreams_to_the_last_bit(upstream_python: RunPython, tmp_path: Path) -> None:
    ran = upstream_python(UPSTREAM)
    assert ran.returncode == 0, ran.stderr
    with np.load(tmp_path / "inputs.npz") as inputs:
        for side in (112, 1008):
            for index in range(4):
                ours = model_input(read(inputs[f"arr_{index}"]), side)
                assert ours.dtype == np.float32
                assert ours.flags.c_contiguous
                np.testing.assert_array_equal(ours, inputs[f"{side}_{index}"])
