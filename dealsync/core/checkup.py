"""What `dealsync doctor` looks at: every check with its code, what it means when it fails, and the way out.

Codes go by end: DS1xx Lemon Squeezy, DS2xx Kommo, DS3xx the database, DS4xx Prefect, DS5xx the receiver and dealsync
itself. A code is never used for another check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

ENDS: Mapping[str, str] = {
    "DS1": "Lemon Squeezy",
    "DS2": "Kommo",
    "DS3": "Database",
    "DS4": "Prefect",
    "DS5": "Receiver and dealsync itself",
}
"""The ends by the beginning of their codes."""


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # it works, but less well or not for long
    FAILED = "failed"
    SKIPPED = "skipped"  # it would say nothing


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found, in words without secrets and personal data."""

    status: Status
    words: str


@dataclass(frozen=True, slots=True)
class CheckKind:
    """One check. `needs` names those without which it would say nothing; it is skipped unless they went well."""

    code: str
    name: str
    meaning: str  # when it does not go well
    way_out: str
    needs: tuple[str, ...] = ()
    offline: bool = False  # can be run without network


@dataclass(frozen=True, slots=True)
class Checked:
    """A check and how it ended."""

    kind: CheckKind
    verdict: Verdict

    def as_json(self) -> dict[str, str]:
        """Return it as plain values; the way out only where there is something to get out of."""
        is_trouble = self.verdict.status in (Status.WARNING, Status.FAILED)
        return {
            "code": self.kind.code,
            "name": self.kind.name,
            "status": self.verdict.status.value,
            "words": self.verdict.words,
            "way_out": self.kind.way_out if is_trouble else "",
        }


def end_of(code: str) -> str:
    """Return the end that a code belongs to, in words."""
    return ENDS[code[:3]]


