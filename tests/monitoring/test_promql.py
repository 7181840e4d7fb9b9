"""The reader of queries finds what they ask for, and refuses what Prometheus would."""

import pytest
from promql import PromqlError, parse


def asked(text):
    """What a query asks for: metric, labels, and whether a function of counters is applied."""
    return [
        (selector.metric, sorted(selector.labels), selector.counted) for selector in parse(text).selectors
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("up", [("up", [], False)]),
        ('a:b{x="1", y=~"b|{c}", z!=""}', [("a:b", ["x", "y", "z"], False)]),
        ("a{} offset 1h", [("a", [], False)]),
        ("rate(a_total{x='1',}[5m]) > 3", [("a_total", ["x"], True)]),
        ("-a + 2 ^ -1e-3 * Inf", [("a", [], False)]),
        ("max_over_time(rate(a[$__rate_interval])[1h:5m])", [("a", [], True)]),
        ("sum by (x, y) (a)", [("a", ["x", "y"], False)]),
        ("sum(a) by (x)", [("a", ["x"], False)]),
        ("sum without (x) (a)", [("a", ["x"], False)]),
        ("topk(3, a) # sum(b)", [("a", [], False)]),
        ('count_values("version", a)', [("a", [], False)]),
        ("sum(b) / sum(b_limit)", [("b", [], False), ("b_limit", [], False)]),
        (
            "histogram_quantile(0.9, sum by (le, x) (rate(a_bucket[5m])))",
            [("a_bucket", ["le", "x"], True)],
        ),
        ("a / on (x) group_left (y) b", [("a", ["x"], False), ("b", ["x", "y"], False)]),
        ("a unless on (x) b > 0 or c", [("a", ["x"], False), ("b", ["x"], False), ("c", [], False)]),
        ("a and ignoring (y) b", [("a", ["y"], False), ("b", ["y"], False)]),
        (
            'a and on (ip) label_replace(b, "ip", "$1", "node", "(.*)")',
            [("a", ["ip"], False), ("b", ["node"], False)],
        ),
        ("by", [("by", [], False)]),
        ("sum", [("sum", [], False)]),
        ("time() - scalar(a) + vector(1)", [("a", [], False)]),
    ],
)
def test_metrics_and_labels_are_found(text, expected):
    assert asked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "a +", "sum(a", "a{x}", "a{x=1}", 'a{x="1" y="2"}', "a[5m", "rate(a[])", "a b", "(a))",
        '{job="x"}', "a offset", "sum by x (a)", "a &", "sum()", "histogram_quantil(0.9, a)",
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused(text):
    with pytest.raises(PromqlError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("sum(a)", "x"),
        ("sum by (x) (a)", "y"),
        ("sum without (x) (a)", "x"),
        ("sum by (x) (a) / on (x) b", "y"),
        ("a / ignoring (x) b", "x"),
        ("histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m])))", "le"),
        ('absent(a{x="1"})', "y"),
        ("scalar(a)", "x"),
    ],
)
def test_a_legend_with_a_label_that_is_gone_is_refused(text, label):
    query = parse(text)
    with pytest.raises(PromqlError, match=label):
        query.need(label)


@pytest.mark.parametrize(
    "text",
    ["sum by (y) (sum by (x) (a))", "sum by (x) (a) / on (y) b", "histogram_quantile(0.9, sum(rate(a[5m])))"],
)
def test_a_query_that_asks_for_a_label_after_dropping_it_is_refused(text):
    with pytest.raises(PromqlError, match="dropped"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "label", "metrics"),
    [
        ("sum by (x) (a)", "x", ["a"]),
        ("a unless on (x) b", "y", ["a"]),
        ("a or b", "y", ["a", "b"]),
        ("a / on (x) group_left (y) b", "z", ["a"]),
        ("b * on (x) group_right (y) a", "z", ["a"]),
        ('absent(a{x="1"})', "x", ["a"]),
        ("topk(3, a)", "y", ["a"]),
        ("2 * sum by (x) (a)", "x", ["a"]),
    ],
)
def test_a_legend_asks_those_whose_labels_the_result_has(text, label, metrics):
    query = parse(text)
    query.need(label)
    assert [one.metric for one in query.selectors if label in one.labels] == metrics


def test_a_label_that_the_query_makes_is_asked_of_nobody():
    for text in (
        'label_replace(a, "x", "$1", "y", "(.*)")',
        'count_values("x", a)',
        "a / on () group_left (x) b",
    ):
        query = parse(text)
        query.need("x")
        assert "x" not in query.selectors[0].labels
