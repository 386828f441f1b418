"""What other programs call our arguments: Hugging Face's Trainer, Lightning's, and common training scripts.

Whoever types one of these is told ours. Nearness of letters would name another: `--max_steps` is not `--max_time`.
"""

from typing import NamedTuple


class Ours(NamedTuple):
    """What to write here.

    Attributes:
        flag: the flag; empty where there is none to name.
        example: how a value looks in the unit that is meant here, N for a number; empty where theirs can stay.
        note: what is to be known besides, or why there is none.
    """

    flag: str = ""
    example: str = ""
    note: str = ""


LEARNING_RATE = Ours("--learning_rate")
ALL_SEQUENCES = Ours("--batch_size", "", "sequences in an optimizer step, over all devices")
DEVICE_SEQUENCES = Ours("--micro_batch_size", "", "sequences in a forward pass of one device")
EVAL_SEQUENCES = Ours("--eval_batch_size", "", "sequences in a forward pass of one device")
ACCUMULATION = Ours(
    "--batch_size", "N", "over all devices; accumulation follows from it and --micro_batch_size, and is not set"
)
LENGTH = Ours("--max_length", "", "tokens in a row")
STEPS = Ours("--training_goal", '"N steps"')
EPOCHS = Ours("--training_goal", '"N epochs"')
TOKENS = Ours("--training_goal", '"N tokens"')
WARMUP = Ours("--warmup", '"N steps"')
CLIPPING = Ours("--max_grad_norm")
MODEL = Ours("--model")
OVERRIDES = Ours("--model_overrides", "hidden_size=256 num_hidden_layers=4")
FOLDER = Ours("--out_dir", "", "the folder of all runs; --name is that of the run's own")
NAME = Ours("--name")
DATA = Ours("--data_dir", "data", "the folder of train.txt and dev.txt")
TRAIN_FILE = Ours("--train_file", "train.txt", "its name in --data_dir")
DEV_FILE = Ours("--dev_file", "dev.txt", "its name in --data_dir")
CUDA_DEVICES = Ours("--cuda_device_ids", "", "numbers with blanks between them")
DEVICES = Ours("--num_devices")
DEVICE = Ours("--accelerator", "cuda")
HALF = Ours("--precision", "16-mixed")
BRAIN_HALF = Ours("--precision", "bf16-mixed")
EVALUATION = Ours("--eval_interval", '"N steps"')
SAVING = Ours("--save_interval", '"N steps"')
KEPT = Ours("--max_checkpoints")
LOGGING = Ours("--log_interval", "", "optimizer steps")
WORKERS = Ours("--num_workers")
TOKENIZING = Ours("--tokenizer_processes")
PROJECT = Ours("--wandb_project")
GROUP = Ours("--wandb_group")
TRACKERS = Ours("--trackers", "wandb", "or tensorboard, or none")
SHORT_RUN = Ours("--training_goal", "2", "optimizer steps; --plan shows what would happen")
RESUMING = Ours("--resume", "my-run", "though the same command goes on by itself")
CONFIG = Ours("--config_path", "config.yml")
OPTIMIZER = Ours("--optimizer", "adamw", "its own arguments stand under optim")

