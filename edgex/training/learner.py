"""One network learning: steps, epochs, evaluation, and everything that an interrupted run needs to go on."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgex.training.accelerator import Accelerator
from edgex.training.config import TrainConfig
from edgex.training.ema import MovingAverage
from edgex.training.loss import LabelLoss, Loss
from edgex.training.optimizer import build_optimizer, load_optimizer, optimizer_tensors, set_lr
from edgex.training.schedule import Schedule
from edgex.training.task import Batch
from edgex_runtime.errors import DivergedError

# On a GPU the loss of a step is looked at later, since to look is to wait for the device.
_LOOK_EVERY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLoss:
    """Means over the photos of an epoch as they were learnt from."""

    loss: float
    top1: float


class Learner:
    """A module, its optimiser and the moving average of its weights.

    Args:
        module: What learns.
        config: Resolved.
        accelerator: Where.
        schedule: Of the learning rate.
        loss: What its steps make smaller; None is the distance to the labels.
    """

    def __init__(
        self,
        module: nn.Module,
        config: TrainConfig,
        accelerator: Accelerator,
        schedule: Schedule,
        loss: Loss | None = None,
    ) -> None:
        self.module = module.to(accelerator.device)
        self.step = 0
        self._config = config
        self._accelerator = accelerator
        self._schedule = schedule
        self._loss = loss or LabelLoss(self.module, config.label_smoothing)
        self._optimizer = build_optimizer(self.module, config)
        self._scaler = torch.amp.GradScaler(accelerator.device.type, enabled=accelerator.scales_loss)
        self._norms = [(part, part.momentum) for part in self.module.modules() if isinstance(part, nn.BatchNorm2d)]
        self._average = MovingAverage(self.module, decay=config.ema) if config.ema else None

    @property
    def lr(self) -> float:
        """Of the last step taken."""
        return self._schedule.at(max(0, self.step - 1))

    def train_epoch(self, batches: Iterable[Batch], *, seed: int, advance: Callable[[int], None]) -> EpochLoss:
        """Learn from each batch once.

        Args:
            batches: Inputs as the module takes them, and labels.
            seed: Of whatever the module draws (dropout), the epoch's own.
            advance: Told the photos of each step.

        Raises:
            DivergedError: If the loss of a step is not finite.
        """
        self.module.train()
        losses: list[Tensor] = []
        right = torch.zeros((), dtype=torch.int64, device=self._accelerator.device)
        count = looked = 0
        devices = [self._accelerator.device] if self._accelerator.is_gpu else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            for inputs, labels in batches:
                loss, answers = self._take_step(
                    self._accelerator.take(inputs), target := self._accelerator.take(labels)
                )
                losses.append(loss * len(labels))
                right += (answers == target).sum()
                count += len(labels)
                if not self._accelerator.is_gpu or len(losses) - looked >= _LOOK_EVERY:
                    self._refuse_non_finite(losses[looked:])
                    looked = len(losses)
                advance(len(labels))
        self._refuse_non_finite(losses[looked:])
        return EpochLoss(loss=float(torch.stack(losses).sum()) / count, top1=int(right) / count)

    def _take_step(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One forward, backward and update; returns the mean loss and the answers."""
        set_lr(self._optimizer, self._schedule.at(self.step))
        for norm, momentum in self._norms:
            # A plain mean over the first steps: what the statistics were before belongs to other weights.
            norm.momentum = max(momentum or 0.0, 1 / (self.step + 1))
        with self._accelerator.autocast():
            loss, logits = self._loss(inputs, labels)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(loss))
        if self._config.clip_norm:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.module.parameters(), self._config.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update(self.module)
        self.step += 1
        return loss.detach(), logits.detach().argmax(1)

    def _refuse_non_finite(self, losses: list[Tensor]) -> None:
        if not losses:
            return
        finite = torch.isfinite(torch.stack(losses))
        if not bool(finite.all()):
            step = self.step - len(losses) + int((~finite).nonzero()[0]) + 1
            raise self._diverged("the loss", step)

    def _diverged(self, what: str, step: int) -> DivergedError:
        return DivergedError(
            f"{what} is not finite at step {step}, at learning rate {self._schedule.at(step - 1):.3g}: "
            "give a lower --lr, a longer --warmup-epochs or a --clip-norm"
        )

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the module have the averaged weights within the block; without an average, its own."""
        if self._average is None:
            yield
            return
        self._average.swap(self.module)
        try:
            yield
        finally:
            self._average.swap(self.module)

    @torch.inference_mode()
    def evaluate(
        self, batches: Iterable[Batch], *, advance: Callable[[int], None]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The module's float32 logits, (N, classes), and the labels, (N,), of all batches.

        Raises:
            DivergedError: If a logit is not finite.
        """
        self.module.eval()
        logits, truth = [], []
        for inputs, labels in batches:
            logits.append(self.module(self._accelerator.take(inputs)).float().cpu().numpy())
            truth.append(labels)
            advance(len(labels))
        together = np.concatenate(logits)
        if not np.isfinite(together).all():
            raise self._diverged("a logit of the val fold", self.step)
        return together, np.concatenate(truth)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that learning changed, under names of its own."""
        parts = {"module": self.module.state_dict(), "optimizer": optimizer_tensors(self._optimizer)}
        if self._average is not None:
            parts["average"] = self._average.tensors
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def scalars(self) -> dict[str, float]:
        """The numbers beside the tensors."""
        return {"step": self.step, **self._scaler.state_dict()}

    def load(self, tensors: dict[str, Tensor], scalars: dict[str, float]) -> None:
        """Go on where `tensors` and `scalars` were taken."""
        parts: dict[str, dict[str, Tensor]] = {"module": {}, "optimizer": {}, "average": {}}
        for key, tensor in tensors.items():
            part, name = key.split(".", 1)
            parts[part][name] = tensor
        self.module.load_state_dict(parts["module"])
        load_optimizer(self._optimizer, parts["optimizer"])
        self.step = int(scalars["step"])
        if self._average is not None:
            self._average.load(parts["average"], updates=self.step)
        if self._accelerator.scales_loss:
            self._scaler.load_state_dict({name: scalars[name] for name in self._scaler.state_dict()})
