"""Every answer the references leave open, as one named choice each.

"(U)" points at the place in the Kommo reference, "unconfirmed" at section 11 of the Lemon Squeezy one.
A check against a live account can flip a line here; nothing else in the simulator decides such a question.
"""

from typing import Final

# --- Kommo: lists ---------------------------------------------------------------------------------
DEFAULT_LIMIT: Final = 50  # rows a page; only seen in published links (1.3)
DEFAULT_LEAD_ORDER: Final = "id"  # rows come by ascending id unless order[...] says otherwise (never stated)
RANGES_INCLUDE_BOTH_ENDS: Final = True  # filter[...][from|to] (2.4, U)
NAME_FILTER_IS_PARTIAL: Final = False  # filter[name] wants the whole name, in any case (2.4, U)
DELETED_LEAD_BY_ID_IS_EMPTY: Final = True  # GET of a lead in the recycle bin is 204, as for a removed one (2.3, 7)
EVENTS_NEWEST_FIRST: Final = True  # GET /events has no order parameter (5.7, U)
EVENTS_PAGE_LIMIT: Final = 100  # amoCRM says 100, Kommo 250; "use 100" (1.3)
CUSTOM_FIELDS_PAGE_LIMIT: Final = 50  # amoCRM's figure, not stated by Kommo (1.3)

# --- Kommo: writes --------------------------------------------------------------------------------
WRONG_CONTAINER_STATUS: Final = 400  # an object where an array is due, and the reverse: 400 shape C (2.1)
UNKNOWN_KEY_CODE: Final = "FieldNotExpected"  # a key that is not in the write table is refused (I#366, not stated)
UNKNOWN_ID_CODE: Final = "NotSupportedChoice"  # PATCH of an unknown id: shape A, path "id" (not stated)
FOREIGN_STATUS_CODE: Final = "NotSupportedChoice"  # a status of another pipeline (3.2, U)
UNSORTED_IS_NEVER_WRITABLE: Final = True  # refused in PATCH by I#156; in POST by analogy (3.2)
PIPELINE_ALONE_MEANS_FIRST_STATUS: Final = True  # pipeline_id without status_id (3.2, U)
REOPENING_CLEARS_CLOSED_AT: Final = True  # leaving 142/143 sets closed_at to null (3.2, U)
LOSS_REASON_LOOKS_AT_STATUS_AFTER: Final = True  # the rule sees the status the same PATCH sets (3.3, U)
FLOAT_PRICE_IS_REFUSED: Final = True  # a decimal price without minor units: InvalidType, not truncated (2.8, U)
EMPTY_VALUES_CLEAR: Final = True  # `values: []` clears a field as `values: null` does (2.7, U)
TEXT_TAKES_STRINGS_ONLY: Final = True  # a number in a text field is InvalidType (2.9 shows strings)
NULL_RESPONSIBLE_CODE: Final = "InvalidType"  # responsible_user_id: null in a task (4.3, SIM)
DEFAULT_NOTE_TYPE: Final = "common"  # note_type left out (4.1, U)
DEFAULT_TASK_TYPE: Final = 1  # task_type_id left out (4.2, "presumably")
NOTES_TOUCH_THEIR_LEAD: Final = False  # a new note or task does not move the lead's updated_at (not stated)
LEAD_TASKS_STATUS: Final = 404  # /leads/{id}/tasks (4.3, SIM)
WRONG_METHOD_STATUS: Final = 405  # PUT and the like on a route that has other methods (2.1, U; 4.3, SIM)

# --- Kommo: limits and tokens ---------------------------------------------------------------------
REFUSED_CALLS_FILL_THE_WINDOW: Final = False  # only accepted calls count to the 7 a second (1.5, not stated)
BLOCK_ENDS_BY_SUPPORT_ONLY: Final = True  # the HTML 403 lasts until POST /control/requests/reset (1.5)
USED_REFRESH_TOKEN_STATUS: Final = 400  # a rotated refresh token (1.2)

# --- Lemon Squeezy --------------------------------------------------------------------------------
TOO_LARGE_PAGE_STATUS: Final = 400  # page[size] over 100: refused, not clamped (3, unconfirmed)
UNKNOWN_FILTER_STATUS: Final = 400  # "Invalid Query Parameter" (3, FW, unconfirmed)
NOT_FOUND_TITLE: Final = "Not Found"  # title of a 404 (4, FW)
EMPTY_PAGE_HAS_NULL_RANGE: Final = True  # meta.page.from and .to of an empty list (2, FW, unconfirmed)
EMAIL_FILTER_IS_EXACT: Final = True  # filter[user_email] and filter[email]: equality, case counts (10, unconfirmed)
ORDER_ITEM_SORT: Final = "id"  # default sort of order-items, ascending (3, unconfirmed)
RETRY_AFTER_ON_429: Final = True  # Retry-After and x-ratelimit-reset as the framework sends them (1, unconfirmed)
REFUND_OVER_THE_REST_STATUS: Final = 422  # (6, "422 likely")
TYPE_MISMATCH_STATUS: Final = 409  # type or id of a body that does not fit its address (4, FW)
FIRST_ORDER_NUMBER: Final = 1  # order_number counts up per store, as the docs say (5.1, live mode unconfirmed)
LS_WRONG_METHOD_STATUS: Final = 405  # a method a path does not have (not stated)
ORDER_REFUND_REFUNDS_ITS_INVOICE: Final = (
    True  # refunding a first order also marks its initial invoice (7.4, unconfirmed)
)
