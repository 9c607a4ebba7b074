"""The labelled load, what scrapes leave of it, other people's rules, and the scores."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bench import idle_rules, idle_tables, idleness
from bench.idle_detection import judged, on_spot
from bench.idle_rules import RUNS_A_DAY, Score, dominates
from bench.idle_truth import active_look_backs, as_written
from bench.labelled_load import DAY, HABITS, HOUR, MINUTE, QUARTER, Pod, Workload, load
from bench.scraped_load import Fault, Seen, Usages, moment, node_of, seen_of, still_at
from webhook.core.idleness import Judgement, judge
from webhook.core.model import Evidence
from webhook.core.policy import IdlePolicy, SidePolicy

POLICY = IdlePolicy()
NOTHING = np.zeros(DAY // QUARTER)


def pod(*spans: tuple[int, int], cores: float = 1.0) -> Pod:
    """One that uses ``cores`` between these seconds, and two millicores else."""
    cpu = NOTHING + 0.002
    for begin, end in spans:
        cpu[begin // QUARTER : end // QUARTER] = cores
    return Pod("p", -DAY, 2 * DAY, 0.1, (cpu,), NOTHING + 50.0)


def workload(*spans: tuple[int, int], **more) -> Workload:
    one = pod(*spans, **more)
    return Workload("w", (one,), (one.cpu[0] > 0.002).reshape(-1, MINUTE // QUARTER).any(axis=1))


def active(*pods: Pod, over_seconds: int = 300):
    return np.flatnonzero(active_look_backs(pods, 1440, POLICY, over_seconds=over_seconds))


# --- the load and its truth


def test_a_seed_tells_the_same_load_and_another_seed_another():
    def used(seed):
        return [[p.cpu[0].sum() for p in w.pods] for w in load(seed, 2)]

    assert used(1) == used(1) != used(2)


def test_every_habit_is_in_the_load_and_labels_do_not_come_from_use():
    by_name = {w.name: w for w in load(3, 8)}
    assert set(by_name) == set(HABITS)
    assert not by_name["resting"].busy.any()
    assert by_name["just-below"].busy.all()
    # A collector's spikes cost much and work for nobody.
    assert by_name["garbage-spikes"].pods[0].cpu[0].max() > 0.3
    assert not by_name["garbage-spikes"].busy.any()


def test_a_look_back_is_active_while_it_holds_the_whole_of_an_active_mean():
    seen = active(pod((6 * HOUR, 6 * HOUR + 300), cores=0.0201))
    # Runs are seven seconds into their minute: from two scrape intervals after its end, while its begin is in the hour.
    assert seen.tolist() == list(range(6 * 60 + 7, 6 * 60 + 60))


def test_what_is_brief_is_active_over_a_minute_and_not_over_the_rate_window():
    brief = pod((6 * HOUR, 6 * HOUR + 60), cores=0.05)
    assert len(active(brief)) == 0
    assert len(active(brief, over_seconds=60)) > 0


def test_a_start_up_is_no_activity():
    starting = replace(pod((6 * HOUR, 6 * HOUR + 300)), started=6 * HOUR)
    assert len(active(starting)) == 0


def test_use_right_before_a_reset_was_never_written():
    one = pod((6 * HOUR, 6 * HOUR + 15), cores=2.0)
    seen = Seen(one, {}, NOTHING, NOTHING, np.array([-1e9, 6 * HOUR + 40.0]))
    assert len(active(one)) > 0
    assert len(active(as_written(seen))) == 0
    assert len(active(as_written(replace(seen, restarts=np.array([-1e9]))))) > 0


# --- our verdict on it


def test_a_workload_at_rest_goes_to_spot_and_comes_back_while_it_works():
    one = workload((12 * HOUR, 14 * HOUR))
    sides = on_spot(one, judged(one, seen_of(one, Fault(), [1], POLICY), POLICY), SidePolicy())
    assert sides[11 * 60]
    assert not sides[12 * 60 + 5 : 14 * 60].any()
    assert sides[16 * 60]


def among_others(one: Workload, seen: list[Seen], fault: Fault) -> list[Judgement]:
    """With pods of others on its node: one alone that stands still cannot be told from one at rest."""
    others = [replace(workload(), pods=(replace(pod(), name=name),)) for name in on_the_node_of(one.pods[0])]
    mine = Usages(one, seen)
    everything = [mine, *(Usages(other, seen_of(other, fault, [2, 9], POLICY)) for other in others)]
    runs = range(one.minutes)
    return [judge(mine.at(run, still_at(everything, run)), POLICY, now=moment(run)) for run in runs]


def on_the_node_of(one: Pod) -> list[str]:
    names = (f"neighbour-{number}" for number in range(100))
    return [name for name in names if node_of(replace(one, name=name)) == node_of(one)][:2]


@pytest.mark.parametrize("fault", idleness.FAULTS, ids=lambda fault: fault.name)
def test_no_fault_makes_an_hour_after_work_idle(fault):
    one = workload((5 * HOUR, 5 * HOUR + 600), (12 * HOUR, 13 * HOUR))
    alone = seen_of(one, fault, [2], POLICY)
    told = judged(one, alone, POLICY) if not fault.repeats else among_others(one, alone, fault)
    truth = active_look_backs(one.pods, one.minutes, POLICY, over_seconds=300)
    assert truth.sum() > 150
    assert not [run for run in np.flatnonzero(truth) if told[run].evidence is Evidence.IDLE]


# --- other people's rules and the scores


def seen_of_day(*spans: tuple[int, int]) -> tuple[list[Seen], int]:
    one = workload(*spans)
    return seen_of(one, Fault(), [4], POLICY), one.minutes


def test_a_mean_forgets_what_a_maximum_remembers():
    seen, runs = seen_of_day((6 * HOUR, 6 * HOUR + 60))
    at = 6 * 60 + 30
    assert idle_rules.instant(seen, runs)[at]
    assert not idle_rules.largest(seen, runs)[at]
    assert idle_rules.largest(seen, runs)[at + 45]
    assert not idle_rules.largest_of_a_day(seen, runs)[at + 45]


def test_absence_as_zero_calls_a_busy_pod_idle_where_nobody_scraped_it():
    one = workload((6 * HOUR, 10 * HOUR))
    nobody = seen_of(one, Fault(lost=1.0), [5], POLICY)
    assert idle_rules.mean(nobody, one.minutes, absent=0.0)[8 * 60]
    assert not idle_rules.mean(nobody, one.minutes)[8 * 60]


def test_a_rule_by_the_day_says_nothing_on_the_first_day_and_then_the_same_until_midnight():
    resting = next(w for w in load(1, 3) if w.name == "resting")
    seen = seen_of(resting, Fault(), [1], POLICY)
    answers = idle_rules.google(seen, resting.minutes)
    assert not answers[:RUNS_A_DAY].any()
    assert answers[RUNS_A_DAY:].all()
    assert not idle_rules.aws(seen, resting.minutes)[:RUNS_A_DAY].any()


def test_a_score_counts_idle_minutes_that_stay_idle_for_an_hour():
    busy = np.zeros(3 * RUNS_A_DAY, dtype=bool)
    busy[2 * RUNS_A_DAY : 2 * RUNS_A_DAY + 60] = True
    score = Score()
    score.add(np.ones(len(busy), dtype=bool), busy)
    assert score.minutes == score.spot == 2 * RUNS_A_DAY - 60
    assert score.good == score.minutes - 60 - 60
    assert (score.recall, score.changes, score.busy_on_spot) == (1.0, 0, 60)


def test_to_dominate_is_to_be_as_good_in_all_and_better_in_one():
    one = Score(spot=100, good=100, good_on_spot=80, minutes=1440, changes=4)
    assert not dominates(one, one)
    assert dominates(replace(one, changes=3), one)
    assert not dominates(replace(one, changes=3, good_on_spot=79), one)
    assert not dominates(Score(good=100, minutes=1440), one)


# --- what the docs show of it


def test_the_docs_tell_a_missed_goal_and_rules_that_never_said_idle(tmp_path, monkeypatch):
    fault = {"fault": "counters reset", "runsWithActivity": 4000, "ours": 7, "neverScraped": 7, "goal": "0"}
    fault |= {"met": False, "peer": 900, "maximumWithAbsenceAsZero": 12, "restStillProven": 0.5}
    never = {"name": "nobody", "precision": None, "precisionNow": None, "recall": 0.0}
    never |= {"changesPerWorkloadAndDay": 0.0, "busyMinutesOnSpot": 0.0}
    rules = {"rules": [never], "habits": [never], "dominating": ["the neighbour"]}
    run = {"measuredAt": "2026-01-02T00:00:00Z", "versions": {"python": "3.11"}, "rows": [fault, rules]}
    (tmp_path / "2026-01-02-idleness.json").write_text(json.dumps(run))
    monkeypatch.setattr(idle_tables, "RESULTS", tmp_path)
    assert "| **no** |" in idle_tables.idleness("false-idles")
    assert "| nobody | none " in idle_tables.idleness("rules")
    assert "better in one: the neighbour." in idle_tables.idleness("rules")
    assert "neighbour" not in idle_tables.idleness("habits")
