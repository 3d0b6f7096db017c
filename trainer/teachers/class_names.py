"""Mapping of a teacher's outputs to the classes of the data, by class name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from trainer.errors import TeacherError

REMEDY = "name its outputs in their order with teacher_class_names, or train it on these data"


def class_order(teacher: str, teacher_names: Sequence[str], class_names: Sequence[str]) -> list[int] | None:
    """Where each class of the data stands among a teacher's outputs; names are compared exactly.

    Args:
        teacher: its name or folder, for the refusal.
        teacher_names: (C,) classes of its outputs, in their order.
        class_names: (C,) classes of the data, in the data's order.

    Returns:
        (C,) indices of the teacher's outputs, or None where both orders are the same.

    Raises:
        TeacherError: the teacher lacks a class, has another number of names than outputs, or two classes of either
            side have one name.
    """
    teacher_names, class_names = list(teacher_names), list(class_names)
    if teacher_names == class_names:
        return None
    if len(teacher_names) != len(class_names):
        raise TeacherError(f"teacher {teacher}: {len(teacher_names)} names for {len(class_names)} outputs; {REMEDY}")
    places = {name: index for index, name in enumerate(teacher_names)}
    missing = [name for name in class_names if name not in places]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise TeacherError(f"teacher {teacher}: lacks the classes {', '.join(map(repr, missing[:3]))}{more}; {REMEDY}")
    for owner, names in (("its outputs", teacher_names), ("the classes of the data", class_names)):
        name, times = Counter(names).most_common(1)[0]
        if times > 1:
            raise TeacherError(
                f"teacher {teacher}: {times} of {owner} are named {name!r}; every class needs its own name"
            )
    return [places[name] for name in class_names]


def read_class_names(path: str | Path) -> list[str]:
    """A text file with the class of each of a teacher's outputs, one a line, in UTF-8.

    Raises:
        TeacherError: there is no such text file, or a line is empty.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a ~user that is not there
        raise TeacherError(
            f"teacher_class_names {path}: cannot be read ({getattr(error, 'strerror', 'not UTF-8 text')}); give a "
            "text file with one class a line"
        ) from error
    empty = next((number for number, line in enumerate(lines, start=1) if not line.strip()), None)
    if empty is not None:
        raise TeacherError(f"teacher_class_names {path}: line {empty} is empty; give one class a line")
    return lines