FAMILIAR: dict[str, Ours] = {
    **dict.fromkeys(("lr", "peak_lr", "max_lr", "base_lr", "learningrate"), LEARNING_RATE),
    **dict.fromkeys(("wd", "weightdecay", "l2"), Ours("--weight_decay")),
    **dict.fromkeys(("beta1", "adam_beta_1"), Ours("--adam_beta1")),
    **dict.fromkeys(("beta2", "adam_beta_2"), Ours("--adam_beta2")),
    "betas": Ours("--adam_beta1", "0.9", "and --adam_beta2 0.98"),
    **dict.fromkeys(("adam_eps", "eps", "epsilon"), Ours("--adam_epsilon")),
    **dict.fromkeys(("min_lr", "lr_min", "eta_min"), Ours("--min_learning_rate_ratio", "0.1", "of the peak")),
    **dict.fromkeys(
        ("lr_scheduler_type", "lr_scheduler", "lr_schedule", "scheduler", "lr_decay_style"),
        Ours("--schedule", "cosine"),
    ),
    **dict.fromkeys(("optim", "optimizer_name"), OPTIMIZER),
    **dict.fromkeys(("warmup_steps", "num_warmup_steps", "lr_warmup", "lr_warmup_steps", "warmup_iters"), WARMUP),
    **dict.fromkeys(("warmup_ratio", "warmup_fraction", "warmup_percent", "warmup_proportion"), Ours("--warmup", "6%")),
    **dict.fromkeys(("lr_decay", "decay_steps", "lr_decay_iters"), Ours("--decay", "20%", "with --schedule wsd")),
    **dict.fromkeys(
        (
            "gradient_clipping",
            "gradient_clip_val",
            "grad_clip",
            "clip_grad",
            "clip_grad_norm",
            "grad_norm",
            "max_norm",
            "clip",
        ),
        CLIPPING,
    ),
    **dict.fromkeys(("max_steps", "num_steps", "total_steps", "train_steps", "steps", "max_iters"), STEPS),
    **dict.fromkeys(
        ("num_train_steps", "max_train_steps", "num_training_steps", "training_steps", "train_iters"), STEPS
    ),
    **dict.fromkeys(("epochs", "num_epochs", "max_epochs", "num_train_epochs", "n_epochs"), EPOCHS),
    **dict.fromkeys(("max_tokens", "total_tokens", "num_tokens", "train_tokens"), TOKENS),
    "base_unit": Ours("--training_goal", '"N tokens"', "each duration names its own unit"),
    **dict.fromkeys(
        ("effective_batch_size", "global_batch_size", "total_batch_size", "train_batch_size", "bs"), ALL_SEQUENCES
    ),
    **dict.fromkeys(
        (
            "per_device_train_batch_size",
            "per_gpu_train_batch_size",
            "batch_size_per_device",
            "batch_size_per_gpu",
            "per_device_batch_size",
            "device_batch_size",
            "micro_batch_sizes",
            "mbs",
        ),
        DEVICE_SEQUENCES,
    ),
    **dict.fromkeys(("per_device_eval_batch_size", "val_batch_size", "per_gpu_eval_batch_size"), EVAL_SEQUENCES),
    **dict.fromkeys(
        ("gradient_accumulation_steps", "accumulate_grad_batches", "grad_accum", "grad_accum_steps", "accum_steps"),
        ACCUMULATION,
    ),
    **dict.fromkeys(
        ("seq_len", "seq_length", "max_seq_length", "max_seq_len", "max_sequence_length", "sequence_length"), LENGTH
    ),
    **dict.fromkeys(("block_size", "context_length", "context_size", "max_position_embeddings", "max_seq"), LENGTH),
    **dict.fromkeys(("mlm_probability", "mlm_prob", "mask_prob", "masking_ratio"), Ours("--mask_fraction")),
    **dict.fromkeys(("mlm", "clm"), Ours("--objective", "mlm", "or clm")),
    **dict.fromkeys(("task", "training_objective"), Ours("--objective", "mlm")),
    "whole_word_mask": Ours("--whole_word_masking"),
    **dict.fromkeys(("model_name_or_path", "model_name", "model_type", "pretrained", "model_path"), MODEL),
    **dict.fromkeys(("config_name", "model_config", "config_overrides"), OVERRIDES),
    **dict.fromkeys(
        ("hidden_size", "num_hidden_layers", "num_layers", "n_layer", "n_embd", "num_attention_heads", "num_heads"),
        OVERRIDES,
    ),
    **dict.fromkeys(("tokenizer_name", "tokenizer_path", "tokenizer_name_or_path"), Ours("--tokenizer")),
    **dict.fromkeys(
        ("saved_checkpoint_path", "init_from", "load_checkpoint", "pretrained_checkpoint", "ckpt"),
        Ours("--checkpoint"),
    ),
    **dict.fromkeys(("train_from_scratch", "scratch", "random_init"), Ours("--from_scratch")),
    **dict.fromkeys(("attention", "attn", "attention_implementation"), Ours("--attn_implementation", "sdpa")),
    "dropout": Ours("--model_overrides", "hidden_dropout_prob=0.1", "the name of the field in the model's config.json"),
    "vocab": Ours("--vocab_size", "", "tokens of a tokenizer that is trained here"),
    "use_flash_attention_2": Ours("--attn_implementation", "flash_attention_2"),
    **dict.fromkeys(("grad_checkpointing", "activation_checkpointing"), Ours("--gradient_checkpointing")),
    **dict.fromkeys(("torch_compile", "use_compile"), Ours("--compile")),
    **dict.fromkeys(("dataset", "dataset_name", "dataset_path", "data", "data_path", "dataset_dir"), DATA),
    **dict.fromkeys(("train_data", "train_path", "training_file"), TRAIN_FILE),
    **dict.fromkeys(("validation_file", "val_file", "eval_file", "valid_file", "dev_data"), DEV_FILE),
    **dict.fromkeys(
        ("dataloader_num_workers", "workers", "data_loader_workers", "num_dataloader_workers", "n_workers"), WORKERS
    ),
    **dict.fromkeys(("preprocessing_num_workers", "preprocessing_workers", "num_proc"), TOKENIZING),
    **dict.fromkeys(("cache", "data_cache_dir", "tokenized_data_dir"), Ours("--cache_dir")),
    **dict.fromkeys(("gpu_ids", "gpu_id", "cuda_ids", "device_ids", "cuda_visible_devices"), CUDA_DEVICES),
    **dict.fromkeys(("gpus", "devices", "n_gpu", "n_gpus", "num_gpus", "nproc_per_node", "world_size"), DEVICES),
    **dict.fromkeys(("nnodes", "nodes", "n_nodes"), Ours("--num_nodes")),
    **dict.fromkeys(("device", "device_type"), DEVICE),
    **dict.fromkeys(("no_cuda", "use_cpu", "cpu"), Ours("--accelerator", "cpu")),
    **dict.fromkeys(("cuda", "gpu"), DEVICE),
    **dict.fromkeys(("strategy", "parallelism", "deepspeed", "fsdp"), Ours("--distributed_strategy", "ddp")),
    **dict.fromkeys(("fp16", "half", "amp", "mixed_precision", "dtype"), HALF),
    **dict.fromkeys(("bf16", "bfloat16"), BRAIN_HALF),
    **dict.fromkeys(("fp32", "float32"), Ours("--precision", "32-true")),
    **dict.fromkeys(("eval_steps", "val_frequency", "val_interval", "eval_every", "eval_frequency"), EVALUATION),
    **dict.fromkeys(("val_check_interval", "eval_strategy", "evaluation_strategy", "eval_freq"), EVALUATION),
    **dict.fromkeys(("save_steps", "save_every", "checkpoint_interval", "model_log_frequency", "save_freq"), SAVING),
    **dict.fromkeys(("save_strategy", "every_n_train_steps", "enable_checkpointing"), SAVING),
    **dict.fromkeys(("save_total_limit", "save_top_k", "keep_checkpoints", "max_keep"), KEPT),
    **dict.fromkeys(("logging_steps", "log_every_n_steps", "log_every", "log_freq", "log_frequency"), LOGGING),
    **dict.fromkeys(("output_dir", "default_root_dir", "save_dir", "log_dir", "logging_dir", "run_dir"), FOLDER),
    **dict.fromkeys(("run_name", "wandb_run_name", "exp_name", "experiment_name", "wandb_name", "job_name"), NAME),
    **dict.fromkeys(("project", "wandb_project_name", "project_name"), PROJECT),
    **dict.fromkeys(("entity", "wandb_team", "wandb_user"), Ours("--wandb_entity")),
    **dict.fromkeys(("group", "wandb_run_group"), GROUP),
    **dict.fromkeys(("tags", "wandb_tag"), Ours("--wandb_tags")),
    **dict.fromkeys(("report_to", "logger", "loggers", "use_wandb", "wandb"), TRACKERS),
    **dict.fromkeys(("wandb_mode", "wandb_offline"), Ours("--offline")),
    **dict.fromkeys(("no_wandb", "disable_wandb"), Ours("--trackers", "none")),
    **dict.fromkeys(("disable_tqdm", "enable_progress_bar", "progress_bar"), Ours("--progress", "false")),
    **dict.fromkeys(("fast_dev_run", "debug", "smoke_test"), SHORT_RUN),
    "dry_run": Ours("--plan"),
    **dict.fromkeys(("resume_from_checkpoint", "resume_training", "ckpt_path", "resume_from"), RESUMING),
    "overwrite_output_dir": Ours("--name", "another", "no run is written over"),
    **dict.fromkeys(("random_seed", "manual_seed", "data_seed"), Ours("--seed")),
    **dict.fromkeys(("deterministic", "full_determinism"), Ours("--exact_reduce", note="a run repeats without it too")),
    **dict.fromkeys(("time_limit", "max_hours", "max_wall_time"), Ours("--max_time", "11:30:00")),
    **dict.fromkeys(("config", "config_file", "cfg", "yaml"), CONFIG),
    **dict.fromkeys(
        ("do_train", "do_eval", "do_predict"), Ours(note="train.py trains and evaluates, eval.py evaluates")
    ),
    "load_best_model_at_end": Ours(note="the best checkpoint is always kept, and taken wherever a run is named"),
    **dict.fromkeys(
        ("early_stopping_patience", "patience"), Ours(note="there is no early stopping; the best checkpoint is kept")
    ),
    **dict.fromkeys(("max_train_samples", "limit_train_batches"), Ours("--training_goal", '"N samples"')),
    "push_to_hub": Ours(note="runs.py export writes a model that can be uploaded"),
    "local_rank": Ours(note="torchrun and srun say it in variables"),
}
"""Names in other programs, with `_`, and ours."""

