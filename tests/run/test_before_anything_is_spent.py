"""What settings and folders decide is refused before data are read, and so before a teacher trains."""

import json

import pytest
import yaml
from helpers import TEACHER, image_tree, picture_dataset, write_recipe

from trainer.errors import DataError, DeiTLTError
from trainer.run import run_student, run_teacher, student_recipe, teacher_recipe


@pytest.fixture
def nothing_is_spent(monkeypatch):
    """Reading data fails the test."""

    def read(*args, **kwargs):
        pytest.fail("the data were read")

    monkeypatch.setattr("trainer.run.data.load_long_tailed", read)


SETTINGS = [
    ({"patch_size": 3}, "image_size 8"),
    ({"num_attention_heads": 3}, "num_attention_heads 3"),
    ({"hidden_size": -16}, "hidden_size must lie in"),
    ({"num_hidden_layers": 0}, "num_hidden_layers must lie in"),
    ({"drop_path_rate": 1.0}, "drop_path_rate"),
    ({"fusion_weight": 2.0}, "fusion_weight"),
    ({"attn_implementation": "magic"}, "magic attention"),
    ({"attn_implementation": "flash_attention_2"}, "flash_attention_2 attention"),
    ({"optim": "adamw_8bit"}, "bitsandbytes"),
    ({"optim": "bogus"}, "bogus"),
    ({"lr_scheduler_type": "bogus"}, "bogus"),
    ({"lr_scheduler_type": "cosine_with_min_lr"}, "min_lr"),
    ({"lr_scheduler_type": "linear", "lr_scheduler_kwargs": {"bogus": 1}}, "bogus"),
    ({"report_to": "bogus"}, "bogus"),
    ({"report_to": "mlflow"}, "mlflow"),
    ({"teacher": "./nowhere"}, "cannot be loaded"),
    ({"teacher": "resnet_that_is_not"}, "cannot be loaded"),
    ({"teacher": "nowhere.yaml"}, r"there is no recipe nowhere\.yaml"),
    ({"teacher": "recipe.yaml"}, "unknown key"),  # a student's recipe
    ({"teacher_class_names": "nowhere.txt"}, r"nowhere\.txt"),
    ({"per_device_eval_batch_size": 0}, "per_device_eval_batch_size"),
    ({"per_device_train_batch_size": -1}, "per_device_train_batch_size"),
    ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps"),
    ({"prediction_loss_only": True}, "prediction_loss_only"),
    ({"seed": 2**32}, "seed"),
    ({"dataloader_num_workers": -1}, "dataloader_num_workers"),
    ({"group_boundaries": [1, 2, 3]}, "group_boundaries"),
    ({"drw_start_epoch": 3}, "give a share of them"),
]


@pytest.mark.parametrize(("changes", "message"), SETTINGS)
def test_a_wrong_students_setting(tmp_path, nothing_is_spent, changes, message):
    with pytest.raises(DeiTLTError, match=message) as refusal:
        run_student(student_recipe(write_recipe(tmp_path, **changes), {"output_dir": str(tmp_path / "out")}))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet_that_is_not"}, "Unknown model"),
        ({"architecture": "vgg11"}, "too small"),
        ({"loss": "magic"}, "loss must be one of"),
        ({"per_device_train_batch_size": 1}, "cannot normalise a single image"),
        ({"optim": "bogus"}, "bogus"),
        ({"lr_scheduler_type": "bogus"}, "bogus"),
        ({"momentum": 2}, "momentum must lie in"),
        ({"alpha": 0.5}, "unknown key alpha"),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_a_wrong_teachers_setting(tmp_path, nothing_is_spent, changes, message, alone):
    recipe = write_recipe(tmp_path)
    (tmp_path / "teacher.yaml").write_text(yaml.safe_dump({**TEACHER, "use_cpu": True, **changes}))
    given = {"output_dir": str(tmp_path / "out")}
    with pytest.raises(DeiTLTError, match=message):
        run_teacher(teacher_recipe(tmp_path / "teacher.yaml", given)) if alone else run_student(
            student_recipe(recipe, given)
        )


def test_the_teachers_folder_is_the_students_or_holds_other_work(tmp_path, nothing_is_spent):
    recipe, out = write_recipe(tmp_path), str(tmp_path / "out")
    with pytest.raises(DeiTLTError, match="lie in one another"):
        run_student(student_recipe(recipe, {"output_dir": out, "teacher_output_dir": f"{out}/../out"}))
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_text("mine")
    with pytest.raises(DeiTLTError, match="holds something else than a teacher"):
        run_student(student_recipe(recipe, {"output_dir": out, "teacher_output_dir": str(other)}))
    assert [path.name for path in other.iterdir()] == ["model.safetensors"]
    assert (other / "model.safetensors").read_text() == "mine"


def test_the_students_folder_is_looked_at_first(tmp_path, nothing_is_spent):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    recipe = write_recipe(tmp_path, patch_size=3)
    with pytest.raises(DeiTLTError, match="is not empty"):
        run_student(student_recipe(recipe, {"output_dir": str(tmp_path / "out")}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop_partial_batches": True, "per_device_train_batch_size": 64}, "leaves none of 26 training images"),
        ({"group_boundaries": ["cifar10_lt"]}, "cifar10_lt"),
        ({"rho": 100}, "rho"),
    ],
)
def test_what_the_data_decide_is_refused_before_a_teacher_trains(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr("trainer.run.teacher.train_teacher", lambda *args, **kwargs: pytest.fail("it trained"))
    recipe = write_recipe(tmp_path, dataset=str(image_tree(tmp_path / "images")), **changes)
    with pytest.raises(DataError, match=message):
        run_student(student_recipe(recipe, {"output_dir": str(tmp_path / "out")}))


def test_a_single_class_is_refused(tmp_path):
    picture_dataset((5,)).save_to_disk(str(tmp_path / "set" / "train"))
    picture_dataset((5,)).save_to_disk(str(tmp_path / "set" / "test"))
    (tmp_path / "set" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    recipe = write_recipe(tmp_path, dataset=str(tmp_path / "set"))
    with pytest.raises(DataError, match=r"the data have one class \(level0\)"):
        run_student(student_recipe(recipe, {"output_dir": str(tmp_path / "out")}))
