"""Values that no run can have: out of their range, empty, thousands of letters long."""

from dlib.args.tables import OBJECTIVES
from tests.bad_input.calling import Row

LONG = "x" * 5000
DEEP = "x/" * 2400 + "x"
DIGITS = "9" * 5000
PATHS = ("data_dir", "train_file", "dev_file", "cache_dir", "out_dir", "model", "tokenizer", "checkpoint")
TEXTS = (*PATHS, "training_goal", "warmup", "decay", "eval_interval", "save_interval", "max_time", "wandb_group")
WHOLE_NUMBERS = "seed num_devices num_nodes batch_size micro_batch_size max_length vocab_size num_workers log_interval"
EMPTY = "this is empty: write a value, or leave it out"


def told(flag: str, value: str, message: str) -> Row:
    """A row for a flag of `train.py`."""
    return Row(f"train.py -n x --{flag}={value}", f"error: --{flag}: {message}")


def out_of_range(flag: str, value: str, words: str) -> Row:
    """A row for a number."""
    return told(flag, value, f"{value} is out of range: it must be {words}")


ROWS = [
    *(
        Row(
            f"train.py -n x --{flag} {LONG}",
            f"error: --{flag}: '" + "x" * 37 + "..." + "x" * 38 + "' is too long for a path",
        )
        for flag in PATHS
    ),
    *(Row(f"train.py -n x --{flag} {DEEP}", "x' is too long for a path") for flag in PATHS),
    *(Row(f"train.py -n x --{flag} ''", f"error: --{flag}: {EMPTY}") for flag in TEXTS),
    *(Row(f"train.py -n x --{flag} {DIGITS}", "9' is not a whole number") for flag in WHOLE_NUMBERS.split()),
    Row("train.py -n ''", "error: --name is missing: give the run a name, for example -n my-run"),
    Row(f"train.py -n {LONG}", "cannot name a folder: start with a letter or digit, and use no slash"),
    *(
        Row(f"train.py -n '{name}'", "cannot name a folder")
        for name in ("a/b", "..", ".x", " x", "x ", "a\x1bb", "a\\b")
    ),
    Row("train.py -n=-x", "error: --name: '-x' cannot name a folder: start with a letter or digit, and use no slash"),
    Row(f"train.py -n x --training_goal {DIGITS}", "9' is not a duration: write for example 2000"),
    Row(f"train.py -n x --max_time {DIGITS}:00:00", "is not a time: write HH:MM:SS or D-HH:MM:SS"),
    Row(
        f"train.py -n x --learning_rate {DIGITS}",
        "error: --learning_rate: inf is not a finite number: it must be at least 0",
    ),
    told("learning_rate", "nan", "nan is not a finite number: it must be at least 0"),
    told("learning_rate", "fast", "'fast' is not a number"),
    told("learning_rate", "-1", "-1.0 is out of range: it must be at least 0"),
    told("learning_rate", "1,5", "'1,5' is not a number"),
    told("seed", "1.5", "'1.5' is not a whole number"),
    told("seed", "''", "'' is not a whole number"),
    told("seed", "0x10", "'0x10' is not a whole number"),
    told("extra_steps", "1,x", "['1', 'x'] is not a list of whole numbers"),
    out_of_range("extra_steps", "0", "at least 1"),
    out_of_range("batch_size", "0", "at least 1"),
    out_of_range("batch_size", "-8", "at least 1"),
    out_of_range("batch_size", str(2**63), f"at most {2**63 - 1}"),
    out_of_range("micro_batch_size", "0", "at least 1"),
    out_of_range("eval_batch_size", "-1", "at least 1"),
    out_of_range("max_length", "1", "at least 2"),
    out_of_range("max_length", "0", "at least 2"),
    out_of_range("vocab_size", "299", "at least 300"),
    out_of_range("num_workers", "-1", "at least 0"),
    out_of_range("num_workers", "100000", "at least 0 and at most 1024"),
    out_of_range("tokenizer_processes", "0", "at least 1, or -1 for all"),
    out_of_range("num_devices", "0", "at least 1, or -1 for all"),
    out_of_range("num_devices", "-2", "at least 1, or -1 for all"),
    out_of_range("num_nodes", "0", "at least 1"),
    out_of_range("cuda_device_ids", "-1", "at least 0"),
    out_of_range("max_checkpoints", "0", "at least 1, or -1 for all"),
    out_of_range("log_interval", "0", "at least 1"),
    told("mask_fraction", "0", "0.0 is out of range: it must be more than 0 and at most 1"),
    told("mask_fraction", "1.5", "1.5 is out of range: it must be more than 0 and at most 1"),
    told("mask_fraction", "15%", "'15%' is not a number"),
    told("adam_beta1", "1", "1.0 is out of range: it must be at least 0 and less than 1"),
    told("adam_beta2", "-0.5", "-0.5 is out of range: it must be at least 0 and less than 1"),
    told("adam_epsilon", "0", "0.0 is out of range: it must be more than 0"),
    told("weight_decay", "-0.1", "-0.1 is out of range: it must be at least 0"),
    told("max_grad_norm", "-1", "-1.0 is out of range: it must be at least 0"),
    told("min_learning_rate_ratio", "2", "2.0 is out of range: it must be at least 0 and at most 1"),
    Row("train.py -n x --training_goal '10%'", "'10%' is not a duration"),
    Row("train.py -n x --training_goal '3 epoks'", "'3 epoks' is not a duration"),
    Row("train.py -n x --training_goal 0", "'0' must be more than zero"),
    Row("train.py -n x --training_goal=-5", "'-5' must be more than zero"),
    Row("train.py -n x --training_goal 1.5", "'1.5' is not a whole number of steps"),
    Row("train.py -n x --training_goal 1e30", "'1e30' is more than can be counted: write at most 1000000T steps"),
    Row("train.py -n x --training_goal 'five epochs'", "'five epochs' is not a duration"),
    Row("train.py -n x --training_goal 5k%", "'5k%' is not a duration"),
    Row("train.py -n x --warmup 5k%", "'5k%' is not a percentage: write for example 5%"),
    Row("train.py -n x --warmup 0.06x", "'0.06x' is not a duration"),
    Row("train.py -n x --decay '120%'", "'120%' is more than the whole training goal: write at most 100%"),
    Row(
        "train.py -n x --schedule wsd --warmup 60% --decay 60%",
        "error: --decay: a warm-up of 60% and a decay of 60% are over 100%",
    ),
    Row("train.py -n x --eval_interval '0%'", "'0%' must be more than zero"),
    Row("train.py -n x --save_interval never", "'never' is not a duration"),
    Row("train.py -n x --early_stopping 5", "'5' is no number of evaluations: write for example \"5 evaluations\""),
    Row(
        "train.py -n x --ema_decay 1", "error: --ema_decay: 1.0 is out of range: it must be at least 0 and less than 1"
    ),
    Row("train.py -n x --ema_decay .9 --precision bf16-true", "error: --ema_decay: an average of bfloat16 weights"),
    Row("train.py -n x --limit_dev_rows 0", "error: --limit_dev_rows: 0 is out of range: it must be at least 1"),
    Row(
        "train.py -n x --max_time 45",
        "'45' is not a time: write HH:MM:SS or D-HH:MM:SS, for example 00:45:00 for 45 minutes",
    ),
    Row("train.py -n x --max_time 45:00", "'45:00' is not a time"),
    Row("train.py -n x --max_time 00:00:00", "'00:00:00' must be more than zero"),
    Row("train.py -n x --max_time 1-24:00:00", "'1-24:00:00' is not a time"),
    Row("train.py -n x --trackers wandb none", "error: --trackers: none cannot be combined with wandb"),
    Row("train.py -n x --trackers wandbb", "'wandbb' is none of wandb, tensorboard, none: did you mean wandb?"),
    Row(
        "train.py -n x --objective mln",
        f"error: --objective: 'mln' is none of {', '.join(OBJECTIVES)}: did you mean mlm?",
    ),
    Row("train.py -n x --schedule cosin", ": did you mean cosine?"),
    Row("train.py -n x --precision fp16", "error: --precision: 'fp16' is none of auto, 32-true, 16-mixed"),
    Row("train.py -n x --accelerator tpu", "error: --accelerator: 'tpu' is none of auto, cpu, cuda, gpu, mps"),
    Row("train.py -n x --freeze all", "error: --freeze: 'all' is none of none, embeddings"),
    Row("train.py -n x --attn_implementation flash", "error: --attn_implementation: 'flash' is none of eager, sdpa"),
    Row("train.py -n x --encoding_errors skip", "error: --encoding_errors: 'skip' is none of strict, replace, ignore"),
    Row("train.py -n x --distributed_strategy fdsp", "error: --distributed_strategy: 'fdsp' is none of auto, ddp"),
    Row(
        "train.py -n x --distributed_strategy fsdp --exact_reduce",
        "error: --distributed_strategy: fsdp does not go with --exact_reduce: gradients are added up in an order of",
    ),
    Row("train.py -n x --distributed_strategy fsdp --precision 16-mixed", "fsdp does not go with --precision 16-mixed"),
    Row(
        "train.py -n x --distributed_strategy fsdp --optimizer adafactor", "fsdp does not go with --optimizer adafactor"
    ),
    Row("train.py -n x --distributed_strategy deepspeed_stage_2 --optimizer sgd", "its state is AdamW's; take adamw"),
    Row("train.py -n x --distributed_strategy deepspeed_stage_2 --ema_decay .9", "the engine has weights of its own"),
    Row("train.py -n x --distributed_strategy fsdp --compile", "error: --distributed_strategy: fsdp does not go with"),
    Row("train.py -n x --from_scratch maybe", "error: --from_scratch: 'maybe' is not true or false"),
    Row("train.py -n x --compile 1", "error: --compile: '1' is not true or false"),
    Row("train.py -n x --learning_rate '${optim.lr}'", "error: --learning_rate: there is no optim.lr to refer to"),
    Row("train.py -n x --wandb_group '${run.name'", "error: --wandb_group: this ${ begins no reference"),
]
