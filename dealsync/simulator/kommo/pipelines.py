"""Making, changing and deleting pipelines and statuses. Source: Kommo reference, 1.4 and 3.1."""

from dealsync.simulator.assumptions import STATUS_WITH_LEADS_IS_KEPT
from dealsync.simulator.clock import iso
from dealsync.simulator.kommo.items import Commit, Item
from dealsync.simulator.kommo.state import CLOSED, LOST, UNSORTED_TYPE, WON, KommoAccount
from dealsync.simulator.table import Record

MAX_PIPELINES = 50
MAX_STATUSES = 100  # of a pipeline, the system ones included
PIPELINE_TYPES = {"name": str, "sort": int, "is_main": bool, "is_unsorted_on": bool}
STATUS_TYPES = {"name": str, "sort": int, "color": str, "descriptions": list}
SYSTEM = {WON: ("Closed - won", 10000, "#CCFF66"), LOST: ("Closed - lost", 11000, "#D5D8DB")}
DEFAULT_COLOR = "#fffeb2"


class Kept(Exception):
    """What should go must stay; the message says why."""


class PipelineWriter:
    """Checks and does single writes of pipelines and statuses."""

    def __init__(self, account: KommoAccount) -> None:
        self._account = account

    # --- pipelines --------------------------------------------------------------------------------
    def prepare_new(self, raw: Record, request_id: str) -> Commit:
        """Check a new pipeline with its statuses. Raises Refused."""
        item = Item(raw)
        item.only((*PIPELINE_TYPES, "_embedded", "request_id"))
        item.need(*PIPELINE_TYPES)
        item.types(PIPELINE_TYPES)
        given = (raw.get("_embedded") or {}).get("statuses") or []
        for index, status in enumerate(given):
            self._check_status(item, status, f"_embedded.statuses.{index}.")
        item.finish()

        def commit() -> Record:
            pipeline = self._pipeline(raw, given)
            self._account.pipelines[pipeline["id"]] = pipeline
            self._keep_one_main(pipeline)
            return {**pipeline, "request_id": request_id}

        return commit

    def change(self, pipeline: Record, raw: Record) -> None:
        """Change a pipeline's own fields. Raises Refused."""
        item = Item(raw)
        item.only((*PIPELINE_TYPES, "request_id"))
        item.types(PIPELINE_TYPES)
        item.finish()
        pipeline.update({name: raw[name] for name in PIPELINE_TYPES if name in raw})
        if "is_unsorted_on" in raw:
            self._switch_unsorted(pipeline)
        self._keep_one_main(pipeline)

    def delete(self, pipeline: Record) -> None:
        """Take a pipeline away. Raises Kept for the last one and for one with deals."""
        if len(self._account.pipelines) == 1:
            raise Kept("The last pipeline cannot be deleted")
        if self._leads_in("pipeline_id", pipeline["id"]):
            raise Kept("The pipeline has leads")
        del self._account.pipelines[pipeline["id"]]
        if pipeline["is_main"]:
            self._account.main_pipeline["is_main"] = True

    # --- statuses ---------------------------------------------------------------------------------
    def prepare_new_status(self, pipeline: Record, raw: Record, request_id: str) -> Commit:
        """Check a new status. Raises Refused."""
        item = Item(raw)
        self._check_status(item, raw, "")
        item.finish()

        def commit() -> Record:
            status = self._status(pipeline["id"], raw)
            pipeline["_embedded"]["statuses"].append(status)
            _sort(pipeline)
            return {**status, "request_id": request_id}

        return commit

    def change_status(self, status: Record, pipeline: Record, raw: Record) -> None:
        """Change a status; the system ones can only be renamed. Raises Refused."""
        item = Item(raw)
        item.only((*STATUS_TYPES, "request_id"))
        item.types(STATUS_TYPES)
        if not status["is_editable"]:
            for name in raw.keys() & {"sort", "color"}:
                item.refuse("FieldNotExpected", name)
        item.finish()
        status.update({name: raw[name] for name in ("name", "sort", "color") if name in raw})
        if "descriptions" in raw:
            status["descriptions"] = self._descriptions(status, raw["descriptions"])
        _sort(pipeline)

    def delete_status(self, status: Record, pipeline: Record) -> None:
        """Take a status away. Raises Kept for system ones and for one with deals."""
        if not status["is_editable"] or status["id"] in CLOSED:
            raise Kept("A system status cannot be deleted")
        if STATUS_WITH_LEADS_IS_KEPT and self._leads_in("stage", (pipeline["id"], status["id"])):
            raise Kept("The status has leads")
        pipeline["_embedded"]["statuses"].remove(status)

    # --- parts ------------------------------------------------------------------------------------
    def _check_status(self, item: Item, raw: Record, prefix: str) -> None:
        part = Item(raw, prefix)
        part.only((*STATUS_TYPES, "id", "request_id"))
        part.types({**STATUS_TYPES, "id": int})
        if raw.get("id") not in CLOSED:
            part.need("name")
        item.problems += part.problems

    def _pipeline(self, raw: Record, given: list[Record]) -> Record:
        pipeline_id = self._account.next_id("pipelines")
        names = {one["id"]: one.get("name", SYSTEM[one["id"]][0]) for one in given if one.get("id") in CLOSED}
        statuses = [self._status(pipeline_id, one) for one in given if one.get("id") not in CLOSED]
        if not statuses:
            statuses = [self._status(pipeline_id, {"name": "Initial contact", "sort": 20})]
        for status_id, (name, sort, color) in SYSTEM.items():
            system = self._new_status(pipeline_id, status_id, names.get(status_id, name), sort, color)
            statuses.append({**system, "is_editable": False})
        pipeline = {
            "id": pipeline_id,
            **{name: raw[name] for name in PIPELINE_TYPES},
            "is_archive": False,
            "account_id": self._account.account_id,
            "_embedded": {"statuses": statuses},
        }
        self._switch_unsorted(pipeline)
        return pipeline

    def _switch_unsorted(self, pipeline: Record) -> None:
        """Give the pipeline its incoming stage, or take it away (3.1)."""
        statuses = pipeline["_embedded"]["statuses"]
        kept = [status for status in statuses if status.get("type") != UNSORTED_TYPE]
        if pipeline["is_unsorted_on"] and len(kept) == len(statuses):
            status_id = self._account.next_id("statuses")
            incoming = self._new_status(pipeline["id"], status_id, "Incoming leads", 10, "#c1c1c1")
            kept.append({**incoming, "is_editable": False, "type": UNSORTED_TYPE})
        elif pipeline["is_unsorted_on"]:
            kept = statuses
        pipeline["_embedded"]["statuses"] = kept
        _sort(pipeline)

    def _status(self, pipeline_id: int, raw: Record) -> Record:
        sort, color = raw.get("sort", 20), raw.get("color", DEFAULT_COLOR)
        status = self._new_status(pipeline_id, self._account.next_id("statuses"), raw["name"], sort, color)
        if raw.get("descriptions"):
            status["descriptions"] = self._descriptions(status, raw["descriptions"])
        return status

    def _new_status(self, pipeline_id: int, status_id: int, name: str, sort: int, color: str) -> Record:
        return {
            "id": status_id,
            "name": name,
            "sort": sort,
            "is_editable": True,
            "pipeline_id": pipeline_id,
            "color": color,
            "type": 0,
            "account_id": self._account.account_id,
        }

    def _descriptions(self, status: Record, given: list[Record]) -> list[Record]:
        moment = iso(self._account.clock.now())[:19].replace("T", " ")
        return [
            {
                "account_id": status["account_id"],
                "created_at": moment,
                "created_by": self._account.current_user_id,
                "description": one.get("description", ""),
                "id": self._account.next_id("descriptions"),
                "level": one.get("level"),
                "pipeline_id": status["pipeline_id"],
                "status_id": status["id"],
                "updated_at": moment,
                "updated_by": None,
            }
            for one in given
        ]

    def _keep_one_main(self, pipeline: Record) -> None:
        if pipeline["is_main"]:
            for other in self._account.pipelines.values():
                other["is_main"] = other is pipeline

    def _leads_in(self, index: str, value: object) -> bool:
        return bool(self._account.leads.select("id", where={index: frozenset([value])}))


def _sort(pipeline: Record) -> None:
    pipeline["_embedded"]["statuses"].sort(key=lambda status: status["sort"])
