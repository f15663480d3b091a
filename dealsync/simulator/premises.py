"""What is there before anyone buys: the Kommo account with its pipelines, the store with its products."""

import uuid

from dealsync.simulator.clock import iso
from dealsync.simulator.kommo.definitions import new_field
from dealsync.simulator.kommo.fields import KINDS
from dealsync.simulator.kommo.state import LOST, UNSORTED_TYPE, WON, KommoAccount
from dealsync.simulator.lemonsqueezy import goods
from dealsync.simulator.people import user
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

ACCOUNT_ID = 31000001
SALES, PARTNERS = 7001, 7002
UNSORTED, NEW, QUALIFIED, INVOICE_SENT, ATTENTION = 70010, 70011, 70012, 70013, 70014
PARTNER_NEW, PARTNER_AGREED = 70021, 70022
COLORS = ("#99ccff", "#ffff99", "#ffcc66", "#ffcccc")
# Name, one-time price and monthly price in US cents; no total comes near 1,000 dollars times two.
PRODUCTS = (("Starter", 19900, 2900), ("Team", 49000, 9950), ("Business", 99000, 24900))


def furnish(world: World, at: float) -> None:
    """Set up both sides as they stood at `at` (Unix seconds)."""
    furnish_account(world.kommo, int(at))
    _furnish_store(world, at)


def furnish_account(account: KommoAccount, at: int) -> None:
    """Set up users, pipelines, loss reasons and the two contact fields every account has."""
    account.account = _account(at)
    names = {501: "Nora Admin", 502: "Omar Seller", 503: "Pia Seller"}
    account.users = {i: user(i, name, is_admin=i == 501) for i, name in names.items()}
    sales = [(UNSORTED, "Incoming leads"), (NEW, "New"), (QUALIFIED, "Qualified")]
    sales += [(INVOICE_SENT, "Invoice sent"), (ATTENTION, "Needs attention")]
    partners = [(PARTNER_NEW, "First talk"), (PARTNER_AGREED, "Agreement")]
    account.pipelines = {
        SALES: _pipeline(SALES, "Sales", sales, is_main=True),
        PARTNERS: _pipeline(PARTNERS, "Partners", partners, is_main=False),
    }
    reasons = ("Too expensive", "Chose a competitor", "No longer needed")
    account.loss_reasons = {
        90001 + i: {"id": 90001 + i, "name": name, "sort": (i + 1) * 100, "created_at": at, "updated_at": at}
        for i, name in enumerate(reasons)
    }
    account.roles = {3001: {"id": 3001, "name": "Seller", "rights": user(502, "Role", is_admin=False)["rights"]}}
    for code, name in (("PHONE", "Phone"), ("EMAIL", "Email")):
        enums = [{"value": kind, "sort": i} for i, kind in enumerate(KINDS[code])]
        field = new_field(account, "contacts", {"name": name, "type": "multitext", "code": code, "enums": enums})
        field.update(is_predefined=True, is_deletable=False)
        for kind in ("contacts", "companies"):  # under one id, as in the recorded samples
            account.custom_fields[kind][field["id"]] = {**field, "entity_type": kind}


def _account(at: int) -> Record:
    zone = {"timezone": "America/New_York", "timezone_offset": "-05:00"}
    return {
        "id": ACCOUNT_ID,
        "name": "Simulated",
        "subdomain": "simulated",
        "current_user_id": 501,
        "country": "US",
        "currency": "USD",
        "currency_symbol": "$",
        "customers_mode": "unavailable",
        "is_unsorted_on": True,
        "is_loss_reason_enabled": True,
        "is_helpbot_enabled": False,
        "is_technical_account": False,
        "contact_name_display_order": 1,
        "created_at": at,
        "created_by": 501,
        "updated_at": at,
        "updated_by": 501,
        "_with": {
            "entity_names": {
                "leads": {"en": {"singular_form": {"default": "lead"}, "plural_form": {"default": "leads"}}}
            },
            "amojo_id": "00000000-0000-4000-8000-000000000001",
            "version": 16,
            "drive_url": "https://drive.kommo.example",
        },
        "_embedded": {
            "amojo_rights": {"can_direct": True, "can_create_groups": True},
            "users_groups": [{"id": 0, "name": "Sales department", "uuid": None}],
            "task_types": [
                {"id": 1, "name": "Follow-up", "color": None, "icon_id": None, "code": "FOLLOW_UP"},
                {"id": 2, "name": "Meeting", "color": None, "icon_id": None, "code": "MEETING"},
            ],
            "datetime_settings": {
                "date_pattern": "m/d/Y H:i",
                "short_date_pattern": "m/d/Y",
                "short_time_pattern": "H:i",
                "date_formant": "us",  # misspelled in the API too (5.3)
                "time_format": "H:i",
                **zone,
            },
        },
    }


def _pipeline(pipeline_id: int, name: str, statuses: list[tuple[int, str]], *, is_main: bool) -> Record:
    rows = [_status(pipeline_id, i, text, 10 * (n + (1 if is_main else 2))) for n, (i, text) in enumerate(statuses)]
    rows += [_status(pipeline_id, WON, "Closed - won", 10000), _status(pipeline_id, LOST, "Closed - lost", 11000)]
    return {
        "id": pipeline_id,
        "name": name,
        "sort": 1 if is_main else 2,
        "is_main": is_main,
        "is_unsorted_on": is_main,
        "is_archive": False,
        "account_id": ACCOUNT_ID,
        "_embedded": {"statuses": rows},
    }


def _status(pipeline_id: int, status_id: int, name: str, sort: int) -> Record:
    fixed = {UNSORTED: "#c1c1c1", WON: "#CCFF66", LOST: "#D5D8DB"}
    return {
        "id": status_id,
        "name": name,
        "sort": sort,
        "is_editable": status_id not in fixed,
        "pipeline_id": pipeline_id,
        "color": fixed.get(status_id, COLORS[sort // 10 % len(COLORS)]),
        "type": UNSORTED_TYPE if status_id == UNSORTED else 0,
        "account_id": ACCOUNT_ID,
    }


def _furnish_store(world: World, at: float) -> None:
    store = world.lemon_squeezy
    record = store.add("stores", goods.store("Simulated Store", at))
    for name, once_minor, monthly_minor in PRODUCTS:
        product = store.add("products", goods.product(int(record["id"]), name, once_minor, at))
        plans = (("One-time", once_minor, False), ("Monthly", monthly_minor, True))
        for sort, (label, price_minor, monthly) in enumerate(plans, start=1):
            slug = str(uuid.UUID(int=world.rng.getrandbits(128), version=4))
            attributes = goods.variant(
                int(product["id"]), label, price_minor, monthly=monthly, sort=sort, slug=slug, at=at
            )
            store.add("variants", attributes)
    store.user = store_user(at)


def store_user(at: float) -> Record:
    """Return the user behind the Lemon Squeezy key."""
    return {
        "type": "users",
        "id": "5501",
        "attributes": {
            "name": "Nora Admin",
            "email": "nora@seller.example",
            "color": "#00ACFF",
            "avatar_url": "https://simulated-store.lemonsqueezy.com/avatar.png",
            "has_custom_avatar": False,
            "createdAt": iso(at),
            "updatedAt": iso(at),
        },
    }
