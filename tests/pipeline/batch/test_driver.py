"""What becomes of jobs that fail, starve, hang or are cancelled: the driver's rules, with workers that only pretend."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.batch import driver as driver_module
from slipcast.pipeline.batch.draining import Drain
from slipcast.pipeline.batch.driver import Driver
from slipcast.pipeline.batch.engine import Event
from slipcast.pipeline.batch.entering import enter
from slipcast.pipeline.batch.jobs import read_jobs
from slipcast.pipeline.batch.ledger import Ledger, open_ledger
from slipcast.pipeline.batch.rows import Worker
from slipcast.pipeline.batch.shares import Leg, Share, legs_of
from slipcast.pipeline.batch.verdicts import Limits
from slipcast.pipeline.batch.work import Task

Ends = Callable[[Task, int], Event | None]
Plan = Mapping[str, Sequence[Ends | None]]
DONE: dict[str, Any] = {"seconds": 1.0, "peak_mb": 100.0, "made": ["image"], "score": None}


def done(task: Task, place: int) -> Event:
    (task.folder).mkdir(parents=True, exist_ok=True)
    return Event(place, "done", DONE | {"result": str(task.folder), "score": float(task.seed % 3)})


def failing(how: str, **values: Any) -> Ends:
    return lambda task, place: Event(place, "failed", {"how": how, "error": "it would not", **values})


class Pretence:
    """An engine whose workers end at once, as ``ends`` says for the prompt's first word; None goes on for ever."""

    def __init__(self, ends: Plan, places: int = 2, legs: Sequence[int] = ()) -> None:
        self.places, self.ends = places, {name: list(plan) for name, plan in ends.items()}
        self.legs = legs or [0] * places
        self.asked_for: list[int] = []
        self.given: list[tuple[int, Task, int]] = []  # place, task, how many others were at work
        self.at_work: dict[int, Task] = {}
        self.ended: list[int] = []
        self.memory = 0.0
        self.closed = 0

    def leg(self, place: int) -> int:
        return self.legs[place]

    def ready(self, place: int) -> bool:
        self.asked_for.append(place)
        return True

    def give(self, place: int, task: Task) -> Worker:
        assert place not in self.at_work
        self.given.append((place, task, len(self.at_work)))
        self.at_work[place] = task
        return Worker("here", 100 + place, 1.0)

    def wait(self, timeout_s: float) -> list[Event]:
        for place, task in list(self.at_work.items()):
            left = self.ends.get(task.prompt.split()[0], [done])
            end = left.pop(0) if len(left) > 1 else left[0]
            if end is not None and (event := end(task, place)) is not None:
                del self.at_work[place]
                return [event]
        return []

    def memory_mb(self, place: int) -> float:
        return self.memory

    def end(self, place: int, *, gently: bool = False) -> None:
        self.ended.append(place)
        self.at_work.pop(place, None)

    def close(self, *, gently: bool = False) -> None:
        self.closed += 1
        assert not self.at_work or gently


