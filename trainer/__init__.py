"""Training and evaluation of DeiT-LT models: data, augmentation, teachers, losses, trainers, reports."""

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
