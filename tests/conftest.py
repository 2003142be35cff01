"""Fixtures that every test shares: real images where they are at hand, and no network but loopback."""

import os
import socket
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root folder."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with real images and weights that may stand beside the project; the test is skipped without it."""
    folder = Path(os.environ.get("PRN_SHARED", PROJECT.parent / "shared"))
    if not (folder / "real").is_dir():
        pytest.skip(f"real images are not at hand ({folder} has no folder 'real'; set PRN_SHARED)")
    return folder


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection that leaves this machine fails: a test must not depend on the network."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(f"the tests may not leave this machine: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