LEMON_SQUEEZY = (
    CheckKind(
        "DS101",
        "the API key is valid",
        "Lemon Squeezy does not take the key, or does not answer.",
        "Make a new key in Lemon Squeezy (Settings > API) and set LEMON_SQUEEZY_API_KEY; if there was no answer, wait, "
        "and look at the connection and at LEMON_SQUEEZY_API_URL.",
        needs=("DS501", "DS304", "DS108"),
    ),
    CheckKind(
        "DS102",
        "the key's mode is DEALSYNC_MODE",
        "A key of the other mode sees other orders, and its checkouts take no money, or real money in a trial.",
        "Take a key of the right mode, or set DEALSYNC_MODE to `test` or `live`.",
        needs=("DS101",),
    ),
    CheckKind(
        "DS103",
        "the stores are the key's",
        "LEMON_SQUEEZY_STORE_ID, or one of `lemon_squeezy.stores`, is no store that this key sees.",
        "Take the number from Settings > Stores (without the #), or a key of the account that owns the store.",
        needs=("DS101",),
    ),
    CheckKind(
        "DS104",
        "the variants can be sold",
        "LEMON_SQUEEZY_VARIANT_ID, or a variant of `checkout.variants`, is not there in this mode or belongs to "
        "another "
        "store: deals in the invoice stage get a task instead of a link. Without any, no deal gets one.",
        "Set the id of a variant of the store, in the mode of the key: its page in Lemon Squeezy shows it, `Copy ID`.",
        needs=("DS103", "DS502"),
    ),
    CheckKind(
        "DS105",
        "each store has one webhook to us",
        "Without it payments are seen within the hour only, and without the id of their deal; of two webhooks to the "
        "same "
        "address one is in vain.",
        "`dealsync init --receiver-url URL` makes it; delete a second one in Settings > Webhooks.",
        needs=("DS103", "DS502"),
    ),
    CheckKind(
        "DS106",
        "Lemon Squeezy tells of all events",
        "What it does not tell of (refunds, renewals, cancellations) is seen by the next poll only.",
        "`dealsync init --receiver-url URL` sets the events again.",
        needs=("DS105",),
    ),
    CheckKind(
        "DS107",
        "what Lemon Squeezy sends arrives",
        "It has sent webhooks that did not come into our inbox: the receiver is not reached, or refuses their "
        "signature. "
        "One that is sent again by hand looks the same, and does no harm.",
        "See DS505; look at the log of the webhook in Lemon Squeezy (Settings > Webhooks). If the answers there are "
        "401, "
        "`dealsync init --receiver-url URL` sets our secret again.",
        needs=("DS105", "DS302"),
    ),
    CheckKind(
        "DS108",
        "Lemon Squeezy holds nothing back",
        "Lemon Squeezy had more requests than it likes; all processes wait, or go at half the rate for a minute.",
        "Wait. If it comes again, look for other tools with the same key, or lower LEMON_SQUEEZY_REQUESTS_PER_MINUTE. "
        "After a ban: ask its support, then `dealsync unblock`.",
        needs=("DS501", "DS304"),
        offline=True,
    ),
)
KOMMO = (
    CheckKind(
        "DS201",
        "the token works",
        "Kommo does not take the token, or does not answer.",
        "Let an admin make a new long-lived token in the private integration and set KOMMO_TOKEN (or a new "
        "KOMMO_AUTH_CODE); if there was no answer, wait, and look at the connection and at KOMMO_DOMAIN.",
        needs=("DS501", "DS304", "DS202", "DS203"),
    ),
    CheckKind(
        "DS202",
        "the token lasts",
        "The token has ended, or ends within `alerts.token_days`. A long-lived token cannot be renewed; a pair of "
        "OAuth "
        "tokens is renewed by every run, and dies after three months without one.",
        "Let an admin make a new one in Kommo and set KOMMO_TOKEN (or KOMMO_AUTH_CODE, which lives 20 minutes).",
        needs=("DS501",),
        offline=True,
    ),
    CheckKind(
        "DS203",
        "Kommo holds nothing back",
        "Kommo had more requests from this address than it likes: all processes wait, go at half the rate for a "
        "minute, or "
        "are banned and silent.",
        "Wait. If it comes again, look for other tools on this address, or lower KOMMO_REQUESTS_PER_SECOND. After a "
        "ban: "
        "stop everything that talks to Kommo, ask its support to lift it, then `dealsync unblock`.",
        needs=("DS501", "DS304"),
        offline=True,
    ),
    CheckKind(
        "DS204",
        "KOMMO_DOMAIN is the account's",
        "The account that answers has another name: links to its deals lead nowhere.",
        "Set KOMMO_DOMAIN to the host in your browser when Kommo is open.",
        needs=("DS201",),
    ),
    CheckKind(
        "DS205",
        "the token has an admin's rights",
        "Only an admin's token may read users (owners of deals), make fields, and register webhooks; every run needs "
        "the "
        "first.",
        "Let an admin make the token, or make its user an admin.",
        needs=("DS201",),
    ),
    CheckKind(
        "DS206",
        "the plan has webhooks",
        "Kommo refuses to tell of webhooks, which come with the Advanced plan. Moved deals are seen by polls only, "
        "within "
        "five minutes.",
        "Take the Advanced plan, or live without.",
        needs=("DS205",),
    ),
    CheckKind(
        "DS207",
        "Kommo has one webhook to us",
        "Without it moved deals are seen by polls only, within five minutes.",
        "`dealsync init --receiver-url URL` makes it; delete one with another token in Kommo's settings.",
        needs=("DS206", "DS502"),
    ),
    CheckKind(
        "DS208",
        "Kommo tells of all events",
        "What it does not tell of is seen by the next poll only.",
        "`dealsync init --receiver-url URL` sets the events again.",
        needs=("DS207",),
    ),
    CheckKind(
        "DS209",
        "Kommo's webhook is switched on",
        "Kommo switches a webhook off that failed more than 100 times in two hours.",
        "See that the receiver is reached (DS505), then switch it on in Kommo's settings.",
        needs=("DS207",),
    ),
    CheckKind(
        "DS210",
        "pipelines and stages are there",
        "dealsync.toml names a pipeline or stage that Kommo does not have: it was deleted or renamed. No run goes "
        "through.",
        "Correct the name in dealsync.toml, or use the id; or make the stage in Kommo.",
        needs=("DS201", "DS502"),
    ),
    CheckKind(
        "DS211",
        "the stages fit their roles",
        "Deals that wait for payment, and those that a person must look at, need two different open stages.",
        "Name another stage as `invoice_status` or `attention_status`.",
        needs=("DS210",),
    ),
    CheckKind(
        "DS212",
        "the LS fields are there",
        "Fields that dealsync fills were deleted, or `init` never ran. No run goes through.",
        "`dealsync init` makes what is missing.",
        needs=("DS201", "DS502"),
    ),
    CheckKind(
        "DS213",
        "the LS fields have their types",
        "A field of another type refuses what is written into it, or changes it: runs would find the same difference "
        "for "
        "ever.",
        "Take its line out of `[fields]`, rename or delete the field in Kommo, and run `dealsync init`.",
        needs=("DS212",),
    ),
    CheckKind(
        "DS214",
        "people can fill the LS fields",
        "A field that only the API may change cannot be filled by hand: nobody can place a payment by *LS order id*.",
        "Switch off `can be changed through the API only` for the field in Kommo.",
        needs=("DS212",),
    ),
    CheckKind(
        "DS215",
        "the other fields are there",
        "`self_serve.fields` or `checkout` names a field that Kommo's deals do not have, or that holds no text; or a "
        "pipeline or store that is not watched. No run goes through.",
        "Correct the name in dealsync.toml, or make the field in Kommo.",
        needs=("DS210", "DS212"),
    ),
    CheckKind(
        "DS216",
        "the owners are active",
        "A user of `owners` was switched off, and is passed over; one that Kommo does not know stops every run.",
        "Take the user out of `owners` in dealsync.toml, or switch him on in Kommo.",
        needs=("DS205", "DS502"),
    ),
    CheckKind(
        "DS217",
        "filters are honoured",
        "Lists come unfiltered: a paid add-on of the account is off. Every run reads all deals and contacts.",
        "Switch the add-on on in Kommo, or live with the requests.",
        needs=("DS201",),
    ),
)
DATABASE = (
    CheckKind(
        "DS301",
        "the database answers",
        "It is not there (yet), does not answer, or DEALSYNC_DATABASE_URL is wrong.",
        "If it is new: `dealsync init` makes it. Else start it, or mend DEALSYNC_DATABASE_URL.",
        needs=("DS501",),
        offline=True,
    ),
    CheckKind(
        "DS302",
        "its schema is the present one",
        "It was made by another version of dealsync.",
        "An older one: every command but `doctor` brings it up to date, for example `dealsync alerts`. A newer one: "
        "run "
        "the newer dealsync.",
        needs=("DS301",),
        offline=True,
    ),
    CheckKind(
        "DS303",
        "it belongs to this account",
        "The settings name another Kommo account than the one whose data it holds, say after trying the simulator.",
        "Give each account a DEALSYNC_DATABASE_URL of its own.",
        needs=("DS302",),
        offline=True,
    ),
    CheckKind(
        "DS304",
        "requests can be paced",
        "The file in which all processes of this machine share the APIs' limits cannot be used.",
        "Name a folder that can be written in DEALSYNC_STATE_DIR.",
        needs=("DS501",),
        offline=True,
    ),
)
PREFECT = (
    CheckKind(
        "DS401",
        "the server answers",
        "PREFECT_API_URL leads to no Prefect server, or it refuses PREFECT_API_AUTH_STRING.",
        "Start it (`prefect server start`), or mend the two settings.",
        needs=("DS501",),
    ),
    CheckKind(
        "DS402",
        "its version is a known one",
        "dealsync is tested with Prefect 3.8.8 to 3.9.",
        "Install the server from `requirements.lock`.",
        needs=("DS401",),
    ),
    CheckKind(
        "DS403",
        "every deployment is there",
        "A deployment of `prefect.yaml` is not registered on this server: its flow never runs.",
        "`dealsync serve`, or `prefect --no-prompt deploy --all` from the folder of dealsync.",
        needs=("DS401",),
    ),
    CheckKind(
        "DS404",
        "every schedule is on",
        "A deployment is paused, or its schedule is off or gone: its flow does not run by itself.",
        "Switch it on in Prefect's UI (Deployments), or deploy again.",
        needs=("DS403",),
    ),
    CheckKind(
        "DS405",
        "something runs the flows",
        "Nobody has asked the server for work for a minute: `dealsync serve`, or the worker, is not running.",
        "Start `dealsync serve`, or `prefect worker start --pool dealsync`, and let a supervisor keep it up.",
        needs=("DS403",),
    ),
    CheckKind(
        "DS406",
        "the scheduler plans runs",
        "No run of a scheduled deployment is planned: the server's scheduler is off or fails, and looks well "
        "otherwise. A "
        "new server needs a minute.",
        "Look at the server's log. If it says *bulk DML*: install `sqlalchemy<2.1` beside it, as `requirements.lock` "
        "does.",
        needs=("DS404", "DS405"),
    ),
    CheckKind(
        "DS407",
        "the last flow runs went through",
        "The last run of a scheduled deployment failed or crashed, or a run is late.",
        "Look at the run in Prefect's UI; its last line says what happened.",
        needs=("DS404", "DS405"),
    ),
)
OURSELVES = (
    CheckKind(
        "DS501",
        "the environment is complete",
        "A setting is missing or wrong.",
        "Set it in the environment or in `.env`.",
        offline=True,
    ),
    CheckKind(
        "DS502",
        "the configuration is valid",
        "dealsync.toml, or a file that it names, cannot be read, or has a key or value that means nothing.",
        "Correct what the line names; without the file: `dealsync init`.",
        needs=("DS501",),
        offline=True,
    ),
    CheckKind(
        "DS503",
        ".env is private",
        "Other users of this machine can read the keys in `.env`.",
        "`chmod 600 .env`",
        offline=True,
    ),
    CheckKind(
        "DS504",
        "the clock is right",
        "Our clock and that of the APIs differ: what is young or old, and how long tokens live, is judged by it.",
        "Let the machine set its clock by itself (NTP, `timedatectl set-ntp true`).",
        needs=("DS501",),
    ),
    CheckKind(
        "DS505",
        "the receiver is reached",
        "Nobody answers as the receiver at `--url`, or `receiver.url`: no webhook and no claim comes in.",
        "Start `dealsync serve` or `dealsync receive`, and look at the proxy, its certificate and the DNS name.",
        needs=("DS501", "DS502"),
    ),
    CheckKind(
        "DS506",
        "the receiver is ready",
        "The receiver answers, but its database does not, or nothing works on what comes in.",
        "Its words say which. `dealsync drain` works the inbox off by hand.",
        needs=("DS505",),
    ),
    CheckKind(
        "DS507",
        "the inbox is worked on",
        "A webhook has waited longer than `inbox.ready_minutes`.",
        "Start `dealsync serve`, or the worker; `dealsync drain` does it by hand.",
        needs=("DS302", "DS502"),
        offline=True,
    ),
    CheckKind(
        "DS508",
        "no webhook was given up",
        "Events failed seven times, and wait for a person.",
        "`dealsync inbox list --state parked` says why; mend that, then `dealsync inbox replay --parked`.",
        needs=("DS302", "DS502"),
        offline=True,
    ),
    CheckKind(
        "DS509",
        "no write was given up",
        "Writes failed `alerts.after_attempts` times or more.",
        "`dealsync ledger list --state failed` names them with the API's words; mend that, or `dealsync ledger "
        "dismiss KEY`.",
        needs=("DS302", "DS502"),
        offline=True,
    ),
    CheckKind(
        "DS510",
        "the last run is fresh",
        "No run of `reconcile` has gone through for `alerts.reconcile_hours`, or none ever has.",
        "See whether `dealsync serve`, or the worker, and the Prefect server run; by hand: `dealsync reconcile "
        "--apply`.",
        needs=("DS302", "DS502"),
        offline=True,
    ),
    CheckKind(
        "DS511",
        "no run is stuck",
        "A run did nothing for 15 minutes and lost its lock; others go on.",
        "Restart `dealsync serve`, or the worker.",
        needs=("DS302", "DS502"),
        offline=True,
    ),
    CheckKind(
        "DS512",
        "nothing is out of step for long",
        "Payments or refunds have not reached their deals for longer than `alerts.drift_hours`.",
        "`dealsync plan` says what would be done, and what stands in the way; `dealsync ledger list --state failed` "
        "what failed.",
        needs=("DS302", "DS502"),
        offline=True,
    ),
    CheckKind(
        "DS513",
        "webhooks tell of payments",
        "Polls saw payments that no webhook told of for `alerts.silent_hours`.",
        "See DS105, DS107 and DS505.",
        needs=("DS302", "DS502"),
        offline=True,
    ),
    CheckKind(
        "DS514",
        "somebody hears of alerts",
        "DEALSYNC_ALERT_URLS has an address that is none, or none at all: then only the log tells of trouble.",
        "Set addresses as Apprise writes them (`mailto://user:password@acme.com`), then `dealsync alerts --test`.",
        needs=("DS501",),
        offline=True,
    ),
    CheckKind(
        "DS515",
        "nobody is waited for",
        "A plan waits for a person's approval; nothing of it is sent before, and after the time for an answer neither.",
        "Open the paused run in the Prefect UI, *Resume*; its artifact `approval` lists what waits.",
        needs=("DS302", "DS502"),
        offline=True,
    ),
)
CATALOGUE: tuple[CheckKind, ...] = (*LEMON_SQUEEZY, *KOMMO, *DATABASE, *PREFECT, *OURSELVES)
CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "ban": ("DS108", "DS203"),
    "parked-writes": ("DS509",),
    "parked-events": ("DS508",),
    "stuck-run": ("DS511",),
    "late-run": ("DS510",),
    "old-drift": ("DS512",),
    "silent-receiver": ("DS513",),
    "expiring-token": ("DS202",),
    "approval": ("DS515",),
}
"""Which checks tell of the conditions of `core.alerts`."""
