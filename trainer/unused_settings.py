"""Settings of transformers' TrainingArguments that would do nothing here, or something else than they say: refused."""

from __future__ import annotations

from dataclasses import MISSING, fields
from inspect import Parameter, signature

from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION

INSTEAD = {
    "max_steps": "num_train_epochs, which the schedule and DRW follow",
    "warmup_steps": "warmup_epochs",
    "label_smoothing_factor": "label_smoothing, which mixing applies",
    "dataloader_drop_last": "drop_partial_batches, since it would leave out test images too",
    "data_seed": "seed, from which the order of the images follows",
    "train_sampling_strategy": "repeats and seed, from which the order of the images follows",
    "load_best_model_at_end": "model_selection of a student; a teacher keeps its last epoch",
    "save_only_model": "save_total_limit 1, since no run can go on without its optimiser",
    "enable_jit_checkpoint": "nothing: SIGTERM saves a checkpoint without it",
    "torch_compile_backend": "torch_compile, which takes torch's own",
    "bf16_full_eval": "precision",
    "fp16_full_eval": "precision",
}
NO_USE = (
    *("prediction_loss_only", "eval_on_start", "neftune_noise_alpha", "batch_eval_metrics"),
    *("include_for_metrics", "include_num_input_tokens_seen", "eval_use_gather_object", "use_liger_kernel"),
    *("liger_kernel_config", "use_cache", "length_column_name", "optim_target_modules", "ignore_data_skip"),
    *("restore_callback_states_from_checkpoint", "do_train", "do_predict", "local_rank"),
)
# Those that another setting switches on.
NEED = {
    "push_to_hub": (
        *("hub_model_id", "hub_strategy", "hub_token", "hub_private_repo", "hub_always_push", "hub_revision"),
    ),
    "fsdp": ("fsdp_config",),
}
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
CHECKPOINTING = {"use_reentrant": bool, "every_n_layers": int, "offload": bool}
GIVEN_TO_EVERY_SCHEDULE = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}


def refuse_unused(arguments) -> None:
    """Refuse what is set and has no use, before TrainingArguments looks at it.

    Raises:
        ValueError: it names the setting and what to do.
    """
    changed = changed_of(arguments)
    for name, other in INSTEAD.items():
        if name in changed:
            raise ValueError(f"{name} is not used here; set {other}")
    for name in NO_USE:
        if name in changed:
            raise ValueError(f"{name} does not go with what is trained and reported here; leave it out")
    for switch, names in NEED.items():
        unused = [name for name in names if name in changed]
        if unused and not getattr(arguments, switch):
            raise ValueError(f"{unused[0]} does nothing without {switch}; set both or leave it out")
    if arguments.label_names != ["labels"] or not arguments.eval_do_concat_batches or arguments.remove_unused_columns:
        raise ValueError(
            "label_names, eval_do_concat_batches and remove_unused_columns must stay as they are; leave them out"
        )
    mode = arguments.torch_compile_mode
    if mode is not None and mode not in COMPILE_MODES:
        raise ValueError(f"torch_compile_mode must be one of {', '.join(COMPILE_MODES)}, got {mode}")


def refuse_wrong_checkpointing(arguments) -> None:
    """Refuse `gradient_checkpointing_kwargs` that would fail in the first step, or draw other stochastic depth again.

    Args:
        arguments: after TrainingArguments has looked at them.

    Raises:
        ValueError: it names the first.
    """
    given = arguments.gradient_checkpointing_kwargs or {}
    if not isinstance(given, dict):
        raise ValueError(
            f"gradient_checkpointing_kwargs must be a JSON object of {', '.join(CHECKPOINTING)}, got {given}"
        )
    if given and not arguments.gradient_checkpointing:
        raise ValueError("gradient_checkpointing_kwargs do nothing without gradient_checkpointing; set both")
    for name, value in given.items():
        kind = CHECKPOINTING.get(name)
        if kind is None:
            raise ValueError(f"gradient_checkpointing_kwargs take no {name}; they have {', '.join(CHECKPOINTING)}")
        if type(value) is not kind or (kind is int and value < 1):
            wanted = "true or false" if kind is bool else "a whole number, at least 1"
            raise ValueError(f"gradient_checkpointing_kwargs: {name} must be {wanted}, got {value}")


def changed_of(arguments) -> set[str]:
    """The settings that differ from their defaults and are not off; TrainingArguments writes some of those itself."""
    changed = set()
    for entry in fields(arguments):
        value = getattr(arguments, entry.name, None)
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        if not (value is None or value is False or value in ("no", default)):
            changed.add(entry.name)
    return changed


def refuse_unused_schedule_settings(arguments) -> None:
    """Refuse `lr_scheduler_kwargs` that the schedule does not take; the constant ones would drop them without a word.

    Args:
        arguments: after TrainingArguments has looked at them.

    Raises:
        ValueError: it names the first.
    """
    schedule = signature(TYPE_TO_SCHEDULER_FUNCTION[arguments.lr_scheduler_type]).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in schedule.values()):
        return
    known = set(schedule) - GIVEN_TO_EVERY_SCHEDULE
    for name in arguments.lr_scheduler_kwargs or {}:
        if name not in known:
            takes = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise ValueError(
                f"lr_scheduler_kwargs: the schedule {arguments.lr_scheduler_type.value} takes no {name}; {takes}"
            )