class Bench:
    """A ledger, and jobs to write into it."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.folder, self.ledger = folder, ledger
        self.told: list[tuple[str, str | None, dict[str, Any]]] = []

    def run(self, engine: Pretence, *jobs: dict[str, Any], **options: Any) -> dict[str, str]:
        """{id: state} after the driver has run."""
        if jobs:
            (self.folder / "j.jsonl").write_text("\n".join(map(json.dumps, jobs)))
        entered = enter(self.ledger, read_jobs(self.folder / "j.jsonl")[0], self.folder)
        limits = options.pop("limits", Limits(backoff_s=0.001))
        options = {"free_mb": lambda: 1e9, "tell": self._tell} | options
        drain = options.pop("drain", Drain())
        Driver(self.ledger, engine, entered, self.folder, limits=limits, **options).run(drain)
        return {row.id: row.state for row in self.ledger.rows()}

    def _tell(self, kind: str, job: str | None, **values: Any) -> None:
        self.told.append((kind, job, values))

    def outcomes(self, name: str) -> list[str]:
        row = next(row for row in self.ledger.all_rows() if row.id == name)
        return [attempt["outcome"] for attempt in self.ledger.attempts(row.key)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_ledger(tmp_path / "j.batch", make=True) as ledger:
        yield Bench(tmp_path, ledger)


def job(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "prompt": f"{name} vase"} | more


def test_the_queue_goes_on_after_failures_and_a_job_has_as_many_attempts_as_it_may(bench: Bench) -> None:
    ends: Plan = {
        "bad": [failing("input")],
        "poison": [failing("error")],
        "flaky": [failing("error"), failing("error"), done],
    }
    engine = Pretence(ends, places=1)
    states = bench.run(engine, job("bad"), job("poison"), job("flaky"), job("good"))
    assert states == {"bad": "failed", "poison": "set aside", "flaky": "done", "good": "done"}
    assert bench.outcomes("bad") == ["failed"] and bench.outcomes("poison") == ["failed"] * 3
    assert bench.outcomes("flaky") == ["failed", "failed", "done"]
    assert bench.run(engine) == states and len(engine.given) == 1 + 3 + 3 + 1  # the same again does nothing


def test_later_attempts_wait_longer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(driver_module.time, "time", lambda: now[0])
    began: list[float] = []

    class Clocked(Pretence):
        def give(self, place: int, task: Task) -> Worker:
            began.append(now[0])
            return super().give(place, task)

        def wait(self, timeout_s: float) -> list[Event]:
            now[0] += 0.5
            return super().wait(timeout_s)

    bench.run(
        Clocked({"poison": [failing("error")]}), job("poison"), limits=Limits(attempts=4, backoff_s=10.0)
    )
    assert [round(b - a, -1) for a, b in pairwise(began)] == [10.0, 20.0, 40.0]


def test_out_of_memory_is_tried_once_more_with_the_machine_to_itself(bench: Bench) -> None:
    slow = [None, None, None, done]
    engine = Pretence({"big": [failing("memory"), done], "slow": slow, "huge": [failing("memory")]})
    states = bench.run(engine, job("slow"), job("big"), job("huge"), job("good"))
    assert states == {"slow": "done", "big": "done", "huge": "set aside", "good": "done"}
    assert bench.outcomes("big") == ["out of memory", "done"]
    assert bench.outcomes("huge") == ["out of memory"] * 2
    alone = [others for _, task, others in engine.given if task.low_memory]
    assert alone == [0, 0] and engine.ended, (
        "the worker that had no memory left must be ended, and others wait"
    )
    after = [i for i, (_, task, _) in enumerate(engine.given) if task.low_memory]
    assert all(not task.low_memory for i, (_, task, _) in enumerate(engine.given) if i not in after)


@pytest.mark.parametrize(
    ("number", "kills", "outcomes"),
    [
        (11, [5, 5, 5], ["died", "done"]),
        (9, [5, 5, 5], ["died", "done"]),  # somebody killed it; the kernel did not
        (9, [5, 6, 6], ["out of memory", "done"]),
        (9, [None, None, None], ["out of memory", "done"]),  # no system that says
    ],
)
def test_a_worker_that_was_killed(bench: Bench, number: int, kills: list[Any], outcomes: list[str]) -> None:
    ends: Plan = {"a": [lambda t, place: Event(place, "died", {"signal": number}), done]}
    assert bench.run(Pretence(ends), job("a"), kills=lambda: kills.pop(0)) == {"a": "done"}
    assert bench.outcomes("a") == outcomes


def test_a_worker_that_a_cluster_ended_for_memory(bench: Bench) -> None:
    told = {"signal": None, "why": "node is low on memory", "starved": True}
    engine = Pretence({"big": [lambda task, place: Event(place, "died", told), done]})
    assert bench.run(engine, job("big")) == {"big": "done"} and engine.given[1][1].low_memory
    assert bench.outcomes("big") == ["out of memory", "done"]


def test_limits_of_time_and_memory(bench: Bench) -> None:
    engine = Pretence({"hangs": [None]})
    states = bench.run(engine, job("hangs"), limits=Limits(attempts=2, backoff_s=0.001, seconds=0.001))
    assert states == {"hangs": "set aside"} and bench.outcomes("hangs") == ["took too long"] * 2
    engine = Pretence({"hog": [None]})
    engine.memory = 2000.0
    bench.run(engine, job("hog"), limits=Limits(memory_mb=1500.0))
    assert bench.outcomes("hog") == ["out of memory"] * 2 and engine.ended
    row = bench.ledger.rows()[0]
    assert row.error == "it took 2000 MB of memory, more than its 1500 MB"


def test_interruptions_are_no_fault_of_the_job(bench: Bench) -> None:
    engine = Pretence({"a": [failing("stopped"), failing("busy")] * 4 + [done]})
    assert bench.run(engine, job("a"), limits=Limits(attempts=2, backoff_s=0.001)) == {"a": "done"}
    row = bench.ledger.rows()[0]
    assert row.attempts == 0 and bench.outcomes("a") == ["interrupted", "busy"] * 4 + ["done"]


def test_after_the_first_ctrl_c_what_is_at_work_ends_and_nothing_else_begins(bench: Bench) -> None:
    drain = Drain()

    def then_stop(task: Task, place: int) -> Event:
        drain.asked = 2
        return done(task, place)

    engine = Pretence({"first": [then_stop], "second": [None, None, done]})
    states = bench.run(engine, job("first"), job("second"), job("third"), drain=drain)
    assert states == {"first": "done", "second": "done", "third": "queued"}


def test_a_running_job_can_be_cancelled_and_one_that_waits(bench: Bench) -> None:
    asked: list[str] = []

    def cancel(task: Task, place: int) -> Event | None:
        if not asked:
            with open_ledger(bench.ledger.folder) as other:
                for row in other.rows():
                    other.set_state(row.key, "cancelled")
            asked.append("cancelled")
        return None

    engine = Pretence({"a": [cancel]}, places=1)
    assert bench.run(engine, job("a"), job("b")) == {"a": "cancelled", "b": "cancelled"}
    assert engine.ended == [0] and bench.outcomes("a") == ["cancelled"] and bench.outcomes("b") == []


def test_a_worker_keeps_to_jobs_of_its_models(bench: Bench) -> None:
    engine = Pretence({}, places=1)
    names = [job(f"j{i}", domain_strength=1.0, lora_scale=float(i % 2)) for i in range(6)]
    bench.run(engine, *names)
    scales = [task.config.lora_scale for _, task, _ in engine.given]
    assert scales == [0.0] * 3 + [1.0] * 3


def test_no_worker_begins_beside_another_without_memory_for_both(bench: Bench) -> None:
    engine = Pretence({f"j{i}": [None, None, done] for i in range(3)}, places=3)
    bench.run(engine, *(job(f"j{i}") for i in range(3)), free_mb=lambda: 50.0)
    assert [others for _, _, others in engine.given] == [0, 0, 0]
    notices = [values["text"] for kind, _, values in bench.told if kind == "notice"]
    assert notices and "a worker waits for memory: about 1200 MB are needed, 50 MB are free" in notices[0]


def test_of_several_tries_the_best_are_made_whole_and_the_job_is_done_when_they_are(bench: Bench) -> None:
    engine = Pretence({"pot": [done]})
    states = bench.run(engine, job("pot", tries=5, keep=2, seed=0), job("cup"))
    assert states == {"pot": "done", "cup": "done"}
    made = [(task.seed, task.until) for _, task, _ in engine.given if task.prompt == "pot vase"]
    assert sorted(made[:5]) == [(i, "image") for i in range(5)]
    assert sorted(made[5:]) == [(1, None), (2, None)]  # scores are the seeds modulo 3, and 1 comes before 4
    assert bench.run(engine) == states and len(engine.given) == 8


def test_tries_that_fail_leave_the_others(bench: Bench) -> None:
    def but(*seeds: int) -> Ends:
        return lambda task, place: (failing("input") if task.seed in seeds else done)(task, place)

    assert bench.run(Pretence({"pot": [but(2)]}), job("pot", tries=3)) == {"pot": "done"}
    (row,) = bench.ledger.rows()
    assert row.result == "pot-vase-1"
    assert bench.run(Pretence({"jar": [but(0, 1)]}), job("jar", tries=2)) == {"jar": "set aside"}
    assert bench.ledger.rows()[0].error == "none of its pictures could be drawn"


def test_a_lost_result_is_made_again_and_folders_are_kept(bench: Bench) -> None:
    first = Pretence({})
    bench.run(first, job("a"), job("a2", prompt="a vase", **{"refine.steps": 3}))
    folders = [task.folder.name for _, task, _ in first.given]
    assert (
        folders[0] == "a-vase-0"
        and folders[1].startswith("a-vase-0-")
        and len(folders[1]) == len("a-vase-0-12345678")
    )
    (bench.folder / folders[1]).rmdir()
    second = Pretence({})
    bench.run(second, job("a2", prompt="a vase", **{"refine.steps": 3}), job("a"))
    assert [task.folder.name for _, task, _ in second.given] == folders[1:]


def test_what_a_task_holds(bench: Bench) -> None:
    engine = Pretence({})
    bench.run(engine, job("a", **{"mesh.resolution": 33}))
    task = engine.given[0][1]
    assert (
        task.out == bench.folder and isinstance(task.config, MakeConfig) and task.config.mesh.resolution == 33
    )


LEGS = legs_of(Share(), ["refine:gpus=1", "mesh:cpus=2"])


def test_a_job_goes_from_leg_to_leg_and_is_done_after_the_last(bench: Bench) -> None:
    engine = Pretence({}, places=3, legs=[0, 1, 2])
    assert bench.run(engine, job("a"), job("b", until="lift"), legs=LEGS) == {"a": "done", "b": "done"}
    asked = [(place, task.prompt[0], task.until) for place, task, _ in engine.given]
    assert sorted(asked) == [(0, "a", "lift"), (0, "b", "lift"), (1, "a", "refine"), (2, "a", None)]
    assert bench.outcomes("a") == ["passed on", "passed on", "done"] and bench.outcomes("b") == ["done"]
    row = next(row for row in bench.ledger.rows() if row.id == "a")
    assert row.seconds == 3.0, "the seconds of all legs"


def test_a_leg_asks_for_no_more_workers_than_it_has_jobs_and_idle_ones_make_room(bench: Bench) -> None:
    class Crowded(Pretence):
        def ready(self, place: int) -> bool:
            return super().ready(place) and (place < 2 or 1 in self.ended)  # room for two

    engine = Crowded({"slow": [None] * 6 + [done]}, places=4, legs=[0, 0, 1, 1])
    options: dict[str, Any] = {"legs": legs_of(Share(), ["refine:gpus=1"]), "idle_s": 0.0}
    assert bench.run(engine, job("slow"), job("b"), **options) == {"slow": "done", "b": "done"}
    assert engine.asked_for.count(3) == 0, "one job at a time came as far as the second leg"
    assert next(place for place in engine.ended if place < 2) == 1, (
        "the worker that had made b, and not that of the slow job"
    )
    roomy = Pretence({}, places=2, legs=[0, 1])
    assert set(bench.run(roomy, job("c"), job("d"), **options).values()) == {"done"} and not roomy.ended


def test_a_leg_that_failed_is_tried_again_from_itself(bench: Bench) -> None:
    def at_first(task: Task, place: int) -> Event:
        tried = sum(given.until is None for _, given, _ in engine.given)
        return done(task, place) if task.until == "lift" or tried > 1 else failing("error")(task, place)  # type: ignore[return-value]

    engine = Pretence({"a": [at_first]}, places=2, legs=[0, 1])
    assert bench.run(engine, job("a"), legs=legs_of(Share(), ["refine:gpus=1"])) == {"a": "done"}
    assert bench.outcomes("a") == ["passed on", "failed", "done"]


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (["refine"], "expects STAGE:cpus=N,gpus=N,memory=SIZE, not 'refine'"),
        (["refin:gpus=1"], "not 'refin'"),
        (["refine:gpu=1"], "did you mean gpus"),
        (["refine:gpus=many"], "could not convert"),
        (["refine:memory=8"], "900M or 4G"),
        (["refine:gpus=nan"], "a number from 0 on"),
        (["refine:gpus=1", "refine:cpus=2"], "tells twice"),
    ],
)
def test_needs_that_cannot_be_read(needs: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        legs_of(Share(), needs)


def test_needs_hold_from_their_stage_on() -> None:
    assert legs_of(Share(2.0)) == (Leg(Share(2.0)),)
    assert legs_of(Share(2.0), ["mesh:gpus=0", "image:gpus=0.25", "refine:cpus=4,gpus=1,memory=8G"]) == (
        Leg(Share(2.0, 0.25), "lift"),
        Leg(Share(4.0, 1.0, 8192.0), "refine"),
        Leg(Share(2.0, 0.0), None),
    )
