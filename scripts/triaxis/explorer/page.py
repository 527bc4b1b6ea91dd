"""results/explorer.html: the charts, which need no server and no network.

Vega-Lite, as Altair writes it, with its scripts inside the file. Each chart takes the rows of the head that was
clicked from one of the page's data sets; none of what a head shows is drawn before.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt
from altair.utils import spec_to_html
from altair.utils.schemapi import debug_mode

from triaxis.explorer.curves import PARTS
from triaxis.explorer.details import CELLS, KEYS, QUERIES
from triaxis.explorer.heads import LABELS
from triaxis.explorer.rows import DATA
from triaxis.fit.combinations import AXES
from triaxis.heads.classes import CLASSES

Rows = Sequence[Mapping[str, Any]]
Align = Literal["left", "right"]

# In pixels: a picture and a list, three of them beside each other, a line of text, and the names of measures.
SIDE, WHOLE, LINE, NAMES = 224, 740, 15, 150
# The longest side of a map, of which a cell takes 4 to 12, and the heads of a list.
MAP, EXTREMES = 300, 10
# Okabe & Ito 2008, as the figures.
BLUE, GREEN, ORANGE, VERMILION, PALE, GREY = "#0072B2", "#009E73", "#E69F00", "#D55E00", "#DDDDDD", "#777777"

# The list of measures stands above the charts, and stays there.
STYLE = """<style>
    body { font-family: sans-serif; font-size: 13px; margin: 12px }
    #explorer .chart-wrapper { display: flex; flex-direction: column }
    #explorer .marks { max-width: 100%; min-width: 1240px; height: auto }
    #explorer .vega-bindings { order: -1; position: sticky; top: 0; z-index: 1; background: white; padding: 6px 0 }
  </style>"""
OPTIONS = {"renderer": "svg", "actions": {"export": True, "source": False, "compiled": False, "editor": False}}

# What a column is called, where its name does not say it.
HEADINGS = {
    "most": "key attended to most",
    "most_attention": "attention",
    "least": "key attended to least",
    "least_attention": "attention",
}

# What the page knows of the head that is shown, and the rows of its model.
PLACE = ("model", "layer", "head")
OF_MODEL = "chosen.model && datum.model == chosen.model[0]"


def page(data: Mapping[str, Any], title: str, notes: Sequence[str]) -> str:
    """The whole page; data: from `rows.rows_of`; notes: sentences under the title."""
    rows, measures = data["heads"], data["measures"]
    # A click beside the heads leaves the one that is shown.
    chosen = alt.selection_point(
        name="chosen",
        fields=list(PLACE),
        value=[data["first"]],
        on="rect:click",
        toggle=False,
        clear=False,
        empty=False,
    )
    # Altair checks each part against its schema, which takes a second: a test draws the page, and a browser shows it.
    with warnings.catch_warnings(), debug_mode(False):
        # Maps and lists share the head that is chosen, and Altair says so.
        warnings.filterwarnings("ignore", "Automatically deduplicated selection parameter")
        left = [measure_maps(measures, rows, chosen)]
        left += [class_maps(rows, chosen)] if any(row["class"] for row in rows) else []
        left += [extremes(chosen), strips(measures, chosen)]
        right = [caption(chosen), *([pictures(chosen)] if data["details"] else []), curves(chosen)]
        right += [spectrum(chosen)] if data["spectra"] else []
        right += [missed(chosen), attended(chosen)] if data["details"] else []
        shown = alt.vconcat(*right, spacing=18).resolve_scale(color="independent", x="independent", y="independent")
        chart = alt.hconcat(alt.vconcat(*left, spacing=24), shown, spacing=36)
        chart = chart.properties(title=alt.TitleParams(title, subtitle=list(notes), fontSize=16, offset=16))
        chart = chart.resolve_scale(color="independent", x="independent", y="independent")
        chart = chart.configure_title(anchor="start", fontSize=12, subtitleFontSize=12)
        spec = chart.configure_view(stroke=None).configure_axis(grid=False).to_dict()
    spec["datasets"] = spec.get("datasets", {}) | {name: data[name] for name in DATA}
    html = spec_to_html(
        spec,
        mode="vega-lite",
        template="inline",
        vega_version=alt.VEGA_VERSION,
        vegalite_version=alt.VEGALITE_VERSION,
        vegaembed_version=alt.VEGAEMBED_VERSION,
        output_div="explorer",
        embed_options=dict(OPTIONS),
        json_kwds={"cls": InScript, "ensure_ascii": False, "separators": (",", ":")},
    )
    return html.replace("<head>", f"<head>\n  <title>{title}</title>\n  {STYLE}", 1)


class InScript(json.JSONEncoder):
    """JSON that may stand in an HTML script, whatever the texts in it are: none of them ends it."""

    def encode(self, o: Any) -> str:
        return super().encode(o).replace("<", "\\u003c")


def of_data(name: str) -> alt.Chart:
    return alt.Chart(alt.NamedData(name=name))


# The left: all heads


def measure_maps(measures: Sequence[str], rows: Rows, chosen: alt.Parameter) -> Any:
    """Layers by heads in the colour of a measure, which a list chooses; one scale for all models."""
    labels = [LABELS[name] for name in measures]
    start = measures.index("r_additive") if "r_additive" in measures else 0
    bind = alt.binding_select(options=list(range(len(measures))), labels=labels, name="Colour of the heads: ")
    measure = alt.param(name="measure", value=start, bind=bind)
    colour = alt.Color("value:Q", title="measure", scale=alt.Scale(scheme="cividis", zero=False))
    one = _map(rows, chosen, colour, ["value:Q"]).transform_calculate(value="datum.values[measure]")
    return _by_model(one.add_params(measure), rows, "Heads by a measure: click on one")


def class_maps(rows: Rows, chosen: alt.Parameter) -> Any:
    """Layers by heads in the colour of their class."""
    scale = alt.Scale(domain=list(CLASSES), range=[BLUE, GREEN, ORANGE, VERMILION, PALE])
    return _by_model(_map(rows, chosen, alt.Color("class:N", title="class", scale=scale), []), rows, "Heads by class")


def _map(rows: Rows, chosen: alt.Parameter, colour: alt.Color, told: Sequence[str]) -> alt.Chart:
    axis = alt.Axis(labelOverlap=True, tickSize=0, domain=False, labelAngle=0)
    width, height = (_extent(len({row[name] for row in rows})) for name in ("layer", "head"))
    return (
        of_data("heads")
        .mark_rect(cursor="pointer")
        .encode(
            x=alt.X("layer:O", axis=axis),
            y=alt.Y("head:O", axis=axis),
            color=colour,
            stroke=alt.when(chosen).then(alt.value(VERMILION)).otherwise(alt.value(None)),
            strokeWidth=alt.value(2),
            tooltip=["model:N", "layer:O", "head:O", "class:N", "role:N", *told],
        )
        .properties(width=width, height=height)
        .add_params(chosen)
    )


def _extent(count: int) -> int:
    """The side of a map with so many cells."""
    return count * max(4, min(12, MAP // count))


def _by_model(one: alt.Chart, rows: Rows, title: str) -> Any:
    """A map a model, two beside each other where their layers have the room."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    facet = alt.Facet("model:N", sort=models, header=alt.Header(title=None, labelFontSize=11, labelPadding=4))
    columns = 1 if _extent(len({row["layer"] for row in rows})) > MAP + 30 else 2
    return one.facet(facet=facet, columns=columns, title=title, spacing=12)


