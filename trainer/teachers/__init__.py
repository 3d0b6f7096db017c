"""CNN teachers: architectures, losses' networks, loading, checking, training."""

from trainer.teachers.checking import check_teacher
from trainer.teachers.loading import Teacher, as_teacher, load_teacher, open_classifier
from trainer.teachers.paco import PaCo, PaCoTrainer
from trainer.teachers.trainer import TeacherTrainer
from trainer.teachers.training import TrainedTeacher, train_teacher

__all__ = [
    "PaCo",
    "PaCoTrainer",
    "Teacher",
    "TeacherTrainer",
    "TrainedTeacher",
    "as_teacher",
    "check_teacher",
    "load_teacher",
    "open_classifier",
    "train_teacher",
]
