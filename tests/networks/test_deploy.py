"""The deployed graph: bytes in, logits out, and it exports without leftovers."""

import numpy as np
import onnxruntime
import pytest
import torch

from edgex.networks.deploy import Deployed
from edgex.networks.xception import NORMALISE, Xception
from edgex_runtime.spec import Normalise


@pytest.fixture
def photos(network: Xception) -> torch.Tensor:
    size = network.config.image_size
    return torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_scales_bytes_as_keras_does(network: Xception, photos: torch.Tensor) -> None:
    with torch.no_grad():
        want = network(photos.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1.0)
        got = Deployed(network, NORMALISE)(photos)
    # Rounding of (x − 127.5) · (1 / 127.5) against x / 127.5 − 1.
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()


def test_each_channel_has_its_own_mean_and_std(network: Xception, photos: torch.Tensor) -> None:
    mean, std = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 50.0, 40.0])
    deployed = Deployed(network, Normalise(mean=(120.0, 110.0, 100.0), std=(60.0, 50.0, 40.0)))
    with torch.no_grad():
        want = network(((photos - mean) / std).permute(0, 3, 1, 2))
        got = deployed(photos)
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()


def test_adds_nothing_to_the_weights(network: Xception) -> None:
    keys = Deployed(network, NORMALISE).state_dict().keys()
    assert keys == {f"network.{key}" for key in network.state_dict()}


# torch 2.13's exporter warns of its own use of pytree; nothing that we could change.
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.* is deprecated:FutureWarning")
def test_exports_to_onnx_with_a_free_batch_and_one_layout_change(network: Xception, photos: torch.Tensor) -> None:
    deployed = Deployed(network, NORMALISE).eval()
    program = torch.onnx.export(
        deployed, (photos[:2],), dynamo=True, opset_version=18, dynamic_shapes=({0: "batch"},), verbose=False
    )
    assert program is not None
    ops = [node.op_type for node in program.model.graph]
    assert ops.count("Transpose") == 1
    # Batch-norm is folded, pools pad by themselves, and the batch is no part of the arithmetic.
    assert set(ops) == {
        "Transpose",
        "Cast",
        "Sub",
        "Mul",
        "Conv",
        "Relu",
        "MaxPool",
        "Add",
        "ReduceMean",
        "Reshape",
        "Gemm",
    }
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    for count in (1, 3):
        (got,) = session.run(None, {session.get_inputs()[0].name: photos[:count].numpy()})
        with torch.no_grad():
            want = deployed(photos[:count]).numpy()
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


def test_torch_export_keeps_the_batch_free(network: Xception, photos: torch.Tensor) -> None:
    deployed = Deployed(network, NORMALISE).eval()
    exported = torch.export.export(deployed, (photos[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    with torch.no_grad():
        assert torch.equal(exported(photos), deployed(photos))
