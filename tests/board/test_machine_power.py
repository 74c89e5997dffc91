"""The power goes at every point of a deploy, on a whole board in software; what was not flushed to its disk is lost.

Opt-in (`make test-machine`), as test_machine.py. Four points by default, all of them with `EDGEX_BOARD_CUTS=all`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from power_cut import CHOSEN, Cut
from virtual_board import VirtualBoard, open_board

from edgex_devices.keys import SigningKey

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, model: Path, key: SigningKey) -> Iterator[VirtualBoard]:
    with open_board(tmp_path_factory.mktemp("machine"), model, key, is_quick=True) as board:
        yield board


@pytest.mark.parametrize("cut", CHOSEN, ids=str)
def test_serves_the_old_or_the_new_release_whole(cut: Cut, board: VirtualBoard) -> None:
    board.survive(cut)
