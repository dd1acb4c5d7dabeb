import json
import shutil
import subprocess
from pathlib import Path

import pytest

from flawmap.export.bundle import INFO, SCHEMA_VERSION, read_bundle, update_bundle
from flawmap.export.bundle_seal import SUMS, seal
from flawmap.tiling.errors import UsageError
from tests.bundles import calibration, make_bundle

FILES = ("model.onnx", "bundle.json", "golden/tiles.npy", "golden/score.npy", "training.csv", "MODEL_CARD.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def rewrite_info(folder: Path, change: dict[str, object], *, sealed: bool = True) -> None:
    content = json.loads((folder / INFO).read_text()) | change
    (folder / INFO).write_text(json.dumps(content))
    if sealed:
        seal(folder)


def test_a_sound_bundle_is_read(folder: Path) -> None:
    bundle = read_bundle(folder)
    assert bundle.info.product == "toy"
    assert bundle.info.calibration == calibration()
    assert bundle.info.tile.size == 64
    assert bundle.model_path.is_file()
    assert len(bundle.digest) == 64 and int(bundle.digest, 16)


def test_a_bundle_that_does_not_say_what_lies_beyond_the_border_was_shown_a_reflection(folder: Path) -> None:
    content = json.loads((folder / INFO).read_text())
    del content["tile"]["padding"]
    rewrite_info(folder, content)
    assert read_bundle(folder).info.tile.padding == "reflect"


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_reads_the_sums(folder: Path) -> None:
    run = subprocess.run(["sha256sum", "-c", SUMS], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.splitlines()) == {f"{name}: OK" for name in FILES}
    (folder / "training.csv").write_text("step,loss\n")
    assert subprocess.run(["sha256sum", "-c", SUMS], cwd=folder, capture_output=True).returncode == 1


@pytest.mark.parametrize("name", FILES)
def test_a_tampered_file_is_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(
        UsageError, match=f"was changed after it was sealed: {name} is not the file that SHA256SUMS names"
    ):
        read_bundle(folder)


@pytest.mark.parametrize("name", [name for name in FILES if name != INFO])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UsageError, match=f"is not complete: {name} is missing"):
        read_bundle(folder)


def test_what_is_no_bundle(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.touch()
    with pytest.raises(UsageError, match=r"`bundle` \(=.*recipe.yaml\) is a file: give the folder"):
        read_bundle(file)
    with pytest.raises(UsageError, match=r"`bundle` \(=.*nowhere\) is not there"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"is not a flawmap bundle: it has no bundle.json"):
        read_bundle(tmp_path)
    (folder / SUMS).unlink()
    with pytest.raises(UsageError, match=r"is not a flawmap bundle: it has no SHA256SUMS"):
        read_bundle(folder)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_newer_schema_is_told_before_anything_else(folder: Path, sealed: bool) -> None:
    rewrite_info(folder, {"schema_version": SCHEMA_VERSION + 1, "novelty": 1}, sealed=sealed)
    with pytest.raises(
        UsageError, match=f"has schema {SCHEMA_VERSION + 1}, this flawmap reads up to 1: update flawmap"
    ):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, "`surprise`: Extra inputs are not permitted"),
        (
            {"tile": {"size": 64, "overlap": -1, "border": 0}},
            r"`tile\.overlap`: Input should be greater than or equal to 0",
        ),
        (
            {"image": {"channels": 0, "dtype": "uint8"}},
            r"`image\.channels`: Input should be greater than or equal to 1",
        ),
        ({"network": {"kind": "x", "stride": 1}}, r"`network\.receptive_field`: Field required"),
    ],
)
def test_a_wrong_key_is_named(folder: Path, change: dict[str, object], message: str) -> None:
    rewrite_info(folder, change)
    with pytest.raises(UsageError, match=f"does not describe a bundle: {message}"):
        read_bundle(folder)


def test_info_that_is_not_json(folder: Path) -> None:
    (folder / INFO).write_text("{")
    with pytest.raises(UsageError, match=r"was changed after it was sealed: bundle\.json"):
        read_bundle(folder)
    seal(folder)
    with pytest.raises(UsageError, match=r"bundle\.json does not describe a bundle"):
        read_bundle(folder)


@pytest.mark.parametrize("line", ["nonsense", f"{'0' * 64}  ../secret", f"{'0' * 64}  /etc/passwd", f"{'0' * 64}  "])
def test_sums_that_are_no_sums(folder: Path, line: str) -> None:
    (folder / SUMS).write_text(line + "\n")
    with pytest.raises(UsageError, match=r"SHA256SUMS holds a line that is not `<sha256>  <file>`"):
        read_bundle(folder)


def test_sums_that_leave_the_network_out(folder: Path) -> None:
    lines = (folder / SUMS).read_text().splitlines(keepends=True)
    (folder / SUMS).write_text("".join(line for line in lines if "model.onnx" not in line))
    with pytest.raises(UsageError, match=r"is not complete: SHA256SUMS does not list model\.onnx"):
        read_bundle(folder)


def test_files_beside_the_bundles_own_do_no_harm(folder: Path) -> None:
    digest = read_bundle(folder).digest
    (folder / ".DS_Store").write_text("x")
    (folder / "note.txt").write_text("x")
    assert read_bundle(folder).digest == digest
    seal(folder)
    assert ".DS_Store" not in (folder / SUMS).read_text()


def test_a_new_calibration_makes_another_sound_bundle(folder: Path) -> None:
    before = read_bundle(folder)
    kept = {name: (folder / name).read_bytes() for name in FILES if name != INFO}
    new = calibration(grow=3.0)
    update_bundle(folder, calibration=new)
    after = read_bundle(folder)
    assert after.info.calibration == new
    assert after.info == before.info.model_copy(update={"calibration": new})
    assert after.digest != before.digest
    assert kept == {name: (folder / name).read_bytes() for name in kept}
    update_bundle(folder, calibration=calibration())
    assert read_bundle(folder).digest == before.digest
    assert {path.name for path in folder.iterdir()} == {Path(name).parts[0] for name in FILES} | {SUMS}


def test_a_tampered_bundle_gets_no_new_calibration(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match=r"model\.onnx"):
        update_bundle(folder, calibration=calibration())
