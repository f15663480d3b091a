"""Alarms: facts that call for somebody and may end. Raised once, lowered when the fact ends, raised anew if it returns.

An alarm is a task, a note or a tag, or several of them. All its parts are in the ledger under its stem
(`subscription:9:cancelled:<ends_at>`), so that what is raised now is read from there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from dealsync.core.cases import Alarm, Episode, Ground
from dealsync.core.plan import Action, Change, ChangeTask, CompleteTask, DealChange, Kind, Note, Task
from dealsync.core.rows import rows_of

NOT_SO = "what it told of is no longer so"


@dataclass(frozen=True, slots=True)
class AlarmKind:
    """What is done when an alarm is raised and when it is lowered: templates of `words`, and a tag."""

    task: str = ""
    note: str = ""
    tag: str = ""
    result: str = ""  # of the task, when the alarm ends
    closing_note: str = ""
    escalated: str = ""  # the task's text once it is urgent


def _no_checkout(name: str) -> AlarmKind:
    return AlarmKind(task=f"task_{name}", tag="ls:no-checkout", result="done_flag")


CHECKOUT_ALARMS: Mapping[str, AlarmKind] = {
    "flag:no-contact": _no_checkout("no_contact"),
    "flag:no-email": _no_checkout("no_email"),
    "flag:bad-email": _no_checkout("bad_email"),
    "flag:no-variant": _no_checkout("no_variant"),
    "flag:bad-quantity": _no_checkout("bad_quantity"),
    "flag:no-price": _no_checkout("no_price"),
    "flag:uneven-price": _no_checkout("uneven_price"),
    "flag:other-currency": _no_checkout("store_currency"),
    "flag:no-cents": _no_checkout("no_cents"),
    "flag:paid-already": _no_checkout("paid_already"),
    "flag:checkout-refused": _no_checkout("checkout_refused"),
    "flag:checkout-expired": _no_checkout("checkout_expired"),
    "flag:mail-failed": AlarmKind(task="task_mail_failed", tag="ls:mail-failed", result="done_flag"),
    "flag:unpaid": AlarmKind(task="task_unpaid", tag="ls:unpaid", result="done_flag"),
}
"""Those about checkouts: `core.checkouts` raises and lowers them, the plan about payments leaves them alone."""
ALARMS: Mapping[str, AlarmKind] = {
    **CHECKOUT_ALARMS,
    "review": AlarmKind(task="task_review", result="done_review"),
    "flag:paid-lost": AlarmKind(task="task_paid_but_lost", tag="ls:paid-lost", result="done_flag"),
    "flag:paid-twice": AlarmKind(task="task_paid_twice", tag="ls:paid-twice", result="done_flag"),
    "flag:won-never-paid": AlarmKind(task="task_won_never_paid", tag="ls:won-never-paid", result="done_flag"),
    "flag:stuck": AlarmKind(task="task_stuck", tag="ls:stuck", result="done_flag"),
    "dunning": AlarmKind(
        task="task_dunning", tag="ls:dunning", result="done_dunning", escalated="task_dunning_escalated"
    ),
    "cancelled": AlarmKind(task="task_cancelled", tag="ls:cancelled", result="done_cancelled", closing_note="resumed"),
    "paused": AlarmKind(note="paused", tag="ls:paused", closing_note="unpaused"),
    "churned": AlarmKind(tag="churned"),
}


def episodes_in(ledger: pd.DataFrame) -> dict[str, Episode]:
    """Return the latest episode of every alarm that was ever raised, by stem."""
    rows = ledger[ledger["alarm"].fillna("") != ""]
    found: dict[str, Episode] = {}
    parts: dict[str, set[str]] = {}
    columns = rows[["idempotency_key", "source", "order_id", "lead_id", "alarm"]].sort_values("idempotency_key")
    for key, source, order_id, lead_id, alarm in rows_of(columns):
        parts.setdefault(alarm, set()).add(_part(key, alarm))
        stem, _, number = alarm.rpartition("#") if "#" in alarm else (alarm, "", "1")
        if stem not in found or found[stem].number <= int(number):
            deal = None if pd.isna(lead_id) else int(lead_id) or None
            found[stem] = Episode(stem, int(number), source, order_id, deal, frozenset(parts[alarm]))
    return found


def raised(alarm: Alarm, ground: Ground) -> Iterator[Action]:
    """Yield what an alarm that holds still owes: nothing, if it was raised before and has not ended since."""
    kind, policy = ALARMS[alarm.name], ground.policy
    last = ground.episodes.get(alarm.stem)
    number = 1 if last is None else last.number + last.is_over
    episode = Episode(alarm.stem, number, alarm.source, alarm.sale, alarm.lead_id, frozenset())

    def action(key: str, kind: Kind, change: Change) -> Iterator[Action]:
        if key not in ground.states:
            yield Action(
                key,
                kind,
                alarm.source,
                alarm.lead_id or None,
                alarm.reason,
                alarm.evidence,
                change,
                alarm.sale,
                episode.id,
            )

    if kind.task:
        text, due = policy.texts.render(kind.task, episode.id, alarm.values), policy.deadline.after(ground.now)
        task = Task(text, due, alarm.owner, on_deal=alarm.lead_id > 0, task_type_id=policy.task_type_id)
        yield from action(episode.id, Kind.TASK, task)
    if kind.escalated and alarm.urgent:
        text = policy.texts.render(kind.escalated, episode.id, alarm.values)
        yield from action(f"{episode.id}:escalated", Kind.CHANGE_TASK, ChangeTask(episode.id, text, ground.now))
    if kind.note:
        text = policy.texts.render(kind.note, f"{episode.id}:note", alarm.values)
        yield from action(f"{episode.id}:note", Kind.NOTE, Note(text))
    if kind.tag:
        yield from action(f"{episode.id}:tag", Kind.TAG, DealChange(tags_to_add=(kind.tag,)))


def lowered(
    wanted: Collection[Alarm], ground: Ground, values: Mapping[str, Mapping[str, object]], gone: Collection[int]
) -> Iterator[Action]:
    """Yield what takes back the alarms that do not hold any more.

    `values`: what texts may say of a source; a source that is not among them was not looked at, and keeps its alarms.
    `gone`: deals that were deleted; their tasks went with them.
    """
    stems = {alarm.stem for alarm in wanted}
    tags = {(alarm.lead_id, ALARMS[alarm.name].tag) for alarm in wanted}
    for episode in ground.episodes.values():
        if episode.source not in values or episode.lead_id in gone:
            continue
        if episode.stem in stems:
            if episode.is_over and not episode.is_closed:  # it holds anew before all of the last time was taken back
                yield from _ends(episode, ground, values[episode.source], keeps_tag=True)
            continue
        keeps_tag = (episode.lead_id, ALARMS[episode.name].tag) in tags
        yield from _ends(episode, ground, values[episode.source], keeps_tag=keeps_tag)


def _ends(episode: Episode, ground: Ground, values: Mapping[str, object], *, keeps_tag: bool) -> Iterator[Action]:
    kind, texts = ALARMS[episode.name], ground.policy.texts

    def action(part: str, what: Kind, change: Change) -> Iterator[Action]:
        key = f"{episode.id}:{part}"
        if key not in ground.states:
            yield Action(key, what, episode.source, episode.lead_id, NOT_SO, NOT_SO, change, episode.sale, episode.id)

    if "task" in episode.parts:
        yield from action("done", Kind.COMPLETE, CompleteTask(episode.id, texts.plain(kind.result, values)))
    if kind.closing_note and values.get("is_living") and episode.lead_id is not None:
        note = Note(texts.render(kind.closing_note, f"{episode.id}:ended", values))
        yield from action("ended", Kind.NOTE, note)
    if "tag" in episode.parts and not keeps_tag:
        yield from action("untag", Kind.UNTAG, DealChange(tags_to_delete=(kind.tag,)))


def _part(key: str, alarm: str) -> str:
    return key.removeprefix(alarm).removeprefix(":") or "task"
