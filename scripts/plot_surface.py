"""Figure: the logits of one query over dummy distance and key, beside f + g."""

from triaxis.base.errors import reporting
from triaxis.mechanism import figures, surface
from triaxis.mechanism.additivity import make_grid
from triaxis.report import style

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    grid = make_grid(params.length, **params.grid)
    model = snakemake.wildcards.model
    found = surface.typical_surface(inputs.additivity, inputs.features, inputs.rope, grid)
    if found is None:
        figure = style.say(f"{model}: no head's logits change with both distance and key")
    else:
        figure = figures.plot_surface(found[0], f"{model}, {found[1]}")
    style.save(figure, snakemake.output)
