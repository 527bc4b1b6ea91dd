"""What `make run` prints: lines of at most 100 columns, for any configuration."""

import numpy as np
import pytest

from triaxis.report.printed import (
    MEANING,
    NAME,
    SHARES_MEANING,
    experiment_lines,
    headline_lines,
    length_lines,
    nearest,
    short,
    step_lines,
)

LONG = "a-model-whose-maker-had-much-to-say-about-it-12b-instruct"


def headline_row(model: str, **changes: object) -> dict:
    row = {"model": model, "mean_r": 0.8871, "mean_r_low": 0.8803, "mean_r_high": 0.8931, "adjusted_r2": 0.7844}
    row |= {"heldout_r": 0.8621, "random_r": 0.8822, "null_r": 0.1524, "mechanism": "measured"}
    row |= {"r_additive": 0.9704, "key_independence": 0.85, "distance_independence": 0.87, "interaction": 0.0579}
    row |= {"scrambled_r_additive": 0.985, "scrambled_key_independence": 0.004}
    row |= {"scrambled_distance_independence": 0.97, "scrambled_interaction": 0.03}
    return row | {"constant_matrices": 0} | changes


def test_the_headline_is_a_table_with_random_beside_trained_and_its_meaning_in_one_line():
    rows = [headline_row("small"), headline_row("small-random", random_r=np.nan)]
    title, _, head, trained, random, _, meaning, *_ = headline_lines(rows, 8, 1024)
    assert title == "8 sequences of 1,024 tokens; noise alone gives r 0.152."
    assert head.split("  ")[0] == "model" and "adjusted R²" in head
    assert trained.split() == ["small", "0.887", "[0.880,", "0.893]", "0.784", "0.862", "0.882"]
    assert random.split()[-1] == "-"
    assert len(head) == len(trained) == len(random)
    assert meaning == MEANING


def test_additivity_stands_beside_both_nulls_and_says_what_each_number_is():
    rows = [headline_row("small"), headline_row("small-random", random_r=np.nan, key_independence=0.76)]
    lines = headline_lines(rows, 8, 1024)[7:]
    head, trained, scrambled, random = lines[1:5]
    assert head.split("  ")[0] == "model" and "key independence  distance independence  interaction" in head
    assert trained.split() == ["small", "0.970", "0.850", "0.870", "0.058"]
    assert scrambled.split() == ["key", "phases", "scrambled", "0.985", "0.004", "0.970", "0.030"]
    assert random.split() == ["small-random", "0.970", "0.760", "0.870", "0.058"]
    assert len(head) == len(trained) == len(scrambled) == len(random)
    assert tuple(lines[6:]) == SHARES_MEANING


def test_a_long_name_is_cut_and_keeps_its_end():
    assert short("small") == "small"
    assert len(short(LONG)) == NAME
    assert short(f"{LONG}-random").endswith("-random") and short(LONG).startswith("a-model")


def test_no_line_is_over_100_columns():
    rows = [headline_row(LONG), headline_row(f"{LONG}-random", adjusted_r2=-0.123)]
    assert max(map(len, headline_lines(rows, 10**6, 10**6))) <= 100
    assert len(MEANING) <= 100
    lines = experiment_lines({"surgery": surgery(LONG), "tolerance": tolerance(LONG), "length": length(LONG)})
    assert max(map(len, lines)) <= 100


def test_what_was_not_measured_is_a_dash_and_what_cannot_be_is_not_applicable():
    rows = [headline_row("later", mechanism="not measured") | dict.fromkeys(MEASURED, np.nan)]
    assert headline_lines(rows, 8, 256)[-1] == MEANING
    rows += [headline_row("gpt2", mechanism="not applicable") | dict.fromkeys(MEASURED, np.nan), headline_row("now")]
    lines = headline_lines(rows, 8, 256)
    assert [line.split()[-4:] for line in lines if line.startswith("later ")][1] == ["-"] * 4
    assert [line.split()[-4:] for line in lines if line.startswith("gpt2 ")][1] == ["n/a"] * 4
    assert sum("scrambled " in line and "0.985" in line for line in lines) == 1


MEASURED = ("r_additive", "key_independence", "distance_independence", "interaction")


def test_few_sequences_have_no_interval():
    line, *_ = [
        line for line in headline_lines([headline_row("m", mean_r_low=np.nan)], 4, 256) if line.startswith("m ")
    ]
    assert "[" not in line


def test_constant_matrices_are_counted():
    assert any("2 constant" in line for line in headline_lines([headline_row("m", constant_matrices=2)], 8, 256))
    assert not any("constant" in line for line in headline_lines([headline_row("m")], 8, 256))


def surgery(model: str) -> list[dict]:
    loss = {"exact": 3.185, "attended": 3.567, "attended+first-f": 3.347, "noise": 3.571, "window-16": 3.602}
    return [
        {"model": name, "variant": variant, "chosen": variant == "attended", "loss": value}
        for name in (model, f"{model}-random")
        for variant, value in (loss | {"f": 7.973, "g": 8.105}).items()
    ]


