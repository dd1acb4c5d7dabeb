"""Trains a model on a list of good images: from files to a checkpoint that `export` turns into a bundle."""

import logging
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from flawmap.tiling.classical.model_file import MODELS
from flawmap.tiling.errors import DeviceError, UsageError
from flawmap.tiling.look_map import EVERYWHERE, WhereToLook
from flawmap.tiling.pages import file_of
from flawmap.training import checkpoint as checkpoints
from flawmap.training.alignment import align
from flawmap.training.autoencoder import BottleneckAutoencoder
from flawmap.training.camera import Camera
from flawmap.training.classical.fit import train_classical
from flawmap.training.config import TrainConfig
from flawmap.training.counting import count
from flawmap.training.good_images import GoodImages, Normalisation, measure_normalisation
from flawmap.training.learner import Learner
from flawmap.training.pictures import write_training_picture
from flawmap.training.precision import precision_for
from flawmap.training.read_split import as_read, read_split
from flawmap.training.scoring import HEAVY, Network, RawTile, ScoringModel, build_network, evidence_of_tiles, raw_tile
from flawmap.training.split import Split, split_images
from flawmap.training.standardisation import Standardisation
from flawmap.training.suspicious import DOUBTFUL_PICTURE, write_doubtful, write_suspicious
from flawmap.training.template_band import TemplateBand
from flawmap.training.tile_batches import TileBatch, TileBatches, TileDrawer
from flawmap.training.tile_geometry import check_tile_settings

LOG = logging.getLogger(__name__)

VALIDATION_BATCHES = 6
VALIDATION_SEED = 1_000_003  # far from every training step's seed
FEW_STEPS = 1500  # what the cloth of docs/detection.md needed to find most of its defects
STANDARDISE_PIXELS = 20_000_000  # the highest peaks of so many good pixels tell how the tail falls off


class Report(Protocol):
    """Told how far the training is: a share in 0..1 and a few words."""

    def __call__(self, progress: float, text: str, /) -> None: ...


@dataclass(frozen=True)
class Prepared:
    """What stands before the first step."""

    split: Split
    train: GoodImages
    held_out: GoodImages
    normalisation: Normalisation
    camera: Camera


def train(
    paths: list[Path],
    config: TrainConfig,
    work: Path,
    *,
    device: str,
    report: Report,
    where: WhereToLook = EVERYWHERE,
) -> Path:
    """Trains on the good images `paths` and returns the checkpoint file, `work`/model.ckpt (model.npz without network).

    Nothing is learned from pixels that do not count by `where`; they are seen only where they surround what does.
    A training that was killed goes on from `work`/resume.ckpt if the settings and the images are still the same.

    Raises:
        UsageError: too few images, images that differ, a tile size the network cannot take, a training that diverged,
            images of another size than `where`.
        DeviceError: `device` is cuda and there is none.
        ImageError: a good image cannot be read.
    """
    if config.network.kind in MODELS:
        return train_classical(paths, config, work, report=report, where=where)
    accelerator = choose_accelerator(device)
    cv2.setNumThreads(0)  # OpenCV's thread pool beside torch's makes a step 15 times slower
    pl.seed_everything(config.learning.seed, verbose=False)
    work.mkdir(parents=True, exist_ok=True)
    prepared = _prepare(paths, config, report, where)
    model = _new_model(prepared, config)
    drawer = TileDrawer(prepared.train, prepared.normalisation, prepared.camera, config)
    resume_file = work / "resume.ckpt"
    learner = Learner(model, config, drawer, resume_file, report)
    held_out_drawer = TileDrawer(prepared.held_out, prepared.normalisation, prepared.camera, config)
    _fit(learner, held_out_drawer, resume_file, _identity(paths, config, where), accelerator)
    model.cpu().eval()
    _check_finite(model, config)
    _note_few_steps(learner)
    report(1.0, "measuring what good pixels show")
    model = _standardised(model.network, prepared, config)
    proof = checkpoints.draw_proof_tiles(model, prepared.held_out, config)
    write_suspicious(work, learner.suspicious, prepared.train)
    write_doubtful(work, learner.doubtful.peaks, prepared.train)
    _note_doubtful(learner, work)
    write_training_picture(work / "training.png", learner.curve, model, held_out_drawer)
    checkpoints.write_curve(work / "training.csv", learner.curve)
    provenance = _provenance(prepared, learner)
    reference = prepared.train.reference
    config = as_read(config, prepared.train)
    checkpoints.save(work / "model.ckpt", model, config, prepared.split, proof, reference, provenance)
    resume_file.unlink(missing_ok=True)
    return work / "model.ckpt"


