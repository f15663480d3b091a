"""How far a run says that it is."""

from dealsync.steps import MANY, Steps


def test_steps__few_pages_and_batches_are_not_worth_a_bar() -> None:
    steps = Steps()
    assert not steps.are_long
    steps.reach("orders", "orders: page 1", 1, MANY)
    steps.reach("deals", "deals: 500 read", MANY)
    assert not steps.are_long
    steps.reach("orders", "orders: page 1", 1, MANY + 1)
    assert steps.are_long


def test_steps__a_list_of_unknown_length_is_long_once_many_of_its_pages_are_read() -> None:
    steps = Steps()
    steps.reach("deals", "deals: 1500 read", MANY + 1)
    assert steps.are_long
    assert steps.percent(applies=False) == 0


def test_steps__reading_is_the_first_half_of_a_run_that_writes() -> None:
    steps = Steps()
    steps.reach("orders", "orders: page 5 of 10", 5, 10)
    assert (steps.percent(applies=False), steps.percent(applies=True)) == (50, 25)
    steps.end("orders")
    assert (steps.percent(applies=False), steps.percent(applies=True)) == (99, 50)
    steps.reach("notes", "writing notes, 0 of 1000 done", 1, 4, writes=True)
    assert steps.percent(applies=True) == 62.5
    assert steps.words() == "writing notes, 0 of 1000 done"


def test_steps__one_that_stopped_before_its_end_is_over_all_the_same() -> None:
    steps = Steps()
    steps.end("never begun")
    steps.reach("orders", "orders: page 2 of 400", 2)
    steps.end("orders")
    assert (steps.percent(applies=False), steps.words()) == (99, "")
