"""Turns that all processes share: spaced, held, slowed down, given to the urgent first, and silent after a ban."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, select, text, update

from dealsync.apis import pace
from dealsync.apis.pace import Pace
from dealsync.core.turns import LONGEST_WAIT_S, RECOVERY_S, Rate, Turn
from dealsync.errors import Banned, DatabaseError, Unreachable
from dealsync.ledger.blocks import Blocks
from dealsync.ledger.database import open_database
from dealsync.ledger.slots import (
    LONGEST_FLIGHT,
    SECOND,
    SURELY_OVER,
    PaceState,
    SharedSlots,
    limit_name,
    open_machine,
    pace_state,
)
from dealsync.ledger.tables import FlightRow, PaceRow

NAME = "kommo"
RATE = 1.0
QUICK = Rate(5.0)
ABOUT_S = 0.4
"""What a busy machine may lie between two readings of a clock."""


@pytest.fixture
def machine(tmp_path: Path) -> Engine:
    return open_machine(tmp_path / "state")


@pytest.fixture
def slots(engine: Engine, machine: Engine) -> SharedSlots:
    """Slots on SQLite, where the machine's file is all there is, and on PostgreSQL, where both count."""
    return SharedSlots(NAME, Rate(RATE), database=engine, machine=machine)


@pytest.fixture
def quick(engine: Engine, machine: Engine) -> SharedSlots:
    """Slots for stories that really wait."""
    return SharedSlots(NAME, QUICK, database=engine, machine=machine)


def reserve(slots: SharedSlots, *, urgent: bool = False, yielding: bool = True) -> Turn:
    return asyncio.run(slots.reserve(urgent=urgent, yielding=yielding))


async def leave(turns: Pace) -> None:
    async with turns.turn():
        pass


async def take(slots: SharedSlots) -> None:
    await leave(Pace("kommo", slots))


def waits(turns: list[Turn]) -> list[float]:
    assert all(turn.granted for turn in turns)
    return [turn.wait_s for turn in turns]


def last_turn(engine: Engine) -> int:
    with engine.connect() as db:
        return db.execute(select(PaceRow.last_turn).where(PaceRow.name == NAME)).scalar_one()


def test_turns__of_many_at_once_are_never_shared(engine: Engine, machine: Engine) -> None:
    """Each asker has connections of its own, as a process has. A turn lies a spacing or more behind the one before."""
    askers = [SharedSlots(NAME, Rate(RATE), database=engine, machine=machine) for _ in range(4)]
    reserve(askers[0])
    rows = [machine] if engine.dialect.name == "sqlite" else [engine, machine]
    before = [last_turn(row) for row in rows]
    began_at = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        found = sorted(waits(list(pool.map(lambda n: reserve(askers[n % 4]), range(12)))))
    took_s = time.monotonic() - began_at
    passed = [(last_turn(row) - turn) / SECOND for row, turn in zip(rows, before, strict=True)]
    assert all(12 / RATE <= one <= 12 / RATE + took_s for one in passed)
    assert found[-1] == pytest.approx(12 / RATE, abs=took_s + ABOUT_S)


def test_turns__of_different_apis_do_not_wait_for_each_other(
    slots: SharedSlots, engine: Engine, machine: Engine
) -> None:
    other = SharedSlots("lemon_squeezy", Rate(RATE), database=engine, machine=machine)
    assert waits([reserve(slots), reserve(other)]) == [pytest.approx(0, abs=ABOUT_S)] * 2


def test_turns__begin_anew_when_a_clock_was_set_back(slots: SharedSlots, engine: Engine, machine: Engine) -> None:
    """What was handed out in a future that never came counts for nothing; nor does what was held or urgent then."""
    reserve(slots)
    far = 4_000_000_000 * SECOND
    for one in (engine, machine):
        with one.begin() as db:
            db.execute(update(PaceRow).values(last_turn=far, hold_until=far, urgent_until=far))
    assert waits([reserve(slots), reserve(slots)]) == [
        pytest.approx(0, abs=ABOUT_S),
        pytest.approx(1 / RATE, abs=ABOUT_S),
    ]
    assert asyncio.run(slots.take_off(urgent=False)).granted


