import numpy as np
import pytest

from edgex.training.contract import wilson
from edgex.training.metrics import score


def test_counts_who_is_taken_for_whom():
    logits = np.array([[9, 0, 0], [0, 9, 0], [9, 0, 0], [0, 0, 9]], np.float32)

    scores = score(logits, np.array([0, 1, 1, 2]))

    assert scores.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert scores.top1 == 0.75
    assert scores.top5 is None


def test_loss_is_the_cross_entropy_also_of_huge_logits():
    logits = np.array([[0.0, 0.0], [1000.0, 0.0]], np.float32)

    assert score(logits, np.array([0, 1])).loss == pytest.approx((np.log(2) + 1000) / 2)


def test_top5_counts_the_first_five_of_many_classes():
    logits = np.tile(np.arange(10, dtype=np.float32), (3, 1))

    assert score(logits, np.array([9, 5, 4])).top5 == pytest.approx(2 / 3)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_interval_holds_the_share_and_stays_within_0_and_1(share):
    low, high = wilson(share, 20)

    assert 0 <= low <= share <= high <= 1
    assert high - low > 0.1
