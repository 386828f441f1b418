"""The benchmarks run; what they measure is not asserted."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from benchmarks import gpu, growth, guard, scaling, startup, step_parts, tokenize
from benchmarks.checkpoint_stall import timing_of
from benchmarks.growth_parts import row
from benchmarks.soak_parts import processes, steps, workspace
from benchmarks.trainer_parts import measuring, watched_train
from benchmarks.trainer_parts.peers import train_plainly
from benchmarks.trainer_parts.workload import NETWORKS, Workload, prepare, read_rows, read_shape
from dlib.models.pretrained import draw_model
from dlib.process.errors import status_of
from tests.launching import ROOT, environment, start_warm


def run(name: str, *flags: str, timeout_seconds: float = 120) -> str:
    """What a benchmark prints."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *flags]
    result = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout_seconds
    )
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


def run_warm(name: str, *flags: str, scratch: Path) -> str:
    """What a benchmark prints, in a process that has the libraries imported already."""
    with start_warm(flags, scratch, program=f"benchmarks/{name}.py") as running:
        result = running.result()
    assert result.status == 0, result.stderr + result.stdout
    return result.stdout


def test_target_projection_prints_a_ratio(tmp_path: Path) -> None:
    flags = "--vocab_size 300 --rows 1 --length 16 --repeats 1".split()
    printed = run_warm("target_projection", *flags, scratch=tmp_path)
    assert "x the time" in printed


def test_sample_dropout_prints_a_ratio(tmp_path: Path) -> None:
    flags = "--rows 2 --length 8 --repeats 1 --attention 0.1".split()
    assert "x the time" in run_warm("sample_dropout", *flags, scratch=tmp_path)


def test_step_parts_measures_each_part_in_all_its_ways(tmp_path: Path) -> None:
    sizes = "--rows 2 --micro_batch_size 1 --length 8 --vocab_size 200 --repeats 1"
    output = tmp_path / "parts.json"
    run_warm("step_parts", *sizes.split(), "-o", str(output), scratch=tmp_path)
    rows = json.loads(output.read_text())["rows"]
    assert rows[0]["share"] == 1
    assert all(row["ms"] > 0 for row in rows)
    assert len({row["part"] for row in rows}) == 7


def test_the_other_ways_of_a_part_compute_the_same() -> None:
    torch.manual_seed(1)
    hidden, weight, bias = torch.randn(5, 8), torch.randn(8), torch.randn(8)
    torch.testing.assert_close(
        step_parts.normalize_by_hand(hidden, weight, bias), step_parts.normalize(hidden, weight, bias)
    )
    projection = torch.randn(11, 8)
    turned = step_parts.project_and_turn(hidden, projection)
    assert turned.is_contiguous()
    torch.testing.assert_close(turned, torch.nn.functional.linear(hidden, projection))
    query, key, value = torch.randn(3, 2, 3, 5, 8)
    torch.testing.assert_close(
        step_parts.attend_by_hand(query, key, value),
        torch.nn.functional.scaled_dot_product_attention(query, key, value),
    )


def test_adamw_that_divides_clips_as_a_product_before_it() -> None:
    updated = []
    for way in (step_parts.clip_then_step, step_parts.step_and_clip):
        torch.manual_seed(1)
        layer = torch.nn.Linear(8, 8)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, eps=1.0, fused=True)
        (layer(torch.randn(5, 8)).sum() * 100).backward()
        way(layer, optimizer)
        updated.append(layer.weight)
    torch.testing.assert_close(*updated)


def test_resume_position_prints_a_ratio(tmp_path: Path) -> None:
    flags = "--skipped 20 --rows 2 --length 16 --repeats 1".split()
    printed = run_warm("resume_position", *flags, scratch=tmp_path)
    assert printed.count("x the time") == 2


def test_generation_writes_the_same_as_transformers_where_nothing_is_drawn(tmp_path: Path) -> None:
    models = "--model configs/models/llama-tiny --masked_model configs/models/roberta-tiny --vocab_size 200"
    sizes = "--lines 5 --new_tokens 3 --batch_size 2 --repeats 1"
    output = tmp_path / "generation.json"
    run_warm("generation", *models.split(), *sizes.split(), "-o", str(output), scratch=tmp_path)
    rows = json.loads(output.read_text())["rows"]
    assert [row["same"] for row in rows] == [True, None, None, True, True, True]
    assert all(row["ratio"] > 0 for row in rows)