def test_hold__sends_everybody_behind_it_spaced_and_slower(slots: SharedSlots) -> None:
    async def story() -> list[Turn]:
        turns = Pace("kommo", slots)
        await turns.hold(10)
        await slots.hold(3)  # an earlier one is never shortened
        return [await slots.reserve(urgent=False, yielding=True) for _ in range(3)]

    began_at = time.monotonic()
    first, second, third = waits(asyncio.run(story()))
    took_s = time.monotonic() - began_at  # the ten seconds go by while the story is told
    assert first == pytest.approx(10, abs=took_s + ABOUT_S)
    assert [second - first, third - second] == [pytest.approx(2 / RATE, abs=ABOUT_S)] * 2
    standing = asyncio.run(slots.take_off(urgent=False))
    took_s = time.monotonic() - began_at
    assert (standing.granted, standing.held) == (False, True)
    assert standing.wait_s == pytest.approx(10, abs=took_s + ABOUT_S)


def test_hold__of_minutes_is_told_to_every_process_and_gives_no_turn(
    slots: SharedSlots, engine: Engine, machine: Engine
) -> None:
    asyncio.run(slots.hold(LONGEST_WAIT_S + 240))
    another = SharedSlots(NAME, Rate(RATE), database=engine, machine=machine)
    with pytest.raises(Unreachable, match=r"kommo asks to wait (300|299) s more; nothing was sent"):
        asyncio.run(take(another))


def test_urgent_work__goes_first_for_a_moment(slots: SharedSlots) -> None:
    assert reserve(slots, urgent=True).granted
    sweep = reserve(slots)
    assert (sweep.granted, sweep.held, sweep.blocked) == (False, False, "")
    assert 0 < sweep.wait_s <= 1 / RATE + 0.5
    assert reserve(slots, urgent=True).granted
    assert reserve(slots, yielding=False).granted, "a sweep that has waited long enough takes its turn"


def test_urgent_work__does_not_starve_a_sweep(quick: SharedSlots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LONGEST_YIELD_S", 1.0)

    async def story() -> tuple[int, int]:
        urgent, sweep = Pace("kommo", quick, urgent=True), Pace("kommo", quick)
        await leave(urgent)
        taken = {"urgent": 0, "sweep": 0}

        async def keep_asking(name: str, turns: Pace) -> None:
            while taken["sweep"] == 0 and taken["urgent"] < 60:
                await leave(turns)
                taken[name] += 1

        await asyncio.gather(keep_asking("urgent", urgent), keep_asking("sweep", sweep))
        return taken["urgent"], taken["sweep"]

    urgent, sweep = asyncio.run(story())
    assert sweep == 1
    assert 2 <= urgent < 60, "urgent work passed meanwhile"


def test_block__silences_every_process_until_it_is_lifted(slots: SharedSlots, engine: Engine, machine: Engine) -> None:
    assert asyncio.run(slots.block("HTTP 403 page")) is True
    assert asyncio.run(slots.block("HTTP 403 page again")) is False, "one alert is enough"
    another = SharedSlots(NAME, Rate(RATE), database=engine, machine=machine)
    with pytest.raises(Banned, match=r"kommo has blocked this address \(HTTP 403 page, 2.*UTC\).*dealsync unblock"):
        asyncio.run(take(another))
    assert asyncio.run(another.take_off(urgent=False)).blocked
    assert {*Blocks(engine).lift(), *Blocks(machine).lift()} == {NAME}
    asyncio.run(take(another))
    assert Blocks(engine).lift() == []


def test_block__silences_processes_with_other_databases_too(
    slots: SharedSlots, machine: Engine, tmp_path: Path
) -> None:
    """The address is banned, whatever they keep their records in. A simulator's ban ends with the simulator."""
    other = open_database(f"sqlite:///{tmp_path / 'other.db'}")
    asyncio.run(slots.block("HTTP 403 page"))
    with pytest.raises(Banned):
        asyncio.run(take(SharedSlots(NAME, Rate(RATE), database=other, machine=machine)))
    simulated = limit_name("kommo", "http://127.0.0.1:8787/kommo")
    asyncio.run(SharedSlots(simulated, Rate(RATE), database=other, machine=machine).block("HTTP 403 page"))
    anew = open_database(f"sqlite:///{tmp_path / 'anew.db'}")
    asyncio.run(take(SharedSlots(simulated, Rate(RATE), database=anew, machine=machine)))


def test_notes__that_cannot_be_made_change_no_answer(slots: SharedSlots, machine: Engine) -> None:
    """The request was answered; a database that is gone must not make it look as if it was not."""

    async def story() -> tuple[str, bool]:
        pace = Pace("kommo", slots)
        async with pace.turn():
            with machine.begin() as db:
                for table in ("paces", "flights", "blocks"):
                    db.execute(text(f"DROP TABLE {table}"))
        await pace.hold(1)
        return "answered", await pace.block("HTTP 403 page")

    assert asyncio.run(story()) == ("answered", True)


def test_block__silences_its_own_client_even_if_it_cannot_be_noted(slots: SharedSlots, machine: Engine) -> None:
    async def story() -> None:
        pace = Pace("kommo", slots)
        slots._blocks = []  # nobody to tell
        await pace.block("HTTP 403 page")
        async with pace.turn():
            raise AssertionError("sent all the same")

    with pytest.raises(Banned):
        asyncio.run(story())


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ("https://acme.kommo.com", "kommo"),
        ("https://Other.kommo.com:443/", "kommo"),
        ("http://127.0.0.1:8787/kommo", "kommo 127.0.0.1:8787"),
        ("http://localhost:8787", "kommo 127.0.0.1:8787"),
        ("http://[::1]:8787", "kommo 127.0.0.1:8787"),
    ],
)
def test_limit__is_that_of_our_address_whichever_account_is_asked(origin: str, name: str) -> None:
    assert limit_name("kommo", origin) == name


