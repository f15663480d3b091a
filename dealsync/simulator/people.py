"""Who works and who buys in a seeded world: names, users, contacts."""

import random

from dealsync.simulator.table import Record

FIRST_NAMES = (
    "Ada", "Ben", "Chloe", "Dmitri", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas",
    "Keiko", "Liam", "Maya", "Noah", "Olga", "Pablo", "Quinn", "Rosa", "Sven", "Tara",
)  # fmt: skip
LAST_NAMES = (
    "Adler", "Brandt", "Costa", "Dubois", "Evans", "Fischer", "Garcia", "Hansen", "Ito", "Jansen",
    "Kovacs", "Lopez", "Meyer", "Novak", "Olsen", "Petit", "Quist", "Rossi", "Schmidt", "Torres",
)  # fmt: skip
COMPANIES = ("acorn", "birch", "cobalt", "delta", "ember", "fjord", "granite", "harbor")


def buyer(number: int, rng: random.Random) -> tuple[str, str]:
    """Return the name and the e-mail of a buyer; e-mails are distinct by their number."""
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    return f"{first} {last}", f"{first}.{last}{number}@{rng.choice(COMPANIES)}.example".lower()


def user(user_id: int, name: str, *, is_admin: bool) -> Record:
    """Return a Kommo user in the shape of users_list_with_role_group.kommo.json."""
    letters = {"view": "A", "edit": "A", "add": "A", "delete": "A", "export": "A"}
    return {
        "id": user_id,
        "name": name,
        "email": f"{name.split()[0].lower()}@seller.example",
        "lang": "en",
        "rights": {
            "leads": dict(letters),
            "contacts": dict(letters),
            "companies": dict(letters),
            "tasks": {"edit": "A", "delete": "A"},
            "mail_access": False,
            "catalog_access": False,
            "status_rights": [],
            "is_admin": is_admin,
            "is_free": False,
            "is_active": True,
            "group_id": None,
            "role_id": None,
        },
        "_embedded": {"roles": [], "groups": [{"id": 0, "name": "Sales department"}]},
    }
