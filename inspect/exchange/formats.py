"""The formats that there are."""

from enum import StrEnum


class Format(StrEnum):
    """What `--to` takes."""

    COCO = "coco"
    LABELME = "labelme"
    PARQUET = "parquet"
    OME_TIFF = "ome-tiff"
    PDF = "pdf"
