"""Every error that dealsync raises on purpose. Each class tells its catcher what to do next.

A message is one line: what happened, to which object, and the way out. It never holds a secret or personal data.
Each class has a code of its own, for people: `docs/errors.md` is made of `seen` (what one may see), the first paragraph
of the docstring (what it means) and `way_out` (what to do), see `dealsync.catalogue`. A code is never used for another
error.
"""

from typing import ClassVar


class DealsyncError(Exception):
    """Root of the tree. The command line prints it as one line and exits with `exit_code`."""

    code: ClassVar[str] = "DS000"
    seen: ClassVar[str] = ""  # how messages read, where that helps to find them
    way_out: ClassVar[str] = "Do what the line says. `dealsync --debug ...` shows where it came from."
    exit_code = 1

    @property
    def line(self) -> str:
        """What a person reads: the message and its code."""
        return f"{self} ({self.code})"


class Stopped(DealsyncError):
    """A person stopped a command at a question. The message says what stands as it was."""

    code: ClassVar[str] = "DS034"
    way_out: ClassVar[str] = "Run it again when you like: nothing is half-written."

    exit_code = 130


class ConfigError(DealsyncError):
    """A setting is missing or wrong. Mend the environment or `dealsync.toml`; nothing was sent."""

    code: ClassVar[str] = "DS001"
    seen: ClassVar[str] = (
        "*dealsync.toml is wrong: …*, *Settings missing: …*, *… names nothing in Kommo, which has: …*, "
        "*… lack the fields …*"
    )
    way_out: ClassVar[str] = (
        "Mend the setting or key that the line names, in the environment, `.env` or `dealsync.toml`. `dealsync "
        "doctor --offline` looks through all of them."
    )


class BadMonth(DealsyncError):
    """A person asked for a report about no month, or one to come. The message says how months are written."""

    code: ClassVar[str] = "DS035"
    way_out: ClassVar[str] = "Write a month as 2026-10: `dealsync report --month 2026-10`."


class NotSent(DealsyncError):
    """A report reached not everybody it was for. The next sending tries all of them again."""

    code: ClassVar[str] = "DS036"
    way_out: ClassVar[str] = (
        "The log names the number of each address that failed: check it with `dealsync alerts --test`, then "
        "`dealsync report --send`."
    )


class DatabaseError(DealsyncError):
    """The database cannot be opened, reached or migrated. Nothing was sent."""

    code: ClassVar[str] = "DS002"
    seen: ClassVar[str] = "*The database … cannot be used: …*, *The database failed in mid-work: …*"
    way_out: ClassVar[str] = (
        "Look at what the line says of the database: is it running, is the disk full, is DEALSYNC_DATABASE_URL "
        "right? What was recorded stays; run the command again."
    )


class RunInProgress(DealsyncError):
    """Another run holds the lock. Wait for it to end; a killed run loses the lock by itself."""

    code: ClassVar[str] = "DS003"
    seen: ClassVar[str] = "*Run … is at work. Wait for it to end …*, *Run … stalled and lost its lock to another run …*"
    way_out: ClassVar[str] = (
        "Wait for the other run. Nobody has to free the lock of a killed one; it does so within 20 seconds."
    )
    exit_code = 3


class UnsafePlan(DealsyncError):
    """The plan changes more deals than its limit allows. Nothing was sent; raise the limit to go on."""

    code: ClassVar[str] = "DS004"
    seen: ClassVar[str] = "*The plan touches … deals …*"
    way_out: ClassVar[str] = (
        "Read `dealsync plan`. If it is right, repeat with a higher `--max-changes`, or raise `limits.max_changes`."
    )
    exit_code = 3


class PlanTampered(DealsyncError):
    """The file is not the plan that was written: it was changed, cut short, or never was one. Make a new one."""

    code: ClassVar[str] = "DS030"
    seen: ClassVar[str] = "*plan.json is not a plan as dealsync wrote it: …*"
    way_out: ClassVar[str] = "Make a new one with `dealsync plan --out plan.json`, read it, and apply it unchanged."
    exit_code = 3


class PlanOutdated(DealsyncError):
    """What the plan rests on has changed since it was made. Nothing was sent; make a new one and read it."""

    code: ClassVar[str] = "DS031"
    seen: ClassVar[str] = "*The plan of … does not hold: changed since: deal …*"
    way_out: ClassVar[str] = "Make a new plan and read it: somebody changed a deal, or another run was faster."
    exit_code = 3


