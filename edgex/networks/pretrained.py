"""ImageNet weights from the Hugging Face hub: downloaded once, checked, kept in the hub's own cache."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from edgex_runtime.errors import BadInputError, MissingExtraError
from edgex_runtime.metadata.registry import artifact_sha256

try:
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_download, hf_hub_url
except ModuleNotFoundError as error:
    if error.name != "huggingface_hub":
        raise
    raise MissingExtraError("ImageNet weights need huggingface_hub: pip install 'edgex[train]'") from error

_log = logging.getLogger(__name__)

# The connection's own errors pass through the hub's client as they are; its module of errors knows their base class.
HUB_ERRORS: tuple[type[Exception], ...] = (OSError, errors.HTTPError)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """One file on the hub.

    Attributes:
        repo: ``owner/name``.
        filename: Path in the repository.
        revision: A commit, or a branch whose newest commit is taken.
        sha256: What the file must hash to; None takes the digest that the hub itself states for the file, which finds a
            damaged download but not a file that its owner has replaced.
    """

    repo: str
    filename: str
    revision: str
    sha256: str | None

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision}/{self.filename}"

    def __str__(self) -> str:
        return f"{self.repo}/{self.filename} at {self.revision}"


IMAGENET = HubFile(
    repo="timm/legacy_xception.tf_in1k",
    filename="model.safetensors",
    # Not pinned: the commit and the digest could not be looked up where this was written, and a made-up pin would be
    # worse than none. Every download logs both; once seen, they belong here.
    revision="main",
    sha256=None,
)
"""Keras's ImageNet weights under timm's names; see `timm_names`."""


def imagenet_weights() -> Path:
    """The ImageNet weights' file, downloaded unless it is in the cache.

    Raises:
        BadInputError: If the hub cannot be reached and nothing is cached, or the file is not what it should be.
    """
    return download(IMAGENET)


def download(file: HubFile, *, cache: Path | None = None, endpoint: str | None = None) -> Path:
    """Fetch one file, or find it in the cache, and check it.

    Args:
        file: What to fetch.
        cache: Folder of the cache; None is the hub client's own (HF_HOME).
        endpoint: Another hub than huggingface.co; None is the client's own (HF_ENDPOINT).

    Raises:
        BadInputError: If the hub cannot be reached and nothing is cached, or the file is not what it should be.
    """
    trouble = _trouble(file, endpoint)
    try:
        found = hf_hub_download(
            file.repo,
            file.filename,
            revision=file.revision,
            cache_dir=cache,
            endpoint=endpoint,
            local_files_only=trouble is not None,
        )
    except HUB_ERRORS as error:
        reason = str(trouble or error).partition("\n")[0]
        raise BadInputError(
            f"{file}: want weights from the Hugging Face hub, cannot get them and none are cached: {reason}; "
            f"on a machine with a network fetch {file.url} and give it with --weights FILE, "
            "or copy that machine's HF_HOME folder here"
        ) from (trouble or error)
    path = Path(found)
    _check(file, path)
    return path


def _trouble(file: HubFile, endpoint: str | None) -> Exception | None:
    """Why the hub does not have the file for us now; asked once, where a download would try again for half a minute."""
    url = hf_hub_url(file.repo, file.filename, revision=file.revision, endpoint=endpoint)
    try:
        get_hf_file_metadata(url, endpoint=endpoint)
    except HUB_ERRORS as error:
        _log.info("%s: not from the hub (%s), but from the cache", file, error)
        return error
    return None


def _check(file: HubFile, path: Path) -> None:
    want = file.sha256 or _stated_sha256(path)
    got = artifact_sha256(path)
    if want is not None and got != want:
        raise BadInputError(
            f"{file}: want sha256 {want}, got {got}: the file is damaged or was replaced; "
            f"delete {path.resolve()} and try again, or give weights that you trust with --weights FILE"
        )
    by = "as pinned" if file.sha256 else "as the hub states" if want else "which nothing vouches for"
    _log.info("%s: commit %s, sha256 %s, %s", file, path.parent.name, got, by)


def _stated_sha256(path: Path) -> str | None:
    """What the hub said that a large file hashes to: the cache keeps it under that name, linked from its commit.

    https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    if not path.is_symlink():
        return None
    blob = path.readlink()
    return blob.name if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name) else None
