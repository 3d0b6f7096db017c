"""Cases of command lines, recipes and settings: name: (make, words, status, message)."""

from wrong_input.makers import nothing, several, write

RUN = "finetune recipe.yaml --output_dir out --dataset images"
TEACHER = "train-teacher teacher.yaml --output_dir out --dataset images --use_cpu"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def flag(words, message, status=2, command=RUN):
    """A case of good files and these words."""
    return nothing, f"{command} {words}", status, message


def recipe(text, message, command="finetune mine.yaml --output_dir out"):
    """A case of a recipe of this text."""
    return write("mine.yaml", text), command, 2, message


# fmt: off
COMMANDS = {
    "unknown command": (nothing, "finetun recipe.yaml", 2, r"no command finetun; did you mean finetune\?"),
    "unknown flag": flag("--alhpa 1", r"unknown argument --alhpa; did you mean --alpha\?"),
    "flag of another command": flag("--loss ldam", r"unknown argument --loss"),
    "shortened flag": flag("--num_train 3", r"unknown argument --num_train; did you mean --num_train_epochs\?"),
    "flag without value": flag("--alpha", r"argument --alpha: expected one argument"),
    "list without value": flag("--group_boundaries", r"expected at least one argument"),
    "flag twice": flag("--seed 1 --seed 2", r"--seed is given twice; give it once"),
    "flag twice in two spellings": flag("--output-dir other", r"--output_dir is given twice"),
    "two recipes": flag("teacher.yaml", r"unknown argument teacher\.yaml"),
    "no recipe": (nothing, "finetune", 2, r"required: RECIPE; usage: deit-lt finetune"),
    "no such recipe": (nothing, "finetune digit_lt", 2, r"there is no recipe digit_lt; did you mean digits_lt\?"),
    "no such file": (nothing, "finetune nowhere/mine.yaml", 2, r"there is no recipe nowhere/mine\.yaml"),
    "recipe of no name": (nothing, "finetune ''", 2, r"there is no recipe"),
    "recipe of a long name": (nothing, f"finetune {'a' * 5000}", 2, r"there is no recipe a{80}\.\.\."),
    "recipe is a folder": (nothing, "finetune images", 2, r"images is a folder, not a recipe"),
    "a model as a recipe": (nothing, "finetune model/model.safetensors", 2, r"is not text in UTF-8"),
    "a teacher's recipe for a student": (
        nothing, "finetune teacher.yaml --output_dir out", 2, r"unknown key architecture, a setting of a teacher"),
    "a student's recipe for a teacher": (
        nothing, "train-teacher recipe.yaml --output_dir out", 2, r"unknown key \w+, a setting of a student"),
    "a student's recipe as the teacher": flag(
        "--teacher recipe.yaml", r"teacher recipe\.yaml: recipe\.yaml: unknown key \w+, a setting of a student"),
    "no such recipe to print": (nothing, "recipes nothing", 2, r"there is no recipe nothing"),
    "a flag of recipes": (nothing, "recipes --all", 2, r"unknown argument --all"),
}

RECIPES = {
    "key twice": recipe("seed: 1\nalpha: 0.5\nseed: 2\n", r"mine\.yaml, line 3 .*the key seed comes twice"),
    "nested key twice": recipe("lr_scheduler_kwargs: {a: 1, a: 2}\n", r"line 1 .*the key a comes twice"),
    "unknown key": recipe("alhpa: 1\n", r"mine\.yaml: unknown key alhpa; did you mean alpha\?"),
    "section": recipe("model:\n  hidden_size: 3\n", r"unknown key model"),
    "merge key": recipe("<<: {seed: 1}\n", r"unknown key <<"),
    "empty": recipe("", r"must hold `key: value` lines"),
    "comments alone": recipe("# seed: 1\n", r"must hold `key: value` lines"),
    "a list": recipe("- seed\n", r"must hold `key: value` lines"),
    "a word": recipe("seed\n", r"must hold `key: value` lines"),
    "two documents": recipe("seed: 1\n---\nseed: 2\n", r"line \d+ is not valid YAML"),
    "binary": recipe(bytes(range(256)), r"mine\.yaml is not text in UTF-8"),
    "Latin-1": recipe("dataset: K\u00e4fer\n".encode("latin-1"), r"mine\.yaml is not text in UTF-8"),
    "UTF-16": recipe("seed: 1\n".encode("utf-16"), r"mine\.yaml is not text in UTF-8"),
    "NUL": recipe("output_dir: \"a\\0b\"\n", r"output_dir must be a word", "finetune mine.yaml"),
    "control character": recipe("seed: \x07\n", r"is not valid YAML: special characters are not allowed"),
    "tab": recipe("seed:\n\t- 1\n", r"line 2 is not valid YAML"),
    "open bracket": recipe("alpha: [\n", r"is not valid YAML"),
    "deeply nested": recipe("alpha: " + "[" * 20000 + "\n", r"nested too deeply"),
    "aliases that grow": recipe(BOMB, r"line 2 is not valid YAML: the alias \*a is not taken"),
    "larger than a recipe": recipe("#" * 2**21, r"larger than any recipe"),
    "list as a key": recipe("? [a]\n: 1\n", r"a key is a word"),
    "number as a key": recipe("1: 2\n", r"unknown key 1"),
    "tag that runs a command": recipe(
        "seed: !!python/object/apply:os.system ['touch ran']\n", r"the tag tag:yaml.*python/.* is not taken"),
    "tag that makes an object": recipe("!!python/object:trainer.errors.DataError\nseed: 1\n", r"the tag .* not taken"),
    "tag of YAML": recipe("seed: !!int '1'\n", r"the tag .*int is not taken"),
    "list for a number": recipe("alpha: [0.5, 0.6]\n", r"alpha must be a number, got \['0\.5', '0\.6'\]"),
    "mapping for a number": recipe("seed: {a: 1}\n", r"seed must be a whole number, got"),
    "list in a list": recipe("group_boundaries: [[1], 2]\n", r"group_boundaries must be a word, or several"),
    "number for a word": recipe("save_strategy: 3\n", r"3 is not a valid SaveStrategy"),
    "yes for a number": recipe("seed: yes\n", r"seed must be a whole number, got yes"),
}

