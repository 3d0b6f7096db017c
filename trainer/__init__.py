"""Everything that makes a DeiT-LT model good: data, augmentation, teachers, losses, the trainer and its evaluation."""

from importlib import import_module

_HOMES = {
    "DeiTLTTrainer": "trainer.trainer",
    "DistillationArguments": "trainer.arguments",
    "DistillationLoss": "trainer.losses",
    "finetune": "trainer.run",
    "load_teacher": "trainer.teachers",
}

__all__ = list(_HOMES)


def __getattr__(name: str):
    """Load a public name when it is first used, so that `trainer.evaluation` needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trainer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
