"""Drift: the statistic against scipy's, its false alarms by simulation, and a line whose lamp really ages."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, mannwhitneyu

from flawmap.export.bundle import update_bundle
from flawmap.export.configure_bundle import configure_bundle
from flawmap.export.part_record import read_part
from flawmap.export.where_map import draw_where
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.drift_run import measure_drift
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.line.drift import (
    ALARM_RATE,
    OVER,
    RUN_LENGTH,
    DriftMonitor,
    DriftState,
    deviations,
    limit,
    sentence,
    shares,
)
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from tests.bundles import calibration, good_image, make_bundle
from tests.command_line import run, wait_until
from tests.look_maps import box, write_labelme, write_part
from tests.watching import Watcher, drop, results

pytestmark = pytest.mark.usefixtures("nothing_is_left_running")

LAST = 20


def states_of(monitor: DriftMonitor, severities: NDArray[np.float64]) -> list[DriftState]:
    return [monitor.add(float(severity)) for severity in severities]


# -- the statistic -------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.lists(st.integers(-3, 3), min_size=1, max_size=12)
)  # few values: ties
def test_the_share_is_mann_whitneys(calibrated: list[int], now: list[int]) -> None:
    before, after = np.sort(np.array(calibrated, float)), np.array(now, float)
    u = mannwhitneyu(after, before, method="asymptotic").statistic if len({*calibrated, *now}) > 1 else None
    expected = 0.5 if u is None else u / (len(before) * len(after))
    assert shares(before, after).mean() == pytest.approx(expected)


@given(st.integers(0, 2**32), st.sampled_from((3, 7)))
def test_the_monitor_says_what_the_formula_says(seed: int, last: int) -> None:
    """One by one and with NG in between: as over the good ones alone; nothing of it depends on the scale."""
    rng = np.random.default_rng(seed)
    before, now = rng.normal(size=8), rng.normal(size=30)
    monitor, other = DriftMonitor(before, 1.0, last), DriftMonitor(np.exp(before), float(np.exp(1.0)), last)
    ours, scaled = states_of(monitor, now), states_of(other, np.exp(now))
    assert ours == scaled
    good = now < 1.0
    kept = np.sort(before[before < 1.0])
    if len(kept) and good.sum() >= last:
        expected = 0.5 + deviations(kept, now[good], last)
        told = [state.share for state, is_good in zip(ours, good, strict=True) if is_good][last - 1 :]
        np.testing.assert_allclose(told, expected, atol=1e-12)


# -- false alarms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_calibration", "last"), [(10, 50), (30, 100)])
def test_a_stable_process_alarms_no_more_often_than_stated(n_calibration: int, last: int) -> None:
    """Skewed severities with a tail that is cut off at NG, as those of good images are; not the limit's own seed."""
    runs, severity_ng, alarms = 150, 1.0, 0
    rng = np.random.default_rng(7)
    for _ in range(runs):
        before, now = (
            np.log10(-1 / np.log(rng.random(size))) for size in (int(1.2 * n_calibration), int(1.2 * RUN_LENGTH))
        )  # -log10 of the expected regions at an image's peak: Gumbel, see docs/drift.md
        kept = np.sort(before[before < severity_ng])[:n_calibration]
        good = now[now < severity_ng][: RUN_LENGTH + last - 1]
        alarms += bool((np.abs(deviations(kept, good, last)) > limit(len(kept), last)).any())
    assert alarms <= binom.ppf(0.999, runs, ALARM_RATE), f"{alarms} alarms in {runs} runs"


def test_the_limit_falls_with_what_is_known() -> None:
    assert limit(0, 50) == 0.5
    by_images = [limit(m, 50) for m in (5, 10, 30, 300)]
    by_last = [limit(30, n) for n in (25, 50, 100)]
    assert by_images == sorted(by_images, reverse=True) and by_last == sorted(by_last, reverse=True)
    # Never below what the m calibration images alone make uncertain: sd of a mean of m uniform numbers is 1/sqrt(12 m).
    assert all(limit(m, 50) > 2 / np.sqrt(12 * m) for m in (10, 30))


# -- alarms --------------------------------------------------------------------------------------------------


