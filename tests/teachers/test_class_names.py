"""A teacher's outputs are brought to the data's label order by name, or refused."""

import json
from pathlib import Path

import pytest
import timm
import torch
from helpers import image_tree, write_recipe
from timm.models import save_for_hf
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from trainer.commands import finetune
from trainer.errors import TeacherError
from trainer.teachers import load_teacher
from trainer.teachers.class_names import class_order, read_class_names

NAMES = ["cat", "dog", "eel"]


def save_timm(folder, names):
    """A timm folder with these label names, or none, and its model."""
    torch.manual_seed(0)
    model = timm.create_model("resnet8_cifar", num_classes=len(NAMES)).eval()
    config = {"label_names": names} if names else {}
    save_for_hf(model, str(folder), model_config=config, safe_serialization=True)
    return model


def save_hugging_face(folder, names):
    """A Hugging Face folder with these label names, or transformers' placeholders, and its model."""
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=len(NAMES))
    if names:
        config.id2label = dict(enumerate(names))
        config.label2id = {name: index for index, name in enumerate(names)}
    model = ResNetForImageClassification(config).eval()
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return lambda images: model(images).logits


both_kinds = pytest.mark.parametrize(("save", "size"), [(save_timm, 32), (save_hugging_face, 16)])


@both_kinds
@pytest.mark.parametrize(
    ("names", "columns"), [(NAMES, [0, 1, 2]), (["eel", "dog", "cat"], [2, 1, 0]), (["dog", "eel", "cat"], [2, 0, 1])]
)
def test_column_c_is_the_datas_class_c(tmp_path, save, size, names, columns):
    model, images = save(tmp_path, names), torch.randn(4, 3, size, size)
    teacher = load_teacher(str(tmp_path), 3, class_names=NAMES)
    with torch.no_grad():
        torch.testing.assert_close(teacher(images), model(images).detach()[:, columns])
    assert (teacher.order is None) == (names == NAMES)


@both_kinds
@pytest.mark.parametrize("settings", [{}, {"class_names": NAMES}])
def test_without_names_on_one_side_the_order_is_the_teachers(tmp_path, save, size, settings):
    """Placeholders are no names."""
    model = save(tmp_path, None if settings else NAMES[::-1])
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(load_teacher(str(tmp_path), 3, **settings)(images), model(images).detach())


@both_kinds
@pytest.mark.parametrize("own", [None, NAMES, ["x", "y", "z"]])
def test_names_that_are_given_win(tmp_path, save, size, own):
    model, images = save(tmp_path, own), torch.randn(2, 3, size, size)
    teacher = load_teacher(str(tmp_path), 3, class_names=NAMES, teacher_class_names=["eel", "cat", "dog"])
    with torch.no_grad():
        torch.testing.assert_close(teacher(images), model(images).detach()[:, [1, 2, 0]])


def test_timms_names_by_index(tmp_path):
    save_timm(tmp_path, {"2": "cat", "0": "dog", "1": "eel"})
    assert load_teacher(str(tmp_path), 3, class_names=NAMES).order.tolist() == [2, 0, 1]


def test_other_classes_are_refused_with_what_to_do(tmp_path):
    save_timm(tmp_path, ["Cat", "bee", "dog"])
    with pytest.raises(TeacherError, match=r"lacks the classes 'cat', 'eel'; name .* teacher_class_names, or train"):
        load_teacher(str(tmp_path), 3, class_names=NAMES)


@pytest.mark.parametrize(
    ("teacher", "data", "message"),
    [
        ("abcde", "vwxyz", "'v', 'w', 'x' and 2 more; "),
        ("ab", "abc", "2 names for 3 outputs"),
        ("abb", "bab", "2 of its outputs are named 'b'"),
        ("abc", "aab", "2 of the classes of the data are named 'a'"),
        ("aabc", "abcd", "lacks the classes 'd'"),
    ],
)
def test_what_cannot_be_mapped_is_one_line(teacher, data, message):
    with pytest.raises(TeacherError, match=message) as refusal:
        class_order("folder", list(teacher), list(data))
    assert "\n" not in str(refusal.value)


def test_the_same_list_needs_no_mapping_even_with_one_name_twice():
    assert class_order("folder", ["a", "a"], ["a", "a"]) is None


def test_another_number_of_classes_keeps_its_error(tmp_path):
    save_timm(tmp_path, NAMES)
    with pytest.raises(TeacherError, match="has 3 classes, the data have 2; train it"):
        load_teacher(str(tmp_path), 2, class_names=["cat", "dog"])


def test_names_file(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffcat\r\nblåhaj \r\neel\r\n".encode())
    assert read_class_names(path) == ["cat", "blåhaj ", "eel"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\n\neel\n", "line 2 is empty"),
        (b"cat\n  \n", "line 2 is empty"),
        (b"", "line 1 is empty"),
        (b"caf\xe9\n", "not UTF-8 text"),
        (None, "No such file"),
    ],
)
def test_a_bad_names_file_is_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(TeacherError, match=message) as refusal:
        read_class_names(tmp_path / "names.txt")
    assert "\n" not in str(refusal.value)


def permuted(teacher, folder, order, names):
    """The same teacher with its outputs in another order, and these names for them."""
    model = timm.create_model(f"local-dir:{teacher}", pretrained=True)
    with torch.no_grad():
        model.fc.weight.copy_(model.fc.weight[order].clone())
        model.fc.bias.copy_(model.fc.bias[order].clone())
    save_for_hf(
        model,
        str(folder),
        model_config={"label_names": names} if names else {},
        safe_serialization=True,
        data_config={"input_size": (3, 8, 8)},
    )


@pytest.mark.slow
def test_a_permuted_teacher_is_the_same_teacher(tmp_path, monkeypatch):
    """Through the command: a recipe's teacher has the data's names; the others are mapped by their own or a file's."""
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(
        tmp_path, dataset=str(image_tree(tmp_path / "images")), num_train_epochs=2, drw_start_epoch=1
    )

    def accuracy(run, *flags):
        finetune.main([str(recipe), f"--output_dir={run}", *flags])
        return json.loads(Path(run, "metrics.json").read_text())["teacher_accuracy_on_training_images"]

    expected = accuracy("plain")
    (folder,) = Path("teachers").iterdir()
    names, order = ["level2", "level0", "level1"], [2, 0, 1]
    permuted(folder, "named", order, names)
    permuted(folder, "unnamed", order, None)
    Path("names.txt").write_text("\n".join(names))
    assert accuracy("with_names", "--teacher=./named") == expected
    assert accuracy("with_file", "--teacher=./unnamed", "--teacher_class_names=names.txt") == expected
    with pytest.raises(TeacherError, match="cannot be read"):
        accuracy("without_file", "--teacher=./unnamed", "--teacher_class_names=nowhere.txt")
    with pytest.raises(TeacherError, match="near chance"):
        accuracy("without_names", "--teacher=./unnamed")
