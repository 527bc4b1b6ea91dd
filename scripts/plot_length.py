"""Figures: loss against position, clouds of outputs, shares outside, attention, components and passkeys by length."""

from triaxis.base import tables
from triaxis.base.errors import reporting
from triaxis.length import figures, summary
from triaxis.length.components import continuation
from triaxis.report import style

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    models, methods = params.models, params.methods
    training = {summary.model_of(file): summary.training_of(file) for file in inputs.losses}
    clouds = {
        summary.model_of(cloud): summary.typical_clouds(cloud, distance)
        for cloud, distance in zip(inputs.clouds, inputs.distances, strict=True)
    }
    curves = summary.curves_of(inputs.components)
    typical, errors = {}, {}
    for key, own in curves.items():
        found = continuation(own.own, training[key[0]][0])
        typical[key] = summary.typical_curve(own, training[key[0]][0])
        errors[key] = found["error_inside"], found["error_beyond"]
    rows = tables.from_csv(inputs.table)
    figures = {
        "loss": figures.plot_loss(summary.loss_curves(inputs.losses), models, methods, training),
        "clouds": figures.plot_clouds(clouds, methods, training),
        "outliers": figures.plot_outliers(summary.outlier_curves(inputs.distances), models, methods, training),
        "attention": figures.plot_attention(rows, models, methods, training),
        "components": figures.plot_components(typical, errors, training),
        "passkeys": figures.plot_passkeys(summary.passkey_grids(inputs.passkeys), models, methods),
    }
    for name, figure in figures.items():
        style.save(figure, [snakemake.output[f"{name}_{kind}"] for kind in ("svg", "pdf", "png")])