def test_alarms_begin_and_end() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(size=40)
    monitor = DriftMonitor(before, 9.0, LAST)
    states = states_of(monitor, np.concatenate([rng.normal(size=60), rng.normal(2.5, size=40), rng.normal(size=60)]))
    alarms = [state.alarm for state in states]
    assert set(alarms[:60]) == {""} and set(alarms[85:100]) == {"higher"} and set(alarms[-20:]) == {""}
    assert alarms == sorted(alarms[:90], key=bool) + sorted(alarms[90:], key=bool, reverse=True)  # once, not in and out
    ends = next(i for i in range(90, 160) if not alarms[i])
    assert abs(states[ends].share - 0.5) <= OVER * states[ends].limit < abs(states[ends - 1].share - 0.5)
    lower = states_of(DriftMonitor(before, 9.0, LAST), rng.normal(-2.5, size=LAST))
    assert [state.alarm for state in lower] == [""] * (LAST - 1) + ["lower"]


def test_defects_are_no_drift_but_many_are() -> None:
    rng = np.random.default_rng(2)
    monitor = DriftMonitor(rng.normal(size=40), 5.0, LAST)
    some = np.where(rng.random(200) < 0.1, 8.0, rng.normal(size=200))
    assert {state.alarm for state in states_of(monitor, some)} == {""}
    state = states_of(monitor, np.full(LAST, 8.0))[-1]
    assert (state.alarm, state.rejected) == ("rejected", LAST)


def test_too_few_images_to_tell() -> None:
    monitor = DriftMonitor(np.array([0.0]), 1.0, LAST)
    assert not monitor.can_tell
    states = states_of(monitor, np.full(100, 0.9))
    assert {state.alarm for state in states} == {""}
    assert sentence(states[-1]).startswith("drift is not watched: the calibration's good images (1), or")


# -- a run and a line ----------------------------------------------------------------------------------------


