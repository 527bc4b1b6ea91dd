"""What the figures over all shards are drawn from, each a table of its own: a figure is drawn again without a look at
the shards, and another program can draw it."""

import csv
from collections.abc import Sequence
from pathlib import Path

import duckdb

from triaxis import files

# Over sequences, for each combination of axes (fits/). null_r: of iid noise.
HEADS = """
SELECT model, axes, layer, head, avg(r ORDER BY sequence) AS r, any_value(null_r) AS null_r
FROM read_parquet($files, hive_partitioning = true, hive_types_autocast = false)
GROUP BY model, axes, layer, head ORDER BY model, axes, layer, head
"""

# Over sequences and queries (probes/); nothing in NoPE layers.
ADDITIVE = """
SELECT model, layer, head, avg(r_additive ORDER BY sequence, query) AS r_additive
FROM read_parquet($files, hive_partitioning = true, hive_types_autocast = false)
GROUP BY model, layer, head ORDER BY model, layer, head
"""

# A model's rotary pairs over sequences, rotary layers and heads, first token included (patterns/). f, g, interaction:
# each pair's share of the variance of all logits.
PAIRS = """
WITH own AS (
    SELECT * FROM read_parquet($files, hive_partitioning = true, hive_types_autocast = false) WHERE first_token
), whole AS (
    SELECT model, sum(f_variance + g_variance + interaction_variance ORDER BY sequence, layer, head, pair) AS variance
    FROM own GROUP BY model
)
SELECT model, pair, avg(turns ORDER BY sequence, layer, head) AS turns,
       avg(norm_share ORDER BY sequence, layer, head) AS norm_share,
       avg(key_constancy ORDER BY sequence, layer, head) AS key_constancy,
       sum(f_variance ORDER BY sequence, layer, head) / any_value(variance) AS f,
       sum(g_variance ORDER BY sequence, layer, head) / any_value(variance) AS g,
       sum(interaction_variance ORDER BY sequence, layer, head) / any_value(variance) AS interaction
FROM own JOIN whole USING (model) WHERE pair IS NOT NULL GROUP BY model, pair ORDER BY model, pair
"""

# Quartiles over heads, each averaged over sequences, of the key components' correlation (dummies/).
DUMMIES = """
WITH heads AS (
    SELECT model, layer, head, distance, avg(key_correlation ORDER BY sequence) AS r
    FROM read_parquet($files, hive_partitioning = true, hive_types_autocast = false)
    WHERE distance IS NOT NULL GROUP BY model, layer, head, distance
)
SELECT model, distance, quantile_cont(r, 0.25) AS low, quantile_cont(r, 0.5) AS middle, quantile_cont(r, 0.75) AS high
FROM heads GROUP BY model, distance ORDER BY model, distance
"""


def write(table: str | Path, sql: str, parquet: Sequence[str | Path]) -> None:
    """Write the rows of `sql` over the `parquet` files of a stage as CSV, floats in full, null as nothing. Raises
    UserError if the disk is full or may not be written, which DuckDB's own writer would not say in one line."""
    with duckdb.connect(config={"threads": 1}) as connection, files.whole(table) as part, part.open("w") as file:
        rows = connection.sql(sql, params={"files": [str(path) for path in parquet]})
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(rows.columns)
        lines.writerows(rows.fetchall())
