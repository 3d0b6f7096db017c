"""The Hub without a network, and rows of the Hub that name files of this machine."""

import datasets
import huggingface_hub
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
from huggingface_hub.errors import HfHubHTTPError

from trainer.data import load_long_tailed
from trainer.errors import DataError


def hub(error):
    def dataset_info(self, name, timeout):
        assert name == "nobody/nothing"
        assert 0 < timeout <= 30
        if error is not None:
            raise error

    return dataset_info


ANSWER = HfHubHTTPError.__new__(HfHubHTTPError)  # its library asks for a response, of one class or another


@pytest.mark.parametrize(
    ("error", "offline"), [(None, False), (ANSWER, False), (ConnectionError("no network"), True), (OSError(), True)]
)
def test_where_the_hub_does_not_answer_its_cache_is_read_at_once(monkeypatch, error, offline):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", hub(error))
    seen = []

    def load(name, config_name):
        seen.append((datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE))
        raise ConnectionError("no such\ndata set")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError, match="cannot load 'nobody/nothing': no such data set; check the name, the network"):
        load_long_tailed("nobody/nothing")
    assert seen == [(offline, offline)]
    assert not datasets.config.HF_HUB_OFFLINE


def test_rows_stay_in_the_caches(monkeypatch):
    """A row of the Hub that names a file of this machine is refused before anything opens it."""
    features = Features({"image": Image(), "label": ClassLabel(names=["a"])})
    rows = Dataset.from_dict({"image": [{"bytes": None, "path": "/etc/hostname"}] * 2, "label": [0, 0]}, features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args: DatasetDict(train=rows, test=rows))
    with pytest.raises(DataError, match="row 0: image /etc/hostname leads to /"):
        load_long_tailed("nobody/nothing")
