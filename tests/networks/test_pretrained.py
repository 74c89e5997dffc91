"""ImageNet weights from the hub: the real client against a hub of our own on the loopback."""

import hashlib
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import safetensors.torch
import torch

from edgex.networks import pretrained
from edgex.networks.pretrained import IMAGENET, HubFile, download
from edgex_runtime.errors import BadInputError, MissingExtraError

COMMIT = "c0ffee" + "0" * 34
CONTENT = safetensors.torch.save({"x": torch.arange(3.0)})
SHA256 = hashlib.sha256(CONTENT).hexdigest()
# The discard port, where nobody listens.
NOBODY = "http://127.0.0.1:9"
FILE = HubFile(repo="somebody/xception", filename="model.safetensors", revision="main", sha256=None)


@dataclass
class Hub:
    """What the hub answers with, and what it was asked."""

    content: bytes = CONTENT
    stated_sha256: str = SHA256
    requests: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            known = self.path in (f"/{FILE.repo}/resolve/{name}/{FILE.filename}" for name in ("main", COMMIT))
            self.send_response(200 if known else 404)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-ETag", f'"{hub.stated_sha256}"')
            self.send_header("ETag", f'"{hub.stated_sha256}"')
            self.send_header("Content-Length", str(len(hub.content) if known else 0))
            if not known:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(hub.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


def test_downloads_the_file_and_keeps_it(hub: Hub, tmp_path: Path) -> None:
    path = download(FILE, cache=tmp_path, endpoint=hub.url)
    assert path.read_bytes() == CONTENT
    assert path.parent.name == COMMIT
    assert path.is_relative_to(tmp_path)
    download(FILE, cache=tmp_path, endpoint=hub.url)
    assert sum(request.startswith("GET") for request in hub.requests) == 1


def test_a_pinned_file_is_taken(hub: Hub, tmp_path: Path) -> None:
    pinned = replace(FILE, revision=COMMIT, sha256=SHA256)
    assert download(pinned, cache=tmp_path, endpoint=hub.url).read_bytes() == CONTENT


def test_a_file_that_is_not_the_pinned_one_is_refused(hub: Hub, tmp_path: Path) -> None:
    pinned = replace(FILE, sha256="0" * 64)
    with pytest.raises(BadInputError, match=f"want sha256 {'0' * 64}, got {SHA256}.*delete .*--weights FILE"):
        download(pinned, cache=tmp_path, endpoint=hub.url)


def test_a_file_that_is_not_what_the_hub_states_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.stated_sha256 = "1" * 64
    with pytest.raises(BadInputError, match="the file is damaged or was replaced"):
        download(FILE, cache=tmp_path, endpoint=hub.url)


def test_a_file_that_was_damaged_in_the_cache_is_refused(hub: Hub, tmp_path: Path) -> None:
    path = download(FILE, cache=tmp_path, endpoint=hub.url)
    path.resolve().write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(BadInputError, match="the file is damaged or was replaced"):
        download(FILE, cache=tmp_path, endpoint=hub.url)


def test_a_repository_that_is_not_there_says_what_was_looked_for(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"nobody/nothing/model\.safetensors at main.*--weights FILE"):
        download(replace(FILE, repo="nobody/nothing"), cache=tmp_path, endpoint=hub.url)


def test_offline_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"https://huggingface\.co/timm/legacy_xception.*--weights FILE.*HF_HOME"):
        download(IMAGENET, cache=tmp_path, endpoint=NOBODY)


def test_offline_takes_what_is_cached(hub: Hub, tmp_path: Path) -> None:
    download(FILE, cache=tmp_path, endpoint=hub.url)
    assert download(FILE, cache=tmp_path, endpoint=NOBODY).read_bytes() == CONTENT


def test_without_the_hubs_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "edgex.networks.pretrained")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgex\[train\]'"):
        importlib.import_module("edgex.networks.pretrained")
    assert issubclass(MissingExtraError, ImportError)
    assert pretrained.IMAGENET is IMAGENET
