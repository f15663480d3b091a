"""Every error that dealsync raises on purpose. Each class tells its catcher what to do next.

A message is one line: what happened, to which object, and the way out. It never holds a secret or personal data.
"""


class DealsyncError(Exception):
    """Root of the tree. The command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class ConfigError(DealsyncError):
    """A setting is missing or wrong. Mend the environment or `dealsync.toml`; nothing was sent."""


class DatabaseError(DealsyncError):
    """The database cannot be opened, reached or migrated. Nothing was sent."""


class RunInProgress(DealsyncError):
    """Another run holds the lock. Wait for it to end; a killed run loses the lock by itself."""

    exit_code = 3


class UnsafePlan(DealsyncError):
    """The plan changes more deals than its limit allows. Nothing was sent; raise the limit to go on."""

    exit_code = 3


class UnknownReview(DealsyncError):
    """No such review waits for a person. The message names those that do."""


class AlreadyDecided(DealsyncError):
    """A person decided this review before, and differently. The first decision stands."""

    exit_code = 3


class AlreadyPlaced(DealsyncError):
    """The payment has a deal that is there, so none is made for it. Name another deal, or leave it where it is."""

    exit_code = 3


class UnknownDeal(DealsyncError):
    """A person named a deal that Kommo does not have."""


class UnknownObject(DealsyncError):
    """Nothing is on record about the object that a person asked about. Look at its id, or let a run read it first."""


class UnknownEvent(DealsyncError):
    """No such event is in the inbox, or the beginning of an id fits several."""


class UnknownEntry(DealsyncError):
    """The ledger has no action of that key, or none that the wish fits."""


class EventsParked(DealsyncError):
    """Events failed as often as they are tried. Read why (`dealsync inbox list --state parked`), then replay them."""


class RunFailed(DealsyncError):
    """The run went through, but some records could not be written. The report names each of them."""


class MailError(DealsyncError):
    """An e-mail was not delivered to the mail server as it should be. No address is named."""


class MailRefused(MailError):
    """The server will not take it, now or later. Correct the address; the same again is refused again."""


class MailNotSent(MailError):
    """It was surely not sent: no connection, no permission, or the server puts it off. Send it again later."""


class MailPutOff(MailNotSent):
    """The server puts off this one, not all. Send it again later; one that is put off each time needs a person."""


class MailLost(MailError):
    """The connection broke after the e-mail was handed over. It may have been sent: never send it again blindly."""


class DemoError(DealsyncError):
    """A part of the demo did not start or did not answer."""


class ApiError(DealsyncError):
    """An API refused or failed. `status` is its HTTP status, None when no answer came."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unauthorized(ApiError):
    """The key or token is wrong, expired or lacks rights. A person must replace it; no retry helps."""


class Banned(ApiError):
    """Kommo blocked this address (an HTML 403). Send nothing more; only Kommo's support lifts it."""


class Unreachable(ApiError):
    """No usable answer: connection, time-out, 429 or 5xx, after retries. Reading again later is safe."""


class AnswerLost(ApiError):
    """A write was sent and its answer never came. It may have happened: read before sending it again."""


class Rejected(ApiError):
    """The API refused the request as it stands. `items` maps a request_id to the API's own words about it."""

    def __init__(self, message: str, *, status: int, items: dict[str, str] | None = None) -> None:
        super().__init__(message, status=status)
        self.items = items or {}


class UnexpectedAnswer(ApiError):
    """An answer that does not have the documented shape. The message names the object and the field."""


class FiltersIgnored(UnexpectedAnswer):
    """A list came without the filter that was asked for. Read it without one, or object by object."""
