"""When the levels of a path train, and for how long."""

import functools

import numpy as np
import pytest

from shadowprune import _levels
from shadowprune._defaults import usual_epochs


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 30, 200])
@pytest.mark.parametrize(
    ("n", "smallest"), [(256, 12), (10, 9), (6, 1), (44, 4), (2000, 3), (3, 2), (256, 4)]
)
@pytest.mark.parametrize(
    "longer",
    [
        lambda kept: 1,
        lambda kept: min(2, max(1, kept**-0.5)),
        lambda kept: min(8, max(1, 0.3 / kept) ** 1.25),
    ],
)
def test_levels_cover_every_count_and_no_network_sees_too_much(n, smallest, epochs, longer):
    def usual(kept):
        return round(epochs * longer(kept))

    stages = _levels.stages_of(n, smallest, usual, 8)
    assert [stages[0].top, *(one.low for one in stages)] == [*(one.top for one in stages), smallest]
    assert all(one.top > one.low for one in stages)
    if epochs >= 30:  # with fewer there are not always as many levels as counts
        assert _levels.STEP * stages[-1].top < smallest + 1
    for one, before in zip(stages, [None, *stages], strict=False):
        assert one.epochs >= 1
        few = one is stages[-1] and one is not stages[0] and one.top <= _levels.FEW * n
        assert one.epochs == usual(smallest / n) or not few
        assert (0 if few else one.begin) + one.epochs <= usual(one.low / n)
        assert one is stages[0] or one.soft <= one.epochs
        if before:
            assert one.begin >= before.begin + before.soft
            assert one.begin <= before.begin + before.epochs  # that order is fixed by then
    last = stages[-1]
    if len(stages) > 1:
        assert last.soft <= last.epochs / 2
    tried, alone = len(stages) > 1 and last.top <= _levels.FEW * n, usual(smallest / n)
    assert [one.tries for one in stages[:-1]] == [1] * (len(stages) - 1)
    if tried:
        left, hard = last.tries, range(last.next_begin + 1, last.begin + last.epochs + 1)
        halved = [seen for seen in range(last.begin, hard.stop) if last.is_halved(seen)]
        assert set(halved) <= set(hard)
        for _ in halved:
            left = -(-left // 2)
        assert left == 1  # in time
        if epochs >= 30:
            assert last.tries == (8 if longer(0.01) == 1 else 16)  # a single run's, more as epochs grow
            assert np.diff([last.next_begin, *halved]) == pytest.approx(max(1, round(alone / 15)))
        assert last.soft == min(_levels.SOFT * alone, alone / 2)
    else:
        assert last.tries == 1


def test_what_the_levels_of_256_nodes_do_when():
    """Largest and smallest count, begin, epochs, orders, of 30 epochs; .2 of the nodes are 51."""
    stages = _levels.stages_of(256, 12, lambda kept: 30, 8)
    assert [(one.top, one.low, one.begin, one.epochs, one.tries) for one in stages] == [
        (256, 184, 0, 24, 1),
        (184, 101, 4, 21, 1),
        (101, 56, 6, 14, 1),
        (56, 31, 8, 14, 1),
        (31, 19, 10, 16, 1),
        (19, 12, 12, 30, 8),
    ]
    assert (stages[-1].soft, stages[-1].halving, stages[-1].alone) == (4, 2, 10)
    assert [seen for seen in range(12, 22) if stages[-1].is_halved(seen)] == [18, 20]
    assert {one.alone for one in stages[:-1]} == {0}
    many = functools.partial(usual_epochs, (14_960, 1), 88_000, 512, "binary_crossentropy")  # up to 60
    grown = _levels.stages_of(256, 12, many, 8)
    assert [(one.begin, one.epochs) for one in grown] == [
        (0, 24), (4, 26), (7, 22), (11, 27), (15, 45), (19, 60)
    ]  # fmt: skip
    last = grown[-1]
    assert (last.soft, last.tries, last.halving, last.alone) == (8, 16, 4, 20)
    few = functools.partial(usual_epochs, (14_960, 1), 8000, 64, "binary_crossentropy")
    longest = _levels.stages_of(256, 12, few, 64)[-1]
    assert (longest.epochs, longest.tries) == (240, 128)  # no more than twice as many orders
    last = _levels.stages_of(15, 2, lambda kept: 30, 32)[-1]
    assert (last.top, last.tries) == (3, 32)  # just few
    assert _levels.stages_of(15, 2, lambda kept: 30, 1)[-1].tries == 1
