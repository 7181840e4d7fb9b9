"""Which metrics and labels a PromQL query asks for, so that a test can look whether they exist.

A recursive descent over the grammar of PromQL's documentation. Values are not computed and types not checked,
and a selector must name its metric. Labels are followed from where a metric has them to where something asks
for them: a matcher, `by`, `on`, `histogram_quantile`, a legend. One that is dropped on the way is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


class PromqlError(ValueError):
    """The query is none, or asks for a label where there is none any more."""


TOKEN: Final = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    |(?P<number>(?i:inf|nan)\b|(?:\d[\d.]*(?:[eE][+-]?\d+)?|\.\d+)[a-zA-Z\d]*)
    |(?P<name>[a-zA-Z_][\w:]*)
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^><=(){}\[\],:@])""",
    re.VERBOSE,
)
INTERVALS: Final = re.compile(r"\$(?:__rate_interval|__interval|__range)\b")
"""Grafana's variables for lengths of time."""

PRECEDENCE: Final = {
    "or": 1,
    "and": 2, "unless": 2,
    "==": 3, "!=": 3, "<=": 3, "<": 3, ">=": 3, ">": 3,
    "+": 4, "-": 4,
    "*": 5, "/": 5, "%": 5, "atan2": 5,
    "^": 6,
}  # fmt: skip
SET_OPERATORS: Final = {"and", "or", "unless"}
COUNTED: Final = {"rate", "irate", "increase", "resets"}
"""Functions of counters; a gauge's result means nothing."""
AGGREGATIONS: Final = {
    "sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk",
    "quantile",
}  # fmt: skip
FUNCTIONS: Final = COUNTED | {
    "abs", "absent", "absent_over_time", "avg_over_time", "ceil", "changes", "clamp", "clamp_max",
    "clamp_min", "count_over_time", "day_of_month", "day_of_week", "days_in_month", "delta", "deriv", "exp",
    "floor", "histogram_quantile", "hour", "idelta", "label_join", "label_replace", "last_over_time", "ln",
    "log10", "log2", "max_over_time", "min_over_time", "minute", "month", "predict_linear",
    "present_over_time", "quantile_over_time", "round", "scalar", "sgn", "sort", "sort_desc", "sqrt",
    "stddev_over_time", "stdvar_over_time", "sum_over_time", "time", "timestamp", "vector", "year",
}  # fmt: skip
KEEPING: Final = {"topk", "bottomk"}
"""Aggregations that choose series and leave them their labels."""


@dataclass(eq=False)
class Selector:
    """A metric in a query, and what is asked of it."""

    metric: str
    labels: set[str]
    """That it must have."""
    counted: bool = False
    """Whether a function of counters is applied to it."""
    _kept: set[str] | None = None
    """Labels that are left on the way out of the query; None: all but the dropped ones."""
    _dropped: set[str] = field(default_factory=set)
    _made: set[str] = field(default_factory=set)
    """Labels that the query has given it."""

    def need(self, label: str) -> None:
        """Something asks for a label at this point of the way out."""
        if label in self._made:
            return
        if label in self._dropped or (self._kept is not None and label not in self._kept):
            raise PromqlError(f"an aggregation has dropped the label {label!r} of {self.metric}")
        self.labels.add(label)

    def keep(self, labels: Iterable[str]) -> None:
        """Nothing but these labels is left from here on."""
        self._kept = set(labels)
        self._made &= self._kept

    def drop(self, labels: Iterable[str]) -> None:
        """These labels are gone from here on."""
        self._dropped |= set(labels)
        self._made -= set(labels)

    def make(self, labels: Iterable[str]) -> None:
        """The query writes these labels."""
        self._made |= set(labels)


@dataclass(frozen=True)
class Query:
    """A parsed query."""

    selectors: list[Selector]
    """All in it, in the order in which they are written."""
    result: list[Selector]
    """Those of them whose labels the result has."""

    def need(self, label: str) -> None:
        """Something asks for a label of the result, such as a legend.

        Raises:
            PromqlError: the result has no such label.
        """
        if not self.result:
            raise PromqlError(f"a result without any label has no {label!r}")
        for selector in self.result:
            selector.need(label)


def parse(text: str) -> Query:
    """The metrics of a query with the labels that it asks of them.

    Args:
        text: PromQL, with Grafana's variables for lengths of time, and others in strings.

    Raises:
        PromqlError: it is not PromQL, or asks for a label that an aggregation has dropped.
    """
    parser = _Parser(INTERVALS.sub("5m", text))
    result = parser.expression()
    parser.end()
    return Query(parser.selectors, result)


