"""Blank Sudokus filled by deduction: the method without an environment.

    python -m benchmarks.sudoku run                                  # 6x6, 1000 boards, ensembles of 1, 2, 5 and 10
    python -m benchmarks.sudoku run --size 9 --members 5 --seeds 1
    python -m benchmarks.sudoku run --size 4 6 --boxes patterned --rule odd_even --boards 100
    python -m benchmarks.sudoku report                               # the table of what is there

Every member of an ensemble learns from groups of digits of its own whether a group is valid; no member ever sees a
board. A blank board is filled by `rgrl_jax.deduce`: its cells, softmax over digits, descend the error of a member
drawn anew at each step against "valid", in every row, column and box at once, from some starts side by side. Of the
one that the ensemble finds best the most confident cell is fixed, and the others start anew, until none is left:
nothing is taken back. A board counts as solved if an exact checker says so.

Rules: ``different``, all digits of a group differ; ``odd_even``, moreover every cell is marked odd or even, the marks
being those of a valid board, another for every board. Boxes: ``rectangular`` (2x2, 2x3 or 3x3), or ``patterned``, the
irregular regions of `PATTERNS`. A row of ``benchmarks/results/sudoku/sudoku.csv`` is one seed: an ensemble, and the
boards it fills in one program. A finished seed is not run again. Boards per second count neither learning nor
compiling.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from benchmarks import report
from benchmarks.machine import describe_run
from rgrl_jax.planning import deduce

RESULTS = Path(__file__).parent / "results" / "sudoku"
COLUMNS = ("size", "boxes", "rule", "ensemble_size", "seed", "boards", "solved", "boards_per_second")
CELL = COLUMNS[:4]
BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}
"""Rows and columns of a rectangular box, by size."""
PATTERNS = {
    4: "AABB AABB CDDD CCCD",
    6: "ACCCEE AACCEE AACEEF ABBDFF BBDDFF BBDDDF",  # the pattern of the reference's 6x6 boards
    9: "AAABBBCCC AAABBCCCC AAABBBBFC DDDEEEFFC DDDEEEFFF DGDEEHFIF DGGEHHFII GGGHHHIII GGGHHHIII",
}
"""Irregular regions by size: a letter per cell, row by row."""
RULES = ("different", "odd_even")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of learning and of filling boards.

    Attributes:
      width: units of both hidden layers.
      train_steps: Adam steps of a member.
      batch: groups per step.
      train_rate: of Adam, falling to 0 along a cosine.
      sharpness: cells that members learn from favour their digit by 0 to this many logits.
      iterations: ``K``, descent steps for each cell that is fixed.
      rate: of Adam in the descent, beta.
      start_noise: standard deviation of the logits that blank cells start from.
      starts: descents side by side for each cell that is fixed; the one with the least error over all members counts.
    """

    width: int = 64
    train_steps: int = 4000
    batch: int = 128
    train_rate: float = 3e-3
    sharpness: float = 8.0
    iterations: int = 50
    rate: float = 1.0
    start_noise: float = 0.5
    starts: int = 8


SETTINGS = {4: Settings(train_steps=2000), 6: Settings(), 9: Settings()}
TOGETHER = 50
"""Boards that are filled side by side, of all that are asked for."""


