"""GeoJSON: the objects of one picture as polygons on the ground, where the picture is a GeoTIFF; else in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sam3port.cli.segment.described import Described, rounded
from sam3port.cli.segment.formats.geotiff import Georeference
from sam3port.runtime.masks.polygons import Polygon, Ring


def geojson(
    picture: Described, pieces: Sequence[Sequence[Polygon]], categories: Sequence[str], place: Georeference | None
) -> dict[str, Any]:
    """A feature for each object, with holes.

    Args:
        picture: the picture.
        pieces: of its objects.
        categories: their names, in the order of `Object.category`.
        place: where the picture lies. Without it coordinates are x and y in pixels, y downwards.
    """
    features = []
    for number, (thing, polygons) in enumerate(zip(picture.objects, pieces, strict=True), 1):
        rings = [[_ring(ring, place) for ring in (piece.outer, *piece.holes)] for piece in polygons]
        single = len(rings) == 1
        geometry = {"type": "Polygon" if single else "MultiPolygon", "coordinates": rings[0] if single else rings}
        properties = {"category": categories[thing.category], "score": thing.score, "area": thing.area}
        features.append({"type": "Feature", "id": number, "geometry": geometry, "properties": properties})
    content: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if place is not None and place.epsg is not None:
        # Not of RFC 7946, which knows longitude and latitude only, but of what GDAL and QGIS write and read.
        content["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{place.epsg}"}}
    return content


def _ring(ring: Ring, place: Georeference | None) -> list[list[float]]:
    """Closed, and turned as RFC 7946 wants it: outer rings counterclockwise where the second axis points up."""
    points = np.concatenate([ring, ring[:1]])
    if place is None:
        return rounded(points)
    ground: list[list[float]] = place.ground(points[::-1] if place.mirrored else points).tolist()
    return ground