def extremes(chosen: alt.Parameter) -> Any:
    """The heads of the least, and of the greatest, value of the measure, of the model of the head that is shown."""
    orders: dict[str, Literal["ascending", "descending"]] = {"Lowest": "ascending", "Highest": "descending"}
    lists = []
    for name, order in orders.items():
        own = (
            of_data("heads")
            .transform_filter(OF_MODEL)
            .transform_calculate(value="datum.values[measure]", place="'layer ' + datum.layer + ', head ' + datum.head")
            .transform_filter("isValid(datum.value)")
            .transform_window(rank="row_number()", sort=[alt.SortField("value", order=order)])
            .transform_filter(f"datum.rank <= {EXTREMES}")
        )
        rank = alt.Y("rank:O", title=None, axis=alt.Axis(domain=False, ticks=False))
        row = own.mark_rect(color="#F0F0F0", cursor="pointer").encode(
            y=rank,
            x=alt.value(0),
            x2=alt.value(SIDE),
            stroke=alt.when(chosen).then(alt.value(VERMILION)).otherwise(alt.value(None)),
        )
        # Texts let a click through to the row behind them.
        left = own.mark_text(align="left", fontSize=11, dx=8).encode(y=rank, x=alt.value(0), text="place:N")
        value = alt.Text("value:Q", format=".4~g")
        right = own.mark_text(align="right", fontSize=11, dx=-8).encode(y=rank, x=alt.value(SIDE), text=value)
        whole = alt.layer(row.add_params(chosen), left, right)
        lists.append(whole.properties(width=SIDE, height=LINE * EXTREMES, title=f"{name} {EXTREMES} of this model"))
    return alt.hconcat(*lists, spacing=36)


