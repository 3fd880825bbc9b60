"""The client of a bucket: opened by its URL, tried again in an outage, its failures in one line."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from input_pipeline.errors import UserError

MODULES = {"gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3")}  # of a scheme: its module and extra
_HICCUP_SECONDS = 2.0  # an outage that is over by then is not worth a line
_FIRST_SECONDS = 20.0  # a bucket is waited for before a command gives up
_REFUSED = ("NoCredentialsError", "DefaultCredentialsError", "RefreshError", "ParamValidationError")
_T = TypeVar("_T")


def retried(url: str, act: Callable[[], _T], seconds: float | None = None) -> _T:
    """Returns what `act` returns, tried again while the bucket cannot be reached.

    Args:
      url: for the message.
      act: may be called several times.
      seconds: how long it is tried; by default as long as `patience` says.

    Raises:
      UserError: it may not be done, or not within that time.
      FileNotFoundError, FileExistsError: as `act` raised them.
    """
    limit = _patience[-1] if seconds is None else seconds
    start, pause = time.monotonic(), 0.5
    while True:
        try:
            result = act()
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:
            if not _may_pass(error):
                raise _refused(url, error) from error
            if time.monotonic() - start > limit:
                raise UserError(
                    f"{url} cannot be reached: {_first_line(error)}; is the network there?"
                ) from error
            _outage.goes_on(_first_line(error))
            time.sleep(pause)
            pause = min(2 * pause, 10.0)
        else:
            _outage.ended()
            return result


class _Outage(logging.Handler):
    """Says that a bucket cannot be reached, and when it is again.

    The libraries try some times themselves, and log that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._since: float | None = None
        self._said = False

    def emit(self, record: logging.LogRecord) -> None:
        """Looks for what gcsfs and s3fs log before they try again."""
        before, _, error = record.getMessage().partition(": ")
        if before.endswith("retrying after exception") or before == "Retryable error":
            self.goes_on(error.split("\n")[0][:200])

    def goes_on(self, why: str) -> None:
        """Says it, once an outage has lasted for some seconds."""
        now = time.monotonic()
        self._since = self._since or now
        if not self._said and now - self._since > _HICCUP_SECONDS:
            self._said = True
            print(f"the bucket cannot be reached ({why}): trying again", file=sys.stderr)

    def ended(self) -> None:
        """Says it where the beginning was said."""
        if self._said:
            print("the bucket is reached again", file=sys.stderr)
        self._since, self._said = None, False


_outage = _Outage()
_patience = [_FIRST_SECONDS]


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Within the block a bucket that cannot be reached is waited for so long, in all threads."""
    _patience.append(seconds)
    try:
        yield
    finally:
        _patience.pop()


def require_bucket(url: str) -> None:
    """Makes sure that there is a bucket that can be listed.

    Raises:
      UserError: in one line, if not.
    """
    system, root = open_url(url)
    bucket = root.partition("/")[0]

    def look() -> None:
        try:
            system.ls(bucket)
        except FileNotFoundError as error:
            raise no_bucket(url) from error

    retried(url, look)


def no_bucket(url: str) -> UserError:
    bucket = "/".join(url.split("/")[:3])
    return UserError(f"{url}: there is no bucket {bucket}; make it first")


def _refused(url: str, error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    kind, code = type(error).__name__, getattr(error, "code", None)
    if kind in _REFUSED or code == 401 or "nonymous caller" in str(error):
        how = (
            "`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
            if url.startswith("gs:")
            else "`aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
        return UserError(f"{url}: no credentials for it are here: {how}")
    return UserError(f"{url} is refused: {_first_line(error)}")


def _may_pass(error: Exception) -> bool:
    """Whether a failure may be gone a minute later."""
    if isinstance(error, UserError | PermissionError) or type(error).__name__ in _REFUSED:
        return False
    code = getattr(error, "code", None) or getattr(error, "status", None)
    if isinstance(code, int | str) and str(code).isdigit():
        return int(code) >= 500 or int(code) in (408, 429)
    module = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError | TimeoutError) or module in ("aiohttp", "botocore")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().split("\n")[0][:200]


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it, BUCKET/NAME."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    root = rest.rstrip("/")
    if not root or root.startswith("/"):
        raise UserError(f"{url}: give the bucket's name, {scheme}://BUCKET/...")
    module, extra = MODULES[scheme]
    # Asking by gRPC what kind of bucket it is takes minutes where an emulator stands in.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{url}: for {scheme}:// install: pip install 't2igan[{extra}]'") from error
    import fsspec

    # Its own complaints come with tracebacks; what fails reaches the user as one line.
    log = logging.getLogger(module)
    if _outage not in log.handlers:
        log.handlers[:] = [_outage]
        log.setLevel(logging.DEBUG)
        log.propagate = False
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme == "gs" and os.environ.get("STORAGE_EMULATOR_HOST"):
        options["token"] = "anon"
    return fsspec.filesystem(scheme, **options), root
