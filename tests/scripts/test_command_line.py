"""The commands as a user types them: some in a process of their own, the rest in this one to save its start."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import classify
import evaluate
import finetune
import numpy as np
import printing
import pytest
import train_teacher
from building import prepare_output_folder
from command_line import RecipeParser
from helpers import SCRIPTS, command, image_tree, write_recipe
from PIL import Image

from trainer.arguments import DataArguments, DistillationArguments, ModelArguments, TeacherArguments
from trainer.errors import CheckpointError, DataError, DeiTLTError, RunError
from trainer.teachers import TeacherTrainer
from trainer.trainer import DeiTLTTrainer


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run from a folder of images to a model folder, with a flag over the recipe."""
    folder = tmp_path_factory.mktemp("run")
    recipe = write_recipe(folder, dataset=str(image_tree(folder / "images")))
    done = command("finetune.py", recipe, "--output_dir", "out", "--alpha", "0.25", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_banner_table_and_next_step(finished):
    _, done = finished
    for text in (
        "3 classes, 26 training images, 12 to 6 per class (rho 2)",
        "0.75 * CE(CLS, label) + 0.25 * CE(DIST, teacher's arg max)",  # the flag, not the default
        "from epoch 2 on",
        "batch 7 x 1 accumulated x 1 rank(s) = 7",
        "% of augmented training images",
        "mean of EMA",
        "classify.py out out/example.png",
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


def test_classify_prints_the_classes(finished, capsys):
    classify.main([str(finished[0] / "out"), str(finished[0] / "out" / "example.png")])
    printed = capsys.readouterr().out
    assert {line.split()[-1] for line in printed.splitlines()} == {"level0", "level1", "level2"}


def test_classify_says_what_is_missing(finished, tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        classify.main([str(tmp_path), "any.png"])
    with pytest.raises(DataError, match=r"nowhere\.png cannot be read"):
        classify.main([str(finished[0] / "out"), str(tmp_path / "nowhere.png")])


def test_evaluate_repeats_the_runs_figures(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished[0])
    evaluate.main(["out", "images", "--output", "report.json", "--use_cpu"])
    report, metrics = (json.loads(Path(name).read_text()) for name in ("report.json", "out/metrics.json"))
    for expert in ("mean", "cls", "dist"):  # another batch size rounds the last digit of the logits differently
        assert report[expert] == pytest.approx(metrics["last"][expert], abs=1e-3)
    assert "CLS" in capsys.readouterr().out


def test_evaluate_refuses_other_classes(finished, tmp_path):
    other = image_tree(tmp_path / "images", counts=(3, 2))
    with pytest.raises(DataError, match="other classes than the model, or another order: 2 for 3"):
        evaluate.main([str(finished[0] / "out"), str(other), "--use_cpu"])


def test_a_second_run_reuses_the_teacher(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished[0])
    finetune.main(["recipe.yaml", "--output_dir", "again", "--num_train_epochs", "2"])
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
    flags = ["--bf16=true", "--num_train_epochs=2", "--output_dir=bf16/out", "--seed=3"]  # a teacher of its own
    finetune.main(["recipe.yaml", *flags])
    assert seen == {"TeacherTrainer": {"no"}, "DeiTLTTrainer": {"bf16"}}


def test_a_folder_with_something_in_it_is_refused(finished):
    done = command("finetune.py", "recipe.yaml", "--output_dir", "out", cwd=finished[0])
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: output folder out is not empty")
    assert "--resume_from_checkpoint" in done.stderr


def test_a_finished_run_resumes_to_the_same_figures(finished, monkeypatch, capsys):
    """The last checkpoint of the run, taken up again, gives the same report."""
    monkeypatch.chdir(finished[0])
    shutil.copytree("out", "resumed")
    words = ["recipe.yaml", "--output_dir=resumed", "--alpha=0.25", "--resume_from_checkpoint=true"]
    with pytest.raises(RunError, match="the run in resumed is complete"):
        finetune.main(words)
    Path("resumed/metrics.json").unlink()
    Path("resumed/checkpoint-12/trainer_state.json").unlink()  # killed while it was saved
    finetune.main(words)
    assert json.loads(Path("resumed/metrics.json").read_text())["resumed_from_step"] == 11
    printed = finished[1].stdout, capsys.readouterr().out
    first, second = (text.split("expert ")[1].split("The model is")[0] for text in printed)
    assert first == second


def test_a_run_whose_first_checkpoint_rotates_away_ends_with_its_report(finished, monkeypatch):
    """Of the checkpoint that it was resumed from nothing is left at the end."""
    monkeypatch.chdir(finished[0])
    shutil.copytree("out/checkpoint-11", "rotated/checkpoint-11")
    flags = ["--alpha=0.25", "--save_total_limit=1", "--resume_from_checkpoint=true"]
    finetune.main(["recipe.yaml", "--output_dir=rotated", *flags])
    assert [path.name for path in Path("rotated").glob("checkpoint-*")] == ["checkpoint-12"]
    metrics, whole = (json.loads(Path(run, "metrics.json").read_text()) for run in ("rotated", "out"))
    assert metrics["resumed_from_step"] == 11
    assert metrics["last"] == whole["last"]


def test_resuming_from_nothing_says_so(tmp_path):
    recipe = write_recipe(tmp_path)
    with pytest.raises(CheckpointError, match=r"there is no run in .*new to resume"):
        finetune.main([str(recipe), f"--output_dir={tmp_path / 'new'}", "--resume_from_checkpoint=true"])
    with pytest.raises(CheckpointError, match=r"has no trainer_state\.json"):
        finetune.main([str(recipe), f"--output_dir={tmp_path / 'new'}", f"--resume_from_checkpoint={tmp_path}"])


def test_a_run_cut_off_before_its_first_checkpoint_starts_anew(tmp_path):
    args = DistillationArguments(output_dir=str(tmp_path), resume_from_checkpoint="true", use_cpu=True)
    (tmp_path / "history.jsonl").write_text("{}")
    assert prepare_output_folder(args) is None


def test_a_teacher_of_other_images_is_not_reused(finished, monkeypatch):
    monkeypatch.chdir(finished[0])
    (teacher,) = Path("teachers").iterdir()
    flags = ["--model_selection=validation", f"--teacher_output_dir={teacher}", "--output_dir=refused"]
    with pytest.raises(RunError, match="comes from other images, another recipe"):
        finetune.main(["recipe.yaml", *flags])


def student_parser():
    return RecipeParser((ModelArguments, DataArguments, DistillationArguments), "")


def usage_error(capsys, *words):
    """What the parser prints before it exits with 2."""
    with pytest.raises(SystemExit) as end:
        student_parser().parse([str(word) for word in words])
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--alhpa", "0.3"], "unknown argument --alhpa; did you mean --alpha?"),
        (["--preset", "huge"], "invalid choice: 'huge'"),
        (["--num_train_epochs", "many"], "invalid float value: 'many'"),
        (["--drw_start_epoch", "9"], "drw_start_epoch 9 lies outside the 3 epochs"),
        (["--group_boundaries", "3", "x"], "two whole ranks"),
    ],
)
def test_wrong_flags_are_named(tmp_path, capsys, words, message):
    assert message in usage_error(capsys, write_recipe(tmp_path), *words)


def test_a_wrong_value_in_a_recipe_is_checked_as_a_flag_is(tmp_path, capsys):
    assert "invalid choice: 'huge'" in usage_error(capsys, write_recipe(tmp_path, preset="huge"))


def test_a_missing_recipe_lists_what_there_is(capsys):
    assert "digits_lt" in usage_error(capsys, "nowhere.yaml")


def test_a_flag_wins_over_the_recipe_and_the_recipe_over_the_default(tmp_path):
    path, model, data, args = student_parser().parse([str(write_recipe(tmp_path, alpha=0.3)), "--alpha", "0.2"])
    assert (args.alpha, model.hidden_size, data.rho, args.temperature) == (0.2, 16, None, 1.0)
    assert args.output_dir == f"runs/{path.stem}"


def test_an_unknown_key_exits_with_2_and_names_the_closest(tmp_path):
    done = command("finetune.py", write_recipe(tmp_path, mixup_alfa=0.5), cwd=tmp_path)
    assert done.returncode == 2
    assert "unknown key mixup_alfa; did you mean mixup_alpha?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_image_is_one_line_and_exits_with_1(tmp_path):
    images = image_tree(tmp_path / "images")
    broken = images / "train" / "level1" / "12.png"
    broken.write_bytes(broken.read_bytes()[:60])
    done = command("finetune.py", write_recipe(tmp_path, dataset=str(images)), cwd=tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert str(broken) in lines[0]
    assert "Traceback" not in done.stderr
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


@pytest.mark.parametrize("module", [finetune, train_teacher, evaluate, classify])
def test_help_exits_with_0(module, capsys):
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_every_recipe_parses():
    """All keys and values are known, and a teacher recipe that is named is there."""
    on_cpu = ["--use_cpu=true", "--bf16=false"]
    for path in SCRIPTS.glob("recipes/*.yaml"):
        args = student_parser().parse([str(path), *on_cpu])[-1]
        assert args.teacher is None or (path.parent / args.teacher).is_file()
    for path in SCRIPTS.glob("recipes/teachers/*.yaml"):
        RecipeParser((DataArguments, TeacherArguments), "").parse([str(path), *on_cpu])


def test_the_cifar_recipes_have_the_published_peak_rate_and_batch():
    """2.5e-4 at 1024 images per step (official scripts), DRW for the last 100 of 1,200 epochs without mixing."""
    paths = list(SCRIPTS.glob("recipes/cifar*_rho*.yaml"))
    assert len(paths) == 6
    for path in paths:
        args = student_parser().parse([str(path), "--use_cpu=true", "--bf16=false"])[-1]
        assert args.global_batch_size == 1024
        assert args.learning_rate == pytest.approx(2.5e-4)
        assert (args.num_train_epochs, args.drw_start_epoch, args.drw_mixing) == (1200, 1100, False)
        assert (args.drw_mean, args.drop_partial_batches) == ("micro_batch", True)


def test_the_example_is_a_test_image_of_the_rarest_class(finished):
    assert np.asarray(Image.open(finished[0] / "out" / "example.png")).mean() > 170


def test_another_schedule_runs_and_is_named(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished[0])
    finetune.main(["recipe.yaml", "--output_dir=linear", "--teacher=none", "--lr_scheduler_type=linear"])
    assert re.search(r"learning rate \S+, linear\n", capsys.readouterr().out)
    assert "cosine_warmup_with_min_lr to" in finished[1].stdout


def test_a_teacher_whose_tail_is_not_tested_is_announced():
    args = SimpleNamespace(teacher="folder")
    facts = {"teacher": {"accuracy": 90.0, "tail": None}, "teacher_accuracy_on_training_images": 80.0}
    assert printing._teacher(args, facts) == "folder; 80.0 % of augmented training images, 90.0 % of its test set"