def strips(measures: Sequence[str], chosen: alt.Parameter) -> Any:
    """Each measure of the head among those of all heads of its model, a line each, from the least to the greatest value
    of all models."""
    line = alt.Y("label:N", sort=None, axis=None)
    names = alt.LookupData(alt.NamedData(name="ranges"), "measure", ["label", "low", "high"])
    spread = (
        of_data("heads")
        .transform_calculate(measure=f"sequence({len(measures)})")
        .transform_flatten(["values", "measure"], as_=["value", "measure"])
        .transform_filter("isValid(datum.value)")
        .transform_lookup("measure", names)
        .transform_calculate(extent="datum.high - datum.low")
        .transform_calculate(place="datum.extent > 0 ? (datum.value - datum.low) / datum.extent : 0.5")
    )
    # From left to right: the name, the least value of all models, the heads, the greatest, and this head's.
    least, first, last, most, told = NAMES + 46, NAMES + 54, NAMES + 54 + SIDE, NAMES + 62 + SIDE, NAMES + 180 + SIDE
    scale = alt.Scale(domain=[0, 1], range=[first, last], nice=False)
    place = alt.X("place:Q", title=None, scale=scale, axis=None)
    every = spread.transform_filter(OF_MODEL).mark_tick(thickness=1, size=9, opacity=0.25, color="#555555")
    own = spread.transform_filter(chosen)
    marked = own.mark_tick(thickness=3, size=13, color=VERMILION)
    number, ranges = alt.Text("value:Q", format=".3~g"), of_data("ranges")
    texts: tuple[tuple[alt.Chart, Any, Align, int, str], ...] = (
        (ranges, alt.Text("label:N"), "left", 0, "black"),
        (ranges, alt.Text("low:Q", format=".3~g"), "right", least, GREY),
        (ranges, alt.Text("high:Q", format=".3~g"), "left", most, GREY),
        (own, number, "right", told, VERMILION),
    )
    return alt.layer(
        every.encode(x=place, y=line),
        marked.encode(x=place, y=line, tooltip=["label:N", "value:Q"]),
        *(
            base.mark_text(align=align, fontSize=10, color=color).encode(x=alt.value(at), y=line, text=text)
            for base, text, align, at, color in texts
        ),
    ).properties(width=told, height=LINE * len(measures), title="This head (orange) among all heads of its model")


# The right: the head that is shown


def caption(chosen: alt.Parameter) -> Any:
    """Which head is shown, how to cite it, and what it is called."""
    base = of_data("heads").transform_filter(chosen)
    parts = [base.mark_text(align="left", fontSize=15, fontWeight="bold").encode(x=_at(0), y=_at(8), text="named:N")]
    for name, place in (("cited", 30), ("noted", 46)):
        parts.append(base.mark_text(align="left", fontSize=11).encode(x=_at(0), y=_at(place), text=f"{name}:N"))
    return alt.layer(*parts).properties(width=WHOLE, height=50)


def pictures(chosen: alt.Parameter) -> Any:
    """Logits, fit and residual of one sequence: queries downwards, keys to the right."""
    shown = {
        "logits": "'logits: dark ' + format(datum.low, '.3~g') + ' to light ' + format(datum.high, '.3~g')",
        "fit": "'fit, on the same scale'",
        "residual": "'residual: orange -' + format(datum.bound, '.3~g') + ', purple ' + format(datum.bound, '.3~g')",
    }
    base = of_data("details").transform_filter(chosen)
    charts = []
    for name, text in shown.items():
        image = base.mark_image(width=SIDE, height=SIDE, align="left", baseline="top")
        heading = base.transform_calculate(text=text).mark_text(align="left", baseline="top", fontWeight="bold")
        parts = (
            image.encode(x=_at(0), y=_at(18), url=f"{name}:N"),
            heading.encode(x=_at(0), y=_at(0), text="text:N"),
        )
        charts.append(alt.layer(*parts).properties(width=SIDE, height=SIDE + 18))
    return alt.hconcat(*charts, spacing=36)


