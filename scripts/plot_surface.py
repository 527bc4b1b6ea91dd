"""Figure: the logits of one query over dummy distance and key, beside f + g."""

from triaxis.base.errors import reporting
from triaxis.mechanism import figures, surface
from triaxis.mechanism.additivity import make_grid
from triaxis.report import style

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    grid = make_grid(params.length, **params.grid)
    surface, title = surface.typical_surface(inputs.additivity, inputs.features, inputs.rope, grid)
    style.save(figures.plot_surface(surface, f"{snakemake.wildcards.model}, {title}"), snakemake.output)
