"""What is tried again, how often, and what is told in the end."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from tenacity import wait_none

from nightsift.archive import retries
from nightsift.archive.errors import StorageError
from nightsift.archive.faults import BRIEFLY, ONCE, PATIENTLY, fault_of
from nightsift.archive.retries import Retries
from nightsift.archive.stores import Archive, Workspace
from tests.servers.faulty_proxy import KINDS, FaultyProxy


@pytest.fixture
def hasty(monkeypatch):
    """No waiting between tries."""
    monkeypatch.setattr(retries, "WAIT", wait_none())


def failing(times, error):
    """A request that fails ``times`` times."""
    left = [error] * times

    def request(answer):
        if left:
            raise left.pop()
        return answer

    return request


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), PATIENTLY),
        (TimeoutError("timed out"), PATIENTLY),
        (OSError(16, "Please reduce your request rate."), PATIENTLY),
        (OSError("Server returned non-2xx status code: 502 Bad Gateway"), PATIENTLY),
        (ConnectionRefusedError(111, "Connection refused"), BRIEFLY),
        (PermissionError(13, "Permission denied"), ONCE),
        (OSError(28, "No space left on device"), ONCE),
        (OSError(30, "Read-only file system"), ONCE),
        (FileNotFoundError(2, "No such file or directory", "connection reset, timed out (503).jpg"), ONCE),
        (OSError("GET http://here/timed-out/503 - status code: 403 Forbidden"), ONCE),
        (ValueError("something else"), ONCE),
    ],
)
def test_faults_that_pass_are_told_from_those_that_stay(hasty, error, tries):
    counted = Retries()
    assert fault_of(error).tries == tries
    assert counted.call(failing(tries - 1, error), "answer") == "answer"
    assert counted.number == tries - 1
    with pytest.raises(type(error)):
        counted.call(failing(tries, error), "answer")


def test_retries_are_counted_across_threads(hasty):
    counted = Retries()
    with ThreadPoolExecutor(8) as pool:
        requests = [failing(number % 3, TimeoutError("timed out")) for number in range(300)]
        assert list(pool.map(lambda request: counted.call(request, 1), requests)) == [1] * 300
    assert counted.number == 300


def test_who_presses_ctrl_c_is_heard():
    counted = Retries()
    with pytest.raises(KeyboardInterrupt):
        counted.call(failing(1, KeyboardInterrupt()), 1)
    assert counted.number == 0


@pytest.mark.parametrize(
    ("kind", "told"),
    [("stall", "cannot be reached"), ("unavailable", "overloaded"), ("reset", "cannot be reached")],
)
def test_a_server_that_never_recovers_is_told_with_the_mend(
    hasty, s3, common_bucket, s3_environment, kind, told
):
    with FaultyProxy(s3_environment["AWS_ENDPOINT_URL"], [kind], one_in=1) as proxy:
        options = (("endpoint_url", proxy.url), ("read_timeout_s", 0.2))
        for ask in (
            lambda: Workspace(f"s3://{common_bucket}", options).read("a"),
            lambda: Workspace(f"s3://{common_bucket}", options).write("a", b"one"),
            lambda: list(Archive(f"s3://{common_bucket}", options).objects()),
            lambda: Archive(f"s3://{common_bucket}", options).fetch(["a"]),
        ):
            with pytest.raises(StorageError, match=told) as caught:
                ask()
            assert f"tried {PATIENTLY} times" in str(caught.value)
            assert "mend: " in str(caught.value)


@pytest.mark.parametrize("library", ["obstore", "s3fs"])
def test_an_archive_behind_faults_is_read_whole(hasty, s3, common_bucket, s3_environment, library):
    url = f"s3://{common_bucket}/{uuid.uuid4()}"
    keys = [f"{number:02}.jpg" for number in range(40)]
    for key in keys:
        Workspace(url).write(key, key.encode() * 1000)
    with FaultyProxy(s3_environment["AWS_ENDPOINT_URL"], KINDS) as proxy:
        client = {"endpoint_url": proxy.url, **({"verify": False} if library == "s3fs" else {})}
        archive = Archive(url, (("client_kwargs", client), ("read_timeout_s", 0.3)))
        assert [item.key for item in archive.objects()] == keys
        assert archive.fetch(keys) == [key.encode() * 1000 for key in keys]
        assert archive.fetch_ranges(keys, [0] * 40, [6] * 40) == [key.encode() for key in keys]
        with archive.open(keys[-1]) as file:
            assert file.read() == keys[-1].encode() * 1000
    assert set(proxy.spoiled) == set(KINDS)
    assert archive.retries.number > 0


def test_a_run_that_is_stopped_waits_for_no_store(monkeypatch):
    stopping = Event()
    monkeypatch.setattr(retries, "_STOPPING", stopping)
    made = []

    def request():
        made.append(1)
        retries.give_up()
        raise TimeoutError("timed out")

    with pytest.raises(TimeoutError):
        Retries().call(request)
    with pytest.raises(StorageError, match="being stopped"):
        Retries().call(request)
    assert made == [1]
