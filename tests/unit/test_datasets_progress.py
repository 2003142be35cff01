"""Progress: nothing in a log for short work, a line now and then for long work."""

import sys

from prn.datasets import progress
from prn.datasets.progress import progress_bar, tracked


def test_short_work_leaves_a_log_empty(capsys):
    assert list(tracked(range(5), "counting", 5)) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""


def test_long_work_writes_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with progress_bar("a.zip", 4 * 2**20, "B", initial=2**20) as done:
        done(2**20)
        done(2**20)
    list(tracked("ab", "index", 2))
    lines = ["a.zip: 2 of 4 MiB", "a.zip: 3 of 4 MiB", "index: 1 of 2 images", "index: 2 of 2 images"]
    assert capsys.readouterr().err.splitlines() == lines


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar("a.zip", 10, "B") as done:
        done(10)
    assert "a.zip: 100%" in capsys.readouterr().err
    with progress_bar("a.zip", 10, "B", enabled=False) as done:
        done(10)
    assert capsys.readouterr().err == ""
