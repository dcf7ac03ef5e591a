"""GeoJSON as QuPath reads it: a polygon with a name and a colour for every region."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_dsparse.files.ome_xml import printable
from napari_dsparse.files.outlines import Polygon, outlines
from napari_dsparse.files.regions import LabelledImage, Plane, Region


def write_label_geojson(path: Path, image: LabelledImage) -> None:
    """Write a FeatureCollection with one annotation per region, in the order of planes and regions.

    Coordinates are pixels, x before y, as in QuPath: pixel 0, 0 reaches from 0, 0 to 1, 1. Holes are inner
    rings; a region whose parts touch only at corners, or not at all, is a MultiPolygon. In a stack, they say
    their plane in QuPath's terms.

    Parameters
    ----------
    path : Path
    image : LabelledImage
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for plane in image.planes():
            for number, polygons in outlines(plane.numbers):
                feature = _feature(plane, plane.regions[number - 1], polygons, image.objects is not None)
                file.write(separator + json.dumps(feature))
                separator = ",\n"
        file.write("\n]}\n")


def _feature(plane: Plane, region: Region, polygons: list[Polygon], has_objects: bool) -> dict[str, Any]:
    geometry: dict[str, Any] = {"type": "Polygon" if len(polygons) == 1 else "MultiPolygon"}
    if plane.index:
        geometry["plane"] = {"c": -1, "z": plane.index.get("Z", 0), "t": plane.index.get("T", 0)}
    rings = [[[*ring.tolist(), ring[0].tolist()] for ring in polygon] for polygon in polygons]
    geometry["coordinates"] = rings[0] if len(rings) == 1 else rings
    properties: dict[str, Any] = {"objectType": "annotation"}
    if has_objects or region.info is None:
        properties["name"] = printable(region.name)
    if region.info is not None:
        properties["classification"] = {
            "name": printable(region.info.name),
            "color": list(region.info.rgb),
        }
    return {"type": "Feature", "geometry": geometry, "properties": properties}
