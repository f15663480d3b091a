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
EVENT_NAME_IN_ENTITY: Final = True  # with=lead_name puts the name into _embedded.entity (5.7, not stated)
EVENTS_PAGE_LIMIT: Final = 100  # amoCRM says 100, Kommo 250; "use 100" (1.3)
CUSTOM_FIELDS_PAGE_LIMIT: Final = 50  # amoCRM's figure, not stated by Kommo (1.3)

# --- Kommo: writes --------------------------------------------------------------------------------
WRONG_CONTAINER_STATUS: Final = 400  # an object where an array is due, and the reverse: 400 shape C (2.1)
UNKNOWN_KEY_CODE: Final = "FieldNotExpected"  # a key that is not in the write table is refused (I#366, not stated)
READ_ONLY_ECHO_PASSES: Final = True  # a read-only key with the stored value; public clients send them (2.7, "can fail")
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
INACTIVE_USER_IS_REFUSED: Final = True  # a deactivated user as responsible: NotSupportedChoice (2.7, I#502)
LINKED_FOREIGN_ID_CODE: Final = "NotSupportedChoice"  # /link to an entity that is not there (5.2, not stated)
FIELD_TYPE_NUMBERS: Final = {  # field_type in events: 8 is multitext in the published sample, the rest not stated
    "text": 1,
    "numeric": 2,
    "checkbox": 3,
    "select": 4,
    "multiselect": 5,
    "date": 6,
    "url": 7,
    "multitext": 8,
    "textarea": 9,
    "radiobutton": 10,
}
EDITABLE_NOTE_TYPES: Final = ("common", "call_in", "call_out", "geolocation", "sms_in", "sms_out")  # (4.1, not listed)
LEAD_TASKS_STATUS: Final = 404  # /leads/{id}/tasks (4.3, SIM)
WRONG_METHOD_STATUS: Final = 405  # PUT and the like on a route that has other methods (2.1, U; 4.3, SIM)

# --- Kommo: set-up of an account ------------------------------------------------------------------
DELETED_PIPELINE_STATUS: Final[int] = 200  # Kommo 200 with {}, amoCRM 204 (3.1)
STATUS_WITH_LEADS_IS_KEPT: Final = True  # DELETE of a status with deals is refused, as for pipelines (3.1, not stated)
DELETED_FIELD_STATUS: Final = 204  # DELETE of a custom field (5.4, amoCRM)
REFUSED_SETUP_STATUS: Final = (
    400  # a pipeline, status, list or hook that cannot be made or deleted: shape C (not stated)
)
ELEMENTS_PAGE_LIMIT: Final = 100  # rows of catalog elements a page (1.3, I#528); `next` is kept all the same
ROLE_NEEDS_ADMIN: Final = True  # GET /roles is admin only, as /users (5.3, not stated)
UNKNOWN_CONTEXT_USER_STATUS: Final = 401  # X-Context-User-ID of an unknown or free user (1.2)

# --- Kommo: webhooks ------------------------------------------------------------------------------
WEBHOOK_CREATED_STATUS: Final = 201  # amoCRM 201, Kommo 200 (5.8)
INVALID_DESTINATION_CODE: Final = "57c2f299-1154-4870-89bb-ef3b1f5ad229"  # a host that cannot be (1.6, one sample)
REPEATED_WEBHOOK_REPLACES: Final = True  # POST of a known destination: settings are replaced, not merged (5.8, U)
REGISTERING_SWITCHES_ON: Final = True  # POST of a disabled destination enables it again (6.3, "by hand")
STATUS_MOVE_IS_AN_UPDATE_TOO: Final = (
    True  # update_lead hooks hear of moves: leads[update] may carry old_status_id (6.1)
)
RESPONSIBLE_IS_AN_UPDATE_TOO: Final = True  # update_lead hooks hear of a new responsible user too (6.1, not stated)
UNSORTED_SETTING: Final = "update_lead"  # whose hooks hear of accepted and declined incoming leads (6.1, not stated)
TASK_UPDATE_SETTINGS: Final = ("update_task", "responsible_task")  # who hears of a changed task (5.8, not stated)
LINKING_IS_AN_UPDATE: Final = True  # link and unlink send the update of the entity in the address (not stated)
WEBHOOK_ENTITIES_PER_BODY: Final = 50  # of one batch (6.1: "several entities", no figure)
WEBHOOK_PRICE_IS_MAJOR_UNITS: Final = True  # price_with_minor_units in a hook: "100.5"; False: integer cents (2.8, U)
NOTE_HOOK_OFFSET_S: Final = 3 * 3600  # text dates of note hooks are UTC+3, of task hooks UTC (6.1)
NOTE_TYPE_NUMBERS: Final = {  # 4 and 5 stand in 6.1, the others are what the older API used
    "common": 4,
    "attachment": 5,
    "call_in": 10,
    "call_out": 11,
    "service_message": 25,
    "extended_service_message": 25,
    "sms_in": 102,
    "sms_out": 103,
}
TRIGGER_RETRIES_S: Final = (300.0, 600.0, 900.0, 1800.0)  # digital pipeline: "up to 4 retries within 1 h" (6.3)

