"""Every point that no public source settles and that dealsync has to decide, in one place to be flipped.

Check these first when a live account is at hand; nothing else in the code repeats them.
"""

from datetime import timedelta

# --- both ------------------------------------------------------------------------------------------------------
CLOCK_SKEW = timedelta(minutes=5)
"""Most that an API's clock is taken to differ from ours."""

# --- Kommo ---------------------------------------------------------------------------------------------------
KOMMO_WRITE_BATCH = 250
"""Items in one write. 250 is the published ceiling, 50 the advice; a 504 would ask for less."""

KOMMO_MOST_IN_A_SECOND = 7
"""Requests in any second, from one address. Published; whether refused ones count is not."""

KOMMO_IDS_PER_FILTER = 50
"""Ids in one `filter[id][]`. The greatest number and the longest URL are not published."""

KOMMO_READ_LAG = timedelta(seconds=10)
"""How long a write may stay invisible to lists and search. No figure is published. Lemon Squeezy, of which no lag is
reported, is given as long before a checkout that its list lacks counts as never made."""

KOMMO_LIST_OVERLAP = timedelta(minutes=10)
"""How far a window on `updated_at` reaches back before the watermark. Public connectors use 5 to 10 minutes."""

KOMMO_REFUSED_BATCH_WRITES_NOTHING = False
"""Whether a 400 means that no item of the batch was written. Strongly implied, so not relied upon: on False,
the items that were not named are looked up before they are sent again."""

KOMMO_NUMERIC_FIELD_DECIMALS = True
"""Whether a `numeric` field keeps decimals ("1.5" is in the published sample)."""

KOMMO_REOPENS_TASKS = True
"""Whether `is_completed: false` opens a task again. Only the other way is published. On False an undo leaves tasks that
were ticked off as they are, and says so."""

KOMMO_EMPTIES_FIELDS_BY_NULL = True
"""Whether `values: null` empties a field of a deal: reported, not published. On False an undo leaves fields filled that
were empty, and says so."""

KOMMO_MERGE_NAMES_BOTH_DEALS = True
"""Whether an `entity_merged` event belongs to the surviving deal and names the other one as an `entity` in its values.
No sample is published. On False nobody follows merges: a payment of such a deal goes to review."""

# --- Lemon Squeezy -------------------------------------------------------------------------------------------
ZERO_DECIMAL_AMOUNTS_ARE_WHOLE_UNITS = True
"""Whether amounts in JPY, KRW and the like are whole units rather than hundredths."""

LS_MINUTE_COUNTS_AS_A_WHOLE = True
"""Whether the 300 requests of a minute may come in any rhythm: nothing tells of a limit on shorter spans. On False they
are evenly spaced."""

LS_PAGE_SIZE = 100
"""Rows in one page: the published maximum. What a larger size does is not known, so it is never sent."""

LS_CHECKOUT_QUANTITY_PER_VARIANT = True
"""Whether the quantity of a checkout goes into `checkout_data.variant_quantities`; on False it goes into
`checkout_options.quantity`. Both fields exist, what either does was not recorded (reference 5.6)."""
