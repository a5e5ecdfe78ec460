"""Where ``glasslog prove -o`` writes: a file whole or not at all, a pipe or device as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from glasslog_node.cli.prove import _write
from glasslog_node.errors import RequestError


def test_a_pipe_is_written_into_and_a_link_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    try:
        _write(tmp_path / "pipe", b"bundle")
        assert os.read(reader, 100) == b"bundle"
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link").symlink_to("file")
    _write(tmp_path / "link", b"bundle")
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "file").read_bytes()) == (True, b"bundle")


@pytest.mark.parametrize("name", [".", "absent/bundle"])
def test_what_is_no_place_for_a_file_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="cannot be written") as caught:
        _write(tmp_path / name, b"bundle")
    assert caught.value.code == "CLIENT-05"
    assert list(tmp_path.iterdir()) == []
