"""The flatness command on the digits, with teachers that timm wrote."""

import json

import pytest
import timm
import torch
from helpers import command
from PIL import Image
from timm.models import save_for_hf

from trainer.commands import flatness
from trainer.errors import SettingError, TeacherError

RECIPE = "digits_lt"


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Two untrained networks in folders of timm's; one has what `deit-lt train-teacher` adds."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed, name in enumerate(("plain", "flat")):
        torch.manual_seed(seed)
        model = timm.create_model("resnet8_cifar", num_classes=10)
        data_config = {"input_size": (3, 8, 8), "crop_pct": 1.0}
        save_for_hf(model, str(folder / name), safe_serialization=True, data_config=data_config)
    (folder / "flat" / "metrics.json").write_text(json.dumps({"sam_rho": [0.8], "loss": "ldam", "wall_seconds": 3.0}))
    return folder


def words(*more):
    return [str(RECIPE), "--images_per_class=7", "--draws=2", "--radii", "0.5", "0.2", *more, "--use_cpu"]


@pytest.mark.slow
def test_the_digits_end_to_end(teachers):
    done = command("flatness", *words("--teachers", "plain", "flat", "--output=new/out"), cwd=teachers)
    assert done.returncode == 0, done.stderr
    content = json.loads((teachers / "new" / "out" / "flatness.json").read_text())
    assert content["images"] == 69  # nine classes of 7, and the rarest of 6
    assert (content["data"]["rho"], content["draws"], content["recipe"]) == (20, 2, "digits_lt")
    assert content["teachers"]["plain"]["training"] is None
    assert content["teachers"]["flat"]["training"] == {"sam_rho": [0.8], "loss": "ldam"}
    for figures in content["teachers"].values():
        assert figures["radius"] == [0, 0.2, 0.5]
        for group in ("all", "head", "mid", "tail"):
            assert figures["unperturbed_loss"][group] > 0
            increase = figures["loss_increase"][group]
            assert (increase["mean"][0], increase["std"][0]) == (0, 0)
            assert all(std > 0 for std in increase["std"][1:])
    assert Image.open(teachers / "new" / "out" / "flatness.png").size > (600, 300)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["teacher", "radius", "all", "head", "mid", "tail"]
    assert [line.split()[:2] for line in lines[1:4]] == [["plain", radius] for radius in ("0", "0.2", "0.5")]
    head = content["teachers"]["plain"]["loss_increase"]["head"]["mean"][2]
    assert lines[3].split()[3] == f"{head:+.3f}"
    assert "69 training images" in done.stdout


def test_a_folder_that_is_no_teacher_is_one_line(tmp_path):
    with pytest.raises(TeacherError, match=f"teacher {tmp_path}: cannot be loaded") as refusal:
        flatness.main(words("--teachers", str(tmp_path), f"--output={tmp_path / 'out'}"))
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_refused(teachers, tmp_path):
    model = timm.create_model("resnet8_cifar", num_classes=10)
    model.fc.bias.data.fill_(torch.nan)
    save_for_hf(model, str(tmp_path / "broken"), safe_serialization=True, data_config={"input_size": (3, 8, 8)})
    with pytest.raises(TeacherError, match="broken holds weights that are not finite"):
        flatness.main(words("--teachers", str(tmp_path / "broken"), f"--output={tmp_path / 'out'}"))
    assert not (tmp_path / "out").exists()


def test_a_teachers_recipe_serves_too_and_flags_win():
    path, data, flags = flatness.parse(["digits_resnet8", "--teachers", "a", "b", "--rho=10"])
    assert path.stem == "digits_resnet8"
    assert (data.dataset, data.rho, data.max_per_class, flags.teachers) == ("digits", 10, 120, ["a", "b"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([str(RECIPE)], "required: --teachers"),
        (["nowhere.yaml", "--teachers", "x"], "there is no recipe nowhere.yaml"),
        ([str(RECIPE), "--teachers", "x", "--draws=1"], "draws must lie in [2, inf)"),
        ([str(RECIPE), "--teachers", "x", "--radii", "0.1", "-1"], "radii must be finite and above 0"),
        ([str(RECIPE), "--teachers", "x", "--drawz=3"], "unknown argument --drawz=3; did you mean --draws?"),
    ],
)
def test_wrong_flags_are_refused(arguments, message):
    with pytest.raises(SettingError) as refusal:
        flatness.main(arguments)
    assert message in str(refusal.value)


def test_folders_are_drawn_by_their_own_name_where_that_tells_them_apart():
    assert list(flatness.short_names(dict.fromkeys(["a/x", "b/x", "b/y/"]))) == ["a/x", "b/x", "y"]
