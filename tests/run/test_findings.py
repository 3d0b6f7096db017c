"""What stands out in a run: each finding where it must be said, and where it must not."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments
from trainer.commands.__main__ import COMMANDS
from trainer.evaluation import expert_report
from trainer.run import StudentRecipe, TeacherRecipe
from trainer.run.findings import Outcome, far_below_teacher, findings
from trainer.teachers.arguments import TeacherArguments

CLASSES = 10


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A student's and a teacher's, as the recipe for folders has them."""
    folder = str(tmp_path_factory.mktemp("settings"))
    student = DistillationArguments(output_dir=folder, num_train_epochs=600, drw_start_epoch=540, use_cpu=True)
    teacher = TeacherArguments(output_dir=folder, num_train_epochs=100, drw_start_epoch=90, use_cpu=True)
    return student, teacher


@pytest.fixture
def outcome(settings):
    """Makes an outcome in which nothing stands out, but for what is given."""

    def make(
        mean=80.0,
        cls=78.0,
        dist=78.0,
        teacher=80.0,
        teacher_accuracy=90.0,
        per_class=100,
        counts=(500,) * 5 + (50,) * 5,
        seeds=(0, 0, 0),
        teacher_recipe=True,
        tail_mean=None,
        data=None,
        **training,
    ):
        student, own = settings
        labels = np.repeat(np.arange(CLASSES), per_class)
        shares = {"mean": mean, "cls": cls, "dist": dist}
        predicted = {
            name: predictions(labels, share, seed) for (name, share), seed in zip(shares.items(), seeds, strict=True)
        }
        if tail_mean is not None:  # the last three classes, a third of ten
            rows = labels >= 7
            predicted["mean"][rows] = predictions(labels[rows], tail_mean)
        logits = {name: np.eye(CLASSES)[classes] for name, classes in predicted.items()}
        data = data or DataArguments()
        return Outcome(
            recipe=StudentRecipe(
                name="test",
                model=ModelArguments(),
                data=data,
                training=replace(student, **training) if training else student,
                teacher_recipe=TeacherRecipe("teacher", data, own) if teacher_recipe else None,
            ),
            names=[f"sign {label}" for label in range(CLASSES)],
            counts=list(counts),
            labels=labels,
            predicted=predicted,
            experts=expert_report(logits, labels, counts, data.boundaries),
            teacher=teacher if teacher is None else {"accuracy": teacher, "balanced_accuracy": teacher},
            teacher_accuracy=teacher_accuracy,
        )

    return make


def predictions(labels, percent, seed=0):
    """Right for this share of each class; for one seed the right images of a smaller share are among a larger's."""
    predicted = labels.copy()
    for label in np.unique(labels):
        rows = np.random.default_rng((seed, label)).permutation(np.flatnonzero(labels == label))
        predicted[rows[round(len(rows) * percent / 100) :]] = (label + 1) % CLASSES
    return predicted


def test_nothing_is_said_where_nothing_stands_out(outcome):
    assert findings(outcome()) == []


def test_the_first_run_on_traffic_signs(outcome):
    """Teacher 31, CLS 36, mean 28, here on 1,000 test images: the teacher was to blame, and nothing was said."""
    teacher, agreement, expert = findings(
        outcome(mean=28, cls=36, dist=25, teacher=31.0, teacher_accuracy=33.0, seeds=(0, 1, 2))
    )
    assert teacher == (
        "The teacher (31.0 % accuracy) is weaker than the CLS expert (36.0 %), which learns from the labels. Train it "
        "longer: `--teacher` with a copy of its recipe in which `num_train_epochs` is 200 instead of 100."
    )
    assert agreement.startswith("The teacher disagrees with most labels: it agrees with 33.0 % of")
    assert expert.startswith(
        "The CLS expert alone (36.0 % accuracy) beats the mean of both (28.0 %), which the DIST expert (25.0 %) pulls "
        "down. The DIST expert learns from the teacher, so a better teacher comes first;"
    )


def test_the_second_run_on_traffic_signs(outcome):
    """Teacher 96.2, student 74.5, tail 52: the student was offered without a word."""
    ended = outcome(mean=84, cls=73, dist=74, teacher=96.2, tail_mean=52)
    assert ended.experts["mean"]["accuracy"] == pytest.approx(74.4)  # whole images of classes of 100
    assert findings(ended) == [
        "The student (74.4 % accuracy) is still 21.8 points below its teacher (96.2 %). Train it longer "
        "(`--num_train_epochs 1200 --drw_start_epoch 1080`), or use the teacher: `deit-lt classify TEACHER_FOLDER "
        "IMAGE`."
    ]
    assert far_below_teacher(ended)


@pytest.mark.parametrize(
    ("teacher", "per_class", "said"),
    [
        (90.0, 100, True),
        (82.0, 1000, False),  # beyond chance, but a long way from far
        (84.0, 20, False),  # 4 points on 200 images: 7.7 are within chance
        (None, 100, False),  # a teacher of which nothing is known
    ],
)
def test_a_student_far_below_its_teacher(outcome, teacher, per_class, said):
    ended = outcome(teacher=teacher, per_class=per_class, data=DataArguments(group_boundaries=["1", "2"]))
    assert far_below_teacher(ended) is said
    assert any("still" in text for text in findings(ended)) is said


