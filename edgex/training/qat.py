"""From a float checkpoint to a network that learns as int8 computes, and back to a checkpoint with learned ranges.

What is saved is a checkpoint like any other, whose float weights stand on int8's levels already, and beside them the
ranges that every int8 file is to have (docs/adr/0013-qat.md).
"""

import logging
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgex.networks.checkpoint import save_checkpoint
from edgex.networks.deploy import Deployed
from edgex.networks.xception import BATCH_NORM_EPSILON, NORMALISE, Xception
from edgex.training.accelerator import Accelerator
from edgex.training.config import TrainConfig
from edgex.training.contract import contract
from edgex.training.evening import evened
from edgex.training.float_checkpoint import FloatCheckpoint
from edgex.training.folds import Folds, augmentation, input_spec, resize_spec, worker_count
from edgex.training.image_task import ImageTask
from edgex.training.imitation import Imitation
from edgex.training.loss import Loss
from edgex.training.metrics import Scores, score
from edgex.training.observer import Observer
from edgex.training.quantised import QuantisedNetwork
from edgex.training.seen import look
from edgex.training.start import Start
from edgex.training.task import Batch
from edgex_converters.blame import read_network
from edgex_converters.evaluation import spread_over
from edgex_converters.graph import layer_name
from edgex_runtime.errors import DatasetError
from edgex_runtime.image import read_image
from edgex_runtime.preprocess import resize
from edgex_runtime.provenance import file_sha256
from edgex_runtime.spec import Evidence

log = logging.getLogger(__name__)

STAGE = "qat"
# Photos that the ranges start from; what they miss is learned.
_PHOTOS = 64
# MLPerf's rule, which int8's own gate holds to as well.
_GATE = 0.99

Save = Callable[[Path, Scores], None]


def prepare(
    config: TrainConfig,
    checkpoint: FloatCheckpoint,
    folds: Folds,
    places: tuple[Path, Path],
    accelerator: Accelerator,
    observer: Observer,
) -> tuple[Start, ImageTask, Save, Loss]:
    """What learns, from which batches, how an epoch's best is written, and what its steps make smaller.

    Raises:
        DatasetError: If the photos are of other classes than the checkpoint's.
        StageError: If something of the network is not known to the quantisers' files.
    """
    _require_its_photos(checkpoint, folds)
    sha256 = file_sha256(checkpoint.path)
    reference = Deployed(checkpoint.network, NORMALISE).eval()
    observer.stage("ranges and weights to start from", 3)
    graph, photos = read_network(reference), _start_photos(config, folds)
    seen = look(graph, photos)
    calibrated = QuantisedNetwork(graph, seen)
    observer.advance(1)
    even = evened(graph, seen)
    module = QuantisedNetwork(even, look(even, photos))
    observer.advance(1)
    module.round_weights(photos)
    observer.advance(1)
    workers = worker_count(config)
    task = ImageTask(module, folds.train, folds.val, augment=augmentation(config), config=config, workers=workers)
    observer.stage("float and calibrated on val", 2 * len(folds.split.val))
    before = [_score(part, task.val_batches(), accelerator, observer.advance) for part in (reference, calibrated)]
    log.info("%s on val: top-1 %.2f %% in float, %.2f %% calibrated", checkpoint.path, *(100 * s.top1 for s in before))

    loss = Imitation(module, reference.to(accelerator.device))

    def save(path: Path, scores: Scores) -> None:
        network = deepcopy(checkpoint.network).to("cpu")
        _write_back(module, network)
        spec = contract(config, folds.split, scores, places=places)
        provenance = replace(spec.provenance, source_sha256=sha256)
        evidence = _evidence(spec.evidence[0], scores, *before)
        spec = replace(spec, provenance=provenance, evidence=(evidence,))
        save_checkpoint(path, network, spec, module.learned_ranges())

    return Start(network=checkpoint.network, missing=(), sha256=sha256), task, save, loss


