"""From the values of a file to one policy, and what is right alone and wrong together."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from webhook.configuration.keys import LIMITS
from webhook.configuration.readers import UNREAD, written
from webhook.core import rules
from webhook.core.policy import BalancePolicy, CustomSignal, IdlePolicy, Match, MovePolicy, Policy, Rule
from webhook.core.readings import shape
from webhook.wire import promql_text
from webhook.wire.promql import MACROS

MOST_SHAPES = 8
MOST_RULES = 200
BUILT_IN = ("cpu", "received")
LEAST_SCRAPES = {"window": 4, "max_age": 2}
"""Times of ``balance`` in scrape intervals: a mean outlives one lost scrape, and no load is old before the next one."""
_WAYS = ("to_spot", "to_regular")


def settle(values: Mapping[str, Any]) -> Policy:
    """The policy; what a rule says of idleness is laid over the policy's own. What is UNREAD stays so."""
    plain = {key: value for key, value in values.items() if key not in {"rules", "idle", "moves", "balance"}}
    idle = _laid_over(IdlePolicy(), values.get("idle"))
    several = tuple(Rule(**{**raw, "idle": _of_rule(raw, idle)}) for raw in values.get("rules", ()))
    balance = _balance(values.get("balance", {}), idle)
    return Policy(**plain, idle=idle, rules=several, moves=_moves(values.get("moves", {})), balance=balance)


def _of_rule(raw: Mapping[str, Any], idle: IdlePolicy) -> IdlePolicy | None:
    return _laid_over(idle, raw["idle"]) if raw.get("idle") else None


def _laid_over(idle: IdlePolicy, said: Mapping[str, Any] | None) -> IdlePolicy:
    if not said:
        return idle
    batch = msgspec.structs.replace(idle.batch, **said.get("batch", {}))
    return msgspec.structs.replace(idle, **{**said, "batch": batch})


def _moves(said: Mapping[str, Any]) -> MovePolicy:
    default = MovePolicy()
    limits = {way: msgspec.structs.replace(getattr(default, way), **said.get(way, {})) for way in _WAYS}
    return msgspec.structs.replace(default, **{**said, **limits})


def _balance(said: Mapping[str, Any], idle: IdlePolicy) -> BalancePolicy:
    """Where scrapes are slow, the times that nobody said follow them: a default must contradict no file."""
    default = BalancePolicy()
    slow = {name: max(getattr(default, name), LEAST_SCRAPES[name] * idle.scrape_interval) for name in LEAST_SCRAPES}
    return msgspec.structs.replace(default, **{**slow, **said})


def contradictions(policy: Policy, *, clustered: bool) -> Iterator[str]:
    """Each as ``path: found; expected``. ``clustered`` lets signals use the macro of the cluster's label."""
    known = (*MACROS, "cluster") if clustered else MACROS
    yield from _windows(policy.idle, "idle")
    yield from _signals(policy.idle.signals, "idle", known)
    for index, rule in enumerate(policy.rules):
        if rule.idle:
            yield from _windows(rule.idle, f"rules[{index}].idle")
            # Those that a rule only takes over are told of where they are said.
            if rule.idle.signals is not policy.idle.signals:
                yield from _signals(rule.idle.signals, f"rules[{index}].idle", known)
    yield from _rules(policy)
    yield from _mover(policy.moves)
    yield from _balancer(policy)


def _windows(idle: IdlePolicy, path: str) -> Iterator[str]:
    if idle.rate_window < 4 * idle.scrape_interval:
        yield f"{path}.rateWindow: shorter than four scrapeIntervals; expected more, or one lost scrape hides a value"
    if idle.window < idle.rate_window:
        yield f"{path}.window: shorter than rateWindow; expected the look-back to hold at least one rate"
    # Two samples on both sides of a lost scrape must lie in one rate, or what happened between them is in none.
    longest = max(idle.rate_window, 4 * idle.scrape_interval) - 2 * idle.scrape_interval
    if idle.step > longest:
        yield (
            f"{path}.step: {written(idle.step)}; expected {written(longest)} at most, rateWindow less two "
            "scrapeIntervals, or one lost scrape hides what happens between two rates"
        )
    if idle.leave_window > idle.window:
        yield f"{path}.leaveWindow: longer than window; expected waking to be quicker than falling asleep"