@pytest.mark.parametrize(
    ("teacher", "per_class", "said"),
    [
        (70.0, 100, True),
        (72.0, 20, False),  # 8 points on 200 images: 8.5 are within chance
        (77.5, 10000, False),  # beyond chance, but within what a seed turns round
        (None, 100, False),
    ],
)
def test_a_teacher_weaker_than_the_cls_expert(outcome, teacher, per_class, said):
    found = findings(outcome(teacher=teacher, per_class=per_class))
    assert any("is weaker than the CLS expert" in text for text in found) is said


def test_a_weak_teacher_without_a_recipe_is_trained_by_itself(outcome):
    (text,) = findings(outcome(teacher=60.0, teacher_recipe=False))
    assert "`deit-lt train-teacher`" in text


def test_a_better_cls_expert_and_a_better_teacher_do_not_contradict_each_other(outcome):
    """The mean is far below both; the teacher is no way out where the CLS expert is better still."""
    ended = outcome(mean=50, cls=70, dist=40, teacher=60.0, seeds=(0, 1, 2))
    assert not far_below_teacher(ended)
    assert [text.split()[1] for text in findings(ended)] == ["teacher", "CLS"]


@pytest.mark.parametrize(("agreement", "said"), [(49.0, True), (51.0, False), (None, False)])
def test_a_teacher_that_disagrees_with_most_labels(outcome, agreement, said):
    assert any("disagrees" in text for text in findings(outcome(teacher_accuracy=agreement))) is said


def test_an_expert_that_beats_the_mean(outcome):
    (text,) = findings(outcome(mean=80, cls=70, dist=85, teacher=82.0))
    assert text.startswith("The DIST expert alone (85.0 % accuracy) beats the mean of both (80.0 %), which the CLS")
    assert "set `--fusion_weight` below 0.5 only if held-out training images" in text
    assert "longer (`--num_train_epochs 1200 --drw_start_epoch 1080`)" in text
    (text,) = findings(outcome(mean=80, cls=85, dist=70, teacher=None, drw_start_epoch=None, counts=(50,) * CLASSES))
    assert "longer (`--num_train_epochs 1200`)" in text
    assert "`--fusion_weight` above 0.5" in text


@pytest.mark.parametrize(
    ("dist", "per_class", "seeds"),
    [
        (80.9, 1000, (0, 0, 0)),  # 90 images that only DIST has right and none the other way: no chance, but no matter
        (82.0, 100, (0, 1, 2)),  # 20 images more, of some 300 that one of both has right: 35 are within chance
    ],
)
def test_an_expert_within_noise_is_not_named(outcome, dist, per_class, seeds):
    assert findings(outcome(dist=dist, per_class=per_class, seeds=seeds)) == []


def test_a_paired_difference_is_seen_where_two_figures_alone_would_not_tell(outcome):
    """Two points on 1,000 images are within chance of two accuracies, but here no image speaks for the mean."""
    (text,) = findings(outcome(dist=82.0))
    assert text.startswith("The DIST expert alone")


def test_tail_classes_without_a_correct_image(outcome):
    ended = outcome(tail_mean=0, teacher=60.0, cls=59.0, dist=59.0)
    (text,) = (text for text in findings(ended) if text.startswith("Of"))
    assert text == (
        "Of 3 tail classes that are tested, 3 have no correct test image: `sign 7`, `sign 8`, `sign 9`. Start DRW "
        "earlier (`--drw_start_epoch 480`, now 540 of 600 epochs), or train longer (`--num_train_epochs 1200 "
        "--drw_start_epoch 1080`)."
    )


def test_one_missed_class_and_many(outcome):
    ended = outcome()
    ended.predicted["mean"][ended.labels == 8] = 0
    (text,) = (text for text in findings(ended) if text.startswith("Of"))
    assert "1 has no correct test image: `sign 8`. " in text
    ended = outcome(data=DataArguments(group_boundaries=["1", "2"]), tail_mean=0)
    ended.predicted["mean"][:] = 0
    (text,) = (text for text in findings(ended) if text.startswith("Of"))
    assert "Of 8 tail classes that are tested, 8 have" in text
    assert "`sign 6`, ...." in text


def test_a_class_of_four_test_images_may_be_missed_by_chance(outcome):
    ended = outcome(per_class=4)
    ended.predicted["mean"][ended.labels == 8] = 0
    assert not any("no correct" in text for text in findings(ended))
    ended.predicted["mean"][ended.labels >= 7] = 0  # but not twelve images of three classes
    assert any("3 have no correct" in text for text in findings(ended))


