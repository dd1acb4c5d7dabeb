"""What the page loads of one image when it is looked at: `page/<name>.js`, one call that hands its data over.

A script and not JSON: a page opened from a folder may load scripts, but may not read files. The data is ASCII, its
texts are shown as text, and its links were made by `link`, so no file name can become markup, script or a foreign
address.
"""

import json
from pathlib import Path
from typing import Any

from flawmap.inspect.plain_text import plain_values
from flawmap.inspect.report.deep_zoom import HEAT_TILE, OVERLAP_PX, TILE_PX, Pyramid
from flawmap.inspect.report.heat_scale import HeatScale
from flawmap.inspect.report.page_text import link, number, severity, whole
from flawmap.inspect.report.pictures import PANEL_MAX_PX, crop_box, strip_size
from flawmap.inspect.run.layout import zoom_folder
from flawmap.inspect.run.records import ImageRecord, RegionRecord

IMAGE_CALL = "flawmapImage("  # in images.js
REGIONS_SHOWN = 200  # of one image; the rest is in regions.csv
# What `facts` says in its own words, or the page in another place.
SAID = {
    "region", "x_min", "y_min", "x_max", "y_max", "centroid_x", "centroid_y", "area_px", "score_max", "score_mean",
    "severity", "verdict", "picture", "defect_class", "rule", "area_mm2", "length_px", "width_px", "length_mm",
    "width_mm", "fragments", "area_visible_px",
}  # fmt: skip
UNITS = {"px": "px", "mm": "mm", "um": "µm", "mm2": "mm²", "um2": "µm²", "degrees": "°", "percent": "%"}


def image_script(key: int, name: str, record: ImageRecord, heat: HeatScale | None, run_dir: Path) -> str:
    """The script for the image whose files are called `name`, `key` its number on the page."""
    return f"{IMAGE_CALL}{key}, {json.dumps(image_data(name, record, heat, run_dir, REGIONS_SHOWN))});\n"


def image_data(
    name: str, record: ImageRecord, heat: HeatScale | None, run_dir: Path, regions_shown: int
) -> dict[str, Any]:
    """What a page must know to show an image and the first `regions_shown` of its regions, as JSON holds it."""
    data: dict[str, Any] = {
        "image": record.image,
        "verdict": record.verdict,
        "severity": "" if record.verdict == "ERROR" else severity(record.severity),
        "error": record.error,
        "width": record.width,
        "height": record.height,
        "overview": None if record.overlay is None else link(record.overlay),
        "zoom": _zoom(run_dir, name, record),
        "heat": None if heat is None else [number(anchor) for anchor in heat.anchors],
        "regions": [_region(region, record) for region in record.regions[:regions_shown]],
        "more": max(0, len(record.regions) - regions_shown),
        "count": record.n_regions,
        "dropped": len(record.regions) - record.n_regions,
        "share": f"{100 * record.counted_share:.0f} %" if record.counted_share < 1 else "",
    }
    cleaned: dict[str, Any] = plain_values(data)
    return cleaned


def _zoom(run_dir: Path, name: str, record: ImageRecord) -> dict[str, Any] | None:
    """Where the tiles are and what is known of them; None for a run without them."""
    folder = run_dir / zoom_folder(name)
    if record.verdict == "ERROR" or not folder.is_dir():
        return None
    heat = sorted(found[1] for path in folder.iterdir() if (found := HEAT_TILE.fullmatch(path.name)))
    return {
        "folder": link(zoom_folder(name)) + "/",
        "tile": TILE_PX,
        "overlap": OVERLAP_PX,
        "levels": Pyramid(record.height, record.width).n_levels,
        "heat": heat,
    }


def _region(region: RegionRecord, record: ImageRecord) -> dict[str, Any]:
    data: dict[str, Any] = {
        "n": region.region,
        "box": [region.x_min, region.y_min, region.x_max, region.y_max],
        "verdict": region.verdict,
        "severity": severity(region.severity),
        "brief": region.defect_class or f"{region.x_max - region.x_min} × {region.y_max - region.y_min} px",
        "facts": facts(region),
    }
    if region.picture is not None:
        y0, x0, y1, x1 = crop_box(region, record.height, record.width)
        shrunk = min(1.0, PANEL_MAX_PX / max(y1 - y0, x1 - x0, 1))
        height, width = strip_size(max(1, round((y1 - y0) * shrunk)), max(1, round((x1 - x0) * shrunk)))
        data["strip"] = {"src": link(region.picture), "width": width, "height": height}
    return data


def facts(region: RegionRecord) -> list[tuple[str, str]]:
    """(what, how much) of everything a record says about a region, for people."""
    visible = region.area_px if region.area_visible_px is None else region.area_visible_px
    area = f"{whole(visible)} px"  # as length and width, and unlike the box, of what is visible
    if region.area_mm2 is not None:
        area += f", {number(region.area_mm2)} mm²"
    known = [
        ("class", region.defect_class),
        ("by rule", region.rule),
        ("box", f"{region.x_max - region.x_min} × {region.y_max - region.y_min} px"),
        ("at", f"x {region.x_min}, y {region.y_min}"),
        ("area", area),
        ("length × width", _length_and_width(region)),
        ("joined of", f"{region.fragments} fragments" if region.fragments > 1 else ""),
        ("score", f"{number(region.score_max)}, mean {number(region.score_mean)}"),
    ]
    further = region.model_dump(exclude=SAID)
    said = [fact for fact in known if fact[1]]
    return said + [fact for name, value in further.items() for fact in _fact(name, value)]


def _length_and_width(region: RegionRecord) -> str:
    """On the part where that is known, else on the image; empty where it was not measured."""
    for unit, length, width in (
        ("mm", region.length_mm, region.width_mm),
        ("px", region.length_px, region.width_px),
    ):
        if length is not None and width is not None:
            return f"{number(length)} × {number(width)} {unit}"
    return ""


def _fact(name: str, value: object) -> list[tuple[str, str]]:
    """A measurement under its name, its unit behind the value: `length_mm` = 1.25 is ("length", "1.25 mm")."""
    if value is None or value in ("", [], {}):
        return []
    words, _, suffix = name.rpartition("_")
    unit = UNITS.get(suffix, "") if words else ""
    what = (words if unit else name).replace("_", " ")
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float | int):
        text = number(value) if abs(value) < 1000 else whole(value)
    elif isinstance(value, list | tuple):
        text = ", ".join(number(one) if isinstance(one, float | int) else str(one) for one in value)
    elif isinstance(value, dict):
        return [fact for key, one in value.items() for fact in _fact(str(key), one)]
    else:
        text = str(value)
    return [(what, f"{text}{'' if unit == '°' else ' '}{unit}".strip())]