@pytest.mark.parametrize("wait_s", [20.0, 31.0, 59.0])
def test_hold__of_any_length_leaves_its_followers_spaced(slots: SharedSlots, wait_s: float) -> None:
    asyncio.run(slots.hold(wait_s))
    found = waits([reserve(slots) for _ in range(4)])
    assert found == [pytest.approx(wait_s + n / RATE, abs=2 * ABOUT_S) for n in range(4)]


def test_turns__of_a_slow_rate_keep_their_distance(engine: Engine, machine: Engine) -> None:
    slow = SharedSlots(NAME, Rate(1 / 60), database=engine, machine=machine)
    assert waits([reserve(slow) for _ in range(4)]) == [pytest.approx(60 * n, abs=2 * ABOUT_S) for n in range(4)]


AT_ONCE = Rate(RATE, at_once=4, most=20, window_s=20.0)


@pytest.fixture
def saving(engine: Engine, machine: Engine) -> SharedSlots:
    """Slots that give out together what nobody took."""
    return SharedSlots(NAME, AT_ONCE, database=engine, machine=machine)


def test_turns__that_nobody_took_come_together_and_then_evenly(saving: SharedSlots) -> None:
    expected = [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0]
    assert waits([reserve(saving) for _ in expected]) == [pytest.approx(one, abs=ABOUT_S) for one in expected]


def test_turns__are_saved_up_to_a_number_and_no_further(saving: SharedSlots, engine: Engine, machine: Engine) -> None:
    reserve(saving)
    for where in (engine, machine):
        with where.begin() as db:
            db.execute(update(PaceRow).values(last_turn=PaceRow.last_turn - 3600 * SECOND))
    expected = [0.0, 0.0, 0.0, 0.0, 1.0]
    assert waits([reserve(saving) for _ in expected]) == [pytest.approx(one, abs=ABOUT_S) for one in expected]


def test_hold__leaves_nothing_saved(saving: SharedSlots) -> None:
    asyncio.run(saving.hold(10))
    assert waits([reserve(saving) for _ in range(4)]) == [pytest.approx(10 + n, abs=2 * ABOUT_S) for n in range(4)]


def test_turns__after_a_429_are_not_saved(saving: SharedSlots) -> None:
    asyncio.run(Pace("lemon_squeezy", saving).hold(0))
    expected = [0.0, 2.0, 4.0]
    assert waits([reserve(saving) for _ in expected]) == [pytest.approx(one, abs=2 * ABOUT_S) for one in expected]


def test_urgent_work__gives_way_to_nobody_when_turns_come_together(saving: SharedSlots) -> None:
    """A turn that was saved lies in the past, but who took it is at work now."""
    assert waits([reserve(saving, urgent=True)]) == [pytest.approx(0, abs=ABOUT_S)]
    assert not reserve(saving).granted