class NeedsApproval(UnsafePlan):
    """A person must agree first, and nobody can be asked here. Nothing was sent."""

    code: ClassVar[str] = "DS032"
    seen: ClassVar[str] = "*… changes need a person's yes: …*"
    way_out: ClassVar[str] = (
        "Read and send them as a file: `dealsync plan --out plan.json`, then `dealsync apply plan.json`. Or let a run "
        "of the deployment `reconcile` ask in the Prefect UI. `approval.careful` switches the question on."
    )


class UnknownRun(DealsyncError):
    """No such run is known, or it is still at work."""

    code: ClassVar[str] = "DS033"
    way_out: ClassVar[str] = (
        "Take the id from a report, or from `dealsync ledger list`; the line names the latest runs."
    )


class UnknownReview(DealsyncError):
    """No such review waits for a person. The message names those that do."""

    code: ClassVar[str] = "DS005"
    way_out: ClassVar[str] = "List those that wait: `dealsync reviews`."


class AlreadyDecided(DealsyncError):
    """A person decided this review before, and differently. The first decision stands."""

    code: ClassVar[str] = "DS006"
    way_out: ClassVar[str] = (
        "See the decision: `dealsync reviews --all`. To place the payment otherwise, write the order id into *LS "
        "order id* of the right deal in Kommo."
    )
    exit_code = 3


class AlreadyPlaced(DealsyncError):
    """The payment has a deal that is there, so none is made for it. Name another deal, or leave it where it is."""

    code: ClassVar[str] = "DS007"
    way_out: ClassVar[str] = "Name another deal with `--lead`, or leave the payment where it is."
    exit_code = 3


class UnknownDeal(DealsyncError):
    """A person named a deal that Kommo does not have."""

    code: ClassVar[str] = "DS008"
    way_out: ClassVar[str] = "Look the deal's number up in Kommo: it is the last part of the address of its card."


class UnknownObject(DealsyncError):
    """Nothing is on record about the object that a person asked about. Look at its id, or let a run read it first."""

    code: ClassVar[str] = "DS037"
    seen: ClassVar[str] = "*Nothing is on record about lead:…*"
    way_out: ClassVar[str] = (
        "Look at the id: `order:17`, `lead:31`, `subscription:9`, an e-mail address. Or let a run read it first."
    )


class UnknownEvent(DealsyncError):
    """No such event is in the inbox, or the beginning of an id fits several."""

    code: ClassVar[str] = "DS009"
    way_out: ClassVar[str] = "List the events: `dealsync inbox list`. Give enough of the id to fit one event only."


class UnknownEntry(DealsyncError):
    """The ledger has no action of that key, or none that the wish fits."""

    code: ClassVar[str] = "DS010"
    way_out: ClassVar[str] = "List the actions: `dealsync ledger list`. Copy the whole key."


class EventsParked(DealsyncError):
    """Events failed as often as they are tried. Read why (`dealsync inbox list --state parked`), then replay them."""

    code: ClassVar[str] = "DS011"
    seen: ClassVar[str] = "*… events are parked …*, a red run of `process-inbox`"
    way_out: ClassVar[str] = (
        "Read why: `dealsync inbox list --state parked`. Mend that, then `dealsync inbox replay --parked`."
    )


class RunFailed(DealsyncError):
    """The run went through, but some records could not be written. The report names each of them."""

    code: ClassVar[str] = "DS012"
    seen: ClassVar[str] = "*… of … actions were not done …*"
    way_out: ClassVar[str] = (
        "Look at the words in the report, or at `dealsync ledger list --state failed`. Every later run tries "
        "again; `dealsync ledger dismiss KEY` gives one up."
    )


class MailError(DealsyncError):
    """An e-mail was not delivered to the mail server as it should be. No address is named."""

    code: ClassVar[str] = "DS013"
    way_out: ClassVar[str] = "Look at the mail server's own words, and at the settings SMTP_*."


class MailRefused(MailError):
    """The server will not take it, now or later. Correct the address; the same again is refused again."""

    code: ClassVar[str] = "DS014"
    way_out: ClassVar[str] = "Correct the address on the contact's card in Kommo; the next run sends to the new one."


