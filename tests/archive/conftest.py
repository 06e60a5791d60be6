"""Every kind of store that a workspace or an archive can be."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from nightsift.archive.stores import Workspace
from tests.servers.sftp import PASSWORD, USER, SftpServer


@pytest.fixture(scope="session")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """A running SFTP server over an empty folder."""
    with SftpServer(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture(params=["folder", "bucket", "s3fs", "memory", "sftp"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace that was never written to: local, S3 by either library, or another fsspec URL."""
    if request.param == "folder":
        return Workspace(str(tmp_path / "new" / "workspace"))
    if request.param == "memory":
        return Workspace(f"memory://{uuid.uuid4()}/workspace")
    if request.param == "sftp":
        server = request.getfixturevalue("sftp")
        monkeypatch.setitem(fsspec.config.conf, "sftp", {"username": USER, "password": PASSWORD})
        return Workspace(f"sftp://127.0.0.1:{server.port}/{uuid.uuid4()}")
    request.getfixturevalue("s3")
    url = f"s3://{request.getfixturevalue('common_bucket')}/{uuid.uuid4()}/prefix"
    if request.param == "bucket":
        return Workspace(url)
    return Workspace(url, (("client_kwargs", {"verify": False}),))