def test_evaluation_finds_the_numbers_of_a_plain_loop(tmp_path: Path) -> None:
    models = "--mlm configs/models/roberta-tiny --clm configs/models/gpt2-tiny --vocab_size 200"
    sizes = "--lines 20 --length 32 --batch_size 4 --repeats 1"
    output = tmp_path / "evaluation.json"
    run_warm("evaluation", *models.split(), *sizes.split(), "-o", str(output), scratch=tmp_path)
    rows = json.loads(output.read_text())["rows"]
    assert [row["same"] for row in rows] == [True] * 6


def test_the_cost_of_a_checkpoint_is_what_its_interval_took_beyond_usual_steps() -> None:
    steps = [9.0, 1, 1, 5, 1, 1, 1, 3, 2, 1, 1, 3, 2, 1, 1, 7]
    timing = timing_of([sum(steps[: step + 1]) for step in range(len(steps))], interval=4, checkpoint_mib=1.0)
    assert (timing.saving, timing.others, timing.usual) == ([3, 3], [2, 2], [1, 1, 1, 1])
    assert (timing.usual_seconds, timing.lost) == (1, 3)


def test_list_runs_prints_ratios() -> None:
    assert run("list_runs", *"--runs 3 --repeats 1".split()).count("x the time") == 3


def test_startup_tells_what_is_slow_and_compares_first_steps(tmp_path: Path) -> None:
    taken = {question.name: startup.Taken(0.2, 0.1) for question in startup.questions(tmp_path)}
    assert "slow" not in "".join(startup.answers_table(taken, tmp_path))
    lines = list(startup.answers_table({**taken, "runs.py list": startup.Taken(0.4, 0.1)}, tmp_path))
    assert [line for line in lines if "slow" in line] == ["| runs.py list | 0.40 | 0.10 | 0.3 | slow |"]
    measured = {"train.py": [startup.Taken(s, 1.0) for s in (2.0, 9.0, 3.0)], "a bare loop": [startup.Taken(2.0, 1.0)]}
    assert list(startup.first_step_table(startup.medians(measured)))[-1].endswith("| 1.50 x the time |")


def test_tokenize_compares_each_size_with_its_peer() -> None:
    built = [tokenize.Built("ours", 10, 2, 100, 5), tokenize.Built("peer", 10, 8, 300, 20)]
    lines = list(tokenize.table(built))
    assert lines[1:] == [
        "| 10 MB | ours | 5.0 | 100 MiB | 5 MB | 4.0 x the speed, 0.25 x the disk |",
        "| 10 MB | peer | 1.2 | 300 MiB | 20 MB |  |",
    ]


def test_loader_prints_rows_beside_those_of_the_model(tmp_path: Path) -> None:
    sizes = "--model configs/models/roberta-tiny --rows 2 --max_length 16 --loaded_steps 3 --trained_steps 1"
    flags = [*sizes.split(), "--workers", "0", "-o", str(tmp_path / "loader.json")]
    assert "| loader, 0 workers |" in run_warm("loader", *flags, scratch=tmp_path)
    assert json.loads((tmp_path / "loader.json").read_text())["rows_per_second"].keys() == {
        "loader, 0 workers",
        "model",
    }


def test_growth_is_told_as_ratios_to_the_first_row() -> None:
    figures = [[{"s": 9.0, "MB": 2.0}, {"s": 2.0, "MB": 1.0}, {"s": 1.0, "MB": 2.0}], [{"s": 1234.5, "MB": 0.123}]]
    rows = [row.Row(size, row.medians(each)) for size, each in zip((1, 1000), figures, strict=True)]
    assert list(row.table("runs", rows)) == [
        "| runs | s | MB |",
        "|---:|---:|---:|",
        "| 1 | 2 (1.00 x) | 2 (1.00 x) |",
        "| 1,000 | 1,234 (617.25 x) | 0.123 (0.06 x) |",
        "",
    ]


def test_growth_is_measured_at_the_sizes_that_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    options = growth.parse("corpus runs --megabytes 1 2000".split())
    assert (options.tables, options.corpus) == (["corpus", "runs"], [1, 2000])
    assert options.runs == growth.TABLES["runs"].sizes
    with pytest.raises(SystemExit):
        growth.parse(["corpora"])
    assert "no table corpora; there are corpus, length" in capsys.readouterr().err