def curves(chosen: alt.Parameter) -> Any:
    """Each component over sequences: the mean, and where the middle four fifths of the sequences lie."""
    charts = []
    for axis, letter in zip(AXES, "abc", strict=True):
        base = of_data("curves").transform_filter(chosen).transform_filter(f"datum.axis == '{axis}'")
        base = base.transform_flatten(["index", "mean", "low", "high"])
        scale = alt.Scale(type="symlog") if axis == "distance" else alt.Scale(nice=False)
        x = alt.X("index:Q", title="distance" if axis == "distance" else "position", scale=scale)
        band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.25, color=BLUE)
        y = alt.Y("low:Q", title="logits", scale=alt.Scale(zero=False))
        mean = base.mark_line(color=BLUE).encode(x=x, y=alt.Y("mean:Q", title="logits"))
        chart = alt.layer(band.encode(x=x, y=y, y2="high:Q"), mean)
        charts.append(chart.properties(width=SIDE - 40, height=110, title=f"{letter}, of the {axis}"))
    return alt.hconcat(*charts, spacing=36)


def spectrum(chosen: alt.Parameter) -> Any:
    """What each rotary pair gives to f, g and the interaction, by its turns over a sequence."""
    base = of_data("spectra").transform_filter(chosen).transform_flatten(["turns", *PARTS])
    base = base.transform_fold(list(PARTS), as_=["part", "share"])
    axis = alt.Axis(format="~g", labelOverlap=True)
    scale = alt.Scale(domain=list(PARTS), range=[BLUE, GREEN, VERMILION])
    return (
        base.mark_line(point=alt.OverlayMarkDef(size=12), strokeWidth=1)
        .encode(
            x=alt.X("turns:Q", scale=alt.Scale(type="log"), title="turns over the sequence", axis=axis),
            y=alt.Y("share:Q", title="share of the variance"),
            color=alt.Color("part:N", title=None, scale=scale, legend=alt.Legend(orient="top-left")),
            tooltip=["part:N", "turns:Q", "share:Q"],
        )
        .properties(width=WHOLE - 60, height=110, title="Variance of the logits by rotary pair")
    )


def missed(chosen: alt.Parameter) -> Any:
    """The cells of the largest residual, with both texts."""
    columns: list[tuple[str, Align, int]] = [("residual", "right", 45), ("logit", "right", 100)]
    columns += [("query", "left", 120), ("key", "left", 400)]
    return _table(chosen, "cells", columns, CELLS, "The cells that the fit misses most")


def attended(chosen: alt.Parameter) -> Any:
    """The most and the least attended keys of some queries."""
    columns: list[tuple[str, Align, int]] = [("query", "left", 0), ("most", "left", 205)]
    columns += [("most_attention", "right", 455), ("least", "left", 478), ("least_attention", "right", WHOLE)]
    return _table(chosen, "keys", columns, QUERIES * KEYS, "Keys that three queries attend to most, and least")


def _table(chosen: alt.Parameter, field: str, columns: Sequence[tuple[str, Align, int]], rows: int, title: str) -> Any:
    """Lists of a head as a table of texts; columns: (name, alignment, place in pixels)."""
    names = [name for name, *_ in columns]
    base = of_data("details").transform_filter(chosen)
    for name in names:
        base = base.transform_calculate(**{name: f"datum.{field}.{name}"})
    base = base.transform_calculate(row=f"sequence(length(datum.{names[0]}))").transform_flatten([*names, "row"])
    line = alt.Y("row:O", axis=None, scale=alt.Scale(domain=list(range(rows))))
    parts = []
    for name, align, place in columns:
        told = alt.Chart(alt.InlineData(values=[{"text": HEADINGS.get(name, name)}]))
        heading = told.mark_text(align=align, fontSize=10, color=GREY)
        parts.append(base.mark_text(align=align, fontSize=11).encode(x=_at(place), y=line, text=f"{name}:N"))
        parts.append(heading.encode(x=_at(place), y=_at(-8), text="text:N"))
    above = alt.TitleParams(title, anchor="start", offset=14)
    return alt.layer(*parts).properties(width=WHOLE, height=LINE * rows, title=above)


def _at(place: int) -> Any:
    return alt.value(place)