def _require_its_photos(checkpoint: FloatCheckpoint, folds: Folds) -> None:
    spec, labels = checkpoint.spec, folds.split.labels
    if spec.labels != labels:
        odd = sorted(set(spec.labels) ^ set(labels))
        differ = f"only in one of them: {', '.join(odd[:5])}" if odd else "in another order"
        raise DatasetError(
            f"--qat: {checkpoint.path} knows {len(spec.labels)} classes, {folds.split.root} has {len(labels)}, "
            f"{differ}: give the photos that it was trained on"
        )


def _start_photos(config: TrainConfig, folds: Folds) -> NDArray[np.uint8]:
    """Train photos as the runtime hands them to the network, of every part of a fold that is sorted by class."""
    chosen = spread_over(len(folds.train.samples), _PHOTOS)
    paths = [folds.train.samples[index].path for index in chosen]
    return np.stack([resize(read_image(path), input_spec(config), resize_spec(config)) for path in paths])


@torch.inference_mode()
def _score(
    module: nn.Module, batches: Iterable[Batch], accelerator: Accelerator, advance: Callable[[int], None]
) -> Scores:
    module.to(accelerator.device).eval()
    logits, truth = [], []
    for inputs, labels in batches:
        logits.append(module(accelerator.take(inputs)).float().cpu().numpy())
        truth.append(labels)
        advance(len(labels))
    return score(np.concatenate(logits), np.concatenate(truth))


def _evidence(measured: Evidence, learned: Scores, in_float: Scores, calibrated: Scores) -> Evidence:
    """Of the network as int8 computes it, beside the float network that it comes from."""
    metrics = {
        **measured.metrics,
        "float_top1": in_float.top1,
        "float_agreement": learned.agreement(in_float),
        "calibrated_top1": calibrated.top1,
        "calibrated_agreement": calibrated.agreement(in_float),
    }
    passed = metrics["top1"] >= _GATE * in_float.top1
    why = "" if passed else f"{metrics['top1']:.1%} of val right, want {_GATE * in_float.top1:.1%} or more"
    return replace(
        measured,
        stage=STAGE,
        metrics=metrics,
        gate=f"top-1 at least {_GATE:g} of the float checkpoint's, on val, which chose the epoch too",
        passed=passed,
        why=why.replace("%", " %"),
    )


@torch.no_grad()
def _write_back(module: QuantisedNetwork, network: Xception) -> None:
    """Put folded layers into a network with batch-norms, which then only add the bias."""
    modules = {layer_name(name): (name, part) for name, part in network.named_modules()}
    layers = module.learned_layers()
    for place in module.graph.places:
        if place.weight is None:
            continue
        weight, bias = (None if x is None else x.double().cpu() for x in layers[place.name])
        assert weight is not None, "a layer has weights"
        if place.inputs == ("image",):
            weight, bias = _unscaled(weight, bias)
        path, layer = modules[place.name]
        assert isinstance(layer, (nn.Conv2d, nn.Linear)), "only these have weights in a graph"
        layer.weight.copy_(weight)
        if bias is None:
            continue
        if layer.bias is not None:
            layer.bias.copy_(bias)
        else:
            _only_add(network.get_submodule(path.removesuffix(".pointwise") + "_bn"), bias)


def _unscaled(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """What the first layer is for normalised pixels, when this is what it is for bytes."""
    mean, std = (
        torch.tensor(values, dtype=torch.float64).reshape(1, -1, 1, 1) for values in (NORMALISE.mean, NORMALISE.std)
    )
    return weight * std, (0.0 if bias is None else bias) + (weight * mean).sum((1, 2, 3))


def _only_add(norm: nn.Module, bias: Tensor) -> None:
    assert isinstance(norm, nn.BatchNorm2d), "what follows a convolution without a bias"
    assert norm.running_mean is not None, "ours keep statistics"
    assert norm.running_var is not None, "ours keep statistics"
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0 - BATCH_NORM_EPSILON)
    norm.weight.fill_(1.0)
    norm.bias.copy_(bias)