def test_growth_lists_more_and_more_runs(tmp_path: Path) -> None:
    output = tmp_path / "growth.json"
    assert "| 2 |" in run("growth", *f"runs --runs 1 2 --repeats 1 -o {output}".split())
    assert [measured["size"] for measured in json.loads(output.read_text())["tables"]["runs"]] == [1, 2]


def test_a_process_is_observed_until_something_is_so_and_its_children_end_with_it(tmp_path: Path) -> None:
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(100)"
    words = ["-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"]
    sign = tmp_path / "pid"
    seen = processes.observe(words, until=lambda: startup.has_content(sign))
    assert (seen.status, seen.seconds < 100) == (-9, True)
    deadline = time.monotonic() + 10
    while processes.resident_bytes(int(sign.read_text())) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes.resident_bytes(int(sign.read_text())) == 0


def test_memory_that_two_processes_show_alike_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(100)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        alone = processes.own_bytes(process.pid)
        monkeypatch.setattr(processes, "process_tree", lambda pid: [pid, pid])
        twice = processes.own_bytes(process.pid)
        process.kill()
    assert 0 < twice == alone


@pytest.mark.slow
def test_growth_prints_a_table_for_each(tmp_path: Path) -> None:
    sizes = "--megabytes 1 2 --length 16 32 --vocabulary 100 200 --processes 1 2 --checkpoints 1 3 --runs 1 2"
    trained = "--repeats 1 --steps 4 --tokens 256 --size tiny"
    printed = run("growth", *sizes.split(), *trained.split(), timeout_seconds=600)
    assert printed.count("(1.00 x) |") >= len(growth.TABLES)
    for growing in growth.TABLES.values():
        assert f"| {growing.what} |" in printed


@pytest.mark.slow
def test_startup_measures_answers_and_the_first_step(tmp_path: Path) -> None:
    flags = ["--repeats", "1", "--runs", "3", "-o", str(tmp_path / "startup.json")]
    assert "| a bare loop |" in run("startup", *flags, timeout_seconds=600)
    assert json.loads((tmp_path / "startup.json").read_text())["first step"].keys() >= {"train.py", "a bare loop"}


@pytest.mark.slow
def test_tokenize_prints_a_table() -> None:
    pytest.importorskip("datasets")
    assert "x the speed" in run("tokenize", "--megabytes", "1", timeout_seconds=600)


def test_tokenize_memory_goes_on_after_a_kill(tmp_path: Path) -> None:
    printed = run("tokenize_memory", *f"--megabytes 3 --killed_only --folder {tmp_path}".split())
    assert "store: " in printed


def test_a_workspace_of_a_few_runs_is_listed_dropped_and_purged(tmp_path: Path) -> None:
    rows = list(workspace.measure(3, tmp_path))
    assert {row.problem for row in rows} <= {None, "slow"}
    assert len(rows) == 13


@pytest.mark.parametrize(("leaked_mib_a_step", "problem"), [(0.0, None), (0.001, "grows by 10.38%")])
def test_what_grows_with_the_steps_is_told_apart_from_noise(leaked_mib_a_step: float, problem: str | None) -> None:
    samples = [
        {"step": float(step), "seconds": step / 100, "memory": 400 + 20 * (step % 300 == 0) + leaked_mib_a_step * step}
        for step in range(0, 100_000, 100)
    ]
    (row,) = steps.verdicts(samples, 100_000)
    assert row.problem == problem


@pytest.mark.parametrize("objective", NETWORKS)
def test_trainers_are_given_full_rows_and_the_plain_loop_learns_from_them(objective: str, tmp_path: Path) -> None:
    workload = Workload(objective, str(tmp_path), "tiny", vocab_size=100, rows=4, length=16, steps=4)
    prepare(workload)
    rows = read_rows(workload, AutoTokenizer.from_pretrained(workload.model))
    assert {len(row["input_ids"]) for row in rows} == {16}
    measured = train_plainly(workload)
    assert list(measured.losses) == [4]
    assert 0 < measured.losses[4] < 2 * math.log(100)


