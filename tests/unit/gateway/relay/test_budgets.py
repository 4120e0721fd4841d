"""How many retries there may be."""

from hypothesis import given
from hypothesis import strategies as st

from slipway.gateway.relay.budgets import MOST, RetryBudget


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 50), st.integers(0, 50)), max_size=60))
def test_retries_are_a_share_of_the_requests_and_a_few_a_second(steps: list[tuple[float, int, int]]) -> None:
    now = 0.0
    budget = RetryBudget(lambda: now, share=0.2, least=2.0)
    requests = retries = 0
    for gap, asked, failed in steps:
        now += gap
        for _ in range(asked):
            budget.request()
            requests += 1
        retries += sum(budget.retry() for _ in range(failed))
        assert retries <= 0.2 * requests + 2.0 * now + 10 + 1e-6


def test_a_quiet_service_can_always_try_again() -> None:
    now = 0.0
    budget = RetryBudget(lambda: now, share=0.2, least=2.0)
    for _ in range(100):
        now += 1.0
        budget.request()
        assert budget.retry()


def test_what_is_saved_up_is_bounded() -> None:
    budget = RetryBudget(lambda: 0.0, share=1.0, least=1.0)
    for _ in range(10_000):
        budget.request()
    assert sum(budget.retry() for _ in range(10_000)) <= MOST
