"""How a training looks on a terminal."""

import io
from pathlib import Path

import pytest

from slipway.cli.training_curves import Screen, curve, duration, progress_line
from slipway.training.runs import Progress, Run


def test_a_curve_falls_as_the_loss_does() -> None:
    lines = curve([(step, 4.0 - step / 2) for step in range(1, 7)], width=40, height=3)
    assert lines == ["      3.5 █▃", "          ██▇▂", "        1 ████▆▁", "     loss steps 1 to 6"]


def test_many_steps_share_the_columns() -> None:
    lines = curve([(step, float(step % 7)) for step in range(1, 5001)], width=40, height=4)
    assert all(len(line) <= 40 for line in lines)
    assert lines[-1].endswith("steps 1 to 5000")


def test_a_loss_that_stays_is_a_flat_line() -> None:
    assert len({line[4:] for line in curve([(1, 2.0), (2, 2.0)], width=20, height=2)[:1]}) == 1


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12s"), (150, "2m30s"), (3900, "1h05m")])
def test_time_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_line_says_how_far_and_how_long() -> None:
    progress = Progress(
        stage="train",
        step=5,
        total_steps=20,
        eta_seconds=90.0,
        message="Training, epoch 1 of 2",
        metrics={"loss": 1.23456, "tokens_per_second": 281.4},
    )
    assert progress_line(progress, 100) == (
        "train: Training, epoch 1 of 2, 5/20 25 %, 1m30s left, loss 1.235, 281 tokens/s"
    )


def test_a_terminal_is_drawn_over_and_a_file_gets_lines(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.say("train begins.")
    outputs = {}
    for live in (True, False):
        stream = io.StringIO()
        now = [0.0]
        screen = Screen(stream, Run(tmp_path), live=live, clock=lambda now=now: now[0])  # type: ignore[misc]
        run.say("Something was told.")
        for step in (1, 2, 3):
            run.log(step=step, loss=3.0 / step)
            run.tell(Progress(stage="train", step=step, total_steps=3, message="Training"))
            now[0] += 11
            screen.show()
        outputs[live] = stream.getvalue()
    assert "\x1b[" in outputs[True]
    assert "loss steps 1 to 3" in outputs[True]
    assert "\x1b[" not in outputs[False]
    assert outputs[False].splitlines() == [
        "Something was told.",
        "train: Training, 1/3 33 %",
        "train: Training, 2/3 66 %",
        "train: Training, 3/3 100 %",
    ]
    assert "train begins." not in outputs[True] + outputs[False]
