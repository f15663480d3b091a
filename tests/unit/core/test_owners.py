from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.owners import Absences, Owners, RotaUser, owner_at, rota_of
from tests.builders import order

TODAY = date(2026, 6, 1)
ANN, BOB, EVE = RotaUser(501), RotaUser(502), RotaUser(503)
AWAY = ((TODAY, TODAY),)

days = st.integers(-5, 5).map(lambda n: TODAY + timedelta(days=n))
absences = st.lists(st.tuples(days, days).map(lambda pair: (min(pair), max(pair))), max_size=2).map(tuple)
users = st.builds(RotaUser, st.integers(501, 512), st.integers(1, 100), absences)
rotas = st.lists(users, max_size=6, unique_by=lambda user: user.user_id).map(tuple)
strategies = st.sampled_from(["round_robin", "zone", "fixed"])
owners = st.builds(
    Owners,
    strategy=strategies,
    users=rotas,
    default=st.none() | st.just(599),
    zones=st.dictionaries(st.sampled_from(["de", "fr"]), rotas, max_size=2),
    default_absences=absences,
)


def given_out(rota: Owners, count: int, *, name: str = "", today: date = TODAY) -> list[int | None]:
    return [owner_at(rota, name, position, today) for position in range(count)]


def is_away(absences: Absences, today: date) -> bool:
    """Told day by day."""
    return any(today == first + timedelta(days=n) for first, last in absences for n in range((last - first).days + 1))


def test_owner_at__equal_weights_take_plain_turns() -> None:
    assert given_out(Owners(users=(ANN, BOB, EVE)), 7) == [501, 502, 503, 501, 502, 503, 501]


def test_owner_at__turns_of_a_larger_weight_are_spread_out() -> None:
    rota = Owners(users=(RotaUser(501, weight=50), RotaUser(502, weight=10), RotaUser(503, weight=10)))
    assert given_out(rota, 14) == [501, 501, 502, 501, 503, 501, 501] * 2


def test_owner_at__the_first_and_the_last_day_of_an_absence_are_days_away() -> None:
    rota = Owners(users=(RotaUser(501, absences=((date(2026, 6, 1), date(2026, 6, 3)),)), BOB))
    seen = {day: owner_at(rota, "", 0, date(2026, 6, day) if day else date(2026, 5, 31)) for day in range(5)}
    assert seen == {0: 501, 1: 502, 2: 502, 3: 502, 4: 501}


def test_owner_at__fixed_is_the_first_who_is_there_whatever_the_weights() -> None:
    rota = Owners("fixed", (RotaUser(501, absences=AWAY), BOB, RotaUser(503, weight=100)))
    assert given_out(rota, 5) == [502] * 5
    assert given_out(rota, 2, today=TODAY + timedelta(days=1)) == [501, 501]


def test_owner_at__every_zone_has_its_own_turns() -> None:
    rota = Owners("zone", (ANN,), zones={"de": (BOB, EVE)})
    assert given_out(rota, 3, name="de") == [502, 503, 502]
    assert given_out(rota, 2) == [501, 501]


def test_owner_at__an_empty_zone_falls_back_to_the_common_users_then_the_default_then_nobody() -> None:
    away = {"de": (RotaUser(502, absences=AWAY),)}
    assert owner_at(Owners("zone", (ANN,), default=599, zones=away), "de", 0, TODAY) == 501
    assert owner_at(Owners("zone", (), default=599, zones=away), "de", 0, TODAY) == 599
    assert owner_at(Owners("zone", (), zones=away), "de", 0, TODAY) is None
    assert owner_at(Owners("zone", (), default=599, zones=away, default_absences=AWAY), "de", 0, TODAY) is None


def test_owner_at__only_the_zone_strategy_looks_at_zones() -> None:
    assert given_out(Owners("round_robin", (ANN,), zones={"de": (BOB,)}), 2, name="de") == [501, 501]
    assert given_out(Owners("fixed", (ANN,), zones={"de": (BOB,)}), 2, name="de") == [501, 501]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6), st.integers(0, 1000), st.integers(1, 1000))
def test_owner_at__no_user_gets_more_than_one_deal_per_weight_ahead_of_another(
    weights: list[int], start: int, count: int
) -> None:
    rota = Owners(users=tuple(RotaUser(501 + place, weight) for place, weight in enumerate(weights)))
    counts = Counter(owner_at(rota, "", position, TODAY) for position in range(count))
    shares = [counts[501 + place] / weight for place, weight in enumerate(weights)]
    assert max(shares) - min(shares) <= 1
    assert sum(counts[501 + place] for place in range(len(weights))) == count
    round_ = Counter(owner_at(rota, "", start + n, TODAY) for n in range(sum(weights)))
    assert [round_[501 + place] for place in range(len(weights))] == weights


@given(st.integers(1, 8), st.integers(0, 100), st.integers(0, 200))
def test_owner_at__of_equal_weights_nobody_is_more_than_one_deal_ahead(people: int, start: int, count: int) -> None:
    rota = Owners(users=tuple(RotaUser(501 + place) for place in range(people)))
    counts = Counter(owner_at(rota, "", start + n, TODAY) for n in range(count))
    got = [counts[501 + place] for place in range(people)]
    assert max(got) - min(got) <= 1
    assert sum(got) == count


@given(owners, st.sampled_from(["", "de", "fr", "it"]), st.integers(0, 10_000), days)
def test_owner_at__never_an_absent_one_and_nobody_only_when_nobody_is_there(
    everybody: Owners, rota: str, position: int, today: date
) -> None:
    zone = everybody.zones.get(rota, ()) if everybody.strategy == "zone" else ()
    last_resort = {everybody.default} if not is_away(everybody.default_absences, today) else {None}
    in_zone = {user.user_id for user in zone if not is_away(user.absences, today)}
    in_common = {user.user_id for user in everybody.users if not is_away(user.absences, today)}
    assert owner_at(everybody, rota, position, today) in (in_zone or in_common or last_resort)


@given(owners, st.sampled_from(["", "de"]), st.lists(st.integers(0, 10_000), min_size=2, max_size=5), days)
def test_owner_at__does_not_depend_on_what_was_asked_before(
    everybody: Owners, rota: str, positions: list[int], today: date
) -> None:
    forwards = [owner_at(everybody, rota, position, today) for position in positions]
    backwards = [owner_at(everybody, rota, position, today) for position in reversed(positions)]
    assert forwards == backwards[::-1]


@pytest.mark.parametrize(
    ("zone_by", "country", "custom", "rota"),
    [
        ("country", "DE", {}, "de"),
        ("country", " de ", {"country": "FR"}, "de"),
        ("country", "US", {}, ""),
        ("country", None, {"country": "DE"}, ""),
        ("currency", "DE", {}, "eur"),
        ("region", "DE", {"region": "EMEA"}, "emea"),
        ("region", "DE", {}, ""),
        ("region", "DE", {"region": ""}, ""),
    ],
)
def test_rota_of__is_the_zone_that_the_key_names(
    zone_by: str, country: str | None, custom: dict[str, str], rota: str
) -> None:
    zones = {"de": (ANN,), "eur": (BOB,), "emea": (EVE,)}
    everybody = Owners("zone", (ANN,), zone_by=zone_by, zones=zones)
    assert rota_of(order(currency="EUR"), custom, country, everybody) == rota


def test_rota_of__is_the_common_one_for_every_other_strategy() -> None:
    for strategy in ("round_robin", "fixed"):
        everybody = Owners(strategy, (ANN,), zones={"de": (BOB,)})
        assert rota_of(order(), {}, "DE", everybody) == ""
