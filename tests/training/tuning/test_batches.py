"""Which examples make which step."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slipway.training.tuning import batches

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=80).map(
    lambda given: np.array(given, dtype=np.int64)
)


@given(LENGTHS, st.integers(1, 9), st.integers(0, 5), st.booleans())
def test_a_pass_takes_each_example_once_and_is_the_same_again(
    lengths: "np.typing.NDArray[np.int64]", size: int, number: int, by_length: bool
) -> None:
    found = batches.epoch(lengths, size, 3, number, by_length=by_length)
    again = batches.epoch(lengths, size, 3, number, by_length=by_length)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(lengths)))
    assert [each.tolist() for each in found] == [each.tolist() for each in again]
    assert len(found) == batches.steps_of_epoch(len(lengths), size)


def test_passes_and_seeds_differ() -> None:
    lengths = np.full(64, 5, dtype=np.int64)
    orders = {
        tuple(np.concatenate(batches.epoch(lengths, 4, seed, number, by_length=True)).tolist())
        for seed in (0, 1)
        for number in (0, 1)
    }
    assert len(orders) == 4


def test_batches_by_length_pad_less() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 400)

    def padded(by_length: bool) -> int:
        found = batches.epoch(lengths, 8, 0, 0, by_length=by_length)
        return sum(int(lengths[batch].max()) * len(batch) for batch in found)

    assert padded(True) < 1.1 * lengths.sum() < padded(False)


@given(LENGTHS, st.integers(1, 7))
def test_processes_share_a_batch_without_rest(lengths: "np.typing.NDArray[np.int64]", ranks: int) -> None:
    batch = np.arange(len(lengths))
    shares = [batches.share(batch, lengths, rank, ranks) for rank in range(ranks)]
    assert sorted(np.concatenate(shares).tolist()) == batch.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 60))
def test_rows_hold_what_fits(lengths: list[int], capacity: int) -> None:
    rows = batches.rows(lengths, capacity)
    assert sorted(at for row in rows for at in row) == list(range(len(lengths)))
    assert all(sum(lengths[at] for at in row) <= capacity or len(row) == 1 for row in rows)