NUMBERS = {
    f"{name} {value}": flag(f"--{name}={value}", rf"^error: {name} must ")
    for name, values in {
        "seed": ("0x10", "1e3", "1.0", "", "-1", str(2**32), "9" * 30, "9" * 5000, "\u00bd", "nan"),
        "alpha": ("1e999", "-inf", "nan", "-0.1", "1,5", "half"),
        "num_train_epochs": ("0", "-0", "-3", "inf", "1e12"),
        "warmup_epochs": ("-1", "nan", "inf"),
        "drw_start_epoch": ("soon",),
        **dict.fromkeys(("min_learning_rate", "warmup_learning_rate"), ("-1e-5", "nan", "inf")),
        "base_learning_rate": ("0", "-1", "inf", "1e300"),
        **dict.fromkeys(("weight_decay", "max_grad_norm"), ("-0.1", "nan", "inf")),
        "temperature": ("0", "-1", "nan"),
        **dict.fromkeys(("adam_beta1", "adam_beta2"), ("1", "-0.1", "nan")),
        "adam_epsilon": ("0", "-1e-8", "nan"),
        **dict.fromkeys(
            ("num_hidden_layers", "hidden_size", "num_attention_heads", "patch_size"), ("0", "-1", str(10**9))),
        "teacher_image_size": ("0", "-5"),
        "crop_ratio": ("0", "1e-4", "1.5", "nan"),
        "fusion_weight": ("nan", "-0.1", "1.1"),
        "drop_path_rate": ("nan", "1", "-1"),
        **dict.fromkeys(("save_steps", "logging_steps"), ("0", "-1", "nan", "inf")),
        "save_total_limit": ("0", "-1"),
        "label_smoothing": ("1", "nan"),
        "repeats": ("0", str(10**9)),
        "ema_decay": ("1", "-0.1", "nan"),
        "mixup_alpha": ("-1", "nan"),
        "dataloader_num_workers": ("-1", "1000", "two"),
        **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), ("0", "-8", "1.5")),
        "gradient_accumulation_steps": ("0", str(10**9)),
        "validation_fraction": ("0", "1", "nan"),
        "ddp_timeout": ("0",),
        "bf16": ("perhaps",),
        "precision": ("half",),
        "preset": ("huge",),
    }.items()
    for value in values
}

