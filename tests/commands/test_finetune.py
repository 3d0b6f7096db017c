"""A student's run as a user types it: one in a process of its own, the rest in this one to save its start."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import image_tree, write_recipe
from PIL import Image

from trainer.commands import finetune
from trainer.errors import DeiTLTError, RunError
from trainer.run import RunTeacher
from trainer.run.summary import _teacher
from trainer.teachers import TeacherTrainer
from trainer.trainer import DeiTLTTrainer


def test_banner_table_and_next_step(finished):
    _, done = finished
    for text in (
        "3 classes, 26 training images, 12 to 6 per class (rho 2)",
        "0.75 * CE(CLS, label) + 0.25 * CE(DIST, teacher's arg max)",  # the flag, not the default
        "from epoch 2 on",
        "batch 7 x 1 accumulated x 1 rank(s) = 7",
        "% of augmented training images",
        "mean of EMA",
        "deit-lt classify out out/example.png",
    ):
        assert text in done.stdout
    assert "Traceback" not in done.stderr


def test_results_are_all_there_and_parse(finished):
    folder = finished[0] / "out"
    metrics = json.loads((folder / "metrics.json").read_text())
    keys = ["accuracy", "balanced_accuracy", "head", "mid", "tail", "many", "medium", "few"]
    keys += ["macro_f1", "g_mean", "worst", "ece"]
    for weights in ("last", "ema"):
        for expert in ("mean", "cls", "dist"):
            assert sorted(metrics[weights][expert]) == sorted(keys)
    assert metrics["best"] is None  # model_selection is `last`
    assert metrics["class_counts"] == [12, 8, 6]
    assert metrics["teacher"]["accuracy"] > 50
    assert metrics["wall_seconds"] > 0
    assert metrics["images_per_second"] > 0
    assert metrics["device"]
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert {"loss", "loss_cls", "loss_dist", "teacher_agreement", "cls_dist_cosine", "drw"} <= set(history[0])
    for plot in ("class_accuracy", "history"):
        assert Image.open(folder / "plots" / f"{plot}.png").size > (300, 200)
    assert len((folder / "plots" / "class_accuracy.csv").read_text().splitlines()) == 4


def test_the_model_card_is_valid_and_has_the_figures(finished):
    from huggingface_hub import ModelCard

    folder = finished[0] / "out"
    metrics, card = json.loads((folder / "metrics.json").read_text()), ModelCard.load(folder / "README.md")
    accuracy = metrics["last"]["mean"]["accuracy"]
    assert card.data.eval_results[0].metric_value == pytest.approx(accuracy, abs=0.01)
    assert card.data.pipeline_tag == "image-classification"
    assert f"{accuracy:.1f}" in card.text
    assert "- `alpha`: 0.25" in card.text
    assert "run:" not in card.text


def test_pipeline_scores_equal_the_trainers(finished):
    """One image through the saved folder and its processor, and through what the trainer evaluates with."""
    import torch
    from transformers import pipeline

    from modeling_deit_lt import DeiTLTForImageClassification
    from trainer.augmentation import EvaluationImages, image_processor
    from trainer.data import load_long_tailed

    folder = finished[0] / "out"
    classify = pipeline("image-classification", model=str(folder), top_k=3)
    test = load_long_tailed(str(finished[0] / "images"))["test"]
    row = EvaluationImages(test, image_processor(8, 1.0))[4]
    model = DeiTLTForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(row["pixel_values"][None]).logits[0].softmax(-1)
    for score in classify(test[4]["image"]):
        assert score["score"] == pytest.approx(expected[model.config.label2id[score["label"]]].item(), abs=1e-6)
    assert model.config.problem_type == "single_label_classification"


def test_the_example_is_a_test_image_of_the_rarest_class(finished):
    assert np.asarray(Image.open(finished[0] / "out" / "example.png")).mean() > 170


def test_a_second_run_reuses_the_teacher(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished[0])
    finetune.main(["recipe.yaml", "--output_dir", "again", "--num_train_epochs", "2", "--drw_start_epoch", "none"])
    assert "Training the teacher" in finished[1].stdout
    assert "Training the teacher" not in capsys.readouterr().out
    assert len(list(Path("teachers").iterdir())) == 1


def test_other_data_get_another_teacher_and_validation_selects(finished, monkeypatch):
    """A teacher must not have seen the student's validation images."""
    monkeypatch.chdir(finished[0])
    flags = ["--model_selection", "validation", "--validation_fraction", "0.3", "--output_dir", "elsewhere/validated"]
    finetune.main(["recipe.yaml", *flags])
    metrics = json.loads(Path("elsewhere/validated/metrics.json").read_text())
    assert metrics["class_counts"] == [8, 6, 4]
    assert metrics["best"] is not None
    (teacher,) = Path("elsewhere/teachers").iterdir()
    assert json.loads((teacher / "metrics.json").read_text())["class_counts"] == [8, 6, 4]


