"""A case that trains in a moment."""

import pytest

from trainer.benchmark import CASES, Case, Entry
from trainer.benchmark.cases import FLOAT32

TINY = {"preset": "tiny", "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
STUDENT = Case("a tiny student", "resnet8_cifar", 8, 4, 4, {**TINY, "intermediate_size": 32})


@pytest.fixture(scope="session", autouse=True)
def tiny():
    """Known to the command by the name tiny."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CASES, "tiny", STUDENT)
        yield


@pytest.fixture
def entry(tmp_path):
    """Makes entries of a case, by default the tiny student."""

    def make(case=STUDENT, ours=True, data="synthetic", batch_size=4, **settings):
        return Entry(case, ours, {**FLOAT32, **settings}, data, batch_size, 3, True, str(tmp_path / "run"))

    return make
