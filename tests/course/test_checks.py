"""Right answers pass; each usual mistake is named; nothing is changed by the check itself."""

import re

import pytest
import torch

from guide_lib.checks import check_inversion_loss, check_move
from guide_lib.checks.base import NOTHING


def move_right(ws, direction, amount, rows):
    moved = ws.clone()
    for row in rows:
        moved[:, row] = moved[:, row] + amount * direction
    return moved


def move_in_place(ws, direction, amount, rows):
    ws[:, rows] += amount * direction
    return ws


MOVES = {
    "Nothing": lambda ws, direction, amount, rows: None,
    "a float came back": lambda ws, direction, amount, rows: 1.0,
    r"shape is \[2, 2, 4\], and \[2, 5, 4\]": lambda ws, direction, amount, rows: ws[:, rows] + amount * direction,
    "came back as they were": lambda ws, direction, amount, rows: ws.clone(),
    "every row moved": lambda ws, direction, amount, rows: ws + amount * direction,
    "backwards": lambda ws, direction, amount, rows: move_right(ws, direction, -amount, rows),
    "`amount` made no difference": lambda ws, direction, amount, rows: move_right(ws, direction, 1, rows),
    "`ws` itself was changed": move_in_place,
    "differs from the library's answer by up to": lambda ws, direction, amount, rows: ws + 1,
}


def loss_right(perceptual, pixel, cosine, way):
    loss = torch.zeros(len(cosine))
    for i in range(len(cosine)):
        loss[i] = perceptual[i] + 0.3 * pixel[i] + 0.3 * (1 - cosine[i]) + 0.01 * (way[i] ** 2).mean()
    return loss


LOSSES = {
    r"shape is \[\]": lambda p, x, c, way: loss_right(p, x, c, way).mean(),
    "anchor is missing": lambda p, x, c, way: loss_right(p, x, c, 0 * way),
    "anchor is a sum": lambda p, x, c, way: loss_right(p, x, c, 0 * way) + 0.01 * way.square().sum((1, 2)),
    "each has its own way": lambda p, x, c, way: loss_right(p, x, c, 0 * way) + 0.01 * way.square().mean(),
    "square it": lambda p, x, c, way: loss_right(p, x, c, 0 * way) + 0.01 * way.mean((1, 2)),
    "rewards strangers": lambda p, x, c, way: p + 0.3 * x + 0.3 * c + 0.01 * way.square().mean((1, 2)),
    "weights are missing": lambda p, x, c, way: p + x + (1 - c) + way.square().mean((1, 2)),
}


def test_right_answers_are_right():
    assert check_move(move_right) == "Right."
    assert check_inversion_loss(loss_right) == "Right."


@pytest.mark.parametrize("sentence", MOVES)
def test_each_wrong_move_is_told_what_is_wrong(sentence):
    verdict = check_move(MOVES[sentence])
    assert re.search(sentence, verdict), verdict


@pytest.mark.parametrize("sentence", LOSSES)
def test_each_wrong_loss_is_told_what_is_wrong(sentence):
    verdict = check_inversion_loss(LOSSES[sentence])
    assert re.search(sentence, verdict), verdict


def test_an_unwritten_exercise_does_not_stop_the_notebook():
    assert check_move(lambda *_: None) == check_inversion_loss(lambda *_: ...) == NOTHING