TOGETHER = {
    "warm-up longer than the run": flag("--warmup_epochs 3 --num_train_epochs 3", r"must be fewer than"),
    "DRW after the run": flag("--num_train_epochs 3 --drw_start_epoch 3", r"drw_start_epoch 3 lies outside the 3"),
    "DRW before the run": flag("--drw_start_epoch -1", r"drw_start_epoch -1 lies outside"),
    "DRW in the middle of an epoch": flag("--num_train_epochs 3 --drw_start_epoch 1.5", r"a whole number, or a share"),
    "schedule's arguments under ours": flag(
        "--lr_scheduler_kwargs '{\"min_lr\": 1}'", r"no lr_scheduler_kwargs"),
    "arguments that a schedule drops": flag(
        "--lr_scheduler_type constant --lr_scheduler_kwargs '{\"min_lr\": 1}'", r"schedule constant takes no min_lr"),
    "floor below zero": flag(
        "--lr_scheduler_type polynomial --lr_scheduler_kwargs '{\"lr_end\": -1}'", r"learning rate would be -", 1),
    "no such schedule": flag("--lr_scheduler_type bogus", r"bogus"),
    "no such optimiser": flag("--optim bogus", r"bogus"),
    "optimiser that is not installed": flag("--optim adamw_8bit", r"bitsandbytes", 1),
    "size that no patch divides": flag("--patch_size 3", r"image_size 8", 1),
    "heads that do not divide the width": flag("--num_attention_heads 3", r"num_attention_heads 3", 1),
    "attention that is not there": flag("--attn_implementation magic", r"magic attention", 1),
    "too many patches": flag("--image_size 8192", r"makes 4194304 of them, at most 65536"),
    "network larger than the memory": flag(
        "--hidden_size 1000000 --intermediate_size 1000000 --num_attention_heads 10",
        r"weights alone would take [\d,]+ GiB", 1),
    "batch larger than the memory": flag(
        f"--per_device_train_batch_size {2**31} --base_learning_rate 1e-6", r"lower per_device_train_batch_size", 1),
    "test batch larger than the memory": flag(
        f"--per_device_eval_batch_size {2**31}", r"alone would take .*lower per_device_eval_batch_size", 1),
    "batch that makes the rate large": flag(
        f"--per_device_train_batch_size {2**31}", r"the learning rate would be .*lower the batch"),
    "bf16 and fp16": flag("--bf16 --fp16", r"bf16 and fp16 contradict each other"),
    "precision and fp16": flag("--precision bf16 --fp16", r"precision bf16 and fp16 contradict each other"),
    "fp16 on a CPU": flag("--precision fp16", r"precision fp16 needs a GPU", 1),
    "fsdp on a CPU": flag("--fsdp full_shard", r"fsdp divides a network among GPUs"),
    "fsdp_config alone": flag("--fsdp_config nowhere.json", r"fsdp_config does nothing without fsdp"),
    "batches dealt out by the first rank": flag(
        "--accelerator_config '{\"dispatch_batches\": true}'", r"dispatch_batches and even_batches must stay"),
    "ranks with fewer batches than others": flag(
        "--accelerator_config '{\"even_batches\": false}'", r"dispatch_batches and even_batches must stay"),
    "deepspeed": flag("--deepspeed nowhere.json", r"deepspeed"),
    "checkpoints of weights alone": flag("--save_only_model true", r"save_only_model is not used here; set save_tot"),
    "endless waiting": flag("--ddp_timeout 99999999999999", r"ddp_timeout must lie in"),
    "accumulation in two places": flag(
        """--accelerator_config '{"gradient_accumulation_kwargs": {"num_steps": 2}}'""", r"set gradient_accum"
    ),
    "a report over the run's": (
        nothing, "evaluate model images --output model/../model/metrics.json", 2, r"is what the run found; name"),
    **{
        f"checkpointing {value}": flag(f"--gradient_checkpointing --gradient_checkpointing_kwargs '{value}'", message)
        for value, message in {
            '{"bogus": 1}': r"gradient_checkpointing_kwargs take no bogus; they have use_reentrant",
            '{"use_reentrant": "perhaps"}': r"use_reentrant must be true or false, got perhaps",
            '{"use_reentrant": 1}': r"use_reentrant must be true or false, got 1",
            '{"every_n_layers": 0}': r"every_n_layers must be a whole number, at least 1, got 0",
            '{"every_n_layers": true}': r"every_n_layers must be a whole number",
            '{"preserve_rng_state": false}': r"take no preserve_rng_state",
            '[1]': r"gradient_checkpointing_kwargs must be a JSON object of use_reentrant",
            'true': r"gradient_checkpointing_kwargs must be a JSON object of use_reentrant",
        }.items()
    },
    "checkpointing's settings alone": flag(
        "--gradient_checkpointing_kwargs '{\"use_reentrant\": true}'", r"do nothing without gradient_checkpointing"),
    "teacher's checkpointing": flag("--gradient_checkpointing", r"is for students: a teacher's", command=TEACHER),
    "no such compile mode": flag("--torch_compile_mode fast", r"torch_compile_mode must be one of"),
    "logger that is not installed": flag("--report_to clearml", r"clearml", 1),
    "no such logger": flag("--report_to bogus", r"bogus", 1),
    "push offline": flag("--push_to_hub", r"push_to_hub: HF_HUB_OFFLINE is set", 1),
    "hub_token alone": flag("--hub_token x", r"hub_token does nothing without push_to_hub"),
    "soft distillation in step DRW": flag("--drw_mean step --distillation_type soft", r"set it to micro_batch"),
    "selection without checkpoints": flag("--model_selection validation --save_strategy no", r"set save_strategy"),
    "learning rate": flag("--learning_rate 0.1", r"a student's learning_rate follows .*; set base_learning_rate"),
    "empty output folder": flag("", r"output_dir is empty", command="finetune recipe.yaml --output_dir ''"),
    "teacher's batch": (
        write("teacher.yaml", "per_device_train_batch_size: 0\n"), RUN + " --teacher teacher.yaml", 2,
        r"^error: teacher teacher\.yaml: per_device_train_batch_size must lie in"),
    "teacher's fp16 on a CPU": (
        write("teacher.yaml", "image_size: 8\narchitecture: resnet8_cifar\nprecision: fp16\n"),
        RUN + " --teacher teacher.yaml", 1, r"^error: teacher: precision fp16 needs a GPU"),
    "teacher's rising milestones": flag("--lr_milestones 9 3", r"lr_milestones must rise", command=TEACHER),
    "teacher's late milestone": flag("--lr_milestones 99", r"lr_milestones must rise and lie inside", command=TEACHER),
    "SAM without radius": flag("--sam_rho nan", r"sam_rho takes one number", command=TEACHER),
    "SAM of too few radii": flag("--sam_rho 0.1 --sam_milestones 3 5", r"sam_rho takes one number", command=TEACHER),
    "DRW in PaCo": flag("--loss paco --drw_start_epoch 3", r"leave drw_start_epoch out", command=TEACHER),
    "teacher's optimiser": flag("--optim adamw_torch", r"optim adamw_torch is not used", command=TEACHER),
    "teacher's betas": flag("--adam_beta1 0.5", r"adam_beta1 does nothing for a teacher", command=TEACHER),
    "teacher's search for a batch": flag(
        "--auto_find_batch_size", r"is for students: a teacher's BatchNorm", command=TEACHER),
    "search for a batch of the paper's rate": flag(
        "--auto_find_batch_size --paper_learning_rate_rule", r"leave one of them out"),
    "teacher's size": flag("--image_size 0", r"image_size must lie in", command=TEACHER),
    "no such architecture": flag("--architecture resnet_that_is_not", r"Unknown model", 1, TEACHER),
    "network too deep for the images": flag("--architecture vgg11", r"too small", 1, TEACHER),
}