def tolerance(model: str) -> list[dict]:
    return [
        {"model": name, "perturbation": kind, "fraction": fraction, "ratio": 1 + fraction * ("random" not in name)}
        for name in (model, f"{model}-random")
        for kind in ("text", "feature")
        for fraction in (0.0, 0.1, 1.0)
    ]


def length(model: str) -> list[dict]:
    return [
        {"model": model, "method": method, "length": n, "training_length": 128, "loss": n / 100}
        for method in ("plain", "lm_infinite")
        for n in (64, 128, 256)
    ]


def test_each_experiment_of_the_run_has_its_lines_and_no_other():
    assert experiment_lines({}) == []
    text = " ".join(" ".join(experiment_lines({"surgery": surgery("m"), "tolerance": tolerance("m")})).split())
    assert "3.185 nats a token as it is, 3.567 on additive logits, 3.571 with noise of their error's size" in text
    assert "3.602 in a window of 16; f alone 7.973, g alone 8.105" in text
    assert "10 % of the words moved" in text and "text 1.100, feature 1.100; random weights: text 1.000" in text
    assert "length" not in text and "m-random:" not in text


def test_heads_are_counted_by_class_and_role():
    rows = [{"model": "m", "class": own, "role": role} for own, role in (("sink", np.nan), ("semantic", "induction"))]
    rows.append({"model": "m-random", "class": "mixed", "role": np.nan})
    (line, more) = experiment_lines({"heads": rows})
    assert line.startswith(
        "heads      m: 0 positional, 1 semantic, 0 mixed, 1 sink, 0 undecided; looking at one token:"
    )
    assert more.strip().endswith("0 duplicate-token, 1 induction")


def test_lengths_are_a_table_of_methods():
    rows = [*length("m"), *length("n" * 60)]
    lines = length_lines(rows[:-1])
    assert lines[1:5] == [
        "length: m, trained on 128 tokens; nats a token, by tokens read",
        "                64    128    256",
        "plain        0.640  1.280  2.560",
        "lm_infinite  0.640  1.280  2.560",
    ]
    assert lines[-1].split() == ["lm_infinite", "0.640", "1.280", "-"]
    assert max(map(len, lines)) <= 100


def test_checkpoints_are_a_table_of_what_they_have_learned():
    measures = {"loss": 5.5, "r distance+query+key": 0.8, "previous_token_attention": 0.25, "r_additive": 0.9}
    rows = [
        {"model": f"{'m' * 60}.seed0.step{step}", "layer": layer, "measure": measure, "value": value - step / 1000}
        for step in (0, 100)
        for layer in (np.nan, 0)
        for measure, value in measures.items()
    ]
    head, first, second = step_lines(rows)[1:4]
    assert head.split() == ["checkpoint", "loss", "r", "r_add", "key", "distance", "slow", "previous", "first"]
    assert first.split()[1:] == ["5.500", "0.800", "0.900", "-", "-", "-", "0.250", "-"]
    assert second.split()[1:3] == ["5.400", "0.700"]
    assert max(map(len, step_lines(rows))) <= 100


def test_tasks_are_shown_beside_nothing_moved_and_random_weights():
    rows = [
        {"model": "m", "task": "cloze", "perturbation": kind, "fraction": fraction, "accuracy": 0.5 - fraction}
        for kind in ("text", "position")
        for fraction in (0.0, 0.2)
    ]
    rows += [{"model": "m-random", "task": "cloze", "perturbation": "text", "fraction": 0.0, "accuracy": 0.0}]
    text = " ".join(" ".join(experiment_lines({"tasks": rows})).split())
    assert "cloze, accuracy 0.500; 20 % of the words moved: text 0.300, position 0.300; random weights 0.000" in text


@pytest.mark.parametrize(("fractions", "shown"), [([0, 0.1, 1], 0.1), ([0, 0.05, 0.2], 0.05), ([0, 1], 1), ([0], 0)])
def test_the_fraction_shown_is_the_nearest_to_ten_percent(fractions, shown):
    assert nearest(fractions) == shown


def test_a_training_says_what_settles_before_and_after_the_loss():
    courses = {"loss": [5, 3, 1, 1, 1], "r_additive": [5, 1, 1, 1, 1], "key_constancy": [5, 5, 5, 1, 1]}
    courses |= {"slow_norm_share": [5, 4, 3, 2, 1]}
    rows = [
        {"model": f"m.seed0.step{1000 * step}", "layer": np.nan, "measure": measure, "value": value}
        for measure, values in courses.items()
        for step, value in enumerate(values)
    ]
    text = " ".join(" ".join(experiment_lines({"training": rows})).split())
    assert text == (
        "training m.seed0: loss 5.000 to 1.000 nats a token, settled by step 2,000; before the loss: r_additive 1,000; "
        "after the loss: key constancy 3,000; not by the end: slow pairs' norm"
    )
