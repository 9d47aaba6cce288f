"""Job files of every kind mean the same jobs; what is wrong in them is told by file and line, all of it at once."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from slipcast.configs.errors import BadInput
from slipcast.pipeline.batch.asking import status
from slipcast.pipeline.batch.entering import enter
from slipcast.pipeline.batch.jobs import Job, read_jobs
from slipcast.pipeline.batch.ledger import open_ledger
from slipcast.pipeline.batch.placing import plain_path


def _write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def _told(jobs: list[Job]) -> list[tuple]:
    return [(job.prompt, job.seed, job.config, job.until, job.key) for job in jobs]


def test_every_kind_of_file_means_the_same_jobs(tmp_path: Path) -> None:
    files = [
        _write(
            tmp_path,
            "a.csv",
            'prompt,seed,refine.steps,until,export.formats\na blue vase,0,,,\n\n"a cup, red",3,7,lift,"[glb, obj]"\n',
        ),
        _write(
            tmp_path,
            "a.jsonl",
            '{"prompt": "a blue vase"}\n\n{"prompt": "a cup, red", "seed": 3, "refine": {"steps": 7}, '
            '"until": "lift", "overrides": {"export.formats": ["glb", "obj"]}}\n',
        ),
        _write(
            tmp_path,
            "a.yaml",
            "- a blue vase\n- {prompt: 'a cup, red', seed: 3, refine.steps: 7, until: lift, "
            "export: {formats: [glb, obj]}}\n",
        ),
        _write(
            tmp_path,
            "b.yaml",
            "config: starter\njobs:\n  - prompt: a blue vase\n  - prompt: a cup, red\n    seed: 3\n"
            "    refine.steps: 7\n    until: lift\n    export.formats: [glb, obj]\n",
        ),
    ]
    told = [_told(read_jobs(file)[0]) for file in files]
    assert told[0] == told[1] == told[2] == told[3] and len(told[0]) == 2
    assert told[0][1][2].refine.steps == 7 and told[0][1][2].export.formats == ["glb", "obj"]
    (vase,) = read_jobs(_write(tmp_path, "a.txt", "# vases\n\n  a blue vase  \n"))[0]
    assert _told([vase]) == told[0][:1] and vase.id.startswith("a-blue-vase-0-")


def test_presets_and_the_command_lines_settings(tmp_path: Path) -> None:
    _write(tmp_path, "mine.yaml", "extends: starter\nrefine.steps: 5\n")
    file = _write(tmp_path, "j.jsonl", '{"prompt": "a vase"}\n{"prompt": "a cup", "config": "mine.yaml"}\n')
    plain, mine = read_jobs(file, config="smoke", overrides=["mesh.resolution=40"])[0]
    assert (plain.config.refine.steps, mine.config.refine.steps) == (4, 5)
    assert plain.config.mesh.resolution == mine.config.mesh.resolution == 40
    with pytest.raises(BadInput, match=r"^there is no preset 'smke'; the presets are"):
        read_jobs(file, config="smke")
    with pytest.raises(
        BadInput, match=r"^there is no setting refine.stps \(from the command line\); did you"
    ):
        read_jobs(file, overrides=["refine.stps=1"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a cup"', "line 2 is no JSON"),
        ("[1]", "line 2 should be an object"),
        ('{"promt": "a cup"}', r"line 2: there is no key 'promt'; did you mean prompt\?"),
        (
            '{"prompt": "a cup", "refine.stps": 3}',
            r"line 2: there is no setting refine.stps.*mean refine.steps\?",
        ),
        ('{"prompt": "a cup", "refine.steps": -3}', "line 2: .*refine.steps"),
        ('{"prompt": "a cup", "seed": -1}', "line 2: seed expects a whole number from 0"),
        ('{"prompt": "a cup", "seed": NaN}', "line 2 is no JSON .NaN is no number"),
        ('{"prompt": "a cup", "config": "none"}', "line 2: there is no preset 'none'"),
        ('{"prompt": "a cup", "until": "varnish"}', "line 2: --until expects one of"),
        ('{"prompt": "a cup", "keep": 2}', "line 2: keep expects a whole number from 1 to 1"),
        ('{"prompt": "a cup", "picture": "a.png"}', "line 2: there is no picture"),
        ('{"seed": 1}', "line 2: there is no prompt"),
        ('{"prompt": "123"}', "line 2: the prompt '123' holds no letters"),
        ('{"prompt": "a cup", "id": "vase"}', "line 2: the id 'vase' is that of .*jobs.jsonl line 1 too"),
        ('{"prompt": "a vase"}', "line 2: this is the job of .*jobs.jsonl line 1 once more"),
    ],
)
def test_a_broken_line_is_told_and_the_rest_runs_if_wanted(tmp_path: Path, line: str, said: str) -> None:
    file = _write(tmp_path, "jobs.jsonl", f'{{"prompt": "a vase", "id": "vase"}}\n{line}\n')
    with pytest.raises(BadInput, match=said):
        read_jobs(file)
    jobs, problems = read_jobs(file, keep_going=True)
    assert [job.id for job in jobs] == ["vase"] and len(problems) == 1


def test_all_broken_lines_are_told_at_once(tmp_path: Path) -> None:
    file = _write(tmp_path, "jobs.csv", "prompt,seed\na vase,1\na cup,x\na pot,1,2\na jug,2\n")
    with pytest.raises(
        BadInput, match=r"^2 lines of .*\n.*line 4 has 3 cells for 2 columns.*\n.*line 3: seed expects"
    ):
        read_jobs(file)
    assert [job.prompt for job in read_jobs(file, keep_going=True)[0]] == ["a vase", "a jug"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "# nothing\n", "holds no jobs"),
        (
            "a.toml",
            "",
            r"is no job file: expected .txt, .csv, .jsonl, .yaml, .yml or a folder of pictures, not .toml",
        ),
        ("a.csv", "seed\n1\n", "has no column prompt"),
        ("a.csv", "prompt,seed,seed\n", "column 'seed' twice"),
        ("a.yaml", "prompt: a vase\n", "should hold a list of jobs"),
        ("a.yaml", "- !!python/object:os.system x\n", "not a readable YAML file"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_jobs(_write(tmp_path, name, text), keep_going=True)


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for name in ("red-vase_2.png", "001.JPG", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    jobs = read_jobs(tmp_path)[0]
    assert [(job.id, job.prompt) for job in jobs] == [("001", ""), ("red-vase_2", "")]
    assert [job.picture for job in jobs] == [tmp_path / "001.JPG", tmp_path / "red-vase_2.png"]
    assert jobs[0].config.image.picture == [str(tmp_path / "001.JPG")]
    assert plain_path(tmp_path, "", 3, jobs[1].picture).name == "red-vase_2-3"
    before = jobs[0].key
    (tmp_path / "001.JPG").write_bytes(b"another picture")
    assert read_jobs(tmp_path)[0][0].key != before


def test_candidates_have_keys_of_their_own(tmp_path: Path) -> None:
    (job,) = read_jobs(_write(tmp_path, "a.jsonl", json.dumps({"prompt": "a vase", "tries": 3, "seed": 5})))[
        0
    ]
    made = [job.candidate(number, whole=whole) for whole in (False, True) for number in range(3)]
    assert len({child.key for child in made}) == 6 and {child.parent for child in made} == {job.key}
    assert (
        [child.seed for child in made] == [5, 6, 7] * 2 and made[0].until == "image" and made[3].until is None
    )


def test_ten_thousand_lines_are_read_and_resumed_in_two_seconds(tmp_path: Path) -> None:
    """Of an idle machine; a busy one gets more."""
    (tmp_path / "jobs.txt").write_text("\n".join(f"a vase number {number}" for number in range(10_000)))
    began = time.process_time()
    jobs, _ = read_jobs(tmp_path / "jobs.txt")
    with open_ledger(tmp_path / "jobs.txt.batch", make=True) as ledger:
        for _ in range(2):
            assert len(enter(ledger, jobs, tmp_path)) == 10_000
    status(tmp_path / "jobs.txt", tmp_path)
    assert time.process_time() - began < 8.0
