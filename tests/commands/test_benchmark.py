"""The command with a tiny student, in processes as always; and what it refuses."""

import json
import sys
from functools import partial

import pytest
from PIL import Image

from trainer.benchmark import CASES, Case, markdown, measure
from trainer.commands import benchmark
from trainer.errors import RunError, SettingError

SIZES = {"preset": "tiny", "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY = Case("a tiny student", "resnet8_cifar", 8, 4, 4, {**SIZES, "intermediate_size": 32})


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(CASES, "tiny", TINY)


@pytest.mark.slow
def test_a_tiny_student_from_words_to_table_and_picture(tiny, tmp_path, capsys):
    file, picture = tmp_path / "new" / "speed.json", tmp_path / "new" / "speed.png"
    words = ["tiny", "--pairs=2", "--steps=2", "--contestants", "ours", "timm", "--data=synthetic", "--use_cpu"]
    benchmark.main([*words, "--results", str(file), "--plot", str(picture)])
    content = json.loads(file.read_text())
    assert set(content["versions"]) == {"python", "torch", "torchvision", "timm", "transformers", "accelerate"}
    assert content["device"].startswith("cpu")
    assert content["contestants"]["timm"]["precision"] == "float32"
    (result,) = content["results"]
    assert result["turns"] == ["ours", "timm"] * 2
    assert (result["case"], result["data"], result["batch_size"]) == ("tiny", "synthetic", 4)
    assert result["threads"] == 1
    pairs = result["ratios"]["ours"]["timm"]["pairs"]
    assert len(pairs) == 2
    assert min(pairs) > 0
    for figure in result["contestants"].values():  # no seconds: those of a CPU mean nothing elsewhere
        assert set(figure) == {"waiting_share", "peak_memory_mib", "workers", "gflop_per_step"}
    told = capsys.readouterr()
    assert told.out == markdown(content) + "\n"
    assert told.err == "tiny, synthetic images: ours, timm\n"
    assert Image.open(picture).format == "PNG"


@pytest.mark.slow
def test_all_contestants_compiled_ones_too(tiny, tmp_path):
    file = tmp_path / "speed.json"
    benchmark.main(["tiny", "--pairs=1", "--steps=1", "--use_cpu", "--results", str(file)])
    results = json.loads(file.read_text())["results"]
    assert [result["data"] for result in results] == ["synthetic", "host", "device"]
    for result in results:
        peers = {"timm", "timm_bf16_compiled"}
        assert {ours: set(peers) for ours, peers in result["ratios"].items()} == {
            "ours": peers,
            "ours_as_recipes": peers,
        }


def test_on_a_gpu_seconds_count():
    """As the table would be there: median milliseconds, and operations over those of matrix products."""
    figure = {"waiting_share": 0.012, "peak_memory_mib": 900, **measure.speed([0.02, 0.01, 0.04], 64, 10**12, 100.0)}
    assert (figure["images_per_second"], figure["ms_per_step"], figure["share_of_matmul"]) == (3200.0, 20.0, 0.5)
    found = {"ours": {"timm": {"median": 1.5, "min": 1.0, "max": 2.0}}}
    result = {"case": "tiny", "data": "host", "batch_size": 64, "ratios": found}
    result["contestants"] = {"timm": figure, "ours": figure}
    content = {"matmul_tflops": 100.0, "contestants": {"timm": {}, "ours": {}}, "results": [result]}
    assert markdown(content).splitlines()[2:] == [
        "| tiny | host | 64 | timm | 3200 | 20.0 | 50 % | 1.2 % | 900 | - |",
        "| tiny | host | 64 | ours | 3200 | 20.0 | 50 % | 1.2 % | 900 | 1.50 (1.00 to 2.00) |",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vit_tiny"], "cases must be of vit_tiny_224, .*, got vit_tiny; did you mean vit_tiny_224"),
        (["student_32", "student_32"], "give each once"),
        (["--contestants", "theirs"], "contestants must be of timm, .*, got theirs"),
        (["--data", "devise"], "data must be of synthetic, host, device, got devise; did you mean device"),
        (["--steps=0"], r"steps must lie in \[1, "),
        (["--pairs=0"], r"pairs must lie in \[1, "),
        (["--batch_size=7"], "batch_size must be even"),
        (["--batch_size=0"], "batch_size must lie in"),
        (["resnet32", "--contestants", "timm"], "resnet32 has the contestants torch, ours; name one of them"),
        (["--contestants", "torch", "--use_cpu"], "has the contestants"),
        (["--plot", "speed.pdf"], "plot must end in .png"),
    ],
)
def test_what_cannot_be_measured_is_refused(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=message) as refusal:
        benchmark.main(words)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ['{"recipe": "digits"}', "{}", None])
def test_another_file_is_left_alone(text, tmp_path):
    file = tmp_path / "results.json"
    file.mkdir() if text is None else file.write_text(text)
    with pytest.raises(RunError, match=r"results\.json holds something else than a benchmark"):
        benchmark.main(["student_32", "--results", str(file)])
    assert text is None or file.read_text() == text


def test_a_contestant_that_fails_is_one_line(tiny, tmp_path, monkeypatch):
    """Its own words, with who and what before them; the result file of before stays."""
    file = tmp_path / "results.json"
    file.write_text(before := json.dumps({"kind": measure.KIND}))
    words = [sys.executable, "-c", """print('{"error": "ValueError: too small"}')"""]
    monkeypatch.setattr(measure, "contestants", partial(measure.contestants, words=words))
    with pytest.raises(RunError, match=r"^tiny, synthetic images: ours failed: ValueError: too small$"):
        benchmark.main(["tiny", "--contestants=ours", "--data=synthetic", "--use_cpu", "--results", str(file)])
    assert file.read_text() == before
