"""The explorer of two models, the second a random control, of constructed heads."""

import pytest

from triaxis.explorer.page import page
from triaxis.explorer.rows import notes, rows_of
from unit.explorer import stages
from unit.heads.constructed import LENGTH


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    return {model: stages.write(folder, model) for model in ("m", "m-random")}


@pytest.fixture(scope="session")
def data(models):
    return rows_of(models, LENGTH, stages.EXPLORER)


@pytest.fixture(scope="session")
def html(data):
    return page(data, "Triaxis explorer", notes(data, stages.EXPLORER))
