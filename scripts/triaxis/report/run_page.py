"""The first page of the report: what was run, the headline in a sentence a model, and in a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from triaxis.base.names import is_control
from triaxis.report.cells import DASH, Row, number, with_interval
from triaxis.report.pages import render

# A part of a page, which Snakemake's own page has around it too; so its style names what is in it alone, but for the
# column of text that it stands in, and which is too narrow for a table.
RUN = """<style>
.run table {border-collapse: collapse; width: auto; font-size: 13px; margin: .6rem 0 1.2rem}
.run th, .run td {padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #e2e8f0; color: inherit}
.run thead th {background: #f1f5f9}
.run .headline td {white-space: nowrap}
.run td:nth-child(2) {overflow-wrap: anywhere}
.run .number {text-align: right; font-variant-numeric: tabular-nums}
.run {font-family: system-ui, sans-serif; color: #1e293b}
.run p {max-width: 60rem}
.prose.max-w-lg {max-width: 66rem}
.prose.max-w-lg p, .prose.max-w-lg ul {max-width: 60rem}
div:has(> div > .prose.max-w-lg) {flex-wrap: wrap}
.h-screen.overflow-auto {align-items: safe center}
</style>
<div class="run">
<h2>The headline</h2>
{% for own in told %}
<p>In <b>{{ own.model }}</b>, a sum of a distance, a query and a key component has a mean correlation r of
{{ interval(own, "mean_r") }} with the logits. Noise alone gives {{ number(own.null_r) }}{% if own.random %}, and the
same architecture with fresh weights {{ own.random }}{% endif %}.
{% if own.mechanism == "measured" %}
The logits of one query have a correlation of {{ number(own.r_additive) }} with their best f(q, d) + g(q, k). Of what
the distance does, {{ percent(own.key_independence) }} is the same for every key, and of what the key does,
{{ percent(own.distance_independence) }} is the same at every distance. Where the phases of keys are scrambled, the
three are {{ number(own.scrambled_r_additive) }}, {{ percent(own.scrambled_key_independence) }} and
{{ percent(own.scrambled_distance_independence) }}{% if own.random %}; those of fresh weights are in the
table{% endif %}.
{% endif %}
</p>
{% endfor %}
<table class="headline">
<thead><tr>{% for head in heads %}<th{{ kind(loop.index0) }}>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in headline %}
<tr>{% for cell in row %}<td{{ kind(loop.index0) }}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
<h2>What was run</h2>
<table>
<thead><tr><th>model</th><th>source</th><th>revision</th><th>weights</th><th>random control</th></tr></thead>
<tbody>
{% for row in models %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
<table>
<tbody>
{% for name, value in facts %}
<tr><th>{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
"""

# The columns of the headline behind its model and mean r.
FIT = {"adjusted_r2": "adjusted R²", "heldout_r": "held-out r", "null_r": "noise r", "random_r": "random r"}
SHARES = {
    "r_additive": "r_additive",
    "key_independence": "key independence",
    "distance_independence": "distance independence",
    "interaction": "interaction",
}
# A revision is named by so many characters, as git does.
REVISION = 12


def run_page(facts: Mapping[str, Any], experiments: Sequence[str], rows: Sequence[Row]) -> str:
    """The first page, as a part of a page. facts: of `facts_of_run`; experiments: those that were run; rows: of
    headline.csv."""
    told = [dict(row) | {"random": _random(row)} for row in latest(rows) if row["weights"] == "trained"]
    return render(
        RUN,
        told=told,
        heads=["model", "mean r [95 %]", *FIT.values(), *SHARES.values()],
        headline=headline_cells(rows),
        models=[model_cells(name, entry, facts["sources"]) for name, entry in facts["config"]["models"].items()],
        facts=facts_cells(facts, experiments, rows),
        number=number,
        interval=with_interval,
        percent=percent,
        kind=lambda place: Markup(' class="number"') if place else "",
    )


def headline_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Each model's row, and under that of a trained one its null of scrambled keys."""
    cells = []
    for row in rows:
        cells.append([row["model"], with_interval(row, "mean_r")])
        cells[-1] += [number(row[name]) for name in [*FIT, *SHARES]]
        if row["mechanism"] == "measured" and not is_control(row["model"]):
            scrambled = (number(row[f"scrambled_{name}"]) for name in SHARES)
            cells.append(["the same, key phases scrambled", *[""] * (1 + len(FIT)), *scrambled])
    return cells


def model_cells(name: str, entry: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Name, source, revision, how the weights were stored, and control of an entry; sources: by base model."""
    own = [source for base, source in sources.items() if base == name or base.startswith(f"{name}.")]
    here = entry["source"] == "train:"
    source = "trained here" if here else entry["source"]
    source = source if isinstance(source, str) else ", ".join(source)
    stored = own[0]["quantisation"]
    return [
        name,
        source + (f", {len(own)} checkpoints" if len(own) > 1 else ""),
        "of each its own" if len(own) > 1 else short_revision(own[0]["revision"]),
        DASH if here else f"{stored}, dequantised" if stored else "as published",
        f"seed {entry['random_seed']}" if entry["random_control"] else DASH,
    ]


def facts_cells(facts: Mapping[str, Any], experiments: Sequence[str], rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What else was run: (name, value)."""
    config, machine = facts["config"], facts["machine"]
    sequences, corpus = config["sequences"], facts["sources"]["corpus"]
    sizes = dict.fromkeys(f"{row['layers']} layers of {row['heads']} heads" for row in rows)
    seeds = {"sequences": sequences["seed"], "held-out cells": config["fits"]["heldout_seed"]}
    seeds |= {"bootstrap": config["fits"]["bootstrap_seed"]}
    seeds |= {name: config[name]["seed"] for name in experiments if "seed" in config.get(name, {})}
    ran = dict.fromkeys(f"{own['device']}, {own['dtype']}, torch {own['torch']}" for own in facts["models"].values())
    git = facts["git"]
    commit = "no git checkout" if git["commit"] is None else f"commit {git['commit'][:REVISION]}"
    return [
        ("corpus", f"{corpus['source']}, revision {short_revision(corpus['revision'])}"),
        ("sizes", f"{sequences['count']:,} sequences of {sequences['length']:,} tokens; {', '.join(sizes)}"),
        ("seeds", ", ".join(f"{name} {seed}" for name, seed in seeds.items())),
        ("experiments", ", ".join(experiments)),
        ("code", f"Triaxis {facts['triaxis']}, {commit}{', with changes' if git['dirty'] else ''}"),
        ("models ran on", "; ".join(ran)),
        ("machine", f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"),
    ]


def latest(rows: Sequence[Row]) -> list[Row]:
    """Of each series of checkpoints the last, and all other models."""
    last = {row["series"]: row for row in rows}
    return [row for row in rows if not row["series"] or row is last[row["series"]]]


def short_revision(revision: str) -> str:
    """A commit or digest, cut; `sha256:` stays before it."""
    kind, mark, digest = revision.rpartition(":")
    return f"{kind}{mark}{digest[:REVISION]}"


def percent(share: float) -> str:
    return DASH if share != share else f"{100 * share:.1f} %"


def _random(row: Row) -> str:
    return "" if row["random_r"] != row["random_r"] else number(row["random_r"])