WITHOUT_USE = {
    name: flag(f"--{name}={value}", rf"^error: {name} ")
    for name, value in {
        "max_steps": 3, "warmup_steps": 10, "label_smoothing_factor": 0.1, "dataloader_drop_last": "true",
        "data_seed": 3, "train_sampling_strategy": "sequential", "load_best_model_at_end": "true",
        "metric_for_best_model": "accuracy", "greater_is_better": "true", "eval_strategy": "epoch", "eval_delay": 1,
        "bf16_full_eval": "true", "ignore_data_skip": "true", "use_liger_kernel": "true", "do_train": "true",
        "include_num_input_tokens_seen": "true", "batch_eval_metrics": "true", "length_column_name": "x",
        "parallelism_config": "x", "eval_accumulation_steps": 0, "local_rank": 3,
    }.items()
} | {"remove_unused_columns": flag("--remove_unused_columns", r"must stay as they are")}


def a_file(folder):
    """The output folder is a file."""
    write("out", "mine")(folder)


PLACES = {
    "output is a file": (a_file, RUN, 1, r"out"),
    "output below a file": (
        a_file, "finetune recipe.yaml --output_dir out/run --dataset images", 1, r"out/run cannot be written"),
    "output is a dangling link": (
        lambda folder: (folder / "out").symlink_to("nowhere/at/all"), RUN, 1, r"folder out cannot be written"),
    "output of a long name": (
        nothing, f"finetune recipe.yaml --dataset images --output_dir {'a' * 300}", 1, r"cannot be written"),
    "output holds other work": (write("out/mine.txt", "mine"), RUN, 1, r"out is not empty"),
    "output is the data folder": (
        nothing, "finetune recipe.yaml --dataset images --output_dir images", 1, r"images is not empty"),
    "output lies in the data": (
        nothing, "finetune recipe.yaml --dataset images --output_dir images/train/run", 1, r"images"),
    "data lie in the output": (
        nothing, "finetune recipe.yaml --dataset images --output_dir .", 1, r"is not empty"),
    "teacher's folder holds other work": (
        several(write("mine/model.safetensors", "mine")), RUN + " --teacher teacher.yaml --teacher_output_dir mine", 1,
        r"mine holds something else than a teacher"),
    "teacher's folder is the student's": (
        nothing, RUN + " --teacher teacher.yaml --teacher_output_dir out", 1, r"lie in one another"),
}
