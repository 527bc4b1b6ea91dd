"""Sums of logits over each axis: all that the fits need, from a scan of logits/ by DuckDB."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.fit.groups import Groups

# One packed integer a logit matrix, not three columns: grouping is a third faster. Each cell has one query, so
# the sums over all cells are those over the queries' sums, added up in order: the same bits on every run.
QUERY = """
WITH cells AS (
    SELECT (sequence::BIGINT << 32) | (layer::BIGINT << 16) | head::BIGINT AS matrix,
           query - key AS distance, query, key,
           logit::DOUBLE AS w, w * w AS w2,
           -- Groups.hold_out; the keys' groups are one higher, so that they are equal.
           (($query_group::UTINYINT[])[query + 1] = ($key_group::UTINYINT[])[key + 1])::DOUBLE AS heldout
    FROM read_parquet($files) WHERE query < $prefix
), levels AS (
    SELECT matrix,
           CASE GROUPING(distance, query, key) WHEN 3 THEN 'distance' WHEN 5 THEN 'query' ELSE 'key' END AS axis,
           coalesce(distance, query, key) AS index,
           count(*) AS count, sum(w) AS total, sum(w2) AS squares,
           sum(heldout)::BIGINT AS heldout_count, sum(w * heldout) AS heldout_total,
           sum(w2 * heldout) AS heldout_squares
    FROM cells
    GROUP BY GROUPING SETS ((matrix, distance), (matrix, query), (matrix, key))
), everything AS (
    SELECT * FROM levels
    UNION ALL
    SELECT matrix, 'all', NULL, sum(count)::BIGINT, sum(total ORDER BY index), sum(squares ORDER BY index),
           sum(heldout_count)::BIGINT, sum(heldout_total ORDER BY index), sum(heldout_squares ORDER BY index)
    FROM levels WHERE axis = 'query' GROUP BY matrix
)
SELECT (matrix >> 32)::INTEGER AS sequence, (matrix >> 16 & 65535)::SMALLINT AS layer,
       (matrix & 65535)::SMALLINT AS head, $prefix::INTEGER AS prefix, * EXCLUDE (matrix)
FROM everything ORDER BY matrix, axis, index
"""


def sum_logits(
    files: Sequence[str | Path], groups: Groups, *, threads: int, memory_mb: int, spill: str | Path
) -> Iterator[pa.Table]:
    """The rows of sums/ for Parquet files of logits/, in batches; DuckDB spills to the folder `spill`.

    groups: of as many positions as are summed, the first of each sequence. Raises UserError if a file is not whole or
    not Parquet.
    """
    for file in files:
        parquet.open_parquet(file).close()
    settings: dict[str, str | bool | int | float | list[str]]
    settings = {"threads": threads, "memory_limit": f"{memory_mb}MB", "temp_directory": str(spill)}
    with duckdb.connect(config=settings) as connection:
        params = {
            "files": [str(file) for file in files],
            "prefix": len(groups.query),
            "query_group": groups.query.tolist(),
            "key_group": ((groups.key + 1) % 3).tolist(),
        }
        try:
            rows = connection.sql(QUERY, params=params)
            for batch in rows.to_arrow_reader():
                yield pa.Table.from_batches([batch])
        except duckdb.Error as error:
            raise UserError(f"the logits in {', '.join(map(str, files))} cannot be summed: {error}") from None