def test_lines_of_unlike_length_are_counted_by_their_tokens(tmp_path: Path) -> None:
    workload = Workload("mlm", str(tmp_path), "tiny", vocab_size=100, rows=100, length=16, steps=10, shortest=4)
    prepare(workload)
    rows = read_rows(workload, AutoTokenizer.from_pretrained(workload.model))
    lengths = [len(row["input_ids"]) for row in rows]
    assert {*lengths} == {*range(6, 17)}
    assert sum(lengths) / workload.steps == pytest.approx(workload.tokens_per_step, rel=0.03)
    words = measuring.train_words(workload, tmp_path, ["--max_tokens_per_batch", "64"])
    assert "-b" not in words, "a budget of tokens takes the place of a number of rows"


def test_a_trainer_whose_packages_are_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measuring, "find_spec", lambda package: None if package == "accelerate" else package)
    assert [name for name in ("plain", "trainer", "trainer_compiled") if measuring.tell_missing(name)] == [
        "trainer",
        "trainer_compiled",
    ]
    assert "trainer: not measured, it needs accelerate: pip install -e '.[benchmark]'" in capsys.readouterr().out


@pytest.mark.parametrize(("steps", "interval"), [(8, 2), (60, 10)])
def test_train_py_logs_where_the_steps_begin_that_are_measured(steps: int, interval: int, tmp_path: Path) -> None:
    workload = Workload("mlm", str(tmp_path), "tiny", vocab_size=100, rows=4, length=16, steps=steps)
    words = measuring.train_words(workload, tmp_path, [])
    assert words[words.index("--log_interval") + 1] == str(interval)


def test_trainers_are_compared_by_their_medians() -> None:
    ours = [measuring.Result(speed, 300, {10: 9.0, 20: 4.0, 30: 2.0}) for speed in (100, 400, 200)]
    measured = {measuring.OURS: ours, "plain": [measuring.Result(100, 600, {10: 9.0, 20: 5.0})]}
    assert list(measuring.table("mlm", measured))[2:4] == [
        "| train.py | 200 | 1.00 x | 300 | 1.00 x | 3.000 |",
        "| plain | 100 | 2.00 x | 600 | 0.50 x | 5.000 |",
    ]


@pytest.mark.parametrize(("objective", "weights"), [("mlm", 124_697_433), ("clm", 124_439_808)])
def test_what_a_gpu_trains_is_roberta_base_and_gpt2(objective: str, weights: int, tmp_path: Path) -> None:
    workload = gpu.build_workload(objective, str(tmp_path), gpu.parse([]))
    config = read_shape(workload)
    config.save_pretrained(workload.model)
    with torch.device("meta"):
        model = draw_model(workload.auto_model, config, trust_remote_code=False)
    assert model.num_parameters() == weights
    assert (config.vocab_size, workload.is_on_gpu, workload.tokens_per_step) == (workload.vocab_size, True, 32_768)
    share, layers, width = {"mlm": 0.15, "clm": 1023 / 1024}[objective], 12, 768
    by_hand = 6 * layers * 12 * width**2 + 12 * layers * width * workload.length + share * 6 * config.vocab_size * width
    assert gpu.needed_flops(workload, share) == pytest.approx(by_hand)


@pytest.mark.parametrize("objective", gpu.TASKS)
def test_a_toy_of_what_a_gpu_trains_is_trained_in_bfloat16(objective: str, tmp_path: Path) -> None:
    workload = gpu.build_workload(objective, str(tmp_path), gpu.parse(["--toy"]))
    prepare(workload)
    losses = train_plainly(workload).losses
    assert 0 < losses[4] < 2 * math.log(300)
    in_float32 = train_plainly(replace(workload, precision="32-true")).losses
    assert 0 < abs(in_float32[4] - losses[4]) < 0.1


def test_without_a_gpu_that_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert status_of(gpu.main) == 2
    assert capsys.readouterr() == (
        "",
        "error: benchmarks.gpu: torch finds no CUDA GPU here; run it where one is, or small on the CPU: --toy\n",
    )