def _signals(signals: tuple[CustomSignal, ...], path: str, macros: Iterable[str]) -> Iterator[str]:
    names = Counter(signal.name for signal in signals if signal.name is not UNREAD)
    for index, signal in enumerate(signals):
        where = f"{path}.signals[{index}]"
        if names[signal.name] > 1 or signal.name in BUILT_IN:
            taken = "a signal of our own" if signal.name in BUILT_IN else "another signal's"
            yield f"{where}.name: {signal.name!r} is {taken}; expected a name of its own"
        if signal.active_above is not None and signal.active_above <= signal.idle_below:
            yield f"{where}.activeAbove: not above idleBelow; expected a gap, or it flaps at the border"
        if signal.query is not UNREAD:
            for fault in promql_text.faults(signal.query, dict.fromkeys(macros, "1m")):
                yield f"{where}.query: {fault}"


def _rules(policy: Policy) -> Iterator[str]:
    names = Counter(rule.name for rule in policy.rules if rule.name is not UNREAD)
    everything = _first_for_all(policy, rules.is_for_workloads)
    weighing = _first_for_all(policy, lambda rule: rule.weight is not None)
    for index, rule in enumerate(policy.rules):
        if names[rule.name] > 1:
            yield f"rules[{index}].name: {rule.name!r} stands twice; expected a name of its own"
        if rules.is_for_workloads(rule):
            if index > everything:
                yield f"rules[{index}]: never reached; rules[{everything}] is for every workload, and the first match counts"
        elif index > weighing:
            yield f"rules[{index}]: never reached; rules[{weighing}] weighs every namespace, and the first match counts"
        if rule.weight not in {None, UNREAD} and rule.match is not UNREAD and not rules.is_of_namespaces(rule.match):
            yield (
                f"rules[{index}].weight: a weight is of namespaces; expected a match by namespaces or namespaceLabels "
                "alone, and a rule of its own for the rest"
            )
    if len(policy.rules) > MOST_RULES:
        yield f"rules: {len(policy.rules)}; expected {MOST_RULES} at most"
    idles = (policy.idle, *(rule.idle for rule in policy.rules if rule.idle))
    shapes = {shape(idle) for idle in idles if _is_read(idle)}
    if len(shapes) > MOST_SHAPES:
        yield (
            f"rules: {len(shapes)} different sets of windows and signals; expected {MOST_SHAPES} at most, "
            "because each asks Prometheus anew"
        )


def _first_for_all(policy: Policy, counts: Callable[[Rule], bool]) -> int:
    """Of the rules that count, the place of the first that is for all; beyond the last where none is."""
    several = enumerate(policy.rules)
    return next((n for n, rule in several if rule.match == Match() and counts(rule)), len(policy.rules))


def _mover(moves: MovePolicy) -> Iterator[str]:
    # What the book says is relied on after settle, so no new pod of a move is there before.
    if moves.patience <= moves.settle:
        yield (
            f"moves.patience: {written(moves.patience)}; expected longer than settle ({written(moves.settle)}), "
            "or a move is undone before its new pod could be there"
        )
    for key, (name, _) in LIMITS.items():
        amount = getattr(moves.to_regular, name)
        if isinstance(amount, str) and not amount.strip("0%"):
            yield f"moves.toRegular.{key}: {amount!r}; expected more, or what wakes on spot never comes back"


def _balancer(policy: Policy) -> Iterator[str]:
    balance, scrape = policy.balance, policy.idle.scrape_interval
    if balance.window < LEAST_SCRAPES["window"] * scrape:
        yield "balance.window: shorter than four idle.scrapeIntervals; expected more, or one lost scrape hides a load"
    if balance.habit < balance.window:
        yield f"balance.habit: {written(balance.habit)}; expected window ({written(balance.window)}) or more"
    if balance.max_age < LEAST_SCRAPES["max_age"] * scrape:
        yield (
            f"balance.maxAge: {written(balance.max_age)}; expected two idle.scrapeIntervals or more, "
            "or every load is old before the next one is there"
        )


def _is_read(idle: IdlePolicy) -> bool:
    return all(UNREAD not in msgspec.structs.astuple(part) for part in (idle, *idle.signals))
