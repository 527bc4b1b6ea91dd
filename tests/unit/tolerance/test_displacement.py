"""The displacement model: what is swapped, how much of it, and what every perturbation then reads from it."""

from collections import Counter

import numpy as np
import pytest

from triaxis.base.errors import UserError
from triaxis.tolerance.displacement import STAYS, displace, pair_units, token_units, word_units

TEXT = "all the  king's horses\nand all the king's men couldn't put Humpty together again"


def pieces(text: str, size: int) -> np.ndarray:
    """Offsets of tokens of up to `size` characters, each with one space before it if there is one."""
    offsets, start = [], 0
    while start < len(text):
        stop = start + 1
        while stop < len(text) and stop - start < size and not text[stop].isspace():
            stop += 1
        offsets.append((start, stop))
        start = stop
    return np.array(offsets)


def units_of(words: int, seed: int = 0) -> np.ndarray:
    """Units of 1 to 3 tokens each."""
    return np.repeat(np.arange(words), np.random.default_rng(seed).integers(1, 4, words))


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5, 1])
@pytest.mark.parametrize("window", [1, 4])
def test_swaps_keep_the_multiset_of_words(fraction, window):
    offsets = pieces(TEXT, 3)
    swapped = displace(word_units(TEXT, offsets), fraction, window, [3])
    text = "".join(TEXT[first:last] for first, last in offsets[swapped.order])
    assert Counter(text.split()) == Counter(TEXT.split())
    assert sorted(swapped.order) == list(range(len(offsets)))
    assert (text == TEXT) == (fraction == 0)


def test_words_are_runs_of_characters_that_are_not_space_and_go_with_the_space_before_them():
    offsets = pieces(TEXT, 3)
    units = word_units(TEXT, offsets)
    words = {}
    for unit, (first, last) in zip(units, offsets, strict=True):
        words[unit] = words.get(unit, "") + TEXT[first:last]
    assert [word.strip() for unit, word in words.items() if unit != STAYS] == TEXT.split()[1:]
    assert words[STAYS] == "all"
    assert "  king's" in words.values()


def test_a_word_that_the_tokens_cut_stays():
    offsets = pieces(TEXT, 3)
    start, stop = 2, next(n for n, (_, last) in enumerate(offsets) if TEXT[:last].endswith("Hu"))
    units = word_units(TEXT, offsets[start : stop + 1])
    assert units[-1] == STAYS  # Hu, of Humpty
    assert units[-2] != STAYS  # put
    assert (units[0] == STAYS) and (units[1:-1] != STAYS).all()
    space = np.array([*offsets[start:stop], (offsets[stop][0], offsets[stop][0] + 1)])
    assert word_units(TEXT, space)[-1] == STAYS  # the space alone, without its word


def test_a_text_without_spaces_has_no_words_to_swap():
    text = "北風和太陽爭論誰更強"
    units = word_units(text, pieces(text, 1))
    assert (units == STAYS).all()
    assert displace(units, 0, 1, [0]).order.tolist() == list(range(len(text)))
    with pytest.raises(UserError, match=r"no two whole words.*tolerance\.unit"):
        displace(units, 0.1, 1, [0])


@pytest.mark.parametrize("window", [1, 2, 5, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 31, 32])
def test_pairs_are_disjoint_near_and_leave_at_most_one_alone(count, window):
    pairs = pair_units(count, window, np.random.default_rng(1))
    assert len(np.unique(pairs)) == pairs.size
    assert len(pairs) == count // 2
    assert ((pairs[:, 1] - pairs[:, 0] > 0) & (pairs[:, 1] - pairs[:, 0] <= window)).all()


