"""The way back from a run: what it wrote, as far as nobody has changed it since. Pure; equal inputs, equal plans.

Kommo deletes neither notes nor tasks nor deals: a note is marked as taken back, a task is ticked off, a deal that the
run had made is marked lost. Whatever differs from what the run left is not touched, and the plan says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from dealsync.core.assumptions import KOMMO_EMPTIES_FIELDS_BY_NULL, KOMMO_REOPENS_TASKS
from dealsync.core.models import LOST_STATUS_ID, Deal
from dealsync.core.plan import (
    Action,
    Change,
    ChangeNote,
    ChangeTask,
    CompleteTask,
    DealChange,
    Kind,
    NewDeal,
    Note,
    Plan,
    Refusal,
    ReopenTask,
    Scope,
    Task,
    in_order,
    merged,
)
from dealsync.core.texts import Texts, reference

PREFIX = "undo"
"""What the keys of all actions of an undo begin with."""
LONGEST_KEY = 180
FINAL: Mapping[Kind, str] = {
    Kind.CHECKOUT: "a checkout cannot be deleted; its link stays open",
    Kind.EMAIL: "an e-mail cannot be called back",
    Kind.CREATE_CONTACT: "a contact cannot be deleted by a program; it stays",
    Kind.CREATE_COMPANY: "a company cannot be deleted by a program; it stays",
}
"""What no undo takes back, and why, by kind."""


@dataclass(frozen=True, slots=True)
class Done:
    """An action that was carried out. `action.lead_id` is the deal that it was about, or that it made."""

    action: Action
    result_id: int | None
    way_back: DealChange | None  # what puts the deal back as it was; None for what changes no deal
    at: datetime
    run_id: str


@dataclass(frozen=True, slots=True)
class Scene:
    """How things stand now: read from Kommo a moment ago, and from the ledger."""

    deals: Mapping[int, Deal] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)  # texts by note id
    open_tasks: Mapping[int, str] = field(default_factory=dict)  # texts by task id, of those that are not ticked off
    later: Sequence[Done] = ()  # what other runs did to the same deals, notes and tasks after this one
    earlier: Sequence[Done] = ()  # what had been written to the same notes and tasks before, oldest first
    ids: Mapping[str, int] = field(default_factory=dict)  # of notes and tasks, by the key that made them


def way_back(change: DealChange, deal: Deal) -> DealChange:
    """Return the change that puts a deal back as it stands now, after `change` was carried out."""
    moves = change.status_id is not None
    return DealChange(
        pipeline_id=deal.pipeline_id if moves else None,
        status_id=deal.status_id if moves else None,
        price=None if change.price is None else deal.price,
        fields={key: deal.fields.get(key, "") for key in change.fields},
        tags_to_add=tuple(tag for tag in change.tags_to_delete if tag in deal.tags),
        tags_to_delete=tuple(tag for tag in change.tags_to_add if tag not in deal.tags),
    )


def taking_back(run_id: str, done: Sequence[Done], scene: Scene, texts: Texts) -> Plan:
    """Return the plan that takes a run back: `done` is all that it carried out, oldest first."""
    undo = _Undo(run_id, done, scene, texts)
    found = [*undo.deals(), *undo.notes(), *undo.tasks(), *undo.final()]
    return Plan(
        actions=tuple(in_order(out for out in found if isinstance(out, Action))),
        refusals=tuple(out for out in found if isinstance(out, Refusal)),
        scope=Scope(frozenset(), test_mode=False, order_ids=frozenset()),
    )


def noted_key(change: Change, key: str) -> str:
    """Return the key under which the note or task was made that an action is about; empty where there is none."""
    if isinstance(change, Note | Task):
        return key
    if isinstance(change, ChangeNote):
        return change.note_key
    return change.task_key if isinstance(change, ChangeTask | CompleteTask | ReopenTask) else ""


@dataclass(frozen=True, slots=True)
class _Undo:
    run_id: str
    done: Sequence[Done]
    scene: Scene
    texts: Texts

    # --- deals -------------------------------------------------------------------------------------------------

    def deals(self) -> Iterator[Action | Refusal]:
        """One action a deal: everything of it goes back in one request."""
        by_lead: dict[int, list[Done]] = {}
        for one in self.done:
            if one.action.lead_id is not None and isinstance(one.action.change, DealChange | NewDeal):
                by_lead.setdefault(one.action.lead_id, []).append(one)
        for lead_id, group in sorted(by_lead.items()):
            yield from self._deal(lead_id, group)

    def _deal(self, lead_id: int, group: Sequence[Done]) -> Iterator[Action | Refusal]:
        deal = self.scene.deals.get(lead_id)
        if deal is None or deal.is_deleted:
            yield self._left(lead_id, "deal", "the deal is gone")
            return
        after, back = _left_as(group), _back_of(group, deal)
        made = any(isinstance(one.action.change, NewDeal) for one in group)
        if made and not _holds(deal, after):
            yield self._left(lead_id, "deal", "the run had made the deal, and people have worked on it since")
            return
        kept = DealChange()
        for part, piece in _pieces(back):
            if _holds(deal, piece):
                continue
            why = self._why_not(lead_id, part, deal, after, piece)
            if why:
                yield self._left(lead_id, part, why)
            else:
                kept = merged((kept, piece))
        if kept != DealChange():
            words = "marks the deal lost that run {} had made" if made else "puts the deal back as it was before run {}"
            yield self._action(f"lead:{lead_id}", Kind.RESTORE, f"lead:{lead_id}", lead_id, kept, words)

    def _why_not(self, lead_id: int, part: str, deal: Deal, after: DealChange, back: DealChange) -> str | None:
        """Why a part of a deal is left as it is: it is no longer as the run left it, or cannot be emptied."""
        as_left = dict(_pieces(after))
        if part in as_left and not _holds(deal, as_left[part]):
            later = next((one.run_id for one in self.scene.later if _touches(one, lead_id, part)), None)
            what = "the " + part.replace("_", " ").replace("field:", "field ").replace("tag:", "tag ")
            if later is not None:
                return f"run {later} changed {what} later; take that one back first"
            return f"a person changed {what} since"
        if not KOMMO_EMPTIES_FIELDS_BY_NULL and "" in back.fields.values():
            return "whether Kommo empties a field is not confirmed"
        return None

    # --- notes and tasks -----------------------------------------------------------------------------------------

    def notes(self) -> Iterator[Action | Refusal]:
        """A note is marked as taken back; one that was marked says again what it said."""
        for one in self.done:
            change, key = one.action.change, noted_key(one.action.change, one.action.key)
            if not isinstance(change, Note | ChangeNote) or one.action.lead_id is None:
                continue
            why = self._note_is_another(key, change.text)
            if why:
                yield self._left(one.action.lead_id, "note", why)
                continue
            text = self._said_before(key) if isinstance(change, ChangeNote) else self._withdrawn(key, change.text)
            yield self._about(one, Kind.CHANGE_NOTE, ChangeNote(key, text), "marks the note of run {} as taken back")

    def tasks(self) -> Iterator[Action | Refusal]:
        """A task is ticked off, opened again, or says again what it said."""
        made = {one.action.key for one in self.done if isinstance(one.action.change, Task)}
        for one in self.done:
            change, key = one.action.change, noted_key(one.action.change, one.action.key)
            if not isinstance(change, Task | ChangeTask | CompleteTask | ReopenTask):
                continue
            if key in made and not isinstance(change, Task):
                continue  # the task itself goes: what the run did to it afterwards goes with it
            why = self._task_is_another(key, change)
            if why:
                yield self._left(one.action.lead_id, "task", why)
            elif isinstance(change, CompleteTask):
                yield self._about(one, Kind.REOPEN, ReopenTask(key), "opens the task again that run {} ticked off")
            elif isinstance(change, ChangeTask):
                before = self._task_before(key)
                back = ChangeTask(key, before.text, before.due_at)
                yield self._about(one, Kind.CHANGE_TASK, back, "gives the task its words from before run {}")
            else:
                result = CompleteTask(key, self.texts.plain("done_taken_back", {}))
                yield self._about(one, Kind.COMPLETE, result, "ticks off the task of run {}")

    def _note_is_another(self, key: str, text: str) -> str | None:
        stands = self.scene.notes.get(self.scene.ids.get(key, 0))
        if stands is None:
            return "the note is gone"
        return None if stands.strip() == text.strip() else "somebody has rewritten the note since"

    def _task_is_another(self, key: str, change: Task | ChangeTask | CompleteTask | ReopenTask) -> str | None:
        text = self.scene.open_tasks.get(self.scene.ids.get(key, 0))
        if isinstance(change, CompleteTask):
            if text is not None:
                return "the task is open again already"
            return None if KOMMO_REOPENS_TASKS else "whether Kommo opens a task again is not confirmed"
        if text is None:
            return "the task is ticked off or gone already"
        if isinstance(change, ReopenTask):
            return None
        mine = [one.action.change for one in self.done if noted_key(one.action.change, one.action.key) == key]
        written = [said.text for said in mine if isinstance(said, Task | ChangeTask)]
        return None if text.strip() == written[-1].strip() else "somebody has rewritten the task since"

    def _withdrawn(self, key: str, text: str) -> str:
        said = text.rstrip().removesuffix(reference(key)).rstrip()
        return self.texts.render("taken_back", key, {"text": said, "run": self.run_id})

    def _said_before(self, key: str) -> str:
        return [change.text for change in self._earlier(key) if isinstance(change, Note | ChangeNote)][-1]

    def _task_before(self, key: str) -> Task | ChangeTask:
        return [change for change in self._earlier(key) if isinstance(change, Task | ChangeTask)][-1]

    def _earlier(self, key: str) -> Iterator[Change]:
        """What had been written to a note or task before the run."""
        for one in self.scene.earlier:
            if noted_key(one.action.change, one.action.key) == key:
                yield one.action.change

    # --- what stays, and how things are said ---------------------------------------------------------------------

    def final(self) -> Iterator[Refusal]:
        """What nobody can take back."""
        for one in self.done:
            if one.action.kind in FINAL:
                part, why = one.action.kind.value, FINAL[one.action.kind]
                yield Refusal(one.action.source, one.action.lead_id, "cannot_be_taken_back", why, part)

    def _about(self, one: Done, kind: Kind, change: Change, words: str) -> Action:
        return self._action(one.action.key, kind, one.action.source, one.action.lead_id, change, words, one.action.sale)

    def _action(
        self, about: str, kind: Kind, source: str, lead_id: int | None, change: Change, words: str, sale: str = ""
    ) -> Action:
        reason = words.format(self.run_id)
        return Action(_key(self.run_id, about), kind, source, lead_id, reason, "as that run left it", change, sale)

    def _left(self, lead_id: int | None, part: str, why: str) -> Refusal:
        return Refusal(f"lead:{lead_id or 0}", lead_id, "changed_since", why, part)


def _key(run_id: str, about: str) -> str:
    key = f"{PREFIX}:{run_id}:{about}"
    return key if len(key) <= LONGEST_KEY else f"{PREFIX}:{run_id}:{hashlib.sha256(about.encode()).hexdigest()[:32]}"


def _left_as(group: Sequence[Done]) -> DealChange:
    """How the run left the deal: all that it wrote, the last word counting."""
    return merged(_as_change(one.action.change) for one in group)


def _as_change(change: Change) -> DealChange:
    if isinstance(change, NewDeal):
        return DealChange(
            pipeline_id=change.pipeline_id, status_id=change.status_id, price=change.price, fields=change.fields
        )
    return change if isinstance(change, DealChange) else DealChange()


def _back_of(group: Sequence[Done], deal: Deal) -> DealChange:
    """The way back: for each part, how it stood before the run's first word about it."""
    if any(isinstance(one.action.change, NewDeal) for one in group):
        return DealChange(pipeline_id=deal.pipeline_id, status_id=LOST_STATUS_ID)
    return merged(one.way_back for one in reversed(group) if one.way_back is not None)


