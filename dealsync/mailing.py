"""Letters -> clients. Everything sent is in the ledger first; what may have been sent is not sent again."""

from __future__ import annotations

from collections.abc import Sequence

from dealsync.core.plan import Action, Letter, Outcome
from dealsync.core.states import State
from dealsync.errors import MailError, MailLost, MailNotSent, MailPutOff, MailRefused
from dealsync.ledger.runs import utc_now
from dealsync.mail.compose import compose
from dealsync.mail.send import Counter
from dealsync.run import Run
from dealsync.settings import build_postman

INTERRUPTED = "the run was stopped while this was on its way"
MOST_PUT_OFF = 24
"""Attempts after which what the server puts off each time is a person's to look at."""


async def send_letters(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    """Send the e-mails that the journal has recorded, one by one, and record what became of each."""
    wanted = [(a, a.change) for a in actions if isinstance(a.change, Letter)]
    if not wanted:
        return []
    outcomes: list[Outcome] = []
    try:
        async with build_postman(run.settings.environment).at_the_counter() as counter:
            for action, letter in wanted:
                run.progress(f"E-mails: {len(outcomes)} of {len(wanted)} sent")
                outcomes.append(await _send(run, counter, action, letter))
    except MailNotSent as error:
        left = [a for a, _ in wanted[len(outcomes) :]]
        unsent = [Outcome(a.key, State.FAILED, a.lead_id, error=str(error)) for a in left]
        run.store.journal.close(unsent, (), utc_now(), run_id=run.run_id)
        outcomes += unsent
    return outcomes


async def _send(run: Run, counter: Counter, action: Action, letter: Letter) -> Outcome:
    """Send one e-mail and record what became of it. Raises MailNotSent, with nothing recorded, where no server listens.

    All that can be wrong with the letter itself is found before it counts as being on its way.
    """
    key, lead_id, section = action.key, action.lead_id, run.settings.config.email
    run.store.runs.ensure_held(run.run_id)
    try:
        mail = compose(letter, key=key, sender=section.sender, reply_to=section.reply_to, now=utc_now())
    except MailRefused as error:
        return _closed(run, Outcome(key, State.FAILED, lead_id, error=str(error), is_refused=True))
    await counter.open()
    run.store.journal.mark_sent({key: lead_id}, run.run_id, utc_now())
    outcome = Outcome(key, State.UNKNOWN, lead_id, error=INTERRUPTED)
    try:
        await counter.send(mail)
        outcome = Outcome(key, State.APPLIED, lead_id)
    except MailRefused as error:
        outcome = Outcome(key, State.FAILED, lead_id, error=str(error), is_refused=True)
    except MailPutOff as error:
        is_refused = run.store.entries.find(key).attempts >= MOST_PUT_OFF
        outcome = Outcome(key, State.FAILED, lead_id, error=str(error), is_refused=is_refused)
    except MailLost as error:
        outcome = Outcome(key, State.UNKNOWN, lead_id, error=str(error))
    except MailError as error:
        outcome = Outcome(key, State.FAILED, lead_id, error=str(error))
    finally:
        _closed(run, outcome)
    return outcome


def _closed(run: Run, outcome: Outcome) -> Outcome:
    run.store.journal.close([outcome], (), utc_now(), run_id=run.run_id)
    return outcome
