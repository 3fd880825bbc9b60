"""One URL to one image file, or a named reason why not.

What a URL answers is not to be trusted: it may be a page, cut off, endless, slow for ever, or send
the client on to a host that only this machine can reach.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import email.utils
import http.cookiejar
import ipaddress
import os
import random
import socket
import time
import urllib.request
from pathlib import Path

import httpx

from input_pipeline.images import decode as image_files

MOST_REDIRECTS = 5
LONGEST_WAIT = 60.0  # seconds before a retry; a server that asks for more is left for another run
_FIRST_WAIT = 0.5
_HOSTS_REMEMBERED = 1024
# IPv6 that leads to IPv4 addresses, perhaps of this network, or that is of a site: NAT64, 6to4,
# Teredo, IPv4-compatible, site-local. `is_global` takes them for public.
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "fec0::/10"),
    )
)
_WORTH_RETRYING = frozenset((408, 425, 429, 500, 502, 503, 504))
_HEADERS = {"User-Agent": "t2igan", "Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}


class FetchError(Exception):
    """A URL that gave no image.

    Attributes:
      reason: few words, the same for all failures of a kind.
      wait: seconds to wait before it is worth another try; None where it is not.
      unreachable: whether nothing was there to answer.
    """

    def __init__(
        self, reason: str, *, wait: float | None = None, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.unreachable = unreachable


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a URL may cost.

    Attributes:
      timeout: seconds for one try, from asking to the last byte.
      retries: tries after the first.
      max_bytes: of an image.
      private_hosts: whether loopback and local-network addresses may be asked.
    """

    timeout: float = 30.0
    retries: int = 4
    max_bytes: int = image_files.MAX_BYTES
    private_hosts: bool = False


class Fetcher:
    """Fetches URLs, any number at a time, over one pool of connections. Close it after use.

    Args:
      limits: what a URL may cost.
      connections: most at a time.
    """

    def __init__(self, limits: Limits, connections: int) -> None:
        self._limits = limits
        self._hosts = _Hosts(limits.private_hosts)
        self._client = httpx.AsyncClient(
            headers=_HEADERS,
            timeout=None,  # `_try` bounds the whole.
            cookies=_no_cookies(),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def fetch(self, url: str, path: Path, part: Path) -> None:
        """Puts the image at `path`, whole or not at all.

        Args:
          url: http or https.
          path: where the image is to be.
          part: where it is until it is whole; on the same disk.

        Raises:
          FetchError: no image came, after all retries.
          OSError: the disk refused.
        """
        for attempt in range(self._limits.retries + 1):
            try:
                return await self._try(url, path, part)
            except FetchError as error:
                if error.wait is None or attempt == self._limits.retries:
                    raise
                await asyncio.sleep(max(error.wait, _back_off(attempt)))
            finally:
                part.unlink(missing_ok=True)
        return None

    async def _try(self, url: str, path: Path, part: Path) -> None:
        try:
            async with asyncio.timeout(self._limits.timeout):
                await self._save(await self._follow(url), part)
        except TimeoutError:
            raise FetchError("timed out", wait=0.0) from None
        except (httpx.ConnectError, socket.gaierror):
            raise FetchError("no connection", wait=0.0, unreachable=True) from None
        except httpx.RemoteProtocolError:
            raise FetchError("cut off", wait=0.0) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
            raise FetchError("not an http URL") from None
        except httpx.HTTPError:
            raise FetchError("connection failed", wait=0.0) from None
        except (FetchError, OSError):
            raise
        except Exception as error:  # of this URL alone, whatever it was
            raise FetchError(f"failed ({type(error).__name__})") from error
        await _check_picture(part)
        os.replace(part, path)

    async def _follow(self, url: str) -> httpx.Response:
        """The open answer at the end of the redirects, each of them checked before it is asked."""
        request = self._client.build_request("GET", url)
        for _ in range(MOST_REDIRECTS + 1):
            await self._hosts.check(request.url)
            response = await self._client.send(request, stream=True)
            if response.next_request is None:
                return response
            await response.aclose()
            request = response.next_request
        raise FetchError("too many redirects")

    async def _save(self, response: httpx.Response, part: Path) -> None:
        try:
            _check_answer(response, self._limits.max_bytes)
            with open(part, "wb") as file:
                # As it comes: unpacked, a few kilobytes could be gigabytes.
                async for piece in response.aiter_raw():
                    if file.tell() + len(piece) > self._limits.max_bytes:
                        raise FetchError("too large")
                    file.write(piece)
        finally:
            await response.aclose()


class _Hosts:
    """Which hosts may be asked: none whose address is inside this machine or its network.

    A name is looked up and judged just before it is asked; that it then changes is not guarded.
    """

    def __init__(self, private_allowed: bool) -> None:
        self._private_allowed = private_allowed
        # Behind a proxy it is the proxy that knows names and judges them.
        self._proxied = bool({"http", "https", "all"} & set(urllib.request.getproxies()))
        self._public: collections.OrderedDict[str, bool] = collections.OrderedDict()

    async def check(self, url: httpx.URL) -> None:
        if url.scheme not in ("http", "https") or not url.host:
            raise FetchError("not an http URL")
        if self._private_allowed:
            return
        if url.host not in self._public:
            self._public[url.host] = await self._is_public(url.host)
            if len(self._public) > _HOSTS_REMEMBERED:
                self._public.popitem(last=False)
        if not self._public[url.host]:
            raise FetchError("private address")

    async def _is_public(self, host: str) -> bool:
        if _is_address(host):
            return _is_public_address(host)
        if self._proxied:
            return host != "localhost"
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return all(_is_public_address(entry[4][0]) for entry in found)


def _no_cookies() -> http.cookiejar.CookieJar:
    """A jar that takes none: it would grow with the number of hosts."""
    return http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_public_address(text: str) -> bool:
    address = ipaddress.ip_address(text)
    inner = getattr(address, "ipv4_mapped", None) or address
    if any(inner in network for network in _NOT_PUBLIC):
        return False
    return inner.is_global and not inner.is_multicast


def _check_answer(response: httpx.Response, max_bytes: int) -> None:
    status = response.status_code
    if status in _WORTH_RETRYING:
        wait = _wait_asked(response.headers.get("Retry-After", ""))
        raise FetchError(f"HTTP {status}", wait=wait if wait <= LONGEST_WAIT else None)
    if status != 200:
        raise FetchError(f"HTTP {status}")
    if response.headers.get("Content-Type", "").strip().lower().startswith("text/html"):
        raise FetchError("html")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):  # not what was asked for
        raise FetchError("compressed")
    length = response.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        raise FetchError("too large")


async def _check_picture(part: Path) -> None:
    """Decodes it small, in a thread, so that what is kept is what `prepare` can use."""
    try:
        await asyncio.to_thread(image_files.decode, part, draft_size=1)
    except image_files.Rejected as error:
        raise FetchError(error.reason) from None


def _back_off(attempt: int) -> float:
    """Seconds, doubling from try to try, spread so that clients do not come back together."""
    return min(_FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)


def _wait_asked(header: str) -> float:
    """Seconds that `Retry-After` asks for, as a number or as a date; 0 where it says nothing."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
