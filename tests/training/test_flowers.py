import pytest

from edgex.training.config import TrainConfig
from edgex.training.loop import train


@pytest.mark.slow
@pytest.mark.shared
def test_a_frozen_imagenet_trunk_reaches_88_percent_on_flowers_with_the_default_settings(shared, tmp_path):
    weights = shared / "models" / "xception-imagenet-blocks1-13.safetensors"

    result = train(TrainConfig(data=shared / "data" / "flowers", out=tmp_path, weights=str(weights), freeze_trunk=True))

    assert result.spec.evidence[0].images == 551
    assert result.best.val_top1 >= 0.88
