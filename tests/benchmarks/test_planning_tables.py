"""What the planner is measured with: everything occurs, ten sales in a thousand have drifted, the others rest."""

from collections import Counter

from benchmarks.planning_tables import NOW, PER_THOUSAND, POLICY, build
from dealsync.core.planner import make_plan


def test_tables__ten_sales_in_a_thousand_have_something_to_do_and_the_rest_has_not() -> None:
    plan = make_plan(build(2_000), POLICY, NOW)
    kinds = Counter(action.kind.value for action in plan.actions)
    assert kinds == {"close": 14, "note": 16, "fields": 8, "task": 4, "attention": 2, "tag": 2}
    assert len({action.order_id for action in plan.actions}) == 2 * PER_THOUSAND
    assert (len(plan.links), plan.reviews, plan.refusals, plan.oddities) == (4, (), (), ())
