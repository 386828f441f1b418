"""The run, its folder, its steps and devices."""

from pathlib import Path

from dlib.args import ExperimentArgs
from dlib.args.tables import OBJECTIVES
from tests.bad_input.calling import Row
from tests.runs.folders import write_run


def some_runs(place: Path) -> None:
    """A run, one that lost its config.yml, one that was killed before it had any, and a folder that is none."""
    args = ExperimentArgs()
    args.run.name = "done"
    write_run(place / "runs", "done", args=args)
    write_run(place / "runs", "begun").config.unlink()
    (place / "runs" / "killed").mkdir()
    (place / "runs" / "killed" / ".lock").touch()
    (place / "runs" / "thesis").mkdir()
    (place / "runs" / "thesis" / "a.tex").touch()


CHECKPOINTS = "run 'done' has 10, 20, 30; write runs/done/checkpoints/step-00000030"


def told(command: str, message: str) -> Row:
    """A row where these runs are."""
    return Row(command, f"error: {message}", prepare=some_runs)


ROWS = [
    told("train.py --resume nver", "--resume nver: no run 'nver' in runs"),
    told("train.py --resume done --out_dir other", "--resume done: no run 'done' in other"),
    told("train.py --resume runs/nowhere", "--resume runs/nowhere: no run 'runs/nowhere'"),
    told("train.py --resume thesis", "--resume thesis: 'thesis' is no run"),
    told("train.py --resume begun", "--resume begun: 'begun' is no run; else write auto or never"),
    told("train.py --resume killed", "--resume killed: it has no config.yml: it never began"),
    told("train.py --resume done -n other", "--resume done goes on with run 'done', and --name says other"),
    told("train.py --resume done --learning_rate 1", "run 'done' began with other arguments: optim.learning_rate was"),
    told("train.py -n done --resume never", "run 'done' exists and --resume is never; choose another --name"),
    told("train.py -n thesis", "runs/thesis exists and is no run; choose another --name or --out_dir"),
    told("runs.py", "the following arguments are required: COMMAND; see runs.py --help"),
    told("runs.py reproduc done", "argument COMMAND: invalid choice: 'reproduc'"),
    told("runs.py show", "the following arguments are required: RUN; see runs.py show --help"),
    told("runs.py show nowhere", "no run 'nowhere' in runs: see runs.py list, or name its --out_dir"),
    told("runs.py show done extra", "unrecognized arguments: extra"),
    told("runs.py show .", "'.' is no run"),
    told("runs.py show thesis", "'thesis' is no run"),
    told("runs.py show '\x1b[2J'", r"no run '\x1b[2J' in runs"),
    told("runs.py show done --out_dir s3://bucket", "--out_dir s3://bucket: give a folder here"),
    told("runs.py list --out_dir nowhere", "--out_dir nowhere: No such file or directory"),
    told(
        "runs.py list --sort zebra",
        "--sort: 'zebra' is neither an argument nor a metric of these runs; each of them has name, state, step, loss, ",
    ),
    told("runs.py list --filter state=ended", "--filter state=ended: no state 'ended'"),
    told("runs.py list --filter 'loss<low'", "--filter loss<low: 'low' is not a number"),
    told("runs.py list --filter 'age>soon'", "--filter age>soon: 'soon' is not a number"),
    told("runs.py list --filter nonsense", "--filter nonsense: write for example"),
    told("runs.py compare done nowhere", "no run 'nowhere' in runs"),
    told("runs.py diff done", "the following arguments are required: B; see runs.py diff --help"),
    told("runs.py diff done nowhere", "no run 'nowhere' in runs"),
    told("runs.py plot done --metric dev/los", "--metric dev/los: no run recorded it: did you mean dev/loss?"),
    told("runs.py plot done --x days", "argument --x: invalid choice: 'days'"),
    told("runs.py plot done -o curves", "-o curves: give a file that ends in one of"),
    told("runs.py export done", "the following arguments are required: DESTINATION; see runs.py export --help"),
    told(
        "runs.py export done out --checkpoint 99", "--checkpoint 99: run 'done' has the steps 10, 20, 30, best and last"
    ),
    told("runs.py export done data", "data exists"),
    told("runs.py export --filter name=done out.tar", "out.tar: it is one file: give a folder, or {name} in its name"),
    told("runs.py export done out --filter name=done", "export done: name a run, or choose some with --filter"),
    told("runs.py export out --filter name=nobody", "export: no run in runs meets --filter name=nobody"),
    told("runs.py report -o none/report.html", "-o none/report.html: there is no folder none; make it first"),
    told("runs.py report --samples -1", "--samples -1: give at least 0"),
    told("runs.py report --x days", "argument --x: invalid choice: 'days'"),
    told("runs.py plot", "plot: name runs, or choose them with --filter"),
    told("runs.py compare --filter step=x", "--filter step=x: 'x' is not a number"),
    told("runs.py checkpoints --filter name=done --delete 20", "--delete 20: it is the best or the last of run 'done'"),
    told("runs.py import nowhere.tar", "no file or folder nowhere.tar"),
    told("runs.py import data", "data has no run-manifest.json: export the run with --full"),
    told("runs.py import data/train.txt", "data/train.txt is no whole archive"),
    told("runs.py drop done", "nobody answers: give --yes to do it without asking"),
    told("runs.py drop nowhere", "no run 'nowhere' in runs"),
    told("runs.py checkpoints done --delete 99", "--delete 99: no checkpoint of step 99 in run 'done'"),
    told("runs.py checkpoints done --delete 20", "--delete 20: it is the best or the last of run 'done', which stay"),
    told("runs.py checkpoints done --delete 10", "nobody answers: give --yes to do it without asking"),
    told("runs.py checkpoints done --keep 99", "--keep 99: no checkpoint of step 99 in run 'done'"),
    told("runs.py checkpoints done --keep_newest -1", "--keep_newest -1: give a number of checkpoints, at least 1"),
    told("runs.py compare done", "compare: give at least two runs"),
    told("runs.py export done out.zip", "out.zip: give a folder, or a file that ends in .tar, .tar.gz, .tgz"),
    told("runs.py export done s4://x/y.tar", "s4://x/y.tar: Protocol not known: s4"),
    told("runs.py import http://127.0.0.1:1/x.tar", "http://127.0.0.1:1/x.tar: Connect call failed"),
    told("runs.py reproduce done --steps 0", "--steps 0: give at least 1"),
    told("eval.py done --objective mln", f"--objective: 'mln' is none of {', '.join(OBJECTIVES)}: did you mean mlm?"),
    told("eval.py done --max_length 0", "--max_length: 0 is out of range: it must be at least 2"),
    told("eval.py done --num_devices 0", "--num_devices: 0 is out of range: it must be at least 1, or -1 for all"),
    told("eval.py done --eval_batch_size x", "--eval_batch_size: 'x' is not a whole number or none"),
    told("eval.py done --wandb_project a/b/c", "--wandb_project: 'a/b/c' is no project of W&B"),
    told("eval.py done --trackers wandbb", "--trackers: 'wandbb' is none of wandb, tensorboard, none"),
    told("eval.py --watch --once nowhere", "nowhere: there is neither a run nor a folder of runs"),
    told("runs.py checkpoints done --delete best", "argument --delete: invalid int value: 'best'"),
    told(
        "runs.py checkpoints done --keep 10 --keep_newest 1", "argument --keep_newest: not allowed with argument --keep"
    ),
    told("runs.py reproduce done --steps few", "argument --steps: invalid int value: 'few'"),
    told("runs.py reproduce runs/nowhere --present-code", "no run 'runs/nowhere'"),
    told(f"runs.py reproduce done --steps {'9' * 5000}", "argument --steps: invalid int value: '999"),
    told(f"runs.py show {'x' * 5000}", "runs/xxx"),
    told(f"runs.py export done {'x' * 5000}", "xxx"),
    told(f"runs.py import {'x/' * 2400}", "no file or folder x/x"),
    told(f"runs.py list --out_dir {'x' * 5000}", "--out_dir xxx"),
    told("eval.py done --once", "--once is for --watch, which is not asked for: write --watch --once"),
    told("eval.py", "the following arguments are required: RUN_OR_CHECKPOINT; see eval.py --help"),
    told("eval.py --watch --all done", "--all: --watch takes every checkpoint anyway; leave it out"),
    told("eval.py --watch --output x.json done", "--output: what is watched is a run"),
    told("eval.py done --harness a --stride 3", "--harness is an evaluation of its own: leave out --stride"),
    told("eval.py done --harness a --num_devices 2", "--harness computes on one device: leave out --num_devices"),
    told("eval.py done --harness ,", "--harness: name at least one task"),
    told("eval.py done --harness_tasks data", "--harness_tasks: name the tasks to run with --harness TASK,..."),
    told("eval.py done --harness a --harness_tasks no", "--harness_tasks no: there is no such folder"),
    told("eval.py done --stride 0", "--stride 0: give at least 1"),
    told("eval.py done --stride x", "argument --stride: invalid int value: 'x'"),
    told("eval.py done --max_documents 5", "--max_documents: it is for --pseudo_perplexity, which is not asked for"),
    told("eval.py done --pseudo_perplexity --max_documents 0", "--max_documents 0: give at least 1"),
    told("eval.py done --split a/b", "--data_dir data: it has no a/b; name one of its texts with --split"),
    told("eval.py done --split ..", "--split ..: give the name of a text in --data_dir, or a pattern such as 'test/*'"),
    told("generate.py", "the following arguments are required: RUN_OR_CHECKPOINT; see generate.py --help"),
    told("generate.py done --num_beams 0", "--num_beams 0: give at least 1"),
    told("generate.py done --num-beams many", "argument --num_beams: invalid int value: 'many'"),
    told("generate.py done --top_k 0", "--top_k 0: give at least 1"),
    told("generate.py done --max_new_tokens -1", "--max_new_tokens -1: give at least 1"),
    told("generate.py done --batch_size 0", "--batch_size 0: give at least 1"),
    *(
        told(f"generate.py done --{name} {10**19}", f"--{name} {10**19}: give at least 1 and at most ")
        for name in ("num_beams", "top_k", "max_new_tokens", "batch_size")
    ),
    told("generate.py done --top_p 0", "--top_p 0.0: give more than 0 and at most 1"),
    told("generate.py done --top_p 1.5", "--top_p 1.5: give more than 0 and at most 1"),
    told("generate.py done --top_p nan", "--top_p nan: give more than 0 and at most 1"),
    told("generate.py done --temperature=-1", "--temperature -1.0: give at least 0 and at most 1048576"),
    told("generate.py done --temperature inf", "--temperature inf: give at least 0 and at most 1048576"),
    told("generate.py done --temperature hot", "argument --temperature: invalid float value: 'hot'"),
    told("generate.py done --num_beams 2 --temperature 1", "--num_beams 2 draws nothing: leave --temperature out"),
    told("generate.py done --samples 3 --temperature 0", "--samples 3: with --temperature 0 nothing is drawn"),
    told("generate.py done --prompt ''", "--prompt: this is empty"),
    told("generate.py done --seed 1.5", "argument --seed: invalid int value: '1.5'"),
    told("generate.py done --accelerator tpu", "argument --accelerator: invalid choice: 'tpu'"),
    told("generate.py ./nowhere", "no folder 'nowhere': give a run, a checkpoint or a Hugging Face folder"),
    told("generate.py runs/thesis", "nothing to load in 'runs/thesis'"),
    told(f"generate.py {'x' * 5000}", "xxx"),
    *(
        Row(command, f": no such checkpoint: {CHECKPOINTS}", prepare=some_runs)
        for path in ("runs/done/checkpoints/step-00000099", "runs/done/step-99", "done/step-99")
        for command in (f"eval.py {path}", f"generate.py {path}", f"train.py TINY --checkpoint {path}")
    ),
    Row("train.py TINY -b 7", "error: --batch_size 7 is not a multiple of --micro_batch_size 2 x 1 device"),
    Row("train.py TINY --trackers wandbb", "did you mean wandb?"),
    Row("train.py TINY --extra_steps 99", "--extra_steps 99: the run has steps 1 to 5"),
    Row("train.py TINY --checkpoint nobody", "error: --checkpoint nobody: there is no such folder, and no run of that"),
    Row("train.py TINY --accelerator mps", "--accelerator mps: no such device is found here"),
    Row("train.py TINY --precision 16-mixed", "error: --precision 16-mixed: a CPU does not have it"),
    Row("train.py TINY --out_dir /dev/null/runs", "error: --out_dir /dev/null/runs: no run can be written there"),
    Row("eval.py x --output none/out.json", "error: --output none/out.json: there is no folder none; make it first"),
    Row("eval.py x --output data", "error: --output data: that is a folder; name a file"),
]


def exported(manifest: str) -> Row:
    """A row for an exported folder with another manifest."""
    told = "error: out: run-manifest.json is damaged or not one of export --full: "
    return Row("runs.py import out", told, {"out/run-manifest.json": manifest})


ROWS += [
    exported("[]"),
    exported("{}"),
    exported("null"),
    exported("7"),
    exported("[" * 100_000),
    exported('{"format": 1, "files": {}, "pointers": {}}'),
    exported('{"format": "x", "files": [], "pointers": {}}'),
    exported('{"format": "x", "files": {}, "pointers": []}'),
    exported("not json"),
    exported(""),
]