def test_a_training_that_fails_or_has_no_time_left_spoils_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = measuring.Result(100, 300, {10: 5.0})

    def train(name: str, workload: Workload, **options: Any) -> measuring.Result:
        if name == "plain_compiled":
            raise RuntimeError("-m peers ended with 1:\nTraceback\nOutOfMemoryError: CUDA out of memory")
        return result

    monkeypatch.setattr(gpu, "measure_any", train)
    monkeypatch.setattr(measuring, "find_spec", lambda package: None)
    workload = gpu.build_workload("mlm", str(tmp_path), gpu.parse(["--toy"]))
    best = "train.py --micro_batch_size 4 --compile"
    assert gpu.measure(workload, 1, time.monotonic() + 60) == {
        "train.py": [result],
        "plain_compiled": [None],
        best: [result],
    }
    told = capsys.readouterr().out
    assert "plain_compiled: not measured, it failed: OutOfMemoryError: CUDA out of memory" in told
    assert "trainer_compiled: not measured, it needs accelerate and datasets" in told
    assert gpu.measure_one("train.py", workload, time.monotonic()) is None
    assert capsys.readouterr().out == "train.py: not measured, the time is up; --minutes gives more\n"


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    workload = Workload("mlm", str(tmp_path), "tiny", vocab_size=100, rows=4, length=16, steps=4)
    with pytest.raises(RuntimeError, match="ended with -9"):
        measuring.run(["-c", "import time; time.sleep(100)"], workload, most_seconds=0.2)


