"""Test a model folder, a student's or a teacher's, on the test split of DATA.

Prints a table, of a student with a row for the mean and each expert, and writes it as JSON with --output. Head, mid
and tail follow the class counts that the model was trained on. Under `accelerate launch` the ranks share the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState
from datasets import Dataset

from trainer.arguments import DataArguments
from trainer.augmentation import EvaluationImages, channels_of
from trainer.commands.parser import CommandParser
from trainer.data import (
    UNDECODABLE,
    check_images,
    check_labels,
    class_difference,
    fingerprint,
    load_long_tailed,
)
from trainer.errors import DataError, SettingError
from trainer.evaluation import expert_report, format_report, group_rule
from trainer.machine import MOST_WORKERS, PRECISIONS, device_in_words
from trainer.parsing import make
from trainer.predicting import predict
from trainer.run.files import write_json
from trainer.run.folder import METRICS
from trainer.run.model_folder import ModelFolder, open_model
from trainer.settings import check_ranges, setting
from trainer.terminal import columns

WORDS = {
    "MODEL": "folder of deit-lt finetune or deit-lt train-teacher",
    "DATA": "a folder, a Hub id or 'digits'; its test split is used",
}


@dataclass
class EvaluationArguments:
    """How it is tested."""

    _argument_group_name = "Evaluation"

    output: str | None = setting(None, "JSON file for the report; none if not given.")
    image_column: str | None = setting(None, "Column of the images; the only image column if not given.")
    label_column: str | None = setting(None, "Column of the labels; the only label column if not given.")
    config_name: str | None = setting(None, "Configuration of a Hub data set.")
    train_list: str | None = setting(None, "As in a recipe.")
    test_list: str | None = setting(None, "As in a recipe.")
    class_from: str | None = setting(
        None, "As in a recipe; that of the model's run if not given.", choices=["path", "folder"]
    )
    test_fraction: float | None = setting(None, "As in a recipe; that of the model's run if not given.")
    split_seed: int | None = setting(None, "As in a recipe; that of the model's run if not given.")
    group_boundaries: list[str] | None = setting(None, "As in a recipe; those of the model's run if not given.")
    batch_size: int = setting(64, "Images per rank at a time.")
    use_cpu: bool = setting(False, "Do not use an accelerator.")
    precision: str = setting("float32", "Of the computation.", choices=list(PRECISIONS))

    def __post_init__(self):
        check_ranges(self, {"batch_size": "[1, inf)", "test_fraction": "[0, 1)", "split_seed": "[0, inf)"})
        if self.output and not Path(self.output).parent.is_dir():
            raise ValueError(f"output: there is no folder {Path(self.output).parent}")
        if self.output and Path(self.output).is_dir():
            raise ValueError(f"output: {self.output} is a folder; name a file in it")
        if self.output and Path(self.output).exists() and not Path(self.output).is_file():
            raise ValueError(f"output: {self.output} is no file, and would be replaced by one; name another")


def main(words: list[str]) -> None:
    """Load, test, print, write."""
    folder, data, given = CommandParser("evaluate", __doc__, EvaluationArguments, words=WORDS).parse(words)
    flags = make(EvaluationArguments, given)
    if flags.output and Path(flags.output).resolve() == Path(folder, METRICS).resolve():
        raise SettingError(f"output: {flags.output} is what the run found; name another file")
    if flags.group_boundaries is not None:
        make(DataArguments, {"group_boundaries": flags.group_boundaries})  # before the model is read
    opened = open_model(folder)
    counts, boundaries = opened.class_counts, group_boundaries(flags, opened)
    try:
        rule = group_rule(counts, boundaries)
    except ValueError as error:
        raise DataError(f"--group_boundaries: {error}") from error
    test = load_test_split(data, flags, opened)
    images = EvaluationImages(test, opened.processor)
    predictions, labels = predict(opened.model, images, flags.batch_size, flags.use_cpu, flags.precision)
    report, state = expert_report(predictions, labels, counts, boundaries), PartialState()
    if not state.is_main_process:
        return
    print(format_report(report, rule, columns()))
    if flags.output:
        facts = {"model": folder, "data": data, "images": len(test), "groups": rule}
        device = device_in_words(state.device, state.num_processes, flags.precision)
        write_json(Path(flags.output), {**report, **facts, "device": device})


def load_test_split(data: str, flags: EvaluationArguments, opened: ModelFolder) -> Dataset:
    """The test split, checked, with the model's classes in the model's order."""
    run = opened.data_settings
    test = load_long_tailed(
        data,
        config_name=flags.config_name,
        image_column=flags.image_column,
        label_column=flags.label_column,
        test_fraction=run.test_fraction if flags.test_fraction is None else flags.test_fraction,
        seed=run.split_seed if flags.split_seed is None else flags.split_seed,
        train_list=flags.train_list,
        test_list=flags.test_list,
        class_from=flags.class_from or run.class_from,
    )["test"]
    if (detail := class_difference(test.features["label"].names, opened.class_names)) is not None:
        raise DataError(f"{data} has other classes than the model, or another order: {detail}")
    check_labels(test, split="test")
    try:
        state = fingerprint(test, Path(data).expanduser()).state
    except DataError:  # a file is gone: the check names all that are
        state = None
    channels = channels_of(opened.processor)
    check_images(test, "image", MOST_WORKERS, "test", channels, state=state, file=Path(UNDECODABLE), show=True)
    return test


def group_boundaries(flags: EvaluationArguments, opened: ModelFolder):
    """The boundaries that were given, or those of the run that made the model, or None for thirds."""
    if flags.group_boundaries is None:
        return opened.data_settings.boundaries
    return make(DataArguments, {"group_boundaries": flags.group_boundaries}).boundaries