def test_a_bf16_students_teacher_from_a_recipe_trains_in_float32(finished, monkeypatch):
    monkeypatch.chdir(finished[0])
    seen = {}
    for kind in (TeacherTrainer, DeiTLTTrainer):
        step = kind.training_step

        def record(trainer, *args, kind=kind, step=step):
            seen.setdefault(kind.__name__, set()).add(trainer.accelerator.mixed_precision)
            return step(trainer, *args)

        monkeypatch.setattr(kind, "training_step", record)
    flags = [
        "--bf16=true",
        "--num_train_epochs=2",
        "--drw_start_epoch=1",
        "--output_dir=bf16/out",
        "--seed=3",
    ]  # a teacher of its own
    finetune.main(["recipe.yaml", *flags])
    assert seen == {"TeacherTrainer": {"no"}, "DeiTLTTrainer": {"bf16"}}


def test_a_teacher_of_other_images_is_not_reused(finished, monkeypatch):
    monkeypatch.chdir(finished[0])
    (teacher,) = Path("teachers").iterdir()
    flags = ["--model_selection=validation", f"--teacher_output_dir={teacher}", "--output_dir=refused"]
    with pytest.raises(RunError, match="comes from other images, other settings"):
        finetune.main(["recipe.yaml", *flags])


def test_another_schedule_runs_and_is_named(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished[0])
    finetune.main(["recipe.yaml", "--output_dir=linear", "--teacher=none", "--lr_scheduler_type=linear"])
    assert re.search(r"learning rate \S+, linear\n", capsys.readouterr().out)
    assert "cosine_warmup_with_min_lr to" in finished[1].stdout


def test_a_teacher_whose_tail_is_not_tested_is_announced():
    teacher = RunTeacher(None, "folder", {"accuracy": 90.0, "tail": None})
    assert _teacher(teacher, 80.0) == "folder; 80.0 % of augmented training images, 90.0 % of its test set"


def test_a_broken_image_is_one_line_and_exits_with_1(tmp_path, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = image_tree(tmp_path / "images")
    broken = images / "train" / "level1" / "12.png"
    broken.write_bytes(broken.read_bytes()[:60])
    code, told = refused("finetune", write_recipe(tmp_path, dataset=str(images)))
    assert code == 1
    (line,) = [line for line in told.splitlines() if "error" in line]
    assert line.startswith("error: ")
    assert str(broken) in line
    assert "Traceback" not in told
    assert not (tmp_path / "runs" / "recipe" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "none", "patch_size": 3}, "image_size 8"),
        ({"teacher": "none", "num_attention_heads": 3}, "num_attention_heads 3"),
        ({"teacher": "none", "attn_implementation": "magic"}, "magic attention"),
        ({"rho": 100}, "rho"),
        ({"rho": 0.5}, "rho"),
        ({"label_column": "species"}, "species"),
        ({"group_boundaries": ["cifar10_lt"]}, "cifar10_lt"),
        ({"dataset": "./nowhere"}, "nowhere"),
        ({"teacher": "./nowhere"}, "cannot be loaded"),
    ],
)
def test_faults_are_refused_in_one_line(tmp_path, changes, message):
    settings = {"dataset": str(image_tree(tmp_path / "images")), "output_dir": str(tmp_path / "out"), **changes}
    with pytest.raises(DeiTLTError, match=message) as refusal:
        finetune.main([str(write_recipe(tmp_path, **settings))])
    assert "\n" not in str(refusal.value)