def _pieces(change: DealChange) -> Iterator[tuple[str, DealChange]]:
    """Yield the parts of a change, each by its name."""
    if change.status_id is not None:
        yield "status", DealChange(pipeline_id=change.pipeline_id, status_id=change.status_id)
    if change.price is not None:
        yield "price", DealChange(price=change.price)
    for key, value in change.fields.items():
        yield f"field:{key}", DealChange(fields={key: value})
    for tag in change.tags_to_add:
        yield f"tag:{tag}", DealChange(tags_to_add=(tag,))
    for tag in change.tags_to_delete:
        yield f"tag:{tag}", DealChange(tags_to_delete=(tag,))


def _holds(deal: Deal, piece: DealChange) -> bool:
    """Whether a deal stands as one part of a change says."""
    return (
        (piece.status_id is None or (deal.pipeline_id, deal.status_id) == (piece.pipeline_id, piece.status_id))
        and (piece.price is None or deal.price == piece.price)
        and all(deal.fields.get(key, "") == value for key, value in piece.fields.items())
        and set(piece.tags_to_add) <= set(deal.tags)
        and not set(piece.tags_to_delete) & set(deal.tags)
    )


def _touches(one: Done, lead_id: int, part: str) -> bool:
    """Whether an action wrote a part of a deal."""
    change = one.action.change
    return one.action.lead_id == lead_id and isinstance(change, DealChange) and part in dict(_pieces(change))


def about_same(done: Iterable[Done]) -> frozenset[str]:
    """Return the keys of all notes and tasks that actions are about."""
    return frozenset(noted_key(one.action.change, one.action.key) for one in done) - {""}


def for_deal(one: Done, lead_id: int | None) -> Done:
    """Return the same, about the deal that the ledger names: one that was made has its id only there."""
    return replace(one, action=replace(one.action, lead_id=lead_id))