def aged(seed: int, noise: float) -> NDArray[np.uint8]:
    """A good image; the older the lamp, the more its noise is amplified."""
    image = good_image(64, 80, seed=seed).astype(np.float64)
    return np.clip(128 + (image - 128) * noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calibrated as every bundle is, on 30 good images."""
    folder = tmp_path_factory.mktemp("drift")
    bundle = make_bundle(folder / "toy").folder
    paths = [folder / f"good{seed}.png" for seed in range(30)]
    for seed, path in enumerate(paths):
        write_image(path, aged(1000 + seed, 1.0))
    found = calibrate_bundle(bundle, paths, 1e-7)  # what is NG says nothing about drift
    assert len(found.image_peaks) == 30 and found.image_peaks == sorted(found.image_peaks)
    return bundle


def test_an_ageing_lamp_is_seen_in_a_run(bundle: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(60):
        write_image(images / f"part{number:02d}.png", aged(number, 1.0 if number < 30 else 1.25))
    run_dir = tmp_path / "run"
    inspect_folder([images], bundle, run_dir, zoom=False)
    done = run("drift", run_dir, "--last", LAST, "--fail-on-drift")
    assert done.returncode == 1, done.stderr
    assert "scores have risen: a good image of the last 20 scores above one of the 30 of the calibration" in done.stdout
    told = json.loads((run_dir / "drift.json").read_text())
    assert told["last"] == LAST
    (model,) = told["models"]
    assert model["alarm"] == "higher" and model["share"] - 0.5 > model["limit"]
    assert 30 < int(model["first_alarm"].removeprefix("part").removesuffix(".png")) < 52
    picture = run_dir / model["picture"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    (before,) = measure_drift(run_dir, 60).models
    assert before.state.n_images == 60  # half of them are as they were


def test_a_stable_run_has_no_alarm(bundle: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(30):
        write_image(images / f"part{number:02d}.png", aged(number, 1.0))
    inspect_folder([images], bundle, tmp_path / "run", zoom=False)
    (found,) = measure_drift(tmp_path / "run", LAST).models
    assert (found.state.alarm, found.first_alarm, found.state.n_images) == ("", "", LAST)
    done = run("drift", tmp_path / "run", "--last", "50", "--fail-on-drift")
    assert done.returncode == 0, done.stderr
    assert "no drift: a good image of the last 30" in done.stdout
    assert "only 30 good images so far: an alarm needs 50 (`--last`)" in done.stdout


def test_a_watcher_says_so_and_goes_on_after_a_stop(bundle: Path, tmp_path: Path) -> None:
    folder, run_dir = tmp_path / "camera", tmp_path / "run"
    folder.mkdir()

    def drop_aged(first: int, count: int, noise: float) -> None:
        for number in range(first, first + count):
            write_image(tmp_path / "next.png", aged(number, noise))
            (tmp_path / "next.png").rename(folder / f"part{number}.png")
        wait_until(lambda: len(results(run_dir)) == first + count)

    watcher = Watcher(folder, bundle, run_dir, "--drift-last", str(LAST))
    drop_aged(0, 15, 1.3)
    _, errors = watcher.stop()
    assert "drift" not in errors  # no alarm before there are enough
    watcher = Watcher(folder, bundle, run_dir, "--drift-last", str(LAST))
    drop_aged(15, 10, 1.3)
    _, errors = watcher.stop()
    said = [line for line in errors.splitlines() if "drift: scores have risen" in line]
    assert len(said) == 1  # not again for every image
    (model,) = json.loads((run_dir / "drift.json").read_text())["models"]
    assert (model["alarm"], model["n_images"], model["first_alarm"]) == ("higher", LAST, "part19.png")
    assert (run_dir / "drift.png").is_file()


def test_of_a_recipe_the_cameras_without_zones_are_measured(bundle: Path, tmp_path: Path) -> None:
    """The bundle of the second camera has a zone with false alarms of its own, as drawn and calibrated by the tool."""
    zoned = make_bundle(tmp_path / "zoned").folder
    write_labelme(tmp_path / "zones.json", 64, 80, [("include", box(0, 0, 40, 64)), ("rim", box(40, 0, 80, 64))])
    zones = [{"name": "rim", "false_alarms": 2}]
    part = read_part(write_part(tmp_path / "part.yaml", polygons="zones.json", zones=zones))
    configure_bundle(zoned, part, draw_where(part.where, tmp_path))
    calibrate_bundle(zoned, [bundle.parent / f"good{seed}.png" for seed in range(10)], 0.1)
    models = [{"camera": "top", "bundle": str(bundle)}, {"camera": "side", "bundle": str(zoned)}]
    (tmp_path / "station.yaml").write_text(yaml.safe_dump({"part": "{part}_{camera}.*", "models": models}))
    (tmp_path / "images").mkdir()
    for number in range(3):
        for camera in ("top", "side"):
            write_image(tmp_path / "images" / f"{number}_{camera}.png", aged(number, 1.0))
    inspect_folder([tmp_path / "images"], tmp_path / "station.yaml", tmp_path / "run", zoom=False)
    done = run("drift", tmp_path / "run", "--last", "3", "--fail-on-drift")
    assert done.returncode == 0, done.stderr
    assert "note: camera side: drift is not measured: `bundle`" in done.stderr
    told = json.loads((tmp_path / "run" / "drift.json").read_text())
    assert [(model["camera"], model["n_images"]) for model in told["models"]] == [("top", 3)]
    (why,) = told["not_measured"]
    assert "has zones with false alarms of their own" in why
    models = [{"camera": "*", "bundle": str(zoned)}]
    (tmp_path / "station.yaml").write_text(yaml.safe_dump({"part": "{part}_{camera}.*", "models": models}))
    inspect_folder([tmp_path / "images"], tmp_path / "station.yaml", tmp_path / "zoned_run", zoom=False)
    with pytest.raises(UsageError, match=r"^camera \*: drift is not measured: `bundle` \(=.*\) has zones with false"):
        measure_drift(tmp_path / "zoned_run")


def test_why_there_is_no_drift_to_measure(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`RUN_DIR` \(=.*\) holds no run\.json"):
        measure_drift(tmp_path)
    old = make_bundle(tmp_path / "old").folder
    (tmp_path / "camera").mkdir()
    drop(tmp_path / "camera", "a.png")
    inspect_folder([tmp_path / "camera"], old, tmp_path / "run", zoom=False)
    with pytest.raises(UsageError, match="does not say how each image scored: run `flawmap calibrate` again"):
        measure_drift(tmp_path / "run")
    with pytest.raises(UsageError, match=r"`--last` \(=1\) must be at least 2 images"):
        measure_drift(tmp_path / "run", 1)
    update_bundle(old, calibration=calibration(grow=3.0))
    with pytest.raises(UsageError, match="is not the one that inspected the run, or was calibrated again since"):
        measure_drift(tmp_path / "run")
    watcher = Watcher(tmp_path / "camera", old, tmp_path / "watched")
    wait_until(lambda: len(results(tmp_path / "watched")) == 1)
    _, errors = watcher.stop()
    assert "note: drift is not watched: `bundle`" in errors and "run `flawmap calibrate` again" in errors
