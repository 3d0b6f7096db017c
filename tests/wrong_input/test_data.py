"""Wrong and hostile data through the command line. This folder mirrors no package: its cases cross all of them."""

import os

import pytest
from wrong_input.command_cases import CLASSIFIED, EVALUATED, SETTINGS
from wrong_input.folder_cases import FILES, FOLDERS, LINKS
from wrong_input.list_cases import LISTS
from wrong_input.makers import IMAGES, ROW, nothing
from wrong_input.row_cases import LABELS

CASES = {**FOLDERS, **LINKS, **FILES, **LABELS, **LISTS, **SETTINGS, **CLASSIFIED, **EVALUATED}


@pytest.mark.parametrize("name", CASES)
def test_refused(refused, name):
    refused(*CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES)[::4])  # a process takes seconds to start
def test_refused_by_a_process(refused_by_process, name):
    refused_by_process(*CASES[name])


def test_no_case_has_the_name_of_another():
    tables = (FOLDERS, LINKS, FILES, LABELS, LISTS, SETTINGS, CLASSIFIED, EVALUATED)
    assert sum(map(len, tables)) == len(CASES)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="all files are readable for root")
def test_an_unreadable_file(refused):
    refused(lambda folder: (folder / ROW).chmod(0), IMAGES, 1, r"9.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="all folders are readable for root")
def test_an_unreadable_folder(refused, folder):
    try:
        refused(lambda folder: (folder / "images" / "train").chmod(0), IMAGES, 1, r"train.*Permission")
    finally:
        (folder / "images" / "train").chmod(0o755)


def test_good_data_train(trains):
    trains(nothing, IMAGES)