FAMILIAR_ELSEWHERE: dict[str, Ours] = {
    **dict.fromkeys(("max_length", "length", "max_tokens", "num_tokens"), Ours("--max_new_tokens")),
    **dict.fromkeys(("k", "topk"), Ours("--top_k")),
    **dict.fromkeys(("p", "topp", "nucleus"), Ours("--top_p")),
    **dict.fromkeys(("beams", "beam_size", "n_beams"), Ours("--num_beams")),
    **dict.fromkeys(("temp", "t"), Ours("--temperature")),
    **dict.fromkeys(("greedy", "no_sample"), Ours("--temperature", "0")),
    **dict.fromkeys(("batch_size", "per_device_eval_batch_size"), Ours("--eval_batch_size")),
    **dict.fromkeys(("tasks",), Ours("--harness")),
    **dict.fromkeys(("limit", "max_samples", "max_eval_samples"), Ours("--max_documents")),
    **dict.fromkeys(("output_path", "output_file", "out"), Ours("--output")),
    **dict.fromkeys(("runs_dir", "output_dir", "workspace"), FOLDER),
    **dict.fromkeys(("format",), Ours("--json")),
    **dict.fromkeys(("force", "y"), Ours("--yes")),
    **dict.fromkeys(("num_steps", "max_steps"), Ours("--steps")),
}
"""... in eval.py, generate.py and runs.py, whose flags are others."""
