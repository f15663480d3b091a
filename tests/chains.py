"""Whether a timeline tells all of it: for each write that Kommo saw, the whole chain from its cause to its answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dealsync.core.mapping import FIELDS
from dealsync.core.texts import reference
from tests.soak import DECIDER, Log

Moment = Mapping[str, Any]
Timelines = Mapping[int, Sequence[Moment]]
"""The moments of each deal, as `dealsync explain --json` gives them."""
ANSWERS = ("applied", "failed", "unknown", "found", "absent")
DONE = ("applied", "found")
CAUSES = ("first-seen", "changed", "edited", "written")
OUR_USER = 501
FIELD_KEYS = {field.name: field.key for field in FIELDS}


def gaps_in(timelines: Timelines, kommo: Mapping[str, Any], log: Log) -> list[str]:
    """Return everything that happened and that the timelines do not tell, or not wholly."""
    return [
        *_broken_chains(timelines, kommo, log),
        *_unanswered(timelines, log),
        *_untold_edits(timelines, log),
        *_untold_news(timelines, log),
        *_untold_decisions(timelines, log),
    ]


def _broken_chains(timelines: Timelines, kommo: Mapping[str, Any], log: Log) -> list[str]:
    """Writes that Kommo saw, and that no whole chain leads to."""
    gaps: list[str] = []
    fields = {field["id"]: field["name"] for field in kommo["custom_fields"]["leads"]}
    for lead_id, moments in timelines.items():
        keys = [key for key, wants in _writes(lead_id, moments, kommo, fields, lead_id in log.made, gaps) if wants]
        for key in dict.fromkeys(keys):
            gaps += [f"lead:{lead_id}: {key}: {gap}" for gap in _chain(key, lead_id, moments)]
    return gaps


def _writes(
    lead_id: int, moments: Sequence[Moment], kommo: Mapping[str, Any], fields: Mapping[int, str], is_made: bool,
    gaps: list[str],
) -> Iterator[tuple[str, bool]]:  # fmt: skip
    """Yield the key of the action behind each write that Kommo saw on a deal; where there is none, that is a gap."""

    def key_of(what: str, found: Iterable[str]) -> tuple[str, bool]:
        key = next(iter(found), "")
        if not key:
            gaps.append(f"lead:{lead_id}: nothing tells of {what}")
        return key, bool(key)

    planned = [m for m in moments if m["what"] == "planned"]
    texts = [n["params"]["text"] for n in kommo["notes"]["leads"] if n["entity_id"] == lead_id]
    texts += [t["text"] for t in kommo["tasks"] if t["entity_id"] == lead_id]
    for text in texts:
        yield key_of(f"the text {text[-12:]}", (m["key"] for m in planned if text.endswith(reference(m["key"]))))
    if not is_made:
        yield key_of("its making", (m["key"] for m in moments if m["what"] in DONE and _kind(m) == "create-deal"))
    for event in kommo["events"]:
        if (event["entity_type"], event["entity_id"], event["created_by"]) != ("lead", lead_id, OUR_USER):
            continue
        what = _written(event, fields)
        if what is None:
            continue
        kinds, part, value = what
        yield key_of(
            f"{part or kinds} {value}",
            (
                m["key"]
                for m in planned
                if (kinds and _kind(m) in kinds) or (part and str(m["details"]["writes"].get(part)) == value)
            ),
        )
        if part in ("status_id", "price") and not any(
            m["what"] == "written" and str(_now(m, part)) == value for m in moments
        ):
            gaps.append(f"lead:{lead_id}: no change of {part} to {value} is told as dealsync's own")


def _written(event: Mapping[str, Any], fields: Mapping[int, str]) -> tuple[tuple[str, ...], str, str] | None:
    """What an event of Kommo says that dealsync wrote: kinds of actions, or a part of the deal, and a value."""
    kind = event["type"]
    if kind == "lead_status_changed":
        return (), "status_id", str(event["value_after"][0]["lead_status"]["id"])
    if kind == "sale_field_changed":
        return (), "price", str(event["value_after"][0]["sale_field_value"]["sale"])
    if kind in ("entity_tag_added", "entity_tag_deleted"):
        return ("tag", "create-deal") if kind.endswith("added") else ("untag",), "", "tag"
    if kind.startswith("custom_field_"):
        name = fields[int(kind.split("_")[2])]
        return ("checkout",) if FIELD_KEYS[name] == "checkout_link" else ("fields", "close", "create-deal"), "", name
    return None


def _kind(moment: Moment) -> str:
    return str(moment["details"].get("action", ""))


def _chain(key: str, lead_id: int, moments: Sequence[Moment]) -> Iterator[str]:
    """Yield what is missing between the cause of an action and its answer."""
    mine = [m for m in moments if m["key"] == key]
    planned = [m for m in mine if m["what"] == "planned"]
    if not planned:
        yield "it was never planned"
        return
    first = planned[0]
    yield from _cause(first, moments)
    if not all(m["run"] and m["job"] and m["details"]["reason"] and m["details"]["evidence"] for m in planned):
        yield "it was planned without a run, a reason or evidence"
    if not _is_placed(first, lead_id, moments):
        yield "nothing tells why the payment belongs to the deal"
    yield from _sending(mine)


def _cause(planned: Moment, moments: Sequence[Moment]) -> Iterator[str]:
    seen = [m for m in moments if m["about"] == planned["about"] and m["what"] in CAUSES and m["at"] <= planned["at"]]
    if not seen:
        yield f"nothing tells that {planned['about']} was seen before"
    for one in seen:
        if one["details"]["how"] == "webhook" and not any(
            m["what"] == "webhook" and m["at"] <= one["at"] for m in moments
        ):
            yield f"{planned['about']} was seen after a webhook of which nothing tells"


def _is_placed(planned: Moment, lead_id: int, moments: Sequence[Moment]) -> bool:
    if planned["about"].startswith("lead:"):
        return True
    links = [m for m in moments if m["what"] == "placed" and m["details"]["tier"] and m["details"]["evidence"]]
    asked = any(m["what"] == "review" and m["about"] == planned["about"] for m in moments)
    return asked or any(m["lead_id"] == lead_id for m in links)


def _sending(mine: Sequence[Moment]) -> Iterator[str]:
    """Each request was planned in its own run, and answered, or looked up, before the next one left."""
    run, is_open, sent, last = "", False, 0, ""
    for moment in mine:
        what = moment["what"]
        if what == "planned":
            run = moment["run"]
        elif what == "sent":
            sent += 1
            if moment["run"] != run:
                yield "it was sent in a run that had not planned it"
            if is_open or last == "unknown":
                yield "it was sent again before anybody looked up what had become of it"
            if moment["details"]["attempt"] != sent:
                yield f"attempt {moment['details']['attempt']} is number {sent}"
            is_open = True
        elif what in ANSWERS:
            is_open, last = False, what
    if not sent:
        yield "it was never sent"
    if last not in DONE:
        yield f"its last answer is {last or 'missing'}"


def _unanswered(timelines: Timelines, log: Log) -> Iterator[str]:
    """What was looked up without anybody having told that its answer was lost; a killed run could not."""
    for lead_id, moments in timelines.items():
        sent_in, told = dict[str, str](), dict[str, str]()
        for moment in moments:
            key, what = moment["key"], moment["what"]
            if what == "sent":
                sent_in[key] = moment["run"]
            elif what in ("found", "absent") and told.get(key) != "unknown" and sent_in.get(key) not in log.killed_runs:
                yield f"lead:{lead_id}: {key}: nothing tells that its answer was lost"
            told[key] = what


def _untold_edits(timelines: Timelines, log: Log) -> Iterator[str]:
    """Edits of people that are not told as a person's, or as another person's."""
    for edit in log.edits:
        told = [
            m
            for m in timelines.get(edit.lead_id, ())
            if m["what"] == "edited" and m["by"] == "person" and _now(m, edit.part) == edit.value
        ]
        if not any(m["who"] in (None, f"user {edit.user_id}") for m in told):
            yield f"lead:{edit.lead_id}: nothing tells that user {edit.user_id} set {edit.part} to {edit.value}"


def _untold_news(timelines: Timelines, log: Log) -> Iterator[str]:
    """Webhooks that came, and refunds, of which no timeline tells."""
    everything = [m for moments in timelines.values() for m in moments]
    hooks = [m for m in everything if m["what"] == "webhook"]
    handled = {m["details"]["event_id"] for m in everything if m["what"] == "handled"}
    told = {(m["details"]["event"], m["about"].rpartition(":")[2]) for m in hooks}
    yield from (f"nothing tells of the webhook {one}" for one in log.webhooks - told)
    yield from (f"nothing tells what became of {m['about']}" for m in hooks if m["details"]["event_id"] not in handled)
    refunded = {m["about"] for m in everything if m["what"] == "changed" and _now(m, "refunded_minor")}
    yield from (f"nothing tells of the refund of order:{one}" for one in log.refunds if f"order:{one}" not in refunded)


def _untold_decisions(timelines: Timelines, log: Log) -> Iterator[str]:
    """Reviews that people decided, drifts and refusals of which no timeline tells."""
    everything = [m for moments in timelines.values() for m in moments]
    for order_id, lead_id in log.decisions.items():
        about = [m for m in everything if m["about"] == f"order:{order_id}"]
        if not any(m["what"] == "review" and lead_id in m["details"]["candidates"] for m in about):
            yield f"nothing tells that somebody was asked about order:{order_id}"
        if not any(m["what"] == "decided" and m["who"] == DECIDER for m in about):
            yield f"nothing tells who decided about order:{order_id}"
    found = {(m["details"].get("drift") or m["details"].get("rule"), m["lead_id"]) for m in everything
             if m["what"] in ("drift", "left-alone")}  # fmt: skip
    yield from (f"nothing tells of {one}" for one in log.findings - found if one[1] is not None)


def misattributed(timelines: Timelines, log: Log) -> list[str]:
    """Return what is told as a person's though no person did it."""
    done = {(edit.lead_id, edit.part, edit.value) for edit in log.edits}
    return [
        f"lead:{lead_id}: {part} -> {now}"
        for lead_id, moments in timelines.items()
        for m in moments
        if m["what"] == "edited"
        for part, (_, now) in m["details"]["changes"].items()
        if (lead_id, part, now) not in done
    ]


def _now(moment: Moment, part: str) -> Any:
    return moment["details"]["changes"].get(part, (None, None))[1]
