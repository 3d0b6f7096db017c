"""What a person sees of a run: one bar with the time left over all its stages, and one aligned line a log."""

from __future__ import annotations

import math
import sys
import time

from tqdm import tqdm
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from trainer.base_arguments import RunArguments
from trainer.terminal import in_words

SECONDS_BETWEEN_DRAWINGS = 0.2
COLUMNS = {  # of a log: heading, key, width, format
    "epoch": ("epoch", 8, ".2f"),
    "loss": ("loss", 8, ".3f"),
    "CLS": ("loss_cls", 8, ".3f"),
    "DIST": ("loss_dist", 8, ".3f"),
    "agree %": ("teacher_agreement", 9, ".1%"),
    "rate": ("learning_rate", 10, ".1e"),
    "images/s": ("images_per_second", 10, ".0f"),
}
STAGE_WIDTH = 8
TEACHER, CHECK, STUDENT, TESTS = "teacher", "check", "student", "tests"  # the stages of a run


class Progress:
    """The screen of a run. Without a terminal there are plain lines, with `quiet` and on later ranks nothing.

    Args:
        args: of the run.
    """

    def __init__(self, args: RunArguments):
        self.shown = args.should_log and not args.quiet
        self.has_bar = self.shown and not args.disable_tqdm and sys.stderr.isatty()
        self.bar: tqdm | None = None
        self.seconds: dict[str, float] = {}  # what each stage is estimated to take
        self.stage, self.start, self.first, self.done = "", 0.0, 0.0, 0.0
        self.spent = 0.0  # by the stages before this one
        self.drawn = 0.0

    def say(self, text: str) -> None:
        """Print lines, above the bar where there is one."""
        if not self.shown:
            return
        if self.bar is not None:
            self.bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)

    def plan(self, seconds: dict[str, float]) -> None:
        """Show the bar of a run.

        Args:
            seconds: what each stage is estimated to take, in their order.
        """
        self.seconds = dict(seconds)
        if self.has_bar:
            form = "{desc} {bar} {percentage:3.0f}%"
            self.bar = tqdm(total=1.0, bar_format=form, leave=False, dynamic_ncols=True, file=sys.stderr)

    def begin(self, stage: str, done: float = 0.0) -> None:
        """A stage of the plan begins.

        Args:
            stage: its name; one that was not planned shows no share of the bar.
            done: share of it that an earlier process did. Default 0.
        """
        self.end()
        self.stage, self.start, self.first = stage, time.monotonic(), done
        self.update(done)

    def end(self) -> None:
        """The stage under way is done, whatever was estimated."""
        if self.stage:
            self.spent += time.monotonic() - self.start
            self.seconds.pop(self.stage, None)
            self.stage = ""

    def update(self, done: float, text: str = "") -> None:
        """Draw how far the stage under way is.

        Args:
            done: share of the stage, in [0, 1].
            text: shown after its name.
        """
        now = time.monotonic()
        if self.bar is None or not self.stage or (now - self.drawn < SECONDS_BETWEEN_DRAWINGS and done < 1):
            return
        self.drawn = now
        left, elapsed = self.seconds_left(done), self.spent + now - self.start
        self.bar.n = min(1.0, elapsed / (elapsed + left)) if elapsed + left else 0.0
        self.bar.set_description_str(f"{self.stage} {text}".ljust(24) + f"{in_words(left)} left".rjust(16))

    def seconds_left(self, done: float) -> float:
        """Of the whole run: what this stage will take at its own speed, and the estimates of those to come."""
        here = time.monotonic() - self.start
        planned = self.seconds.get(self.stage, 0.0)
        measured = done - self.first > 0.01 and here > 1
        ahead = (1 - done) / max(1 - self.first, 1e-9)  # of what this process has to do, which was planned
        rest = here * (1 - done) / (done - self.first) if measured else planned * ahead
        return rest + sum(seconds for stage, seconds in self.seconds.items() if stage != self.stage)

    def close(self) -> None:
        """Take the bar away."""
        self.end()
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def attach(self, trainer: Trainer, stage: str) -> None:
        """Show a trainer's training as a stage, in place of transformers' own bar and lines."""
        trainer.remove_callback(ProgressCallback)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(StageCallback(self, trainer, stage))


class StageCallback(TrainerCallback):
    """Moves the bar at each step and prints each log. Reads the clock of the host alone, so no step waits for it.

    Args:
        progress: of the run.
        trainer: whose training this is.
        stage: its name.
    """

    def __init__(self, progress: Progress, trainer: Trainer, stage: str):
        self.progress, self.trainer, self.stage = progress, trainer, stage
        self.last = (0.0, 0.0)  # epoch and time of the last log
        self.predicted = 0  # batches of the tests

    def on_train_begin(self, args, state, control, **kwargs):
        """A stage begins with the headings of its lines."""
        self.progress.begin(self.stage, state.global_step / state.max_steps)
        self.progress.say(headings())
        self.last = (state.epoch or 0.0, time.monotonic())

    def on_step_end(self, args, state, control, **kwargs):
        """One optimiser step further."""
        epoch = min(int(state.epoch) + 1, math.ceil(args.num_train_epochs))
        self.progress.update(state.global_step / state.max_steps, f"epoch {epoch}/{args.num_train_epochs:g}")

    def on_log(self, args, state, control, logs: dict | None = None, **kwargs):
        """Print a log of the training, or the leading figures of an evaluation."""
        logs = logs or {}
        if "loss" in logs:
            now = time.monotonic()
            images = (state.epoch - self.last[0]) * self.trainer.images_per_epoch
            speed = images / max(now - self.last[1], 1e-9)
            self.last = (state.epoch, now)
            self.progress.say(line(self.stage, {**logs, "epoch": state.epoch, "images_per_second": speed}))
        elif any(name.startswith("eval_") for name in logs):
            self.progress.say(evaluation_line(self.stage, state.epoch, logs))

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs):
        """Evaluations during training take time too; the tests after it are a stage of their own."""
        if self.progress.stage == TESTS:
            self.predicted += 1
            batches = len(eval_dataloader) * args.tested_weights
            self.progress.update(min(1.0, self.predicted / batches))
        elif state.max_steps:
            self.progress.update(state.global_step / state.max_steps, "evaluation")


def headings() -> str:
    """The line above the logs."""
    return " " * STAGE_WIDTH + "".join(name.rjust(width) for name, (_, width, _) in COLUMNS.items())


def line(stage: str, logs: dict) -> str:
    """A log as one line; a figure that this training does not have is a dash."""
    cells = [(format(logs[key], form) if key in logs else "-").rjust(width) for key, width, form in COLUMNS.values()]
    return stage.ljust(STAGE_WIDTH) + "".join(cells)


def evaluation_line(stage: str, epoch: float, logs: dict) -> str:
    """The mean expert's (a teacher's own) figures of an evaluation during training."""
    names = ("accuracy", "balanced_accuracy", "head", "mid", "tail")
    found = {name: logs.get(f"eval_mean_{name}", logs.get(f"eval_{name}")) for name in names}
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in found.items() if value is not None)
    return f"{stage.ljust(STAGE_WIDTH)}{epoch:8.2f}  evaluation: {figures}"
