"""Print the headline table and where the report is: the last word of `make run`."""

import duckdb

NUMBERS = ["mean_r", "pooled_r", "heldout_r", "null_r", "random_r", "paper_r", "r_additive", "interaction"]

# The file has every digit; a reader wants three.
rows = duckdb.sql(
    f"SELECT model, sequences, round(COLUMNS({NUMBERS})::DOUBLE, 3), mechanism "
    "FROM read_csv('results/tables/headline.csv', types = {'model': 'VARCHAR'})"
)
print("\nThe three-axis fit W_ij ~ a_{i-j} + b_i + c_j (results/tables/headline.csv):")
rows.show(max_width=200)
print("Report: results/report.html    Query: duckdb results/triaxis.duckdb    Digests: results/manifest.json")
