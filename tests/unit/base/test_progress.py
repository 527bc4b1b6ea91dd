"""A job that takes long says how far it is; a short one says nothing."""

from triaxis.base.progress import progress


def test_parts_are_handed_on_and_shown_only_once_they_have_taken_long(capsys):
    assert list(progress([3, 1, 2], "fit", "batch")) == [3, 1, 2]
    assert capsys.readouterr().err == ""
    assert list(progress([3, 1, 2], "fit", "batch", delay=0)) == [3, 1, 2]
    shown = capsys.readouterr().err
    assert "fit: 100%" in shown and "3/3" in shown and "batch" in shown
