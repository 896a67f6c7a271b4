"""A language model behind HTTP (OpenAI-compatible chat completions), asked so that its death costs little."""

import email.utils
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from typing import Any

from ... import check

__all__ = ["Endpoint", "Refused"]

# HTTP statuses after which the same request may succeed: time-out, too early, too many, and the server's own errors.
_PASSING = {408, 425, 429, 500, 502, 503, 504, 529}
# Bytes of an answer that are read at most: a caption is a few hundred.
_LARGEST = 1 << 20
# Where the key is looked for. Not OPENAI_API_KEY: that one should not go to whatever server an option names.
KEY = "AUDIOMIX_JOIN_KEY"


class Refused(Exception):
    """A request that had no answer; the message says why."""


class _Passing(Refused):
    """What may be over soon; `wait` is what the server asked for, in seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: urllib would take the key along to another host."""

    def redirect_request(self, *args: Any) -> None:
        """Return nothing, which makes a redirect an error."""
        return


class Endpoint:
    """Ask a server for chat completions; several requests at once, failures retried.

    A request that fails in passing (no connection, a time-out, 408, 425, 429, 5xx, an answer without text) is sent
    again after ``backoff * 2^k`` seconds, or after what ``Retry-After`` says if that is longer, both at most
    `longest_wait`. After `give_up` requests in a row without an answer no more are sent in this run, which is said once
    as a warning: a dead server costs at most about ``give_up / parallel`` times ``(retries + 1) * timeout`` plus waits.

    Parameters
    ----------
    url : str
        ``http://host:port``, with or without ``/v1`` or ``/v1/chat/completions``.
    model : str
        The name of the model, as the server knows it.
    key_env : str, optional
        The environment variable with the API key. Default: `KEY`, where it is set. The key is sent as a bearer token
        and is in no message, whatever the server answers.
    timeout : float
        Seconds for one request.
    parallel : int
        Requests at once.
    retries : int
        How often a request is sent again.
    backoff, longest_wait : float
        Seconds.
    give_up : int

    Raises
    ------
    ValueError, TypeError
        An URL that is none, a key that is not set or not fit for a header.

    Notes
    -----
    Not followed: redirects. A server that sends the header of its answer byte by byte can outlast `timeout`, which
    holds for each part of the header, and for the whole of the body. Proxies are taken from the environment.

    Examples
    --------
    >>> Endpoint("http://127.0.0.1:8080", "llama-3")
    Endpoint('http://127.0.0.1:8080/v1/chat/completions', 'llama-3')
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_env: str | None = None,
        timeout: float = 30.0,
        parallel: int = 4,
        retries: int = 3,
        backoff: float = 1.0,
        longest_wait: float = 30.0,
        give_up: int = 5,
    ) -> None:
        self.url = _address(url)
        check.one_of_types("model", model, str, "the name of a model")
        self.model = model.strip() or check.fail("model", "the name of a model", repr(model))
        self.timeout = check.number("timeout", timeout, 0.001, 3600)
        self.parallel = check.integer("parallel", parallel, 1)
        self.retries = check.integer("retries", retries, 0)
        self.backoff = check.number("backoff", backoff, 0, 3600)
        self.longest_wait = check.number("longest_wait", longest_wait, 0, 3600)
        self.give_up = check.integer("give_up", give_up, 1)
        self.requests = 0
        self.dead = ""
        self._key = _key(key_env)
        self._failed = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._opener = urllib.request.build_opener(_Stay)

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.model!r})"

    def __call__(self, prompts: Sequence[str]) -> list[str | Exception]:
        """Return an answer for each prompt, in order; a `Refused` with the reason where there is none."""
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="join") as pool:
            try:
                return list(pool.map(self._answer, prompts))
            except BaseException:  # an interrupt: let no thread wait for its next try
                self._over.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _answer(self, prompt: str) -> str | Exception:
        refused = Refused(self.dead)
        for attempt in range(self.retries + 1):
            if self._over.is_set():
                return Refused(self.dead or "interrupted")
            try:
                text = self._asked(prompt)
            except _Passing as error:
                refused = Refused(str(error))
                if attempt < self.retries:
                    self._over.wait(min(max(self.backoff * 2**attempt, error.wait), self.longest_wait))
            except Refused as error:
                refused = error
                break
            else:
                with self._lock:
                    self._failed = 0
                return text
        self._count(refused)
        return refused

    def _count(self, refused: Refused) -> None:
        """Count a request without an answer, and end it all after too many."""
        with self._lock:
            self._failed += 1
            if self._failed < self.give_up or self.dead:
                return
            self.dead = f"{self.url} was given up after {self._failed} requests without an answer ({refused})"
            self._over.set()
        warnings.warn(f"{self.dead}; templates are used from here on", RuntimeWarning, stacklevel=2)

    def _asked(self, prompt: str) -> str:
        """Send one request; return the text of the answer or raise `Refused`."""
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0, "seed": 0}
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "audiomix"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers, method="POST")
        with self._lock:
            self.requests += 1
        until = time.monotonic() + self.timeout
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                return _text(self._body(response, until))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error, until) from None
        except Refused:
            raise
        except Exception as error:  # what sockets, http.client and urllib raise has no common class
            raise _Passing(self._hidden(_failure(error, self.timeout))) from None

    def _body(self, response: Any, until: float) -> bytes:
        """Read a body until a time; urllib's own time-out is for each part only."""
        parts: list[bytes] = []
        while part := response.read1(65536):
            parts.append(part)
            if sum(map(len, parts)) > _LARGEST:
                raise _Passing(f"an answer of more than {_LARGEST} bytes")
            if time.monotonic() > until:
                raise _Passing(f"no whole answer in {self.timeout:g} s")
        return b"".join(parts)

    def _refusal(self, error: urllib.error.HTTPError, until: float) -> Refused:
        """Return what an HTTP error means."""
        message = f"HTTP {error.code}"
        try:
            found = json.loads(self._body(error, until))["error"]
            said = " ".join(str(found["message"] if isinstance(found, dict) else found).split())
        except Exception:  # the body only explains: without one, or with garbage, the status says enough
            said = ""
        message += f" ({self._hidden(said)[:200]})" if said else ""
        if error.code in _PASSING:
            return _Passing(message, _retry_after(error.headers))
        return Refused(message)

    def _hidden(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _address(url: Any) -> str:
    """Return the whole URL of chat completions."""
    check.one_of_types("url", url, str, "the URL of a server")
    try:
        parts = urllib.parse.urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        check.fail("url", "the URL of a server", repr(url), str(error))
    if "@" in parts.netloc:
        check.fail("url", "without a name and password", "one with them", f"put a key into ${KEY}")
    if parts.scheme not in ("http", "https") or not host or port == 0:
        slip = f"did you mean http://{url.strip()}?" if "//" not in url else ""
        check.fail("url", "as in http://127.0.0.1:8080", repr(url), slip)
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path = (path or "/v1") + "/chat/completions"
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _key(variable: str | None) -> str:
    """Return the key; no message has it."""
    key = os.environ.get(variable or KEY, "").strip()
    if variable and not key:
        check.fail("key_env", "an environment variable with a key", f"{variable}, which is not set")
    if not (key.isascii() and key.isprintable()) or " " in key:
        check.fail(f"${variable or KEY}", "a key of printable ASCII without spaces", "something else")
    return key


def _text(body: bytes) -> str:
    """Return the text in an answer of the chat completions API."""
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, RecursionError):
        raise _Passing("an answer that is not JSON") from None
    except (LookupError, TypeError):
        raise _Passing("an answer without choices[0].message.content") from None
    if not isinstance(text, str) or not text.strip():
        raise _Passing("an answer without text")
    return text.strip()


def _failure(error: BaseException, timeout: float) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, (TimeoutError, socket.timeout)):
        return f"no answer in {timeout:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else str(reason)


def _retry_after(headers: Message) -> float:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3): a number, or a date; 0 without one."""
    said = (headers.get("Retry-After") or "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