def choose_accelerator(device: str) -> str:
    """Lightning's word for `device` (auto, cpu or cuda)."""
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise DeviceError(f"`--device` (=cuda) is not available here: torch {torch.__version__} finds no CUDA device")
    return "gpu" if has_cuda and device != "cpu" else "cpu"


def _prepare(paths: list[Path], config: TrainConfig, report: Report, where: WhereToLook) -> Prepared:
    split = split_images(paths, config.split, config.learning.seed)
    network = build_network(config, 1)
    check_tile_settings(config, network)
    border = 0 if isinstance(network, BottleneckAutoencoder) else config.tile.border
    images, held_out = read_split(split, config, multiple=network.stride, border=border, report=report, where=where)
    images, held_out = align(images, held_out, config, report)
    images, held_out = count(images, held_out, where, config.image)
    if config.network.kind == "repair":
        normalisation = measure_normalisation(images)
    else:  # an autoencoder's last layer gives 0..1
        normalisation = Normalisation((0.0,) * images.channels, (images.full_scale,) * images.channels)
    return Prepared(split, images, held_out, normalisation, Camera.measure(images, normalisation))


def _new_model(prepared: Prepared, config: TrainConfig) -> ScoringModel:
    network = build_network(config, prepared.train.channels, aligned=prepared.train.reference is not None)
    # A fifth faster on a CPU, faster still on a GPU.
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ScoringModel(network, prepared.normalisation, None, prepared.train.dtype, config.network.compare)


def _identity(paths: list[Path], config: TrainConfig, where: WhereToLook) -> str:
    """Same settings, same files and the same places: a killed training may go on. Minutes may be added to."""
    files = [(path.name, file_of(path).stat().st_size, file_of(path).stat().st_mtime_ns) for path in paths]
    return repr((config.model_dump(exclude={"learning": {"minutes", "steps"}}), files, where.digest))