class MailNotSent(MailError):
    """It was surely not sent: no connection, no permission, or the server puts it off. Send it again later."""

    code: ClassVar[str] = "DS015"
    way_out: ClassVar[str] = (
        "Mend the settings SMTP_*, or wait until the mail server is back; the e-mail goes out with the next run."
    )


class MailPutOff(MailNotSent):
    """The server puts off this one, not all. Send it again later; one that is put off each time needs a person."""

    code: ClassVar[str] = "DS016"
    way_out: ClassVar[str] = "Nothing: it is sent again for hours. After that the deal's owner has a task."


class MailLost(MailError):
    """The connection broke after the e-mail was handed over. It may have been sent: never send it again blindly."""

    code: ClassVar[str] = "DS017"
    way_out: ClassVar[str] = "Ask the client whether the e-mail came; the deal's owner has a task that says so."


class DemoError(DealsyncError):
    """A part of the demo did not start or did not answer."""

    code: ClassVar[str] = "DS018"
    seen: ClassVar[str] = "*… did not start within … s. Its log: …*"
    way_out: ClassVar[str] = (
        "Run `make demo` again. A machine that is very busy, or lacks memory, takes too long to start the servers."
    )


class ApiError(DealsyncError):
    """An API refused or failed.

    `status` is its HTTP status, None when no answer came.
    """

    code: ClassVar[str] = "DS019"
    way_out: ClassVar[str] = "Do what the line says."

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unauthorized(ApiError):
    """The key or token is wrong, expired or lacks rights. A person must replace it; no retry helps."""

    code: ClassVar[str] = "DS020"
    seen: ClassVar[str] = "*… (HTTP 401); check the key or token*, *Kommo refused the refresh token: …*"
    way_out: ClassVar[str] = (
        "Put a new key or token into `.env`, made by an admin. `dealsync doctor` says which one is wrong."
    )


class Banned(ApiError):
    """An API has blocked this address (an HTML 403). Nothing more is sent; only its support lifts the block."""

    code: ClassVar[str] = "DS021"
    seen: ClassVar[str] = "*kommo has blocked this address (…). Nothing more is sent …*"
    way_out: ClassVar[str] = (
        "Stop everything that talks to the API from this address, ask its support to lift the block, then run "
        "`dealsync unblock`."
    )


class Unreachable(ApiError):
    """No usable answer: connection, time-out, 429 or 5xx, after retries. Reading again later is safe."""

    code: ClassVar[str] = "DS022"
    seen: ClassVar[str] = "*… no answer (…); try again later*, *kommo asks to wait … s; try again later*"
    way_out: ClassVar[str] = (
        "Wait: the next run tries again. If it stays, look at the connection, and at the API's status page."
    )


class AnswerLost(ApiError):
    """A write was sent and its answer never came. It may have happened.

    Read before sending it again.
    """

    code: ClassVar[str] = "DS023"
    seen: ClassVar[str] = "*…; it may have happened all the same*"
    way_out: ClassVar[str] = "Nothing: the next run looks whether it happened, before anything is sent again."


class Rejected(ApiError):
    """The API refused the request as it stands.

    `items` maps a request_id to the API's own words about it.
    """

    code: ClassVar[str] = "DS024"
    seen: ClassVar[str] = "*kommo POST /api/v4/…: … (HTTP 400)*"
    way_out: ClassVar[str] = (
        "Look at the API's own words in the line. `dealsync doctor` finds fields, stages and users that have changed."
    )

    def __init__(self, message: str, *, status: int, items: dict[str, str] | None = None) -> None:
        super().__init__(message, status=status)
        self.items = items or {}


class UnexpectedAnswer(ApiError):
    """An API's answer does not have the documented shape. The message names the object and the field."""

    code: ClassVar[str] = "DS025"
    seen: ClassVar[str] = "*… answered without JSON*, *… answered another object*"
    way_out: ClassVar[str] = (
        "Repeat it once. If it comes again, the API has changed, or something between answers in its place: report "
        "the line."
    )


class FiltersIgnored(UnexpectedAnswer):
    """A list came without the filter that was asked for.

    Read it without one, or object by object.
    """

    code: ClassVar[str] = "DS026"
    seen: ClassVar[str] = "*Kommo ignores filters in this account: …*"
    way_out: ClassVar[str] = (
        "Switch the filters on in Kommo (a paid add-on in some accounts), or live with more requests: each run "
        "reads all deals and contacts."
    )
