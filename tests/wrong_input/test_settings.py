"""Wrong and hostile settings, flags and recipes through the command line."""

import pytest
from wrong_input.setting_cases import COMMANDS, NUMBERS, PLACES, RECIPES, RUN, TOGETHER, WITHOUT_USE

TABLES = (COMMANDS, RECIPES, NUMBERS, TOGETHER, WITHOUT_USE, PLACES)
CASES = {name: case for table in TABLES for name, case in table.items()}


@pytest.mark.parametrize("name", CASES)
def test_refused(refused, folder, name):
    refused(*CASES[name])
    assert not (folder / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES)[::4])  # a process takes seconds to start
def test_refused_by_a_process(refused_by_process, folder, name):
    refused_by_process(*CASES[name])
    assert not (folder / "ran").exists()


def test_no_case_has_the_name_of_another():
    assert sum(map(len, TABLES)) == len(CASES)


@pytest.mark.parametrize("token", ["", "hf_unknown"])
def test_pushing_without_a_token_that_the_hub_knows(refused, monkeypatch, token):
    def whoami(token):
        raise OSError("Invalid user token.")

    monkeypatch.setattr("trainer.run.dry_run.is_offline_mode", lambda: False)
    monkeypatch.setattr("trainer.run.dry_run.get_token", lambda: token)
    monkeypatch.setattr("trainer.run.dry_run.whoami", whoami)
    message = r"push_to_hub: the Hub does not take the token .*Invalid" if token else r"push_to_hub: there is no token"
    refused(lambda folder: None, f"{RUN} --push_to_hub", 1, message)


@pytest.mark.parametrize("words", ["--gradient_checkpointing", "--logging_strategy no", "--optim sgd", "--do_eval"])
def test_settings_of_transformers_that_have_a_use(trains, words):
    trains(lambda folder: None, f"{RUN} {words}")
