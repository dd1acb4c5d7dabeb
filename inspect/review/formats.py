"""What marks can be written as; apart from how, so that `flawmap --help` loads nothing."""

from enum import StrEnum


class ReviewFormat(StrEnum):
    COCO = "coco"  # marked defects, one JSON file
    MASKS = "masks"  # pictures and masks in the MVTec AD layout, for `flawmap evaluate`
    TILES = "tiles"  # good pictures and the false alarms on them, to train with
