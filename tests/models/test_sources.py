"""Packages from web servers and buckets, and their cache."""

import json
import pickle
import shutil
import ssl
import threading

import pytest
import trustme

from nightsift.archive.errors import ConfigurationError, StorageError
from nightsift.models.package import ModelPackage
from tests.jobs.test_run import nightsift, run
from tests.jobs.typed import refused
from tests.models.test_package import edit
from tests.servers.web import serve


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTSIFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "packages"


@pytest.fixture
def site(tmp_path, package):
    """A folder that a web server may serve, with a package in it."""
    shutil.copytree(package, tmp_path / "site" / "package")
    return tmp_path / "site"


@pytest.fixture
def web(site):
    with serve(site) as served:
        yield served


def test_a_package_from_a_web_server_is_the_same(web, cache, package):
    found, own = ModelPackage.load(f"{web.url}/package/"), ModelPackage.load(str(package))
    assert found.sha256 == own.sha256
    assert found.folder == cache / own.sha256
    assert {path.name for path in found.folder.iterdir()} == {path.name for path in package.iterdir()}
    assert found.network().state_dict().keys() == own.network().state_dict().keys()


def test_only_the_description_is_read_again(web, cache):
    ModelPackage.load(f"{web.url}/package")
    web.asked.clear()
    ModelPackage.load(f"{web.url}/package")
    assert set(web.asked) == {"/package/model.toml"}


def test_a_pinned_package_is_used_offline(site, cache, package):
    digest = ModelPackage.load(str(package)).sha256
    with serve(site) as web:
        named = f"{web.url}/package#sha256={digest}"
        ModelPackage.load(named)
    assert ModelPackage.load(named).sha256 == digest
    with pytest.raises(StorageError):
        ModelPackage.load(named.partition("#")[0])


@pytest.mark.parametrize("name", ["model.safetensors", "check.safetensors"])
def test_a_file_that_changed_there_is_refused_and_not_cached(web, site, cache, name):
    path = site / "package" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=f"{web.url}/package/{name} changed"):
        ModelPackage.load(f"{web.url}/package")
    assert list(cache.iterdir()) == []


def test_a_description_that_changed_there_is_refused_although_its_package_is_cached(web, site, cache):
    ModelPackage.load(f"{web.url}/package")
    path = site / "package" / "model.toml"
    path.write_text(path.read_text().replace("threshold = 0.1", "threshold = 0.2"))
    with pytest.raises(ConfigurationError, match=r"model\.toml changed"):
        ModelPackage.load(f"{web.url}/package")


def test_a_new_package_there_is_taken_unless_another_is_pinned(web, site, cache):
    first = ModelPackage.load(f"{web.url}/package").sha256
    edit(site / "package", threshold=0.3)
    assert ModelPackage.load(f"{web.url}/package").threshold == 0.3
    assert ModelPackage.load(f"{web.url}/package#sha256={first}").threshold == 0.1
    shutil.rmtree(cache / first)
    with pytest.raises(ConfigurationError, match=f"expected: sha256 {first}"):
        ModelPackage.load(f"{web.url}/package#sha256={first}")


def test_a_damaged_cache_is_refused_by_name(web, cache):
    folder = ModelPackage.load(f"{web.url}/package").folder
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ConfigurationError, match=r"model\.safetensors changed") as caught:
        ModelPackage.load(f"{web.url}/package")
    assert "remove its folder" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_a_fault_of_storage(web, cache, tmp_path):
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="NIGHTSIFT_CACHE"):
        ModelPackage.load(f"{web.url}/package")


def test_many_at_once_fetch_one_package(web, cache):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(ModelPackage.load(f"{web.url}/package")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert [path.name for path in cache.iterdir()] == [found[0].sha256]


def test_another_machine_gets_the_package_from_where_it_came(web, site, cache, tmp_path, monkeypatch):
    sent = pickle.dumps(ModelPackage.load(f"{web.url}/package"))
    shutil.rmtree(cache)
    monkeypatch.setenv("NIGHTSIFT_CACHE", str(tmp_path / "elsewhere"))
    received = pickle.loads(sent)
    assert received.source.sha256 == received.sha256
    assert received.network()
    assert (tmp_path / "elsewhere" / "packages" / received.sha256).is_dir()

    shutil.rmtree(tmp_path / "elsewhere")
    edit(site / "package", threshold=0.3)
    with pytest.raises(ConfigurationError, match=received.sha256):
        received.network()


def test_what_lacks_a_file_is_no_package(web, site, cache):
    with pytest.raises(ConfigurationError, match=r"nowhere has no readable model\.toml"):
        ModelPackage.load(f"{web.url}/nowhere")
    (site / "package" / "README.md").unlink()
    with pytest.raises(ConfigurationError, match=r"has no readable README\.md"):
        ModelPackage.load(f"{web.url}/package")


def test_over_https_as_the_command_line_is_used(site, tmp_path, package):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    cache = {"NIGHTSIFT_CACHE": str(tmp_path / "cache")}
    with serve(site, context) as web:
        trusted = {**cache, "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        said = nightsift("model", "show", f"{web.url}/package", "--json", **trusted).stdout
        assert json.loads(said)["sha256"] == ModelPackage.load(str(package)).sha256
        untrusted = nightsift("model", "show", f"{web.url}/package", code=4, **cache).stderr
        assert "ertificate" in untrusted


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://models.example.org/x", "no model package is read from http://models.example.org/x"),
        ("ftp://models.example.org/x", "no model package is read from ftp://"),
        ("https://models.example.org/x?version=2", "with a query"),
        ("https://user:hunter2@models.example.org/x", "holds a secret"),
        ("https://models.example.org/x?token=hunter2", "holds a secret: token"),
        ("https://[models/x", "https://[models/x is no URL"),
        ("s3://bucket/x?X-Amz-Signature=hunter2", "holds a secret"),
    ],
)
def test_urls_that_are_refused(url, told):
    said = refused("model", "show", url, code=3)
    assert told in said
    assert "hunter2" not in said


def test_a_server_that_is_down_is_a_fault_of_storage(tmp_path, cache):
    with serve(tmp_path) as web:
        gone = web.url
    assert "cannot be reached" in refused("model", "verify", f"{gone}/package", code=4)


def test_a_run_on_a_cluster_takes_its_package_from_a_bucket(
    bucket, cache, configure, package, s3_environment, monkeypatch
):
    """Its server named in the configuration only; the workers get what was planned with."""
    held = bucket("models")
    held.filesystem.put(f"{package}/", f"{held.name}/night/first/", recursive=True)
    server = s3_environment["AWS_ENDPOINT_URL"]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    url = f"{held.url}/night/first"
    run(configure(name="own.toml", workspace="own"), "--release", "first")
    options = f'storage_options = {{ endpoint_url = "{server}" }}\n'
    config = configure(model=url, extra=options)
    run(config, "--release", "first", cluster="local")
    workspaces = [
        config.parent / name / "releases" / "first" / "release.json" for name in ("own", "workspace")
    ]
    first, second = (json.loads(path.read_text()) for path in workspaces)
    assert first["model_sha256"] == second["model_sha256"] == next(cache.iterdir()).name


def test_a_package_that_is_not_in_the_bucket(bucket, cache):
    said = refused("model", "show", f"{bucket('models').url}/nowhere", code=3)
    assert "has no readable model.toml" in said