def test_window__holds_no_more_than_the_api_bears_however_turns_were_saved(engine: Engine, machine: Engine) -> None:
    """Whatever was saved before, the sum of any window is kept."""
    rate = Rate(12.0, at_once=4, most=6, window_s=0.5)
    slots = SharedSlots(NAME, rate, database=engine, machine=machine)
    left: list[float] = []

    async def story() -> None:
        turns = Pace("lemon_squeezy", slots)
        for pause_s in (0.0, 0.4, 0.0):
            await asyncio.sleep(pause_s)
            await asyncio.gather(*(leave_at(turns, left) for _ in range(9)))

    asyncio.run(story())
    assert len(left) == 27
    assert all(later - earlier >= 0.5 for earlier, later in zip(left, left[6:], strict=False))


async def leave_at(turns: Pace, left: list[float]) -> None:
    async with turns.turn():
        left.append(time.monotonic())


def test_window__keeps_room_for_urgent_work(engine: Engine, machine: Engine) -> None:
    rate = Rate(1000.0, most=5, window_s=60.0, kept_for_urgent=2)
    slots = SharedSlots(NAME, rate, database=engine, machine=machine)

    async def taken(*, urgent: bool) -> int:
        return sum([(await slots.take_off(urgent=urgent)).granted for _ in range(6)])

    assert [asyncio.run(taken(urgent=urgent)) for urgent in (False, True, False)] == [3, 2, 0]


def test_window__is_not_left_to_urgent_work_for_ever(
    engine: Engine, machine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "LONGEST_CROWD_S", 0.2)
    rate = Rate(1000.0, most=2, window_s=4.0, kept_for_urgent=1)
    slots = SharedSlots(NAME, rate, database=engine, machine=machine)
    asyncio.run(take(slots))
    began_s = time.monotonic()
    asyncio.run(take(slots))
    assert 0.2 < time.monotonic() - began_s < 3.0


def test_flights__under_way_are_no_more_than_can_be_held_back(engine: Engine, machine: Engine) -> None:
    """Who is told that little is left of a limit lets the others wait: as long as they have not left, too."""
    rate = Rate(1000.0, at_once=9, most=100, window_s=60.0, in_the_air=3)
    slots = SharedSlots(NAME, rate, database=engine, machine=machine)
    under_way: list[int] = []

    async def one(turns: Pace) -> None:
        async with turns.turn():
            under_way.append(1)
            most.append(len(under_way))
            await asyncio.sleep(0.05)
            under_way.pop()

    async def story() -> None:
        await asyncio.gather(*(one(Pace("lemon_squeezy", slots)) for _ in range(9)))

    most: list[int] = []
    asyncio.run(story())
    assert (len(most), max(most)) == (9, 3)


def test_flights__of_a_process_that_died_hold_nobody_back_for_long(engine: Engine, machine: Engine) -> None:
    rate = Rate(1000.0, most=100, window_s=60.0, in_the_air=1)
    slots = SharedSlots(NAME, rate, database=engine, machine=machine)
    assert asyncio.run(slots.take_off(urgent=False)).granted, "and is never told to have landed"
    assert not asyncio.run(slots.take_off(urgent=False)).granted
    assert asyncio.run(slots.take_off(urgent=True)).granted, "a webhook's work need not wait for others' answers"
    for where in (engine, machine):
        with where.begin() as db:
            db.execute(update(FlightRow).values(until=FlightRow.until - SURELY_OVER))
    assert asyncio.run(slots.take_off(urgent=False)).granted


@pytest.mark.parametrize("back_s", [2, 59, 3600])
def test_flights__that_landed_are_not_under_way_again_when_a_clock_is_set_back(
    engine: Engine, machine: Engine, back_s: int
) -> None:
    rate = Rate(1000.0, most=100, window_s=60.0, in_the_air=1)
    slots = SharedSlots(NAME, rate, database=engine, machine=machine)
    asyncio.run(take(slots))
    for where in (engine, machine):
        with where.begin() as db:
            db.execute(update(FlightRow).values(until=FlightRow.until + back_s * SECOND))
    assert asyncio.run(slots.take_off(urgent=False)).granted


def test_turns__go_on_when_somebody_cleared_the_table(slots: SharedSlots, engine: Engine, machine: Engine) -> None:
    reserve(slots)
    for where in (engine, machine):
        with where.begin() as db:
            db.execute(delete(PaceRow))
    asyncio.run(take(slots))


def test_slow_rate__from_before_a_clock_was_set_back_is_over(
    slots: SharedSlots, engine: Engine, machine: Engine
) -> None:
    reserve(slots)
    for where in (engine, machine):
        with where.begin() as db:
            db.execute(update(PaceRow).values(slow_until=4_000_000_000 * SECOND))
    assert waits([reserve(slots)]) == [pytest.approx(1 / RATE, abs=ABOUT_S)]


