"""Fits a support vector machine to HOG features: one-class on good windows, or regression where defects are labelled.

One-class: Schoelkopf, Platt, Shawe-Taylor, Smola and Williamson, "Estimating the support of a high-dimensional
distribution", Neural Computation 13 (2001). Regression: the target is the share of the window that is defective.
"""

from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.classical.hog_features import (
    N_FEATURES,
    STRIDE,
    WINDOW,
    hog_windows,
    map_of_windows,
    share_of_windows,
)
from flawmap.tiling.classical.hog_machine import HogMachine
from flawmap.tiling.classical.kernel_machine import KernelMachine
from flawmap.tiling.errors import UsageError
from flawmap.training.classical.good_squares import good_squares
from flawmap.training.classical.labelled import labelled_images, labelled_windows
from flawmap.training.config import HogSettings, TrainConfig
from flawmap.training.good_images import GoodImages
from flawmap.training.standardisation import Standardisation

SQUARE = 4 * WINDOW  # px of a good image that a few windows are taken from
WINDOWS_A_SQUARE = 16
TUBE = (
    0.01  # share of a window: the regression does not mind errors up to it; scikit-learn's 0.1 would hide most defects
)
HELD_OUT_SQUARES = 100  # 6.6 megapixels


def fit_hog(images: GoodImages, held_out: GoodImages, config: TrainConfig) -> HogMachine:
    """Fits the machine that `config.hog` asks for; UsageError without scikit-learn, or for labels that are none."""
    if find_spec("sklearn") is None:
        raise UsageError("`network.kind` (=hog) needs scikit-learn to learn: pip install 'flawmap[baselines]'")
    settings, seed = config.hog, config.learning.seed
    if settings.labelled is None:
        machine = _one_class(_good_windows(images, settings.windows, seed), settings)
        fitted = HogMachine(machine, sign=-1.0, location=0.0, scale=1.0)
    else:
        pairs = labelled_images(Path(settings.labelled), config.image)
        machine = _regression(*_labelled_sample(images, pairs, config))
        fitted = HogMachine(machine, sign=1.0, location=0.0, scale=1.0)
    squares = islice(good_squares(held_out, SQUARE, STRIDE, seed), HELD_OUT_SQUARES)
    measured = Standardisation.measure(
        np.where(square.counted, map_of_windows(fitted.evidence(square.pixels)), np.float32(-np.inf))[None]
        for square in squares
    )
    return HogMachine(machine, fitted.sign, measured.location[0], measured.scale[0])


def _one_class(x: NDArray[np.float32], settings: HogSettings) -> KernelMachine:
    from sklearn.svm import OneClassSVM

    return _numbers_of(OneClassSVM(nu=settings.nu, gamma=_gamma(x)).fit(x), _gamma(x))


def _regression(x: NDArray[np.float32], share: NDArray[np.float32]) -> KernelMachine:
    from sklearn.svm import SVR

    return _numbers_of(SVR(epsilon=TUBE, gamma=_gamma(x)).fit(x, share), _gamma(x))


def _gamma(x: NDArray[np.float32]) -> float:
    """scikit-learn's `gamma="scale"`."""
    return 1.0 / float(x.shape[1] * max(float(x.var()), 1e-6))


def _numbers_of(machine: Any, gamma: float) -> KernelMachine:
    if len(machine.support_vectors_) == 0:  # nothing to tell apart: one vector that counts for nothing
        return KernelMachine(np.zeros((1, N_FEATURES), np.float32), np.zeros(1, np.float32), 0.0, gamma)
    return KernelMachine(
        support=np.asarray(machine.support_vectors_, np.float32),
        coefficients=np.asarray(machine.dual_coef_[0], np.float32),
        intercept=float(machine.intercept_[0]),
        gamma=gamma,
    )


def _good_windows(images: GoodImages, count: int, seed: int) -> NDArray[np.float32]:
    """Features of `count` random windows of good images, float32 [count, d]."""
    rng = np.random.default_rng(seed)
    pieces: list[NDArray[np.float32]] = []
    n = 0
    for square in good_squares(images, SQUARE, STRIDE, seed):
        features = hog_windows(square.pixels).reshape(-1, N_FEATURES)
        features = features[share_of_windows(square.counted).ravel() > 0]
        chosen = rng.permutation(len(features))[: min(WINDOWS_A_SQUARE, count - n)]
        pieces.append(features[chosen])
        n += len(chosen)
        if n >= count:
            break
    return np.concatenate(pieces)


def _labelled_sample(
    images: GoodImages, pairs: list[tuple[Path, Path]], config: TrainConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features and shares: half the windows from good images, half from defective ones, those with a defect first."""
    half = max(1, config.hog.windows // 2)
    rng = np.random.default_rng(config.learning.seed)
    a_part = -(-half // len(pairs))  # windows an image, so that each has its say
    features, shares = [_good_windows(images, half, config.learning.seed)], [np.zeros(half, np.float32)]
    for x, share in labelled_windows(pairs, config.image, config.tile.padding):
        order = rng.permutation(len(x))
        order = order[np.argsort(share[order] == 0, kind="stable")]  # windows with a defect first
        n_defective = int((share > 0).sum())
        chosen = order[: min(a_part, max(n_defective, a_part // 2))]
        features.append(x[chosen])
        shares.append(share[chosen])
    return np.concatenate(features), np.concatenate(shares)
