import numpy as np
import pytest

from nightsift.models.batches import balanced, class_weights, in_turn, whole_inputs
from tests.models.strokes import strokes

LABELS = np.array([0] * 3 + [1] * 9 + [-1] * 4)


@pytest.mark.parametrize(
    ("balance", "counts"),
    [("none", [3, 9]), ("weights", [3, 9]), ("undersample", [3, 3]), ("oversample", [9, 9])],
)
def test_an_epoch_is_balanced_as_asked_and_leaves_out_what_has_no_label(balance, counts):
    rows = balanced(LABELS, balance, np.random.default_rng(0))
    assert np.bincount(LABELS[rows]).tolist() == counts
    if balance == "oversample":
        assert np.bincount(rows)[:3].tolist() == [3, 3, 3]


def test_an_epoch_shows_every_row_once_in_an_order_of_its_own():
    rows_of = in_turn(np.arange(12), 4, (0, 1))
    first, second = (np.concatenate([rows_of(3 * epoch + step) for step in range(3)]) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first.tolist() != second.tolist()


def test_few_rows_still_fill_a_batch():
    assert len(in_turn(np.arange(3), 8, (0,))(5)) == 8


def test_the_batch_of_a_step_does_not_depend_on_the_steps_before():
    samples = strokes(seed=1)
    for balance in ("half", "none"):
        whole = whole_inputs(samples, ("meteor", "nothing"), balance, 8, (0, 1))
        fifth = whole.batch_of(5)
        again = whole_inputs(samples, ("meteor", "nothing"), balance, 8, (0, 1)).batch_of(5)
        assert all(np.array_equal(a, b) for a, b in zip(fifth, again, strict=True))


def test_weights_make_the_classes_count_the_same():
    weights = class_weights(LABELS, 3)
    assert weights[0] * 3 == pytest.approx(weights[1] * 9) == pytest.approx(6)
    assert weights[2] == 0
