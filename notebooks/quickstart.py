"""Five questions to a finished run, answered with DuckDB and Altair.

`make notebook` opens it on results/triaxis.duckdb; `marimo edit notebooks/quickstart.py -- --database FILE` on another.
"""

import marimo

app = marimo.App(width="medium")


@app.cell
def opened():
    import altair as alt
    import duckdb
    import marimo as mo

    alt.data_transformers.disable_max_rows()
    database = mo.cli_args().get("database") or "results/triaxis.duckdb"
    run = duckdb.connect(database, read_only=True)

    def ask(question: str) -> "alt.Data":
        """The answer of SQL as rows that Altair draws."""
        answer = run.sql(question)
        return alt.Data(values=[dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()])

    return alt, ask, database, mo


@app.cell
def introduction(database, mo):
    mo.md(f"""
    # A run, in five questions

    All of it is asked of `{database}`. A stage is a table of its own name, `fits` or `heads`; a table of the report
    stands in the schema `tables`. Every column is in docs/files.md. A high r alone is no evidence of a learned
    pattern: read each number beside its control, the same architecture with fresh random weights.
    """)
    return


@app.cell
def how_well(alt, ask, mo):
    fitted = ask("""
        SELECT model, layer, head, avg(r) AS r FROM fits
        WHERE axes = 'distance+query+key' AND prefix = (SELECT max(prefix) FROM fits)
        GROUP BY ALL ORDER BY ALL
    """)
    mo.vstack([
        mo.md("## 1. How well do a distance, a query and a key component fit the logits of each head?"),
        alt.Chart(fitted)
        .mark_rect()
        .encode(
            x="layer:O", y="head:O", color=alt.Color("r:Q").scale(scheme="viridis"), column="model:N",
            tooltip=["layer:O", "head:O", alt.Tooltip("r:Q", format=".3f")],
        ),
    ])  # fmt: skip
    return (fitted,)


@app.cell
def which_axes(alt, ask, mo):
    axes = ask("SELECT model, axes, adjusted_r2 FROM tables.axes")
    mo.vstack([
        mo.md("## 2. Which axes carry the fit?"),
        alt.Chart(axes)
        .mark_bar()
        .encode(y="axes:N", x="adjusted_r2:Q", yOffset="model:N", color="model:N"),
    ])  # fmt: skip
    return (axes,)


@app.cell
def how_additive(alt, ask, mo):
    shares = ask("""
        UNPIVOT (
            SELECT model, mean_r_additive AS r_additive, mean_key_independence AS key_independence,
                   mean_distance_independence AS distance_independence FROM tables.mechanism
            UNION ALL
            SELECT model || ', scrambled', scrambled_r_additive, scrambled_key_independence,
                   scrambled_distance_independence FROM tables.mechanism WHERE weights != 'random'
        ) ON r_additive, key_independence, distance_independence INTO NAME measure VALUE share
    """)
    mo.vstack([
        mo.md("## 3. How additive are the logits of a query, beside random weights and scrambled key phases?"),
        alt.Chart(shares)
        .mark_point(filled=True, size=80)
        .encode(x=alt.X("share:Q").scale(domain=[0, 1]), y="measure:N", color="model:N", shape="model:N"),
    ])  # fmt: skip
    return (shares,)


@app.cell
def least_additive(alt, ask, mo):
    least = ask("""
        SELECT format('layer {}, head {}', layer, head) AS name, r_additive, previous_token, induction, first_key
        FROM heads WHERE model NOT LIKE '%-random' ORDER BY r_additive, layer, head LIMIT 10
    """)
    mo.vstack([
        mo.md("## 4. Which ten heads are the least additive, and where do they look?"),
        alt.Chart(least)
        .transform_fold(["r_additive", "previous_token", "induction", "first_key"], ["measure", "value"])
        .mark_bar()
        .encode(y=alt.Y("name:N").sort(None), x="value:Q", column="measure:N"),
    ])  # fmt: skip
    return (least,)


@app.cell
def by_distance(alt, ask, mo):
    distances = ask("""
        SELECT model, layer, index AS distance, avg(value) AS component FROM components
        WHERE axis = 'distance' AND layer % greatest(1, (SELECT max(layer) FROM components) // 6) = 0
        GROUP BY ALL ORDER BY ALL
    """)
    mo.vstack([
        mo.md("## 5. What does the distance alone do, layer by layer?"),
        alt.Chart(distances)
        .mark_line()
        .encode(
            x=alt.X("distance:Q").scale(type="symlog"), y="component:Q", color="layer:O", column="model:N",
        ),
    ])  # fmt: skip
    return (distances,)


if __name__ == "__main__":
    app.run()
