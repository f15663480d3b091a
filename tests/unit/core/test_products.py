import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.products import NAME_VARIABLES, ProductRule, check_name, deal_name, rule_for
from dealsync.core.texts import NAME_LIMIT
from tests.builders import order

PRO = order(number=1000, product_id="21", variant_id="31", store_id="4101", quantity=3)
PLAIN = "Pro (Yearly), order 1000"

ids = st.sampled_from(["", "1", "2"])
rules = st.lists(
    st.builds(
        ProductRule,
        ids,
        ids,
        ids,
        pipeline_id=st.sampled_from([None, 7001, 7002]),
        tag=st.sampled_from(["", "a", "b"]),
        name=st.sampled_from(["", "x", "y"]),
    ),
    max_size=6,
).map(tuple)


def test_rule_for__is_empty_where_no_entry_fits() -> None:
    others = (
        ProductRule(variant_id="32", tag="a"),
        ProductRule(product_id="22", tag="b"),
        ProductRule(store_id="9", tag="c"),
        ProductRule(product_id="21", variant_id="32", tag="d"),
        ProductRule(store_id="9", variant_id="31", tag="e"),
    )
    assert rule_for(PRO, others) == ProductRule()
    assert rule_for(order(product_id=""), (ProductRule(product_id="21", tag="a"),)) == ProductRule()


NARROWING = (
    ProductRule(tag="all"),
    ProductRule(store_id="4101", tag="store"),
    ProductRule(product_id="21", tag="product"),
    ProductRule(store_id="4101", product_id="21", tag="product of the store"),
    ProductRule(variant_id="31", tag="variant"),
    ProductRule(product_id="21", variant_id="31", tag="variant of the product"),
)


@given(st.permutations(NARROWING), st.integers(0, 5))
def test_rule_for__variant_before_product_before_store_before_all_in_any_order_of_the_file(
    entries: list[ProductRule], narrowest: int
) -> None:
    known = tuple(entry for entry in entries if entry in NARROWING[: narrowest + 1])
    assert rule_for(PRO, known).tag == NARROWING[narrowest].tag


def test_rule_for__of_equally_narrow_entries_the_later_one_wins() -> None:
    entries = (ProductRule(variant_id="31", tag="first"), ProductRule(variant_id="31", tag="second"))
    assert rule_for(PRO, entries).tag == "second"


def test_rule_for__what_the_narrow_entry_leaves_open_the_wider_one_says() -> None:
    found = rule_for(
        PRO,
        (
            ProductRule(variant_id="31", name="{{ product }}"),
            ProductRule(product_id="21", tag="pro", name="unused"),
            ProductRule(store_id="4101", tag="unused", pipeline_id=7002, attention_status_id=70024),
        ),
    )
    assert found == ProductRule(pipeline_id=7002, attention_status_id=70024, tag="pro", name="{{ product }}")


def test_rule_for__an_attention_status_does_not_leave_its_pipeline() -> None:
    store = ProductRule(store_id="4101", pipeline_id=7001, attention_status_id=70014)
    assert rule_for(PRO, (store, ProductRule(variant_id="31", pipeline_id=7002))) == ProductRule(pipeline_id=7002)
    assert rule_for(PRO, (store, ProductRule(variant_id="31", pipeline_id=7001))).attention_status_id == 70014


@given(rules, ids, ids, ids)
def test_rule_for__every_value_comes_from_a_fitting_entry_than_which_none_is_narrower(
    entries: tuple[ProductRule, ...], store: str, product: str, variant: str
) -> None:
    sold = order(store_id=store, product_id=product, variant_id=variant)
    found = rule_for(sold, entries)
    fitting = [
        (4 * bool(e.variant_id) + 2 * bool(e.product_id) + bool(e.store_id), place, e)
        for place, e in enumerate(entries)
        if all(a in ("", b) for a, b in ((e.store_id, store), (e.product_id, product), (e.variant_id, variant)))
    ]
    for attribute, empty in (("pipeline_id", None), ("tag", ""), ("name", "")):
        said = [(*rank, getattr(e, attribute)) for *rank, e in fitting if getattr(e, attribute) != empty]
        assert getattr(found, attribute) == (max(said)[-1] if said else empty)


