"""What other programs call our arguments: Hugging Face's Trainer, Lightning's, and common training scripts.

Nearness of letters would name the wrong one: `--max_steps` is not `--max_time`.
"""

from typing import NamedTuple


class Ours(NamedTuple):
    """What to write here."""

    flag: str = ""  # the flag; empty where there is none
    example: str = ""  # a value in the unit that is meant here, N for a number; empty where theirs can stay
    note: str = ""  # what else to know, or why there is no flag


def _read(table: str) -> dict[str, Ours]:
    """A line of the table: their names = our flag and an example; a note."""
    found = {}
    for line in filter(None, table.splitlines()):
        names, _, ours = line.partition(" = ")
        typed, _, note = ours.partition("; ")
        flag, _, example = typed.partition(" ")
        found.update(dict.fromkeys(names.split(), Ours(flag, example, note)))
    return found


FAMILIAR = _read("""
lr peak_lr max_lr base_lr learningrate = --learning_rate
wd weightdecay l2 = --weight_decay
beta1 adam_beta_1 = --adam_beta1
beta2 adam_beta_2 = --adam_beta2
betas = --adam_beta1 0.9; and --adam_beta2 0.98
adam_eps eps epsilon = --adam_epsilon
min_lr lr_min eta_min = --min_learning_rate_ratio 0.1; of the peak
lr_scheduler_type lr_scheduler lr_schedule scheduler lr_decay_style = --schedule cosine
optim optimizer_name = --optimizer adamw; its own arguments stand under optim
warmup_steps num_warmup_steps lr_warmup lr_warmup_steps warmup_iters = --warmup "N steps"
warmup_ratio warmup_fraction warmup_percent warmup_proportion = --warmup 6%
lr_decay decay_steps lr_decay_iters = --decay 20%; with --schedule wsd
gradient_clipping gradient_clip_val grad_clip clip_grad clip_grad_norm grad_norm max_norm clip = --max_grad_norm
max_steps num_steps total_steps train_steps steps max_iters num_train_steps max_train_steps num_training_steps \
training_steps train_iters = --training_goal "N steps"
epochs num_epochs max_epochs num_train_epochs n_epochs = --training_goal "N epochs"
max_tokens total_tokens num_tokens train_tokens = --training_goal "N tokens"
base_unit = --training_goal "N tokens"; each duration names its own unit
max_tokens_per_step tokens_per_batch batch_size_tokens max_batch_tokens token_batch_size batch_tokens = \
--max_tokens_per_batch; padding included, rows that are not packed
reset_position_ids reset_attention_mask intra_document_masking document_masking varlen_packing doc_mask = \
--document_mask
effective_batch_size global_batch_size total_batch_size train_batch_size bs = --batch_size; sequences in an optimizer \
step, over all devices
per_device_train_batch_size per_gpu_train_batch_size batch_size_per_device batch_size_per_gpu per_device_batch_size \
device_batch_size micro_batch_sizes mbs = --micro_batch_size; sequences in a forward pass of one device
per_device_eval_batch_size val_batch_size per_gpu_eval_batch_size = --eval_batch_size; sequences in a forward pass of \
one device
gradient_accumulation_steps accumulate_grad_batches grad_accum grad_accum_steps accum_steps = --batch_size N; over \
all devices; accumulation follows from it and --micro_batch_size, and is not set
seq_len seq_length max_seq_length max_seq_len max_sequence_length sequence_length block_size context_length \
context_size max_position_embeddings max_seq = --max_length; tokens in a row
mlm_probability mlm_prob mask_prob masking_ratio = --mask_fraction
mlm clm = --objective mlm; or clm
predict_with_generate = --eval_generate_samples -1; or the first N rows
generation_num_beams = --num_beams
generation_max_length val_max_target_length = --max_new_tokens
max_source_length max_target_length = --max_length; of each of the two texts
label_smoothing = --label_smoothing_factor
doc_stride = --context_stride; tokens by which the window moves on
version_2_with_negative = ; questions without an answer are found in the training text
task training_objective = --objective mlm
whole_word_mask = --whole_word_masking
model_name_or_path model_name model_type pretrained model_path = --model
config_name model_config config_overrides hidden_size num_hidden_layers num_layers n_layer n_embd num_attention_heads \
num_heads = --model_overrides hidden_size=256 num_hidden_layers=4
tokenizer_name tokenizer_path tokenizer_name_or_path = --tokenizer
saved_checkpoint_path init_from load_checkpoint pretrained_checkpoint ckpt = --checkpoint
train_from_scratch scratch random_init = --from_scratch
attention attn attention_implementation = --attn_implementation sdpa
dropout = --model_overrides hidden_dropout_prob=0.1; the name of the field in the model's config.json
vocab = --vocab_size; tokens of a tokenizer that is trained here
use_flash_attention_2 = --attn_implementation flash_attention_2
grad_checkpointing activation_checkpointing = --gradient_checkpointing
torch_compile use_compile = --compile
dataset dataset_name dataset_path data data_path dataset_dir = --data_dir data; the folder of train.txt and dev.txt
train_data train_path training_file = --train_file train.txt; its name in --data_dir
validation_file val_file eval_file valid_file dev_data = --dev_file dev.txt; its name in --data_dir
text_column text_column_name text_field text_key column_names = --keys text=review; our name=yours
label_column label_column_name label_key = --keys label=sentiment; our name=yours
dataloader_num_workers workers data_loader_workers num_dataloader_workers n_workers = --num_workers
preprocessing_num_workers preprocessing_workers num_proc = --tokenizer_processes
cache data_cache_dir tokenized_data_dir = --cache_dir
gpu_ids gpu_id cuda_ids device_ids cuda_visible_devices = --cuda_device_ids; numbers with blanks between them
gpus devices n_gpu n_gpus num_gpus nproc_per_node world_size = --num_devices
nnodes nodes n_nodes = --num_nodes
device device_type cuda gpu = --accelerator cuda
no_cuda use_cpu cpu = --accelerator cpu
strategy parallelism = --distributed_strategy ddp
deepspeed zero_stage = --distributed_strategy deepspeed_stage_2
fsdp fsdp_config = --distributed_strategy fsdp
fp16 half amp mixed_precision dtype = --precision 16-mixed
bf16 bfloat16 = --precision bf16-mixed
fp32 float32 = --precision 32-true
eval_steps val_frequency val_interval eval_every eval_frequency val_check_interval eval_strategy evaluation_strategy \
eval_freq = --eval_interval "N steps"
save_steps save_every checkpoint_interval model_log_frequency save_freq save_strategy every_n_train_steps \
enable_checkpointing = --save_interval "N steps"
save_total_limit save_top_k keep_checkpoints max_keep = --max_checkpoints
logging_steps log_every_n_steps log_every log_freq log_frequency = --log_interval; optimizer steps
output_dir default_root_dir save_dir log_dir logging_dir run_dir = --out_dir; the folder of all runs; --name is that \
of the run's own
run_name wandb_run_name exp_name experiment_name wandb_name job_name = --name
project wandb_project_name project_name = --wandb_project
entity wandb_team wandb_user = --wandb_entity
group wandb_run_group = --wandb_group
tags wandb_tag = --wandb_tags
report_to logger loggers use_wandb wandb = --trackers wandb; or tensorboard, or none
wandb_mode wandb_offline = --offline
no_wandb disable_wandb = --trackers none
disable_tqdm enable_progress_bar progress_bar = --progress false
debug smoke_test dev_run = --fast_dev_run; on the command line
dry_run = --plan
resume_from_checkpoint resume_training ckpt_path resume_from = --resume my-run; though the same command goes on by \
itself
overwrite_output_dir = --name another; no run is written over
random_seed manual_seed data_seed = --seed
deterministic full_determinism = --exact_reduce; a run repeats without it too
time_limit max_hours max_wall_time = --max_time 11:30:00
config config_file cfg yaml = --config_path config.yml
do_train do_eval do_predict = ; train.py trains and evaluates, eval.py evaluates
load_best_model_at_end = ; the best checkpoint is always kept, and taken wherever a run is named
early_stopping_patience patience = --early_stopping "N evaluations"; the best checkpoint is kept in any case
ema use_ema ema_rate swa stochastic_weight_avg = --ema_decay 0.999
limit_val_batches limit_eval_batches max_val_samples eval_iters num_eval_batches = --limit_dev_rows N; rows, and not \
batches
max_train_samples limit_train_batches = --training_goal "N samples"
push_to_hub = ; runs.py export writes a model that can be uploaded
local_rank = ; torchrun and srun say it in variables
""")
"""Names in other programs, with `_`, and ours."""

FAMILIAR_ELSEWHERE = _read("""
max_length length max_tokens num_tokens = --max_new_tokens
k topk = --top_k
p topp nucleus = --top_p
beams beam_size n_beams = --num_beams
temp t = --temperature
greedy no_sample = --temperature 0
batch_size per_device_eval_batch_size = --eval_batch_size
tasks = --harness
limit max_samples max_eval_samples = --max_documents
output_path output_file out = --output
runs_dir output_dir workspace = --out_dir; the folder of all runs; --name is that of the run's own
format = --json
force y = --yes
num_steps max_steps = --steps
""")
"""... in eval.py, generate.py and runs.py, whose flags are others."""

FAMILIAR_VALUES = {
    **dict.fromkeys(("bf16", "bfloat16"), "bf16-mixed"),
    **dict.fromkeys(("fp16", "float16", "16"), "16-mixed"),
    **dict.fromkeys(("fp32", "float32", "32"), "32-true"),
    **dict.fromkeys(("fp64", "float64", "64"), "64-true"),
}
"""Values in other programs, and ours: what is called bf16 there computes in bf16 and keeps the weights in float32."""