# --- Kommo: limits and tokens ---------------------------------------------------------------------
REFUSED_CALLS_FILL_THE_WINDOW: Final = False  # only accepted calls count to the 7 a second (1.5, not stated)
BLOCK_ENDS_BY_SUPPORT_ONLY: Final = True  # the HTML 403 lasts until POST /control/requests/reset (1.5)
TOKEN_TAKES_FORMS: Final = True  # the token endpoint takes a form as well as JSON (1.2 names JSON only)
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
INITIAL_INVOICE_REFUND_REFUNDS_ITS_ORDER: Final = True  # and the other way round (7.4, unconfirmed)
PARTIAL_INVOICE_REFUND_IS_TOLD: Final = True  # subscription_payment_refunded for a part (7.1, unconfirmed)
AFFILIATE_SORT: Final = "-createdAt"  # (3, unconfirmed)
USAGE_RECORD_SORT: Final = "-created_at"  # (3, unconfirmed)
INCLUDE_IS_ECHOED: Final = True  # `include` stands in page links, between filter and page (2, FW)
LINKAGE_IDS_MUST_BE_STRINGS: Final = True  # a number as id in a relationship: 400, Non-Compliant (2, FW)
CUSTOM_NUMBERS_ARE_ACCEPTED: Final = True  # in checkout_data.custom; documentation shows them (6, unconfirmed)
CUSTOM_NULLS_ARE_ACCEPTED: Final = False  # refused as an empty string is (6, unconfirmed)
WRONG_VARIANT_STATUS: Final = 422  # PATCH of a subscription to a variant that is not there (6, not stated)
IMPOSSIBLE_CHANGE_STATUS: Final = 422  # e.g. changing an expired subscription (6, not stated)
DUPLICATE_EMAIL_IS_REFUSED: Final = True  # POST of a customer with a known e-mail: 422 (6, not stated)
DUPLICATE_CODE_IS_REFUSED: Final = True  # POST of a discount with a known code: 422 (6, not stated)
TRIAL_HAS_AN_INVOICE: Final = False  # no invoice and no payment event at the start of a trial (7.4, unconfirmed)
FIRST_UPDATE_AFTER_S: Final = 1  # the extra subscription_updated after a purchase: +0-1 s (7.4) ...
SECOND_UPDATE_AFTER_S: Final = 30  # ... and +30 s (7.4)
DUNNING_RETRIES_S: Final = tuple(
    day * 86400.0 for day in (3, 3, 4, 4)
)  # 4 retries over 2 weeks (5.3, when: not stated)
UNPAID_EXPIRES_AFTER_S: Final = 14 * 86400.0  # dunning rules decide; ours do so after two weeks (5.3, not stated)
SIGNED_LINK_LIFE_S: Final = 6 * 3600  # of receipts, portals and invoices (5.3; receipts: not stated)
WEBHOOK_LINKS_ROOT: Final = "https://api.lemonsqueezy.com/v1"  # of links in webhook bodies, as recorded (7.2)
WEBHOOK_USER_AGENT: Final = "LemonSqueezy-Webhooks"  # (7.2, unconfirmed)
WEBHOOK_TIMEOUT_S: Final = 10.0  # real seconds an endpoint has to answer (7.3, unconfirmed)
