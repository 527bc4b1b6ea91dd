"""Paths as users have them: brackets, braces, stars and links in real names, and what a pattern means beside them."""

import os
from pathlib import Path

import pytest

from triaxis.base.errors import UserError
from triaxis.text.paths import find_files

# kind, sample, answer, the files and links (name -> target) that are there, the path, and the names found below its
# folder, or the words of the refusal as a tuple
CASES = [
    ("path", "a folder named `texts [v1]`", "read", ["texts [v1]/a.txt"], "texts [v1]", ["a.txt"]),
    ("path", "a pattern in a folder named `texts [v1]`", "read", ["texts [v1]/a.txt"], "texts [v1]/*.txt", ["a.txt"]),
    ("path", "a file named `a[1].txt`", "read", ["a[1].txt"], "a[1].txt", ["a[1].txt"]),
    ("path", "a file named `a[1].txt`, written `a[[]1].txt`", "read", ["a[1].txt"], "a[[]1].txt", ["a[1].txt"]),
    (
        "path",
        "a file named `speech {draft}.txt`",
        "read",
        ["speech {draft}.txt"],
        "speech {draft}.txt",
        ["speech {draft}.txt"],
    ),
    ("path", "a folder named `{a,b}`", "read", ["{a,b}/x.txt", "a/x.txt"], "{a,b}", ["x.txt"]),
    ("path", "a file named `*.txt`, alone", "read", ["*.txt"], "*.txt", ["*.txt"]),
    ("path", "a file named `what?.txt`", "read", ["what?.txt"], "what?.txt", ["what?.txt"]),
    (
        "path",
        "names with spaces, quotes, line ends and accents",
        "read",
        ['it\'s "x"\n é/ü.txt'],
        "*/*.txt",
        ['it\'s "x"\n é/ü.txt'],
    ),
    ("path", "a hidden file and a hidden folder", "left out", ["d/a.txt", "d/.b.txt", "d/.git/c.txt"], "d", ["a.txt"]),
    ("path", "** in the middle", "read", ["d/a.txt", "d/x/y/a.txt", "d/x/b.csv"], "d/**/a.txt", ["a.txt", "x/y/a.txt"]),
    ("path", "** at the end", "read", ["d/a.txt", "d/x/y/a.txt"], "d/**", ["a.txt", "x/y/a.txt"]),
    (
        "path",
        "a file named `*.txt` beside others that it matches",
        "refused",
        ["*.txt", "a.txt"],
        "*.txt",
        ("path:*.txt is there by that name", "a.txt too: write [[], [*] or [?]"),
    ),
    (
        "path",
        "a folder named `v[1]` beside `v1`, in a pattern",
        "refused",
        ["v[1]/a.txt", "v1/b.txt"],
        "v[1]/*.txt",
        ("as a pattern matches", "v1/b.txt too"),
    ),
    (
        "path",
        "a name with brackets that is not there",
        "refused",
        ["a.txt"],
        "b[1].txt",
        ("path:b[1].txt matches no file", "write [[]"),
    ),
    ("path", "a folder without files", "refused", ["d/x/.hidden"], "d", ("path:d matches no file",)),
    ("path", "a path through a file", "refused", ["a.txt"], "a.txt/**/b.txt", ("matches no file",)),
    ("link", "a link to its own folder", "each file once", ["a.txt", "b.txt", ("again", ".")], ".", ["a.txt", "b.txt"]),
    ("link", "the same, in a pattern", "each file once", ["d/a.txt", ("d/again", ".")], "d/**/*.txt", ["a.txt"]),
    (
        "link",
        "two links to their parents",
        "each file once",
        ["d/e/a.txt", ("d/e/x", ".."), ("d/e/y", "../..")],
        "d",
        ["e/a.txt"],
    ),
    (
        "link",
        "links to a folder and to a file beside it",
        "each file once",
        ["d/z/a.txt", ("d/b", "z"), ("d/c.txt", "z/a.txt")],
        "d",
        ["z/a.txt"],
    ),
    (
        "link",
        "a link to a folder elsewhere",
        "read",
        ["else/a.txt", "d/b.txt", ("d/more", "../else")],
        "d",
        ["b.txt", "more/a.txt"],
    ),
    ("link", "a link to a file elsewhere", "read", ["else/a.txt", ("d/b.txt", "../else/a.txt")], "d", ["b.txt"]),
    (
        "link",
        "a link to nothing in a folder",
        "refused",
        ["d/a.txt", ("d/b.txt", "gone.txt")],
        "d",
        ("d/b.txt of path:d is a link to gone.txt",),
    ),
    ("link", "a link to nothing by name", "refused", [("b.txt", "gone.txt")], "b.txt", ("is a link to gone.txt",)),
    (
        "link",
        "a link to nothing in a pattern",
        "refused",
        ["a.txt", ("b.txt", "gone")],
        "*.txt",
        ("b.txt of path:*.txt is a link to gone",),
    ),
    ("link", "a link to itself", "refused", [("b.txt", "b.txt")], "b.txt", ("is a link to b.txt",)),
]
KINDS = [case[:3] for case in CASES]


@pytest.mark.parametrize(("there", "path", "expected"), [case[3:] for case in CASES], ids=[case[1] for case in CASES])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_path(tmp_path, monkeypatch, there, path, expected, absolute):
    monkeypatch.chdir(tmp_path)
    for entry in there:
        name, target = entry if isinstance(entry, tuple) else (entry, None)
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        if target is None:
            Path(name).write_text(name)
        else:
            os.symlink(target, name)
    whole = str(tmp_path / path) if absolute else path
    if isinstance(expected, tuple):
        with pytest.raises(UserError) as caught:
            find_files(f"path:{path}", whole)
        assert all(word in str(caught.value) for word in expected), caught.value
        assert "\n" not in str(caught.value)
    else:
        assert find_files(f"path:{path}", whole)[1] == expected


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()

    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="d of path:d cannot be read: Permission denied"):
        find_files("path:d", str(tmp_path / "d"))
