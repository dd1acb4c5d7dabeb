"""Runs as LabelMe files, by the keys that labelme reads."""

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from annotated_types import Len
from pydantic import BaseModel, ConfigDict

from flawmap.inspect.convert import convert
from flawmap.inspect.exchange.formats import Format
from flawmap.inspect.run.recorded_run import RecordedRun, read_recorded_run
from flawmap.tiling.errors import UsageError
from flawmap.tiling.labelme import read_labelme
from tests.written_runs import image_record


class LabelMeShape(BaseModel):
    """labelme 5, label_file.py: the keys it reads and writes of a shape."""

    model_config = ConfigDict(extra="forbid", strict=True)
    label: str
    points: list[Annotated[list[float], Len(2, 2)]]
    group_id: int | None
    description: str | None
    shape_type: Literal["polygon", "rectangle"]
    flags: dict[str, bool]
    mask: None


class LabelMeContent(BaseModel):
    """...and of a file."""

    model_config = ConfigDict(extra="forbid", strict=True)
    version: str
    flags: dict[str, bool]
    shapes: list[LabelMeShape]
    imagePath: str  # noqa: N815 (LabelMe's name)
    imageData: None  # noqa: N815
    imageHeight: int  # noqa: N815
    imageWidth: int  # noqa: N815


def test_labelme_files_lie_as_the_images_do(run_dir: Path, recorded: RecordedRun, tmp_path: Path) -> None:
    converted = convert(run_dir, Format.LABELME, tmp_path / "labels")
    names = sorted(path.relative_to(tmp_path / "labels").as_posix() for path in converted.paths)
    assert names == [
        "bad.bmp.json", "bad.png.json", "good.json", "lot 1/ünï.json", "stack.tif#1.json", "stack.tif#2.json",
    ]  # fmt: skip
    for path in converted.paths:
        content = LabelMeContent.model_validate_json(path.read_text())
        drawing = read_labelme(path)
        assert (drawing.height, drawing.width) == (600, 700)
        assert drawing.picture is not None and drawing.picture.is_file()
        assert content.flags["OK"] == (not content.shapes)
    drawn = read_labelme(tmp_path / "labels" / "bad.png.json")
    image = next(image for image in recorded.images if image.record.image == "bad.png")
    picture = np.zeros((600, 700), np.uint8)
    for shape in drawn.shapes:
        shape.fill(picture, 1)
    assert picture.sum() >= sum(one.area_px for one in image.record.regions)


def test_what_somebody_drew_is_not_overwritten(run_dir: Path, tmp_path: Path) -> None:
    convert(run_dir, Format.LABELME, tmp_path)
    (tmp_path / "good.json").unlink()
    (tmp_path / "bad.png.json").write_text("drawn")
    with pytest.raises(UsageError, match=r"`-o` \(=.*\) holds `bad.bmp.json` and 4 more of these files already"):
        convert(run_dir, Format.LABELME, tmp_path)
    assert (tmp_path / "bad.png.json").read_text() == "drawn" and not (tmp_path / "good.json").exists()


def test_labelme_of_hostile_names_stays_in_its_folder(hostile: Path, tmp_path: Path) -> None:
    records = read_recorded_run(hostile).images
    outside = image_record("../../up.png")
    (hostile / "regions" / "up.json").write_text(json.dumps(outside.model_dump()))
    converted = convert(hostile, Format.LABELME, tmp_path / "labels")
    assert len(converted.paths) == len(records)  # one more, and one that could not be inspected
    for path in converted.paths:
        assert path.resolve().is_relative_to(tmp_path / "labels") and ".." not in path.parts
        LabelMeContent.model_validate(json.loads(path.read_text()))
