"""Figures: loss against position, clouds of outputs, shares outside, attention, components and passkeys by length."""

import csv
from pathlib import Path

from triaxis import length_plots, length_summary, plots
from triaxis.components import continuation
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    models, methods = params.models, params.methods
    training = {length_summary.model_of(file): length_summary.training_of(file) for file in inputs.losses}
    clouds = {
        length_summary.model_of(cloud): length_summary.typical_clouds(cloud, distance)
        for cloud, distance in zip(inputs.clouds, inputs.distances, strict=True)
    }
    curves = length_summary.curves_of(inputs.components)
    typical, errors = {}, {}
    for key, own in curves.items():
        found = continuation(own.own, training[key[0]][0])
        typical[key] = length_summary.typical_curve(own, training[key[0]][0])
        errors[key] = found["error_inside"], found["error_beyond"]
    with Path(inputs.table).open() as file:
        rows = list(csv.DictReader(file))
    figures = {
        "loss": length_plots.plot_loss(length_summary.loss_curves(inputs.losses), models, methods, training),
        "clouds": length_plots.plot_clouds(clouds, methods, training),
        "outside": length_plots.plot_outside(
            length_summary.outside_curves(inputs.distances), models, methods, training
        ),
        "attention": length_plots.plot_attention(rows, models, methods, training),
        "components": length_plots.plot_components(typical, errors, training),
        "passkeys": length_plots.plot_passkeys(length_summary.passkey_grids(inputs.passkeys), models, methods),
    }
    for name, figure in figures.items():
        plots.save(figure, [snakemake.output[f"{name}_{kind}"] for kind in ("svg", "pdf", "png")])
