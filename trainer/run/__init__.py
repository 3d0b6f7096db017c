"""A run in three steps with typed results between: prepare the data, obtain the teacher, train the student."""

from trainer.run.data import RunData, prepare_data
from trainer.run.recipes import StudentRecipe, TeacherRecipe, student_recipe, teacher_recipe
from trainer.run.steps import finetune, run_student, run_teacher
from trainer.run.student import Run, build_trainer, train_student
from trainer.run.teacher import RunTeacher, obtain_teacher, plan_teacher

__all__ = [
    "Run",
    "RunData",
    "RunTeacher",
    "StudentRecipe",
    "TeacherRecipe",
    "build_trainer",
    "finetune",
    "obtain_teacher",
    "plan_teacher",
    "prepare_data",
    "run_student",
    "run_teacher",
    "student_recipe",
    "teacher_recipe",
    "train_student",
]
