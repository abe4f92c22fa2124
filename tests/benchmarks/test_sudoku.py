"""Sudokus by deduction: the exact checker, what members learn from, a board that is filled, and rows."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from benchmarks import report, sudoku

TINY = sudoku.Settings(width=32, train_steps=600, batch=64, iterations=20)
CELL = dict(zip(sudoku.CELL, (4, "rectangular", "different", 2), strict=True))


def plain_check(board, groups, marks=None):
    """The rules of Sudoku as a loop."""
    for group in groups:
        for i, one in enumerate(group):
            if any(board[one] == board[other] for other in group[:i]):
                return False
    return marks is None or all((digit + 1) % 2 == (mark == 1) for digit, mark in zip(board, marks, strict=True))


@pytest.mark.parametrize("boxes", ["rectangular", "patterned"])
@pytest.mark.parametrize("size", [4, 6, 9])
def test_the_checker_equals_a_plain_loop(size, boxes):
    """On valid boards, with one cell changed, two swapped, and with marks that fit or fail in one cell."""
    groups, rng = sudoku.make_groups(size, boxes), np.random.default_rng(size)
    assert all((np.sort(part.ravel()) == np.arange(size * size)).all() for part in groups.reshape(3, size, size))
    board = sudoku.random_board(rng, groups)
    boards = np.stack([rng.permutation(size)[board] for _ in range(6)])  # digits renamed
    marks = sudoku.parity(boards)
    boards[1, 5] = (boards[1, 5] + 2) % size
    boards[2, [0, 1]] = boards[2, [1, 0]]
    marks[3, 7] *= -1
    plain = [plain_check(board, groups) for board in boards]
    marked = [plain_check(board, groups, own) for board, own in zip(boards, marks, strict=True)]
    assert plain == [True, False, False, True, True, True] and marked == [True, False, False, False, True, True]
    assert list(sudoku.is_solved(boards, groups)) == plain
    assert list(sudoku.is_solved(boards, groups, marks)) == marked


def test_boxes_are_those_of_the_board():
    groups = sudoku.make_groups(6, "rectangular")
    assert list(groups[1]) == [6, 7, 8, 9, 10, 11] and list(groups[7]) == [1, 7, 13, 19, 25, 31]
    assert list(groups[12]) == [0, 1, 2, 6, 7, 8]  # two rows of three
    assert list(sudoku.make_groups(6, "patterned")[12]) == [0, 6, 7, 12, 13, 18]


@pytest.mark.parametrize("size, rule", [(4, "different"), (6, "odd_even")])
def test_groups_are_labelled_right(size, rule):
    """Labels against a plain loop; both kinds are there, near misses too; cells read as their digits when sharp."""
    cells, digits, valid = (
        np.asarray(x) for x in sudoku.draw_groups(jax.random.key(1), size, rule, count=300, sharpness=1e4)
    )
    assert cells.shape == (300, size, size + (rule == "odd_even"))
    marks = cells[..., size] if rule == "odd_even" else [None] * 300
    assert list(valid) == [plain_check(d, [range(size)], m) for d, m in zip(digits, marks, strict=True)]
    assert 0.3 < valid.mean() < 0.6
    missing = np.array([size - len(set(d)) for d in digits])
    assert ((missing == 1) & ~valid).any() and (missing > 1).any()
    if rule == "odd_even":
        assert ((missing == 0) & ~valid).any()  # different, yet against the marks
    np.testing.assert_allclose(cells[..., :size].sum(-1), 1.0, rtol=1e-5)
    assert (cells[..., :size].argmax(-1) == digits).mean() > 0.99


def test_a_tiny_ensemble_fills_boards(tmp_path):
    """Most 4x4 boards are solved, the row says how many, and members that learnt nothing solve next to none."""
    sudoku.run_cell(CELL, [7], 16, TINY, tmp_path)
    (row,) = report.read_rows(tmp_path / "sudoku.csv")
    assert tuple(row) == sudoku.COLUMNS and row["boards"] == 16 and row["boards_per_second"] > 0
    assert row["solved"] >= 12
    ignorant = sudoku.run_seed(CELL, 7, 16, dataclasses.replace(TINY, train_rate=0.0))
    assert ignorant["solved"] <= 2
    assert json.loads((tmp_path / "4-rectangular-different-2.json").read_text())["settings"]["width"] == 32


@pytest.fixture
def quick(monkeypatch):
    """Seeds that were run, none of them really."""
    asked = []

    def run_seed(cell, seed, boards, settings):
        asked.append(seed)
        return cell | {"seed": seed, "boards": boards, "solved": seed, "boards_per_second": 2.5}

    monkeypatch.setattr(sudoku, "run_seed", run_seed)
    return asked


def test_finished_seeds_are_not_run_again(quick, tmp_path):
    sudoku.run_cell(CELL, [0, 1], 10, TINY, tmp_path)
    sudoku.run_cell(CELL, [0, 1, 2], 10, TINY, tmp_path)
    sudoku.run_cell(CELL | {"ensemble_size": 3}, [1], 10, TINY, tmp_path)
    assert quick == [0, 1, 2, 1]
    rows = report.read_rows(tmp_path / "sudoku.csv")
    found = [(row["ensemble_size"], row["seed"], row["solved"]) for row in rows]
    assert found == [(2, 0, 0), (2, 1, 1), (2, 2, 2), (3, 1, 1)]


def test_results_of_other_settings_are_not_mixed(quick, tmp_path):
    sudoku.run_cell(CELL, [0], 10, TINY, tmp_path)
    with pytest.raises(SystemExit, match="boards = 10, not 20"):
        sudoku.run_cell(CELL, [1], 20, TINY, tmp_path)


def test_the_command_runs_cells_and_writes_the_table(quick, tmp_path, monkeypatch):
    given = "run --size 4 --members 2 5 --seeds 2 --first-seed 1 --boards 4 --width 8"
    monkeypatch.setattr("sys.argv", ["sudoku", *given.split(), "--out", str(tmp_path)])
    sudoku.main()
    assert quick == [1, 2, 1, 2]
    table = (tmp_path / "README.md").read_text()
    assert "| 4 | rectangular | different | 2 | 8 | 8 | 50 | 2 | 8 | 37.5% | 25.0% to 50.0% | 2.5 |" in table