def make_groups(size: int, boxes: str) -> np.ndarray[Any, Any]:
    """Returns the cells of all rows, columns and boxes of a board, ``[3 * size, size]``, counted row by row."""
    cells = np.arange(size * size).reshape(size, size)
    if boxes == "patterned":
        letters = np.array(list(PATTERNS[size].replace(" ", "")))
        regions = np.stack([np.flatnonzero(letters == letter) for letter in np.unique(letters)])
    else:
        rows, columns = BOXES[size]
        blocks = cells.reshape(size // rows, rows, size // columns, columns)
        regions = blocks.swapaxes(1, 2).reshape(size, size)
    return np.concatenate([cells, cells.T, regions])


def is_solved(boards: Any, groups: Any, marks: Any | None = None) -> np.ndarray[Any, Any]:
    """Checks boards ``[B, cells]`` of digits 0 to size - 1: bool ``[B]``, exact, in NumPy.

    ``marks`` ``[B, cells]``, if any, are 1 where a digit, counted from 1, must be odd and -1 where even.
    """
    boards, groups = np.asarray(boards), np.asarray(groups)
    valid = (np.sort(boards[:, groups], axis=-1) == np.arange(groups.shape[1])).all(axis=(1, 2))
    return valid if marks is None else valid & (np.asarray(parity(boards)) == np.asarray(marks)).all(axis=1)


def parity(digits: Any) -> Any:
    """Returns 1 where a digit, counted from 1, is odd and -1 where even; digits themselves are counted from 0."""
    return 1 - 2 * (digits % 2)


def random_board(rng: np.random.Generator, groups: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Searches a valid board ``[cells]``, fewest digits left first; begins anew if it takes long."""
    size = groups.shape[1]
    peers = [np.unique(groups[(groups == cell).any(axis=1)]) for cell in range(size * size)]

    visits = 0

    def search(board: np.ndarray[Any, Any], left: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        nonlocal visits
        visits += 1
        if (board >= 0).all():
            return board
        cell = int(np.argmin(np.where(board >= 0, size + 1, left.sum(axis=1) + 0.5 * rng.random(size * size))))
        for digit in rng.permutation(np.flatnonzero(left[cell])):
            tried, remaining = board.copy(), left.copy()
            tried[cell], remaining[peers[cell], digit] = digit, False
            found = search(tried, remaining)
            if found is not None or visits > 4 * size * size:
                return found
        return None

    found = None
    while found is None:
        visits, found = 0, search(np.full(size * size, -1), np.ones((size * size, size), bool))
    return found


def draw_groups(key: Any, size: int, rule: str, count: int, sharpness: float) -> tuple[Any, Any, Any]:
    """Draws groups to learn from: right ones, ones with a cell changed or two swapped, and random ones, a third each.

    Returns:
      Inputs ``[count, size, size (+ 1)]``, a softmax over digits for every cell, around the digit it stands for, and
      with ``odd_even`` its mark; digits ``[count, size]``; and whether they are valid, bool ``[count]``.
    """
    keys = jax.random.split(key, 7)
    right = jnp.argsort(jax.random.uniform(keys[0], (count, size)))
    anything = jax.random.randint(keys[1], (count, size), 0, size)
    here, there = jnp.argsort(jax.random.uniform(keys[2], (count, size)))[:, :2, None].swapaxes(0, 1)
    at = jnp.arange(size)
    changed = jnp.where(at == here, anything, right)
    swap = jnp.where(at == here, there, jnp.where(at == there, here, at))
    swapped = jnp.take_along_axis(right, swap, axis=1)
    near = jnp.where(jax.random.bernoulli(keys[3], 0.5, (count, 1)), changed, swapped)
    if rule == "different":
        near = changed  # a swap is no miss
    kind = jax.random.randint(keys[4], (count, 1), 0, 3)
    digits = jnp.select([kind == 0, kind == 1], [right, near], anything)
    valid = (jnp.sort(digits, axis=1) == at).all(axis=1)
    strength = jax.random.uniform(keys[5], (count, 1, 1), maxval=sharpness)
    noise = jax.random.normal(keys[6], (count, size, size))
    cells = jax.nn.softmax(strength * jax.nn.one_hot(digits, size) + noise)
    if rule == "odd_even":
        marks = parity(right)
        valid &= (parity(digits) == marks).all(axis=1)
        cells = jnp.concatenate([cells, marks[..., None]], axis=-1)
    return cells, digits, valid


class Member(nn.Module):
    """Logit of a group ``[..., size, features]`` being valid, ``[...]``."""

    width: int

    @nn.compact
    def __call__(self, group: Any) -> Any:
        """Reads a group."""
        x = group.reshape(*group.shape[:-2], -1)
        for _ in range(2):
            x = nn.silu(nn.Dense(self.width)(x))
        return nn.Dense(1)(x)[..., 0]


def learn(key: Any, size: int, rule: str, members: int, settings: Settings) -> tuple[Any, Any]:
    """Trains an ensemble; returns it ``[E, ...]`` and the error of each member on its last batch ``[E]``."""
    network = Member(settings.width)
    schedule = optax.cosine_decay_schedule(settings.train_rate, settings.train_steps)
    optimizer = optax.adam(schedule)

    def loss(params: Any, key: Any) -> Any:
        cells, _, valid = draw_groups(key, size, rule, settings.batch, settings.sharpness)
        return optax.sigmoid_binary_cross_entropy(network.apply(params, cells), valid.astype(jnp.float32)).mean()

    def step(carry: Any, key: Any) -> Any:
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params, key)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    def learn_one(key: Any) -> Any:
        init_key, steps_key = jax.random.split(key)
        params = network.init(init_key, jnp.zeros((size, size + (rule == "odd_even"))))
        keys = jax.random.split(steps_key, settings.train_steps)
        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return params, losses[-1]

    return jax.vmap(learn_one)(jax.random.split(key, members))


def fill(start_key: Any, member_key: Any, params: Any, groups: Any, marks: Any, settings: Settings) -> Any:
    """Fills a blank board.

    Args:
      start_key: decides where descents start; consumed.
      member_key: decides the members drawn; consumed. Boards that share it share members, so that they are one
        product of matrices side by side.
      params: a trained ensemble ``[E, ...]``.
      groups: cells of each group, ``[G, size]``.
      marks: see `is_solved`, ``[cells]`` or ``[0]`` for none.
      settings: the settings.

    Returns:
      Digits 0 to size - 1, int32 ``[cells]``.
    """
    size, cells = groups.shape[1], groups.max() + 1
    network, optimizer = Member(settings.width), optax.adam(settings.rate)

    def answer(member: Any, board: Any) -> Any:
        seen = jnp.concatenate([board, marks[:, None]], axis=1) if marks.size else board
        return network.apply(member, seen[groups])

    def error(logits: Any, target: Any) -> Any:
        return optax.sigmoid_binary_cross_entropy(logits, target).mean()

    def fix_one(digits: Any, keys: Any) -> Any:
        blank = digits[:, None] < 0
        noise = settings.start_noise * jax.random.normal(keys[0], (settings.starts, cells, size))

        def fill_from(noise: Any) -> Any:
            return deduce(
                keys[1], params, answer, 1.0, jnp.where(blank, noise, jax.nn.one_hot(digits, size)),
                iterations=settings.iterations, optimizer=optimizer, free=blank, loss_fn=error, squash=jax.nn.softmax,
            )  # fmt: skip

        found = jax.vmap(fill_from)(noise)
        board = found.input[found.score.mean(axis=1).argmin()]
        surest = jnp.where(digits < 0, board.max(axis=1), -1.0).argmax()
        return digits.at[surest].set(board[surest].argmax()), None

    keys = jnp.stack([jax.random.split(key, cells) for key in (start_key, member_key)], axis=1)
    return jax.lax.scan(fix_one, jnp.full(cells, -1), keys)[0]


def run_seed(cell: dict[str, Any], seed: int, boards: int, settings: Settings) -> dict[str, Any]:
    """Makes a row: an ensemble learns, and fills blank boards."""
    size, boxes, rule, members = (cell[name] for name in CELL)
    groups = make_groups(size, boxes)
    learn_key, fill_key = jax.random.split(jax.random.key(seed))
    params, losses = jax.jit(lambda key: learn(key, size, rule, members, settings))(learn_key)
    marks = np.zeros((boards, 0), np.int32)
    if rule == "odd_even":
        rng = np.random.default_rng(seed)
        marks = parity(np.stack([random_board(rng, groups) for _ in range(boards)])).astype(np.int32)

    def fill_all(key: Any, params: Any, marks: Any) -> Any:
        member_key, start_key = jax.random.split(key)
        each = (jax.random.split(start_key, boards), marks)
        return jax.lax.map(
            lambda one: fill(one[0], member_key, params, groups, one[1], settings), each, batch_size=TOGETHER
        )

    program = jax.jit(fill_all).lower(fill_key, params, marks).compile()
    began = time.perf_counter()
    digits = np.asarray(program(fill_key, params, marks))
    seconds = time.perf_counter() - began
    solved = int(is_solved(digits, groups, marks if marks.size else None).sum())
    rate = float(f"{boards / seconds:.3g}")
    print(f"{cell} seed {seed}: errors {np.asarray(losses).round(3)}, {solved} of {boards}, {rate:g}/s", flush=True)
    return cell | {"seed": seed, "boards": boards, "solved": solved, "boards_per_second": rate}


def run_cell(cell: dict[str, Any], seeds: list[int], boards: int, settings: Settings, out: Path) -> None:
    """Adds the rows of those seeds of a cell that are missing, a seed at a time.

    Raises:
      SystemExit: if rows of the cell were made with other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    about = _about(out, cell.values())
    used = dataclasses.asdict(settings) | {"boards": boards}
    kept = json.loads(about.read_text())["settings"] if about.exists() else used
    for name, value in used.items():
        if kept[name] != value:
            raise SystemExit(f"{about} was made with {name} = {kept[name]}, not {value}: choose another --out")
    rows = report.read_rows(out / "sudoku.csv")
    done = {row["seed"] for row in rows if all(row[name] == cell[name] for name in CELL)}
    for seed in (seed for seed in seeds if seed not in done):
        about.write_text(json.dumps(describe_run("jax", "flax", "optax") | {"settings": used}, indent=2) + "\n")
        report.append_rows(out / "sudoku.csv", [run_seed(cell, seed, boards, settings)])


def _about(out: Path, cell: Iterable[Any]) -> Path:
    """Returns the path of a cell's settings and machine."""
    return out / ("-".join(map(str, cell)) + ".json")


def run(arguments: argparse.Namespace) -> None:
    """Runs every cell that is asked for, then writes the table."""
    seeds = list(range(arguments.first_seed, arguments.first_seed + arguments.seeds))
    for size in arguments.size:
        changes = {name: value for name, value in vars(arguments).items() if name in CHANGES and value is not None}
        settings = dataclasses.replace(SETTINGS[size], **changes)
        for members in arguments.members:
            cell = dict(zip(CELL, (size, arguments.boxes, arguments.rule, members), strict=True))
            run_cell(cell, seeds, arguments.boards, settings, arguments.out)
    write_report(arguments)


def write_report(arguments: argparse.Namespace) -> None:
    """Writes README.md with a line per cell."""
    rows = report.read_rows(arguments.out / "sudoku.csv")
    head = "size, boxes, rule, members, width, starts, iterations, seeds, boards, solved, worst to best seed"
    head = (*head.split(", "), "boards per second")
    text = ["# Sudokus by deduction", "", "\n\n".join(__doc__.strip().split("\n\n")[2:]), ""]
    text += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for cell in sorted({tuple(row[name] for name in CELL) for row in rows}):
        own = [row for row in rows if tuple(row[name] for name in CELL) == cell]
        boards, solved = (sum(row[name] for row in own) for name in ("boards", "solved"))
        rates = [row["solved"] / row["boards"] for row in own]
        speed = np.median([row["boards_per_second"] for row in own])
        used = json.loads(_about(arguments.out, cell).read_text())["settings"]
        found = tuple(used[name] for name in ("width", "starts", "iterations"))
        values = (*cell, *found, len(own), boards, f"{solved / boards:.1%}", f"{min(rates):.1%} to {max(rates):.1%}")
        text.append("| " + " | ".join(map(str, (*values, f"{speed:.3g}"))) + " |")
    (arguments.out / "README.md").write_text("\n".join([*text, "", *report.machines(arguments.out), ""]))


CHANGES = {field.name: type(field.default) for field in dataclasses.fields(Settings)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--size", type=int, nargs="+", default=[6], choices=BOXES)
    parser.add_argument("--boxes", default="rectangular", choices=("rectangular", "patterned"))
    parser.add_argument("--rule", default="different", choices=RULES)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 5, 10], help="ensemble sizes")
    parser.add_argument("--boards", type=int, default=1000, help="of a seed, side by side")
    parser.add_argument("--seeds", type=int, default=3, help="ensembles of a cell")
    parser.add_argument("--first-seed", type=int, default=0, help="of these; from 1000 on for tuning")
    parser.add_argument("--out", type=Path, default=RESULTS)
    for name, kind in CHANGES.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, help="see Settings; by default those of the size"
        )
    arguments = parser.parse_args()
    if min(arguments.boards, arguments.seeds, *arguments.members) < 1:
        parser.error("--boards, --seeds and --members must be at least 1")
    {"run": run, "report": write_report}[arguments.command](arguments)


if __name__ == "__main__":
    main()
