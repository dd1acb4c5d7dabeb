"""The Lightning module: one training step you can read, the schedule, and what a resumed training needs to know."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from flawmap.tiling.whole_file import write_whole
from flawmap.training import losses
from flawmap.training.config import TrainConfig
from flawmap.training.doubtful import Doubtful, find_doubtful
from flawmap.training.hard_places import Peak, mine
from flawmap.training.repair_network import RepairNetwork
from flawmap.training.schedule import Schedule
from flawmap.training.scoring import ScoringModel
from flawmap.training.tile_batches import HardPlace, TileBatch, TileDrawer

MINING_AT = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.85)  # of the run
MINING_SHARE = 0.03  # of the seconds so far, each time
LOOKING_AT = (0.1, 0.4, 0.75)  # of the run, before the mining there: for pictures that may not be good
LOOKING_SHARE = 0.015  # of the whole run's seconds, each time
REMEMBERED_SHARE = 1 / 3  # of the hard places known before stay, the hardest: they are not to be unlearned
LOG_EVERY = 20  # steps


class Learner(pl.LightningModule):
    """Trains `model.network` on the batches of `drawer`; `resume_file` is where a killed training goes on from."""

    def __init__(
        self,
        model: ScoringModel,
        config: TrainConfig,
        drawer: TileDrawer,
        resume_file: Path,
        report: Callable[[float, str], None],
    ) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.drawer = drawer
        self.resume_file = resume_file
        self.report = report
        self.schedule = Schedule(config.learning.steps, config.learning.minutes)
        self.curve: list[dict[str, float]] = []
        self.minings = 0
        self.suspicious: list[Peak] = []
        self.doubtful = Doubtful([], [])
        self.identity = ""  # of the settings and images, for the one who resumes

    def losses(self, batch: TileBatch) -> dict[str, Tensor]:
        """Every term of the loss and their weighted sum `loss`, scalars."""
        settings = self.config.learning
        full = torch.autocast(batch.good.device.type, enabled=False)  # half precision is for the network only
        network = self.model.network
        if not isinstance(network, RepairNetwork):
            # The baselines learn what tutorials teach: give back the good tile they were shown.
            code = network.encode(batch.good)
            reconstruction = network.decode(code).float()
            with full:
                clean = losses.pixel_loss(settings.loss, reconstruction, batch.good).mean()
                if not settings.activity_weight:
                    return {"clean": clean, "loss": clean}
                activity = losses.activity_loss(code.float())
            return {"clean": clean, "activity": activity, "loss": clean + settings.activity_weight * activity}
        context = None if batch.context is None else self.model.normalise_context(batch.context)
        repaired, logit = (output.float() for output in network(batch.damaged, context))
        with full:
            cost = losses.pixel_loss(settings.loss, repaired, batch.good)
            damaged, clean = losses.balanced_mean(cost, batch.mask)
            gradient = losses.gradient_loss(repaired, batch.good)
            head = losses.damage_loss(logit, batch.mask)
        total = damaged + clean + settings.gradient_weight * gradient + settings.head_weight * head
        return {"damaged": damaged, "clean": clean, "gradient": gradient, "head": head, "loss": total}

    def on_train_start(self) -> None:
        # The clock starts when the first batch does, not when the images were read.
        self.schedule = Schedule(
            self.schedule.steps, self.schedule.minutes, self.schedule.step, self.schedule.seconds_before
        )
        if self.schedule.progress >= 1:  # killed after the last step
            self.trainer.should_stop = True

    def on_train_batch_start(self, batch: TileBatch, batch_idx: int) -> None:
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.config.learning.learning_rate * self.schedule.rate()

    def training_step(self, batch: TileBatch, batch_idx: int) -> Tensor:
        terms = self.losses(batch)
        if self.schedule.step % LOG_EVERY == 0:
            self._log(terms)
        return terms["loss"]

    def on_train_batch_end(self, outputs: Any, batch: TileBatch, batch_idx: int) -> None:
        self.schedule.step += 1
        progress = self.schedule.progress
        if self.minings < len(MINING_AT) and progress >= MINING_AT[self.minings] and self.model.has_head:
            self.minings += 1
            self._mine()
        if progress >= 1:
            self.trainer.should_stop = True
        if progress >= 1 or self.schedule.step % self.config.learning.checkpoint_every == 0:
            with write_whole(self.resume_file) as temporary:
                self.trainer.save_checkpoint(temporary)

    def validation_step(self, batch: TileBatch, batch_idx: int) -> None:
        self.log("validation_loss", self.losses(batch)["loss"], batch_size=len(batch.good))

    def on_validation_epoch_end(self) -> None:
        if self.curve:
            self.curve[-1]["validation_loss"] = float(self.trainer.callback_metrics["validation_loss"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.config.learning
        return torch.optim.AdamW(self.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["flawmap"] = {
            "identity": self.identity,
            "step": self.schedule.step,
            "seconds": self.schedule.seconds,
            "curve": self.curve,
            "minings": self.minings,
            "hard_places": [asdict(place) for place in self.drawer.hard_places],
            "suspicious": [asdict(peak) for peak in self.suspicious],
            "doubtful": asdict(self.doubtful),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["flawmap"]
        self.schedule.step, self.schedule.seconds_before = state["step"], state["seconds"]
        self.curve, self.minings = state["curve"], state["minings"]
        self.drawer.hard_places = [HardPlace(**place) for place in state["hard_places"]]
        self.suspicious = _peaks(state["suspicious"])
        doubtful = state["doubtful"]
        self.doubtful = Doubtful(_peaks(doubtful["peaks"]), [HardPlace(**place) for place in doubtful["places"]])
        self._leave_out()

    def _log(self, terms: dict[str, Tensor]) -> None:
        row = {"step": float(self.schedule.step), "seconds": round(self.schedule.seconds, 1)}
        row["learning_rate"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        row |= {name: float(value.detach()) for name, value in terms.items()}
        self.curve.append(row)
        self.report(self.schedule.progress, f"step {self.schedule.step}, loss {row['loss']:.3f}")

    def _mine(self) -> None:
        """Collects what the model takes for damage on good images; from now on it is shown there often.

        What no good image shows is left out instead (`flawmap.training.hard_places`); what may not be good is not shown
        more often than anything else (`flawmap.training.doubtful`).
        """
        training = self.model.training
        rng = (self.config.learning.seed, self.minings)
        self.model.eval()
        if MINING_AT[self.minings - 1] in LOOKING_AT:
            until = time.monotonic() + LOOKING_SHARE * self.schedule.seconds / self.schedule.progress
            share = self.config.learning.doubtful_share
            self.doubtful = find_doubtful(self.model, self.drawer.images, share, rng, until)
        until = time.monotonic() + MINING_SHARE * self.schedule.seconds
        mined = mine(self.model, self.drawer.images, rng, until)
        self.model.train(training)
        known = self.drawer.hard_places
        self.drawer.hard_places = mined.hard + known[: int(len(known) * REMEMBERED_SHARE)]
        self.suspicious += mined.suspicious
        self._leave_out()
        left_out = f", {len(self.suspicious)} left out as suspicious" if self.suspicious else ""
        doubtful = f", {len(self.doubtful.peaks)} images doubtful" if self.doubtful.peaks else ""
        n_hard = len(self.drawer.hard_places)
        self.report(self.schedule.progress, f"{n_hard} hard places on good images{left_out}{doubtful}")

    def _leave_out(self) -> None:
        self.drawer.leave_out([peak.place for peak in self.suspicious], self.doubtful.places)


def _peaks(saved: list[dict[str, Any]]) -> list[Peak]:
    return [Peak(peak["logit"], HardPlace(**peak["place"])) for peak in saved]
