"""Checkouts for deals: opened with the deal's id and a claim link, and kept as evidence of whom a payment is for."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime

from dealsync.abreast import abreast
from dealsync.apis.lemonsqueezy.values import Checkout, NewCheckout
from dealsync.core.batches import batches
from dealsync.core.claims import ClaimToken, claim_url
from dealsync.core.evidence import CHECKOUT_KEY, LEAD_ID_KEY, IssuedCheckout
from dealsync.core.models import normal_email
from dealsync.core.plan import Action, CheckoutWish, Outcome
from dealsync.core.states import State
from dealsync.errors import ApiError, Banned, ConfigError, Rejected, Unauthorized, UnexpectedAnswer, Unreachable
from dealsync.ledger.keys import claim_key
from dealsync.ledger.runs import utc_now
from dealsync.run import Run

NONCE_BYTES = 12
AT_ONCE = 5
"""Requests under way at the same time: enough to use the whole rate when answers are slow."""
INTERRUPTED = "the run was stopped while this was on its way"


async def open_checkouts(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    """Open the checkouts that the journal has recorded, and record what became of each; none is sent twice.

    Raises Unauthorized, RunInProgress, and ConfigError where the key is of the other mode (test or live): then nothing
    was sent.
    """
    wanted = [(a, a.change) for a in actions if isinstance(a.change, CheckoutWish)]
    if wanted:
        await _ensure_mode(run)
    outcomes: list[Outcome] = []
    for batch in batches(wanted, AT_ONCE):
        run.progress(f"Lemon Squeezy: opening checkouts, {len(outcomes)} of {len(wanted)} done")
        run.store.runs.ensure_held(run.run_id)
        run.store.journal.mark_sent({a.key: a.lead_id for a, _ in batch}, run.run_id, utc_now())
        became = {a.key: Outcome(a.key, State.UNKNOWN, a.lead_id, error=INTERRUPTED) for a, _ in batch}
        try:
            await abreast(_open_one(run, action, wish, became) for action, wish in batch)
        finally:
            run.store.journal.close(list(became.values()), (), utc_now(), run_id=run.run_id)
        outcomes += became.values()
    return outcomes


async def _ensure_mode(run: Run) -> None:
    """A link of the other mode would take no money, or real money for a trial."""
    if run.key_is_right:
        return
    if await run.lemon_squeezy.key_is_test_mode() != run.directory.policy.test_mode:
        raise ConfigError(
            "LEMON_SQUEEZY_API_KEY is a key of the other mode (test or live) than DEALSYNC_MODE: no checkout was "
            "opened. Correct one of them"
        )
    run.key_is_right = True


async def _open_one(run: Run, action: Action, wish: CheckoutWish, became: dict[str, Outcome]) -> None:
    key, lead_id = action.key, action.lead_id
    try:
        await open_checkout(run, wish)
    except Rejected as error:
        became[key] = Outcome(key, State.FAILED, lead_id, error=str(error), is_refused=True)
    except Unauthorized as error:
        became[key] = Outcome(key, State.FAILED, lead_id, error=str(error))
        raise
    except (Unreachable, Banned) as error:
        became[key] = Outcome(key, State.FAILED, lead_id, error=str(error))
    except ApiError as error:
        became[key] = Outcome(key, State.UNKNOWN, lead_id, error=str(error))
    else:
        became[key] = Outcome(key, State.APPLIED, lead_id)


async def open_checkout(run: Run, wish: CheckoutWish) -> IssuedCheckout:
    """Make a checkout for a deal and keep it as evidence. Where the receiver has an address, it has a claim link.

    Never repeated blind. Raises as `LemonSqueezy.create_checkout`.
    """
    link = _claim_link(run, wish)
    mark = {CHECKOUT_KEY: wish.mark} if wish.mark else {}
    redirect_url = link or run.settings.config.checkout.redirect_url or None
    made = await run.lemon_squeezy.create_checkout(
        NewCheckout(
            store_id=wish.store_id,
            variant_id=wish.variant_id,
            custom={**wish.custom, **mark, LEAD_ID_KEY: str(wish.lead_id)},
            email=wish.email or None,
            name=wish.name or None,
            discount_code=wish.discount_code or None,
            custom_price=wish.custom_price,
            quantity=wish.quantity if wish.quantity > 1 else None,
            expires_at=wish.expires_at,
            redirect_url=redirect_url,
            receipt_link_url=redirect_url,
        )
    )
    checkout = issued(made)
    if checkout is None:
        raise UnexpectedAnswer(f"Checkout {made.id} came back without the id of deal {wish.lead_id}")
    run.store.evidence.keep_checkouts([checkout])
    return checkout


async def find_opened(run: Run, actions: Sequence[Action], since: datetime) -> list[Outcome]:
    """Find the checkouts whose answers were lost among those made since, and keep them as evidence.

    A checkout is never there twice: what is found counts as opened, what is not was never made. Raises Unreachable.
    """
    wanted = [(a, a.change) for a in actions if isinstance(a.change, CheckoutWish)]
    found: set[tuple[str, str]] = set()
    for store_id in sorted({wish.store_id for _, wish in wanted}):
        async with aclosing(run.lemon_squeezy.checkouts(store_id, since=since)) as walk:
            async for page in walk:
                ours = [one for one in map(issued, page.rows) if one is not None]
                run.store.evidence.keep_checkouts(ours)
                found |= {(one.lead_text, one.mark) for one in ours}
    states = {True: (State.APPLIED, None), False: (State.FAILED, "the answer was lost, and no checkout was made")}
    outcomes = []
    for action, wish in wanted:
        state, words = states[(str(wish.lead_id), wish.mark) in found]
        outcomes.append(Outcome(action.key, state, action.lead_id, error=words, by_reading=True))
    return outcomes


def _claim_link(run: Run, wish: CheckoutWish) -> str | None:
    origin = run.settings.config.receiver.url
    if not origin:
        return None
    token = ClaimToken(secrets.token_urlsafe(NONCE_BYTES), wish.lead_id, wish.variant_id, utc_now())
    return claim_url(origin, token, claim_key(run.store.limits.database))


def issued(checkout: Checkout) -> IssuedCheckout | None:
    """Return a checkout as evidence; None for one that names no deal."""
    if LEAD_ID_KEY not in checkout.custom:
        return None
    return IssuedCheckout(
        checkout_id=checkout.id,
        store_id=checkout.store_id,
        variant_id=checkout.variant_id,
        lead_text=checkout.custom[LEAD_ID_KEY],
        email=normal_email(checkout.email),
        custom_price=checkout.custom_price,
        url=checkout.url,
        created_at=checkout.created_at,
        updated_at=checkout.updated_at,
        expires_at=checkout.expires_at,
        test_mode=checkout.test_mode,
        custom=checkout.custom,
    )
