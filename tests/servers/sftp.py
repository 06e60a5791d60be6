"""A real SFTP server on loopback, over a folder."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from tests.servers.threaded import ThreadedServer

USER, PASSWORD = "observer", "a-test-s-password"


class _Login(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


class SftpServer(ThreadedServer):
    """Serves ``folder`` as its root.

    Attributes
    ----------
    port
        Where it listens on 127.0.0.1.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._connections: list[asyncssh.SSHServerConnection] = []

    async def start(self) -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            server_factory=_Login,
            sftp_factory=self._serve,
        )
        self.port = server.get_port()

    def _serve(self, channel: asyncssh.SSHServerChannel) -> asyncssh.SFTPServer:
        self._connections.append(channel.get_connection())
        return asyncssh.SFTPServer(channel, chroot=str(self._folder).encode())

    def drop(self) -> None:
        """Cut every connection."""
        for connection in self._connections:
            self._loop.call_soon_threadsafe(connection.abort)