def test_every_partner_in_the_window_is_met():
    pairs = pair_units(3000, 3, np.random.default_rng(0))
    gaps = np.bincount(pairs[:, 1] - pairs[:, 0], minlength=4)
    assert (gaps[1:] > 300).all()


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.1, 0.2, 0.5])
def test_the_fraction_is_realised_within_a_pair_and_on_average(fraction):
    units, words = units_of(101), 101
    moved_fraction = np.array([displace(units, fraction, 1, [seed]).moved_fraction for seed in range(400)])
    assert np.abs(moved_fraction - fraction).max() < 2 / words
    assert moved_fraction.mean() == pytest.approx(fraction, abs=4 * 0.5 * (2 / words) / 20)


def test_realised_counts_the_units_that_moved():
    units = np.arange(60)
    for fraction in (0, 0.3, 1):
        swapped = displace(units, fraction, 1, [5])
        assert swapped.moved_fraction == (swapped.shift != 0).mean()
        assert swapped.mean_shift == swapped.moved_fraction  # neighbours, one token each
    assert displace(np.arange(61), 1, 1, [5]).moved_fraction == 60 / 61


def test_a_larger_fraction_swaps_what_a_smaller_one_does():
    units = np.arange(200)
    before = displace(units, 0.05, 4, [7])
    for fraction in (0.1, 0.2, 0.5, 1):
        after = displace(units, fraction, 4, [7])
        moved = before.shift != 0
        assert (after.shift[moved] == before.shift[moved]).all()
        assert (after.shift != 0).sum() > moved.sum()
        before = after


def test_identical_seeds_give_identical_text_and_others_do_not():
    units = units_of(80)
    one, two, other = (displace(units, 0.2, 2, seed) for seed in ([4, 1], [4, 1], [4, 2]))
    assert (one.order == two.order).all() and (one.offsets() == two.offsets()).all()
    assert (one.order != other.order).any() and (one.offsets() != other.offsets()).any()


def test_words_of_unequal_length_move_whole_and_those_between_are_pushed_along():
    units = np.array([STAYS, 0, 0, 0, 1, 2, STAYS])
    swapped = next(each for each in (displace(units, 1, 2, [seed]) for seed in range(50)) if each.order[1] == 5)
    assert swapped.order.tolist() == [0, 5, 4, 1, 2, 3, 6]
    assert swapped.new_position.tolist() == [0, 3, 4, 5, 2, 1, 6]
    assert swapped.shift.tolist() == [0, 2, 2, 2, -2, -4, 0]


def test_offsets_are_differences_of_shifts_drawn_cell_by_cell():
    swapped = displace(units_of(150), 0.3, 1, [2])
    offsets, shift = swapped.offsets(), swapped.shift
    assert (np.diagonal(offsets) == 0).all()
    cells = offsets[~np.eye(len(shift), dtype=bool)]
    values, counts = np.unique(np.subtract.outer(shift, shift), return_counts=True)
    expected = dict(zip(values, counts / counts.sum(), strict=True))
    assert set(np.unique(cells)) <= set(values)
    for value, share in expected.items():
        assert (cells == value).mean() == pytest.approx(share, abs=5 * np.sqrt(share / cells.size))
    # Neighbouring cells do not follow one another, as those of a true permutation would.
    assert abs(np.corrcoef(offsets[:-1, 0], offsets[1:, 0])[0, 1]) < 0.25
    assert not displace(units_of(150), 0, 1, [2]).offsets().any()


def test_special_tokens_and_the_first_token_of_the_text_stay():
    units = token_units(20, 2)
    assert units.tolist() == [STAYS] * 3 + list(range(1, 18))
    assert (displace(units, 1, 3, [0]).order[:3] == [0, 1, 2]).all()


@pytest.mark.parametrize("fraction", [-0.1, 1.01, float("nan")])
def test_a_fraction_outside_0_and_1_is_refused(fraction):
    with pytest.raises(UserError, match="not between 0 and 1"):
        displace(np.arange(9), fraction, 1, [0])


def test_a_window_below_1_is_refused():
    with pytest.raises(UserError, match="window 0"):
        displace(np.arange(9), 0.5, 0, [0])