def test_what_helps_the_tail_depends_on_what_was_done_for_it(outcome, settings):
    counts = (500,) * 7 + (50,) * 3
    (text,) = findings(outcome(tail_mean=0, teacher=None, drw_start_epoch=None, counts=counts, cls=50, dist=50))
    assert text.endswith("`--drw_start_epoch 0.9` gives rare classes more weight in the last tenth of the epochs.")
    ended = outcome(tail_mean=0, teacher=None, drw_start_epoch=0, cls=50, dist=50)
    assert "Train longer (`--num_train_epochs 1200`)." in findings(ended)[0]
    own = TeacherRecipe("teacher", DataArguments(), replace(settings[1], drw_start_epoch=None))
    ended = replace(ended, recipe=replace(ended.recipe, teacher_recipe=own))
    assert "or give the teacher DRW (`drw_start_epoch` in a copy of its recipe)." in findings(ended)[0]


@pytest.mark.parametrize(
    ("counts", "tail", "start", "said"),
    [
        ((500,) * 7 + (50,) * 3, 40, None, True),
        ((500,) * 7 + (50,) * 3, 40, 540, False),
        ((500,) * 7 + (100,) * 3, 40, None, False),  # no long tail
        ((500,) * 7 + (50,) * 3, 78, None, False),  # 2 points of some 7 that are within chance
    ],
)
def test_no_drw_though_the_tail_lags_behind(outcome, counts, tail, start, said):
    found = findings(outcome(tail_mean=tail, counts=counts, drw_start_epoch=start, teacher=None, cls=60, dist=60))
    assert any(text.startswith("There was no DRW") for text in found) is said
    assert len(found) == said


def test_a_test_split_too_small_for_its_tail(outcome):
    (text,) = findings(outcome(per_class=10, teacher=None))
    assert text == (
        "The tail's 80.0 % rests on 30 test images of 3 classes, so chance alone may move it by 15 points. Add "
        "test images of these classes before you compare runs by it."
    )
    (text,) = findings(outcome(per_class=10, teacher=None, data=DataArguments(test_fraction=0.2)))
    assert text.endswith("`--test_fraction 0.4` (now 0.2) tests on more images and trains on fewer.")
    (text,) = findings(outcome(per_class=10, teacher=None, data=DataArguments(test_fraction=0.5)))
    assert text.endswith("Add test images of these classes before you compare runs by it.")


def test_a_tail_that_is_not_tested_is_left_alone(outcome):
    ended = outcome(drw_start_epoch=None)
    rows = ended.labels < 7
    predicted = {name: classes[rows] for name, classes in ended.predicted.items()}
    labels = ended.labels[rows]
    experts = expert_report({n: np.eye(CLASSES)[p] for n, p in predicted.items()}, labels, ended.counts)
    assert experts["mean"]["tail"] is None
    assert findings(replace(ended, labels=labels, predicted=predicted, experts=experts)) == []


def test_balanced_accuracy_is_compared_where_it_leads(outcome):
    """A teacher that is better on the large classes only is no better."""
    ended = outcome(teacher=None)
    rows = (ended.labels > 0) | (np.arange(len(ended.labels)) % 2 == 0)
    predicted = {name: classes[rows] for name, classes in ended.predicted.items()}
    labels = ended.labels[rows]
    experts = expert_report({n: np.eye(CLASSES)[p] for n, p in predicted.items()}, labels, ended.counts)
    ended = replace(ended, labels=labels, predicted=predicted, experts=experts)
    assert not far_below_teacher(replace(ended, teacher={"accuracy": 95.0, "balanced_accuracy": 80.0}))
    ended = replace(ended, teacher={"accuracy": 80.0, "balanced_accuracy": 95.0})
    assert "balanced accuracy) is still" in findings(ended)[0]


def test_settings_and_commands_that_are_named_exist(outcome):
    """All texts that there are: what stands in backticks is a flag, a setting, a command or a class."""
    no_drw = {"drw_start_epoch": None, "counts": (500,) * 7 + (50,) * 3}
    small = {"per_class": 10, "teacher": None}
    ends = [
        outcome(mean=28, cls=36, dist=25, teacher=31.0, teacher_accuracy=33.0, seeds=(0, 1, 2)),
        outcome(mean=28, cls=36, dist=25, teacher=31.0, seeds=(0, 1, 2), teacher_recipe=False),
        outcome(teacher=96.0, dist=90.0, tail_mean=0),
        outcome(tail_mean=40, **no_drw),
        outcome(tail_mean=0, **no_drw),
        outcome(**small),
        outcome(data=DataArguments(test_fraction=0.2), **small),
    ]
    texts = [text for ended in ends for text in findings(ended)]
    assert len({text.split()[1] for text in texts}) >= 7
    kinds = (ModelArguments, DataArguments, DistillationArguments, TeacherArguments)
    known = {entry.name for kind in kinds for entry in fields(kind) if entry.init}
    for text in texts:
        assert text.endswith(".")
        for code in re.findall(r"`([^`]+)`", text):
            words = code.split()
            if words[0] == "deit-lt":
                assert words[1] in COMMANDS
            elif words[0] != "sign":
                flags = re.findall(r"--(\w+)", code) or [code]
                assert set(flags) <= known, code
