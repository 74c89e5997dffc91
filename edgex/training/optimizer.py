"""The optimiser of a run, and its state as named tensors."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from edgex.training.config import TrainConfig


def build_optimizer(module: nn.Module, config: TrainConfig) -> Optimizer:
    """AdamW, or SGD with Nesterov momentum, over what may learn; only kernels decay.

    Biases and batch-norm's scale and shift have one dimension: to shrink them shifts the activations and regularises
    nothing (He et al. 2018, arXiv:1812.01187, sec. 3.1).
    """
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    assert config.lr is not None, "a resolved config has a learning rate"
    if config.optimizer == "adamw":
        return AdamW(groups, lr=config.lr, betas=(0.9, 0.999))
    return SGD(groups, lr=config.lr, momentum=0.9, nesterov=True)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Give every group the step's learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments, as ``<parameter's number>.<name>``."""
    return {
        f"{number}.{name}": tensor
        for number, moments in optimizer.state_dict()["state"].items()
        for name, tensor in moments.items()
        if isinstance(tensor, Tensor)
    }


def load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Go on with the moments that `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        # A copy: the optimiser writes into its moments, and a loaded file's tensors may share one buffer.
        state.setdefault(int(number), {})[name] = torch.clone(tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
