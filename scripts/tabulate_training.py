"""The tables of what is learned, and when: training.csv, settling.csv, criteria.csv, and the losses of a training."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.training import summary
from triaxis.training.criteria import criteria

with reporting(snakemake.log[0]):
    params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output
    stages = {name: inputs[name] for name in summary.STAGES}
    frame = summary.by_sequence(stages, params.length)
    rows = summary.by_checkpoint(frame, params.models, params.samples, params.seed)
    written = {outputs.training: rows, outputs.settling: summary.settling(rows)}
    written[outputs.criteria] = criteria(rows, params.samples, params.seed)
    written |= {path: summary.loss_curves(inputs.curves) for path in outputs.losses}
    for path, content in written.items():
        with files.whole(path) as part:
            part.write_text(tables.to_csv(content))