def test_deal_name__knows_everything_about_the_order() -> None:
    template = "|".join(f"{{{{ {name} }}}}" for name in NAME_VARIABLES if name != "custom")
    assert deal_name(template, PRO, {}) == "Pro|Yearly|1000|17|Ann Example|ann@example.com|490.00|USD|3"
    assert deal_name("{{ custom.utm_source }}/{{ custom['plan'] }}", PRO, {"utm_source": "ad", "plan": "x"}) == "ad/x"
    assert deal_name("{{ amount }}", order(total=490, currency="JPY"), {}) == "490"


def test_deal_name__without_a_template_names_product_and_order() -> None:
    assert deal_name("", PRO, {}) == PLAIN


@pytest.mark.parametrize(
    "template",
    [
        "{{ custom.utm_source }}",  # this order has none
        "  {{ custom.get('utm_source', '') }} \n",
        "{{ nobody_knows }}",
        "{{ product",
        "{{ product.__class__ }}",
        "{{ product.__class__.__mro__ }}",
        "{{ number / (quantity - 3) }}",
        "{{ number + product }}",
        "{{ product[99:] }}",
        "{{ [1][9] }}",
        "{{ '%d' % product }}",
        "{% include 'x' %}",
        "{{ range(9) }}",
    ],
)
def test_deal_name__a_template_that_fails_or_is_empty_falls_back_to_the_plain_name(template: str) -> None:
    assert deal_name(template, PRO, {"plan": "x"}) == PLAIN


def test_deal_name__is_one_line_of_bounded_length() -> None:
    assert deal_name(" {{ product }}\n\n for\t{{ buyer }} ", PRO, {}) == "Pro for Ann Example"
    long = deal_name("{{ product }}", order(product_name="x" * 10_000), {})
    assert (len(long), long[-1]) == (NAME_LIMIT, "…")


def test_deal_name__what_a_buyer_types_is_text_and_no_template() -> None:
    sly = order(user_name="{{ 7 * 7 }}{% raw %}")
    assert deal_name("{{ buyer }}, {{ custom.plan }}", sly, {"plan": "{{ number }}"}) == (
        "{{ 7 * 7 }}{% raw %}, {{ number }}"
    )


@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=3))
def test_deal_name__any_template_gives_a_name_on_one_line(template: str, custom: dict[str, str]) -> None:
    name = deal_name(template, PRO, custom)
    assert name
    assert name == " ".join(name.split())


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{{ product }}: {{ variant }} #{{ number }} ({{ order_id }})",
        "{{ buyer }} {{ email }} {{ amount }} {{ currency }} {{ quantity }}",
        "{{ custom.utm_source }} {{ custom['plan'] }} {{ custom.get('seats') }}",
        "{% if custom.plan == 'x' %}{{ custom.other | upper }}{% endif %}",
        "{{ custom.plan | default('none') }}",
        "{% for key in custom %}{{ key }}{% endfor %}",
        "{{ 100 / (custom.seats | int) }}",  # another order may have seats
        "{{ amount | float | round | int }}",
    ],
)
def test_check_name__leaves_alone_what_can_work(template: str) -> None:
    check_name(template)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ product", "is no template"),
        ("{% if product %}", "is no template"),
        ("{{ product | shout }}", "shout"),
        ("{{ produkt }}", "produkt: unknown in a name, which has product, variant"),
        ("{% if quantity > 9 %}{{ produkt }}{% endif %}", "produkt"),
        ("{{ range(3) }}", "range"),
        ("{{ product.title }}{{ product.name }}", "name"),
        ("{{ product.__class__ }}", "unsafe"),
        ("{{ custom.__class__.__mro__ }}", "unsafe"),
        ("{{ number + product }}", "fails"),
        ("{{ '{0.x}'.format(product) }}", "x"),
        ("{% include 'x' %}", "fails"),
    ],
)
def test_check_name__refuses_what_never_works_and_says_why(template: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        check_name(template)
    assert "\n" not in str(refused.value)
