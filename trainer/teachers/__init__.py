"""CNN teachers: architectures, losses' networks, loading, checking, training."""

from trainer.teachers.checking import check_teacher
from trainer.teachers.loading import Teacher, load_teacher
from trainer.teachers.paco import PaCo, PaCoTrainer
from trainer.teachers.trainer import TeacherTrainer
from trainer.teachers.training import is_complete, train_teacher

__all__ = [
    "PaCo",
    "PaCoTrainer",
    "Teacher",
    "TeacherTrainer",
    "check_teacher",
    "is_complete",
    "load_teacher",
    "train_teacher",
]
