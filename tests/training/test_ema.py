import torch
from torch import nn

from edgex.training.ema import MovingAverage


def module_of(value: float) -> nn.Module:
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.fill_(value)
    return module


def test_averages_weights_and_statistics_and_copies_counters():
    module = module_of(0.0)
    average = MovingAverage(module, decay=0.5)
    average.updates = 1000  # Past the warm-up of the decay.
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.fill_(8)

    average.update(module)
    average.update(module)

    assert average.tensors["0.weight"].item() == 6.0
    assert average.tensors["1.running_var"].item() == 6.0
    assert average.tensors["1.num_batches_tracked"].item() == 8


def test_forgets_its_start_within_a_short_run():
    module = module_of(1000.0)
    average = MovingAverage(module, decay=0.9999)
    with torch.no_grad():
        module[0].weight.fill_(1.0)
    for _ in range(40):
        average.update(module)

    assert abs(average.tensors["0.weight"].item() - 1.0) < 1e-3  # With 0.9999 from the first step it would be 996.


def test_swapping_twice_gives_the_weights_back():
    module = module_of(3.0)
    average = MovingAverage(module, decay=0.9)
    with torch.no_grad():
        module[0].weight.fill_(5.0)

    average.swap(module)
    assert module[0].weight.item() == 3.0
    average.swap(module)
    assert module[0].weight.item() == 5.0
    assert average.tensors["0.weight"].item() == 3.0