@dataclass(frozen=True)
class Matching:
    """An operator between two expressions, and which of their series belong together."""

    operator: str
    on: list[str] | None
    ignored: list[str]
    grouped: str | None
    """group_left or group_right."""
    copied: list[str]
    """Labels that the side with many series gets from the other."""

    def join(self, left: list[Selector], right: list[Selector]) -> list[Selector]:
        """The selectors whose labels the result has."""
        for selector in left + right:
            for label in self.on or self.ignored:
                selector.need(label)
        if self.operator in SET_OPERATORS:
            return left + right if self.operator == "or" else left
        if self.grouped is not None:
            many, one = (left, right) if self.grouped == "group_left" else (right, left)
            for selector in one:
                for label in self.copied:
                    selector.need(label)
            for selector in many:
                selector.make(self.copied)
            return many
        for selector in left + right:
            selector.drop(self.ignored)
            if self.on is not None:
                selector.keep(self.on)
        return left + right


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [*_tokens(text), ("end", "")]
        self._at = 0
        self.selectors: list[Selector] = []

    def end(self) -> None:
        if self._kind != "end":
            raise self._error("the end")

    @property
    def _kind(self) -> str:
        return self._tokens[self._at][0]

    @property
    def _word(self) -> str:
        return self._tokens[self._at][1]

    def _next(self) -> str:
        word = self._word
        self._at += 1
        return word

    def _take(self, word: str) -> bool:
        """Whether the next token is this one; then it is taken."""
        if self._kind != "string" and self._word == word:
            self._at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._error(repr(word))

    def _expect_kind(self, kind: str) -> str:
        if self._kind != kind:
            raise self._error(f"a {kind}")
        return self._next()

    def _error(self, wanted: str) -> PromqlError:
        return PromqlError(f"{wanted} is missing before {self._word or 'the end'!r} in {self._text!r}")

    def expression(self, lowest: int = 1) -> list[Selector]:
        """Parse operators that bind at least so strongly; the selectors whose labels the result has."""
        left = self._operand()
        while self._kind == "sign" or self._kind == "name":
            precedence = PRECEDENCE.get(self._word, 0)
            if precedence < lowest:
                break
            operator = self._next()
            self._take("bool")
            matching = self._matching(operator)
            left = matching.join(left, self.expression(precedence + (operator != "^")))
        return left

    def _matching(self, operator: str) -> Matching:
        on = self._labels() if self._take("on") else None
        ignored = self._labels() if on is None and self._take("ignoring") else []
        grouped = next((side for side in ("group_left", "group_right") if self._take(side)), None)
        copied = self._labels() if grouped and self._word == "(" else []
        return Matching(operator, on, ignored, grouped, copied)

    def _operand(self) -> list[Selector]:
        while self._take("-") or self._take("+"):
            pass
        if self._take("("):
            found = self.expression()
            self._expect(")")
        elif self._kind in {"number", "string"}:
            self._next()
            found = []
        elif self._kind == "name":
            found = self._name()
        elif self._word == "{":
            raise PromqlError(f"a selector without the name of a metric in {self._text!r}")
        else:
            raise self._error("an expression")
        self._suffixes()
        return found

    def _suffixes(self) -> None:
        while True:
            if self._take("["):
                self._expect_kind("number")
                if self._take(":") and self._kind == "number":
                    self._next()
                self._expect("]")
            elif self._take("offset"):
                self._take("-")
                self._expect_kind("number")
            elif self._take("@"):
                self._expect_kind("number")
            else:
                return

    def _name(self) -> list[Selector]:
        name = self._next()
        if name in AGGREGATIONS and self._word in {"(", "by", "without"}:
            return self._aggregation(name)
        if self._word == "(":
            if name not in FUNCTIONS:
                raise PromqlError(f"{name!r} is no function, in {self._text!r}")
            return self._call(name)
        selector = Selector(name, set(self._matchers()))
        self.selectors.append(selector)
        return [selector]

    def _matchers(self) -> list[str]:
        names: list[str] = []
        if not self._take("{"):
            return names
        while not self._take("}"):
            names.append(self._expect_kind("name"))
            if self._next() not in {"=", "!=", "=~", "!~"}:
                raise self._error("an operator of a matcher")
            self._expect_kind("string")
            if self._word != "}":
                self._expect(",")
        return names

    def _labels(self) -> list[str]:
        self._expect("(")
        names: list[str] = []
        while not self._take(")"):
            names.append(self._expect_kind("name"))
            if self._word != ")":
                self._expect(",")
        return names

    def _arguments(self) -> tuple[list[Selector], list[str]]:
        """Selectors and strings in a call's brackets."""
        self._expect("(")
        found: list[Selector] = []
        texts: list[str] = []
        while not self._take(")"):
            if self._kind == "string":
                texts.append(self._next()[1:-1])
            else:
                found += self.expression()
            if self._word != ")":
                self._expect(",")
        return found, texts

    def _grouping(self) -> tuple[str, list[str]] | None:
        for how in ("by", "without"):
            if self._take(how):
                return how, self._labels()
        return None

    def _aggregation(self, name: str) -> list[Selector]:
        grouping = self._grouping()
        found, texts = self._arguments()
        if not found:
            raise self._error("what is aggregated")
        how, labels = grouping or self._grouping() or ("by", [])
        for selector in found:
            for label in labels:
                selector.need(label)
            if name in KEEPING:
                continue
            if how == "by":
                selector.keep(labels)
            else:
                selector.drop(labels)
            selector.make(texts)  # of count_values
        return found

    def _call(self, name: str) -> list[Selector]:
        found, texts = self._arguments()
        for selector in found:
            if name in COUNTED:
                selector.counted = True
            if name == "histogram_quantile":
                selector.need("le")
                selector.drop(["le"])
            if name in {"label_replace", "label_join"}:
                for label in texts[2:3] if name == "label_replace" else texts[2:]:
                    selector.need(label)
                selector.make(texts[:1])
            if name in {"absent", "absent_over_time"}:
                selector.keep(selector.labels)
        return [] if name == "scalar" else found


def _tokens(text: str) -> Iterable[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise PromqlError(f"{text[at : at + 10]!r} is no PromQL in {text!r}")
        at = match.end()
        if match.lastgroup != "space":
            yield str(match.lastgroup), match.group()
