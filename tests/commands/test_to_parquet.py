"""`deit-lt to-parquet`: what it writes trains as the folder that it came from."""

from pathlib import Path

import pytest
from helpers import image_tree, write_recipe

from trainer.commands import to_parquet
from trainer.data import class_counts
from trainer.errors import DataError, SettingError
from trainer.run.data import load_data
from trainer.run.recipes import data_settings


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """In a working folder with images that have no test split, which the recipe cuts from them."""
    monkeypatch.chdir(tmp_path)
    image_tree(tmp_path / "images", counts=(40, 30, 20))
    return str(write_recipe(tmp_path, rho=4, test_fraction=0.2, dataset="images/train"))


def test_the_same_recipe_cuts_the_same_of_it(recipe, capsys):
    to_parquet.main([recipe, "images/train", "out/stored", "--shard-megabytes=1"])
    told = capsys.readouterr().out
    assert told == "1 files with 90 of train are in out/stored; train on them with --dataset out/stored\n"
    folder, stored = (load_data(data_settings(recipe, {"dataset": name})) for name in ("images/train", "out/stored"))
    assert class_counts(folder["train"]).tolist() == class_counts(stored["train"]).tolist() == [32, 16, 8]
    for split in ("train", "test"):
        assert [row["image"].tobytes() for row in folder[split]] == [row["image"].tobytes() for row in stored[split]]
    with pytest.raises(DataError, match="out/stored is not an empty folder"):
        to_parquet.main([recipe, "images/train", "out/stored"])


def test_wrong_flags_and_missing_words(recipe):
    with pytest.raises(SettingError, match="shard_megabytes must lie in"):
        to_parquet.main([recipe, "images", "out", "--shard_megabytes", "0"])
    with pytest.raises(SettingError, match="required: OUT"):
        to_parquet.main([recipe, "images"])
    with pytest.raises(DataError, match=r"there is no folder '\./nowhere'"):
        to_parquet.main([recipe, "./nowhere", "out"])
    assert not Path("out").exists()
