"""A store that fails in one request of five: the products are those of a quiet run."""

import json
import uuid

import pytest
import s3fs

from nightsift.archive.errors import StorageError
from nightsift.archive.stores import Workspace
from nightsift.jobs.config import Configuration
from nightsift.jobs.plan import make_plan
from nightsift.jobs.runner import run_plan
from tests.conftest import products
from tests.jobs.test_bad_input import STORAGE, refusal
from tests.servers.faulty_proxy import KINDS, FaultyProxy

AT_ONCE = 4  # requests


@pytest.fixture
def place(s3, common_bucket, one_night):
    """Where a station-night lies on the real server, and where its products may go."""
    url = f"s3://{common_bucket}/{uuid.uuid4()}"
    s3fs.S3FileSystem().put(f"{one_night}/", f"{url}/archive/", recursive=True)
    return url


@pytest.fixture
def through(configure, place):
    """A configuration that reaches the night, and a workspace of its own, through a server's address."""

    def write(endpoint, archive=None, workspace=None, patience_s=0.3):
        options = f'endpoint_url = "{endpoint}"\nread_timeout_s = {patience_s}\n'
        return configure(
            archive=archive or f"{place}/archive",
            workspace=workspace or f"{place}/{uuid.uuid4()}",
            extra=f"[archive.storage_options]\n{options}",
        )

    return write


def processed(path):
    """Process the night; the products, and the receipt of its frames."""
    config = Configuration.read(path, cluster="serial")
    assert not run_plan(config, make_plan(config), release="first").failures
    workspace = Workspace(config.workspace.url)
    (key,) = (name for name in workspace.names("receipts/frames") if name.endswith(".json"))
    return products(workspace.url), json.loads(workspace.read(key))


@pytest.mark.parametrize("kinds", [*([kind] for kind in KINDS), KINDS], ids="+".join)
def test_one_request_in_five_fails_and_the_products_are_the_same(through, s3_environment, kinds):
    server = s3_environment["AWS_ENDPOINT_URL"]
    quiet, receipt = processed(through(server, patience_s=15))
    assert receipt["retries"] == 0
    with FaultyProxy(server, kinds) as proxy:
        disturbed, receipt = processed(through(proxy.url))
    assert set(proxy.spoiled) == set(kinds)
    assert disturbed == quiet
    assert 0 < receipt["retries"] <= proxy.spoiled.total()


@pytest.mark.parametrize("which", ["archive", "workspace"])
def test_a_bucket_that_is_not_there_stops_at_once(through, s3_environment, which):
    with FaultyProxy(s3_environment["AWS_ENDPOINT_URL"], KINDS) as proxy:
        config = Configuration.read(through(proxy.url, **{which: "s3://nowhere/here"}))
        with pytest.raises(StorageError, match="there is no such bucket") as caught:
            make_plan(config)
    assert "correct the url" in str(caught.value)
    assert config.archive.retries.number + config.workspace.retries.number <= proxy.spoiled.total()
    assert proxy.requests - proxy.spoiled.total() <= AT_ONCE


def test_wrong_credentials_stop_at_once(through, s3_environment):
    with FaultyProxy(s3_environment["AWS_ENDPOINT_URL"], KINDS) as proxy:
        said = refusal("run", through(proxy.url), code=STORAGE, AWS_SECRET_ACCESS_KEY="wrong")
    assert "the store refuses these credentials" in said
    assert "AWS_SECRET_ACCESS_KEY" in said
    assert proxy.requests - proxy.spoiled.total() <= AT_ONCE
