"""Wrong and hostile data through the command line. This folder mirrors no package: its cases cross all of them."""

import pytest

TRAIN = "finetune recipe.yaml --output_dir out --dataset "


def nothing(folder):
    pass


CASES = {
    "missing folder": (nothing, TRAIN + "./nowhere", 1, r"there is no folder './nowhere'"),
    "a file": (nothing, TRAIN + "./recipe.yaml", 1, r"is a file"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(refused, name):
    refused(*CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_refused_by_a_process(refused_by_process, name):
    refused_by_process(*CASES[name])


def test_good_data_train(trains):
    trains(nothing, TRAIN + "images")
