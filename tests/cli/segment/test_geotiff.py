"""Pictures that lie somewhere on the ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely.geometry
from PIL import Image, TiffImagePlugin

from sam3port.cli.segment.described import Described, Object
from sam3port.cli.segment.formats.geojson import geojson
from sam3port.cli.segment.formats.geotiff import georeference
from sam3port.runtime.masks.polygons import polygons
from sam3port.runtime.masks.region import trimmed
from sam3port.runtime.masks.rle import encode

UTM = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
"""Projected, pixels are areas, UTM zone 33 north."""


def tiff(file: Path, **tags: tuple[float, ...]) -> Path:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, values in tags.items():
        tag = {"scale": 33550, "tie": 33922, "whole": 34264, "keys": 34735}[name]
        info.tagtype[tag] = 3 if name == "keys" else 12
        info[tag] = values
    Image.new("RGB", (40, 30)).save(file, tiffinfo=info)
    return file


def test_objects_lie_on_the_ground(tmp_path: Path) -> None:
    """Half a metre a pixel, the upper left corner at 400000 east, 5000000 north."""
    file = tiff(tmp_path / "a.tif", scale=(0.5, 0.5, 0), tie=(0, 0, 0, 400_000, 5_000_000, 0), keys=UTM)
    mask = np.zeros((30, 40), np.bool_)
    mask[10:20, 4:8] = True
    mask[12:14, 5:7] = False
    region = trimmed(mask)
    thing = Object(0, 0.9, [4, 10, 4, 10], 36, encode(region, 30, 40))
    picture = Described("a.tif", "a", 40, 30, 1, 1, [thing])
    content = geojson(picture, [polygons(region)], ["roof"], georeference(file))
    assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    shape = shapely.geometry.shape(content["features"][0]["geometry"])
    assert shape.is_valid
    assert shape.area == 36 * 0.25
    assert shape.bounds == (400_002, 4_999_990, 400_004, 4_999_995)
    assert shape.exterior.is_ccw and not shape.interiors[0].is_ccw


def test_other_ways_to_say_where(tmp_path: Path) -> None:
    turned = (0, 2, 0, 10, 3, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 1)
    place = georeference(tiff(tmp_path / "whole.tif", whole=turned))
    assert place is not None and place.epsg is None
    assert place.ground(np.array([[1.0, 4.0]])).tolist() == [[18, 23]]
    point = (*UTM[:8], 1025, 0, 1, 2, 2048, 0, 1, 4326)
    place = georeference(tiff(tmp_path / "point.tif", scale=(2, 2, 0), tie=(1, 1, 0, 7, 9, 0), keys=point))
    assert place is not None and place.epsg == 4326
    assert place.ground(np.array([[1.5, 1.5]])).tolist() == [[7, 9]], "the centre of the pixel 1, 1"


@pytest.mark.parametrize("tags", [{}, {"scale": (1, 1, 0)}, {"whole": (1, 2, 3)}])
def test_those_that_say_nothing(tmp_path: Path, tags: dict[str, tuple[float, ...]]) -> None:
    assert georeference(tiff(tmp_path / "a.tif", **tags)) is None
    Image.new("L", (3, 3)).save(tmp_path / "a.png")
    assert georeference(tmp_path / "a.png") is None
    assert georeference(tmp_path / "absent.tif") is None