def test_machine__is_opened_by_many_at_once(tmp_path: Path) -> None:
    """SQLite refuses, once in a hundred times, to wait for another who turns the same new file to WAL."""
    with ThreadPoolExecutor(8) as pool:
        for number in range(25):
            assert len(list(pool.map(open_machine, [tmp_path / str(number)] * 8))) == 8


def test_block__stops_who_has_a_turn_but_waits_for_it(slots: SharedSlots) -> None:
    async def story() -> None:
        await slots.hold(0.3)
        waiting = asyncio.create_task(take(slots))
        await asyncio.sleep(0.1)
        await slots.block("HTTP 403 page")
        with pytest.raises(Banned):
            await waiting

    asyncio.run(story())


def test_flights__count_until_a_second_after_their_answer(engine: Engine, machine: Engine) -> None:
    """However late a request arrives, it arrives between its departure and its answer."""
    two = SharedSlots(NAME, Rate(1000.0, most=2), database=engine, machine=machine)

    async def story() -> tuple[Turn, Turn, float, float]:
        first, second = await two.take_off(urgent=False), await two.take_off(urgent=False)
        third = await two.take_off(urgent=False)
        began_s = time.monotonic()
        waiting = asyncio.create_task(take(two))
        await asyncio.sleep(0.3)
        landed_s = time.monotonic()
        await two.land(first.flight)
        await waiting
        return second, third, time.monotonic() - landed_s, landed_s - began_s

    second, third, after_landing_s, in_flight_s = asyncio.run(story())
    assert (second.granted, third.granted, third.held) == (True, False, False)
    assert in_flight_s >= 0.3
    assert after_landing_s >= 1.0


def test_flights__of_a_process_that_died_are_over_some_day(engine: Engine, machine: Engine) -> None:
    one = SharedSlots(NAME, Rate(1000.0, most=1), database=engine, machine=machine)
    assert asyncio.run(one.take_off(urgent=False)).granted
    assert not asyncio.run(one.take_off(urgent=False)).granted
    for where in (engine, machine):
        with where.begin() as db:
            db.execute(update(FlightRow).values(until=FlightRow.until - LONGEST_FLIGHT - SECOND))
    assert asyncio.run(one.take_off(urgent=False)).granted


def test_flights__from_before_a_clock_was_set_back_do_not_count(engine: Engine, machine: Engine) -> None:
    one = SharedSlots(NAME, Rate(1000.0, most=1), database=engine, machine=machine)
    assert asyncio.run(one.take_off(urgent=False)).granted
    for where in (engine, machine):
        with where.begin() as db:
            db.execute(update(FlightRow).values(until=FlightRow.until + 3600 * SECOND))
    assert asyncio.run(one.take_off(urgent=False)).granted


def test_flight__that_fails_lands_too(engine: Engine, machine: Engine) -> None:
    one = SharedSlots(NAME, Rate(1000.0, most=1), database=engine, machine=machine)

    async def failing() -> None:
        async with Pace("kommo", one).turn():
            raise TimeoutError

    with pytest.raises(TimeoutError):
        asyncio.run(failing())
    began_s = time.monotonic()
    asyncio.run(take(one))
    assert 0.5 < time.monotonic() - began_s < LONGEST_FLIGHT / SECOND / 2


def test_machine__that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="DEALSYNC_STATE_DIR"):
        open_machine(tmp_path / "file" / "state")


def test_state__tells_what_stands_in_the_way_and_changes_nothing(
    slots: SharedSlots, engine: Engine, machine: Engine
) -> None:
    def state() -> PaceState:
        return pace_state(NAME, database=engine, machine=machine)

    def rows() -> int:
        with machine.connect() as db:
            return len(db.execute(select(PaceRow.name)).all())

    assert (state(), rows()) == (PaceState("", 0, 0), 0)
    reserve(slots)
    assert state() == PaceState("", 0, 0)
    asyncio.run(slots.slow_down())
    assert state().held_s == 0
    assert state().slow_s == pytest.approx(RECOVERY_S, abs=ABOUT_S)
    asyncio.run(slots.hold(300))
    assert state().held_s == pytest.approx(300, abs=ABOUT_S)
    asyncio.run(slots.block("HTTP 403 page"))
    assert state().blocked.startswith("HTTP 403 page, ")
