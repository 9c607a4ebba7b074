"""Whatever a cluster, a job or a query of an operator's is called, it stays one literal, and the rest of the query stays."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from webhook.core.policy import CustomSignal, IdlePolicy
from webhook.wire import promql, promql_text
from webhook.wire.promql import ClusterLabel, Dialect
from webhook.wire.promql_probes import probe_queries
from webhook.wire.promql_signals import signal_queries

PIECES = [
    *('"', "'", "`", "\\", "\\\\", "\\n", "\\x22", "\n", "\r\n", "\t", "\x00", "\x7f", "\u2028", "\ufffd", "é", "🙂"),
    *("{", "}", '"} or vector(0) or up{a="', ")", "[5m]", "#", "# ", ",", "$window", "$cluster", "${x}", "$1", "%s"),
    *("|", ".*", "(?i)", "^", "-", "e" * 10_000),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), TEXT), min_size=1, max_size=6).map("".join).filter(bool)
SIGNAL = CustomSignal(name="mine", query='sum by (namespace, pod) (reqs{code!="$step"}) # "', idle_below=1.0)
POLICY = IdlePolicy(signals=(SIGNAL,))
OWN = {"cpuPeak": "max by (namespace, pod) (max_over_time(own{$cluster,a='$window'}[$window:$step]))"}
SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
LENGTHS = {"x": 2, "u": 4, "U": 8}


def read(query):
    """As Prometheus' lexer reads it, letter by letter: (the query with a mark for each string, what each says)."""
    rest, said, at = [], [], 0
    while at < len(query):
        letter = query[at]
        if letter == "#":
            end = query.find("\n", at)
            at = len(query) if end < 0 else end
        elif letter in "\"'`":
            text, at = literal(query, at)
            rest.append("\x01")
            said.append(text)
        else:
            rest.append(letter)
            at += 1
    return "".join(rest), said


def literal(query, at):
    """(what the string that begins here says, where it has ended). Fails as the lexer does."""
    quote, at, said = query[at], at + 1, []
    while query[at] != quote:
        letter = query[at]
        assert quote == "`" or letter not in "\n\ufffd", "a string that breaks off"
        at += 1
        if letter == "\\" and quote != "`":
            kind, at = query[at], at + 1
            if kind in SIMPLE:
                assert kind not in "'\"" or kind == quote, "an escape of the other quote"
                letter = SIMPLE[kind]
            else:
                digits = query[at : at + LENGTHS[kind]]
                # Beyond ASCII, \x is a byte and no letter.
                assert len(digits) == LENGTHS[kind] and not (kind == "x" and int(digits, 16) > 0x7F)  # noqa: PT018
                letter, at = chr(int(digits, 16)), at + LENGTHS[kind]
        said.append(letter)
    return "".join(said), at + 1


def every_query(dialect):
    """All that is ever asked with one configuration, by name."""
    asked = promql.sweep_queries(POLICY, dialect) | promql.load_queries(promql.LOADS, POLICY, dialect)
    probes = {f"probe {name}": text for name, text in probe_queries(POLICY, dialect).items()}
    return asked | signal_queries(POLICY, dialect) | probes


@given(HOSTILE)
def test_a_quoted_text_says_that_text_to_an_independent_reader(text):
    assert read(promql_text.quoted(text)) == ("\x01", [text])


@given(HOSTILE)
def test_the_name_of_a_cluster_changes_one_literal_of_a_selector_and_nothing_else(name):
    def asked(value):
        return every_query(Dialect(ClusterLabel("cluster", value), OWN, {"cadvisor": (value,)}))

    plain, hostile = asked("name-of-a-cluster"), asked(name)
    assert plain.keys() == hostile.keys()
    for query, text in hostile.items():
        skeleton, expected = read(plain[query])
        expected = [name if said == "name-of-a-cluster" else said for said in expected]
        assert read(text) == (skeleton, expected)
        if query != "probe clusters":
            assert name in expected


@given(st.lists(HOSTILE, min_size=2, max_size=3, unique=True), HOSTILE)
def test_a_choice_of_jobs_matches_these_jobs_and_no_other(jobs, other):
    assume(other not in jobs)
    assert all(len(job) <= 30_000 for job in jobs)
    skeleton, (pattern,) = read(promql_text.one_of("job", jobs))
    assert skeleton == "job=~\x01"
    # RE2 and this engine agree on plain letters and on escaped marks, and there is nothing else in it.
    assert all(re.fullmatch(pattern, job) for job in jobs)
    assert not re.fullmatch(pattern, other)
    plain = read(promql.scoped(promql.CPU, Dialect(jobs={"cadvisor": ("a", "b")})))
    hostile = read(promql.scoped(promql.CPU, Dialect(jobs={"cadvisor": tuple(jobs)})))
    assert hostile[0] == plain[0]
    assert [pattern if said == "a|b" else said for said in plain[1]] == hostile[1]


@given(HOSTILE)
def test_a_label_that_is_none_never_comes_into_a_query(name):
    assume(not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII))
    with pytest.raises(ValueError, match="label name"):
        every_query(Dialect(ClusterLabel(name, "eu")))


@given(HOSTILE, st.sampled_from(['up{{a="{}"}}', "up{{a='{}'}}", "up{{a=`{}`}}", "up # {}"]))
def test_no_macro_is_put_into_what_an_operators_own_query_says(text, shape):
    """A string of theirs may hold a dollar sign, as label_replace needs; a string that ends early is theirs as well."""
    query = shape.format(text)
    try:
        before = read(query)
    except (AssertionError, IndexError, KeyError, ValueError):
        assume(False)
    assume("$" not in before[0])
    assert (
        read(promql_text.expand(query, dict.fromkeys((*promql.MACROS, *promql.LOAD_MACROS, "cluster"), "BROKEN")))
        == before
    )


@given(HOSTILE)
def test_the_probe_for_metrics_holds_names_of_metrics_alone_whatever_an_own_query_is(text):
    probe = probe_queries(POLICY, Dialect(own={"owner": text}))["presence"]
    skeleton, (names,) = read(probe)
    assert skeleton == "count by (__name__) ({__name__=~\x01})"
    assert re.fullmatch(r"[A-Za-z0-9_:|]+", names)