def _fit(learner: Learner, held_out: TileDrawer, resume_file: Path, identity: str, accelerator: str) -> None:
    settings = learner.config.learning
    first_step = checkpoints.resumable_step(resume_file, identity)
    learner.identity = identity
    batches = TileBatches(learner.drawer, settings.seed, settings.batch_size, first_step or 0)
    proof: list[TileBatch] = [
        held_out.batch((VALIDATION_SEED, i), settings.batch_size) for i in range(VALIDATION_BATCHES)
    ]
    for logger in ("pytorch_lightning", "lightning.pytorch", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=1,
        precision=precision_for(accelerator),
        max_epochs=-1,
        val_check_interval=settings.validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[EarlyStopping("validation_loss", patience=settings.patience)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
    )
    with warnings.catch_warnings():
        # Lightning advises loader processes; batches are drawn in this one, so that hard places reach them at once.
        warnings.simplefilter("ignore")
        _run(
            trainer,
            learner,
            DataLoader(batches, batch_size=None),
            DataLoader(proof, batch_size=None),  # type: ignore[arg-type]
            ckpt_path=str(resume_file) if first_step is not None else None,
            weights_only=True if first_step is not None else None,
        )


def _run(trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
    """Lightning ends the whole process on Ctrl-C; the caller decides that here."""
    before = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(*args, **kwargs)
    except SystemExit:
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None


def _check_finite(model: ScoringModel, config: TrainConfig) -> None:
    if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()):
        rate = config.learning.learning_rate
        raise UsageError(
            f"the training diverged, its weights are not finite: lower `learning.learning_rate` (={rate:g})"
        )


def _note_few_steps(learner: Learner) -> None:
    """Says that a training was too short to judge the method by, as on a machine that is busy with something else."""
    step, seconds = learner.schedule.step, learner.schedule.seconds
    if learner.model.has_head and step < FEW_STEPS and learner.schedule.by_clock:
        LOG.warning(
            "the network learned %d steps in %.1f minutes, %.2f s each; fewer than %d leave much unfound: give it more "
            "--minutes, or a machine that does nothing else meanwhile",
            step,
            seconds / 60,
            seconds / max(step, 1),
            FEW_STEPS,
        )


def _note_doubtful(learner: Learner, work: Path) -> None:
    n_doubtful = len(learner.doubtful.peaks)
    if n_doubtful:
        LOG.info(
            "of %d of %d good images the oddest places were not shown again as hard ones, as nobody knows that they "
            "are good; %s shows them: where one is a defect, take the image out and train again",
            n_doubtful,
            learner.drawer.images.n_pictures,
            work / DOUBTFUL_PICTURE,
        )


def _standardised(network: Network, prepared: Prepared, config: TrainConfig) -> ScoringModel:
    """The trained `network` with all evidence that it scores by; training itself goes by logit and residual."""
    template = None
    if prepared.train.reference is not None:
        template = TemplateBand.of(config.template.slack, prepared.camera.noise)

    def model(standardisation: Standardisation | None) -> ScoringModel:
        dtype, compare = prepared.train.dtype, config.network.compare
        return ScoringModel(network, prepared.normalisation, standardisation, dtype, compare, template).eval()

    return model(_standardise(model(None), prepared.held_out, config))


def _standardise(model: ScoringModel, images: GoodImages, config: TrainConfig) -> Standardisation:
    """Measures evidence on random tiles of held-out good images."""
    rng = np.random.default_rng(config.learning.seed)
    margin = 0
    size = config.tile.train_size
    if not isinstance(model.network, BottleneckAutoencoder):
        size, margin = max(size, min(512, *(n for i in images.padded for n in i.shape[:2]))), 24
    size -= size % model.network.stride
    n_pixels = min(STANDARDISE_PIXELS, sum(image.shape[0] * image.shape[1] for image in images.padded))
    n_tiles = max(4, n_pixels // (size - 2 * margin) ** 2)

    def tiles() -> Iterator[RawTile]:
        for _ in range(n_tiles):
            index = images.draw(rng)
            if images.counted is not None:
                y, x = images.counted.draw(rng, index, size, size)
            else:
                y, x = (int(rng.integers(0, n - size + 1)) for n in images.padded[index].shape[:2])
            yield raw_tile(images, index, y, x, size, size)

    evidence = evidence_of_tiles(model, tiles(), margin)
    return Standardisation.measure_bent(evidence, HEAVY) if model.has_head else Standardisation.measure(evidence)


def _provenance(prepared: Prepared, learner: Learner) -> dict[str, Any]:
    return {
        "images_trained_on": prepared.train.n_pictures,
        "images_standardised_on": prepared.held_out.n_pictures,
        "images_held_out_to_calibrate": len(prepared.split.calibrate),
        "suspicious_places": len(learner.suspicious),
        "doubtful_images": len(learner.doubtful.peaks),
        "training_steps": learner.schedule.step,
        "training_seconds": round(learner.schedule.seconds, 1),
        "sensor_noise": round(prepared.camera.noise, 4),
        "lens_blur_px": round(prepared.camera.blur, 2),
        "torch": str(torch.__version__),
    }