def test_utilization_is_what_a_token_needs_by_what_the_gpu_could_do() -> None:
    measured = {"plain": [measuring.Result(500_000, 600, {10: 9.0})]}
    assert list(measuring.table("clm", measured, 600e6 / 1000e12)) == [
        "| clm | tokens/s | ours to it | MFU | peak memory, MiB | ours to it | final loss |",
        "|---|---:|---:|---:|---:|---:|---:|",
        "| plain | 500,000 |  | 30.0% | 600 |  | 9.000 |",
        "",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("objective", gpu.TASKS)
def test_gpu_prints_a_table_of_toys(objective: str, tmp_path: Path) -> None:
    printed = run("gpu", objective, "--toy", "-o", str(tmp_path / "gpu.json"), timeout_seconds=600)
    for name in ("train.py", "plain_compiled", "train.py --micro_batch_size 4 --compile"):
        assert f"| {name} |" in printed
    assert (tmp_path / "gpu.json").is_file()


@pytest.mark.parametrize(("speed", "memory", "holds"), [(120, 300, True), (80, 300, False), (120, 3000, False)])
def test_the_guard_tells_a_ratio_that_is_broken(
    speed: float, memory: float, holds: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = {
        guard.PLAIN: [measuring.Result(100, 500, {1: 5.0})],
        guard.OURS: [measuring.Result(speed, memory, {1: 5.0})],
    }
    assert guard.compare("clm", measured) is holds
    assert ("BROKEN" in capsys.readouterr().out) is not holds


def test_the_plain_loop_learns_the_same_from_a_step_in_parts(tmp_path: Path) -> None:
    workload = Workload("clm", str(tmp_path), "tiny", vocab_size=100, rows=4, length=16, steps=4)
    prepare(workload)
    whole, parts = train_plainly(workload), train_plainly(replace(workload, micro_batch_size=1))
    assert parts.losses == {4: pytest.approx(whole.losses[4], rel=0.05)}


def test_efficiency_is_speed_by_process_and_a_round_is_compared_with_itself() -> None:
    def speeds(*numbers: float) -> list[measuring.Result]:
        return [measuring.Result(number, 300, {10: 9.0}) for number in numbers]

    measured = {1: {"train.py": speeds(100, 50, 200), "plain": speeds(100, 50, 100)}}
    measured[4] = {"train.py": speeds(200, 100, 100), "plain": speeds(400, 100, 200)}
    assert list(scaling.table("mlm", measured)) == [
        "| mlm | processes | tokens/s | to the plain loop | efficiency |",
        "|---|---:|---:|---:|---:|",
        "| train.py | 1 | 100 | 1.00 x | 1.00 |",
        "| plain | 1 | 100 | 1.00 x | 1.00 |",
        "| train.py | 4 | 100 | 0.50 x | 0.50 |",
        "| plain | 4 | 200 | 1.00 x | 0.50 |",
    ]


def test_rows_that_the_processes_cannot_share_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert scaling.parse(["clm", *"--rows 16 --processes 1 2".split()]).processes == [1, 2]
    with pytest.raises(SystemExit):
        scaling.parse(["--rows", "16"])
    assert "--rows 16: 4 processes of 8 rows (--micro_batch_size) cannot share them" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("objective", NETWORKS)
def test_trainers_prints_a_table(objective: str) -> None:
    sizes = "--rounds 1 --steps 4 --rows 4 --length 16 --vocab_size 300 --size tiny"
    assert "| train.py |" in run("trainers", objective, *sizes.split())


def test_a_clock_tells_what_is_in_no_part_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(watched_train.time, "perf_counter", lambda: now)

    class Step:
        def __iter__(self) -> Iterator[int]:
            while True:
                self.last(1.0)
                yield 1

        def last(self, seconds: float) -> None:
            nonlocal now
            now += seconds

        def forward(self) -> None:
            self.last(4.0)

        def train(self) -> None:
            self.forward()
            self.last(2.0)

    clock = watched_train.Clock()
    clock.watch(Step, "forward", watched_train.FORWARD)
    clock.watch(Step, "train", watched_train.STEP)
    clock.begin_steps_with(Step, "train")
    clock.watch_iteration(Step, watched_train.DATA)
    step = Step()
    for _ in zip(range(30), step, strict=False):
        step.train()
        step.last(3.0)
    means = clock.means()
    expected = {"forward": 4.0, "waiting for data": 1.0, "in the step besides": 2.0, "between two steps": 3.0}
    assert {part: seconds for part, seconds in means.items() if seconds} == expected


@pytest.mark.slow
def test_overheads_prints_a_line_for_each_way() -> None:
    sizes = "--rounds 1 --steps 4 --rows 4 --length 16 --vocab_size 300 --size tiny"
    assert "| one thread, --exact_reduce |" in run("overheads", *sizes.split())


@pytest.mark.slow
def test_scaling_prints_a_row_for_each_way_and_number_of_processes(tmp_path: Path) -> None:
    sizes = (
        "--rounds 1 --steps 4 --rows 8 --length 32 --vocab_size 300 --size tiny --processes 1 2 --micro_batch_size 2"
    )
    output = tmp_path / "scaling.json"
    printed = run("scaling", *sizes.split(), "-o", str(output), timeout_seconds=600)
    for way in scaling.WAYS:
        assert f"| {way} | 1 |" in printed
        assert f"| {way} | 2 |" in printed
    measured = json.loads(output.read_text())["measured"]
    losses = [result["losses"]["4"] for ways in measured.values() for results in ways.values() for result in results]
    assert losses == [pytest.approx(losses[0], rel=0.1)] * 6


@pytest.mark.slow
def test_soak_prints_a_table_for_each_part(tmp_path: Path) -> None:
    sizes = "--steps 200 --runs 3 --lines 1000 --vocabulary 1000 --builders 2 --drops 1 --checkpoints 3"
    command = [sys.executable, "-m", "benchmarks.soak", *sizes.split(), "--output", str(tmp_path / "soak.json")]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=1200)
    assert result.returncode in (0, 1), result.stderr  # so short a run need not be flat
    assert result.stdout.count("| figure | | verdict |") == 7
    assert (tmp_path / "soak.json").is_file()


@pytest.mark.slow
def test_checkpoint_stall_prints_a_row_for_each_way(tmp_path: Path) -> None:
    sizes = "--millions 1 --rows 2 --micro_batch_size 2 --length 16 --interval 2 --saves 2 --repeats 1"
    printed = run("checkpoint_stall", *sizes.split(), "-o", str(tmp_path / "stall.json"), timeout_seconds=300)
    assert printed.count("| at once |") == printed.count("| in the background |") == 1
    assert json.loads((tmp_path / "stall.json").read_text())["rows"][0]["saving_step"] > 0


@pytest.mark.slow
def test_exact_reduce_prints_ratios() -> None:
    assert "x the time" in run("exact_reduce", *"--steps 3 --repeats 1".split())


@pytest.mark.slow
def test_divergence_prints_a_table_whose_first_line_says_the_same() -> None:
    assert run("divergence", "--steps", "10", timeout_seconds=600).splitlines()[2] == "| nothing | yes | 0 | 0 |"


@pytest.mark.slow
def test_kill_resume_prints_a_table_and_finds_no_difference() -> None:
    printed = run("kill_resume", *"--kills 2 --seed 3".split(), timeout_seconds=600)
    assert "| all | 2 |" in printed
    assert printed.endswith("No difference.\n")
