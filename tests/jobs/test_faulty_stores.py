"""A store that fails in one request of five: the products are those of a quiet run, or the run stops at once."""

import json
import shutil
import uuid

import pytest

from nightsift.jobs.config import Configuration
from nightsift.jobs.plan import make_plan
from nightsift.jobs.runner import run_plan
from tests.conftest import products
from tests.jobs.test_bad_input import STORAGE, refusal
from tests.servers.faulty_proxy import KINDS, FaultyProxy

PATIENCE_S = 0.5


@pytest.fixture
def place(s3, common_bucket, one_night):
    """Where a station-night lies on the real server, and where its products may go."""
    import s3fs

    url = f"s3://{common_bucket}/{uuid.uuid4()}"
    s3fs.S3FileSystem().put(f"{one_night}/", f"{url}/archive/", recursive=True)
    return url


@pytest.fixture
def process(configure, place, monkeypatch):
    """Process the night through a server's address, into a workspace of its own."""

    def run(endpoint):
        options = f'[archive.storage_options]\nendpoint_url = "{endpoint}"\nread_timeout_s = {PATIENCE_S}\n'
        workspace = f"{place}/{uuid.uuid4()}"
        config = Configuration.read(
            configure(archive=f"{place}/archive", workspace=workspace, extra=options), cluster="serial"
        )
        report = run_plan(config, make_plan(config), release="first")
        assert not report.failures
        return workspace

    return run


def receipts(workspace):
    from nightsift.archive.stores import Workspace

    store = Workspace(workspace)
    return [json.loads(store.read(key)) for key in store.names("receipts/frames") if key.endswith(".json")]


@pytest.mark.parametrize("kinds", [[kind] for kind in KINDS] + [KINDS], ids="+".join)
def test_one_request_in_five_fails_and_the_products_are_the_same(process, s3_environment, kinds):
    server = s3_environment["AWS_ENDPOINT_URL"]
    import time
    t=time.time()
    quiet = process(server)
    print("quiet", time.time()-t); t=time.time()
    with FaultyProxy(server, kinds) as proxy:
        disturbed = process(proxy.url)
    print("disturbed", time.time()-t, proxy.requests, proxy.spoiled)
    assert set(proxy.spoiled) == set(kinds)
    assert products(disturbed) == products(quiet)
    print([receipt["retries"] for receipt in receipts(disturbed)])
    assert all(receipt["retries"] > 0 for receipt in receipts(disturbed))
    assert all(receipt["retries"] == 0 for receipt in receipts(quiet))
