"""CNN teachers: architectures, loading, checking, training."""

from trainer.teachers.checking import check_teacher
from trainer.teachers.loading import Teacher, load_teacher
from trainer.teachers.training import TeacherTrainer, is_complete, train_teacher

__all__ = ["Teacher", "TeacherTrainer", "check_teacher", "is_complete", "load_teacher", "train_teacher"]
