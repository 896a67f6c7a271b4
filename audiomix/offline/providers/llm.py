"""A language model behind an OpenAI-compatible server, as a callable: prompts in, texts out. It never raises."""

import json
import os
import threading
import time
import urllib.parse
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ... import check

__all__ = ["KEY", "ChatModel", "NoAnswer"]

# Where the key is looked for. Not OPENAI_API_KEY: that one should not go to whatever server an option names.
KEY = "AUDIOMIX_JOIN_KEY"
# Bytes of an answer that are read at most: a caption is a few hundred.
_LARGEST = 1 << 20


class NoAnswer(Exception):
    """A prompt that has no answer; the message says why."""


class ChatModel:
    """Ask a server for chat completions, several prompts at once.

    Time-outs, refused connections and the statuses 408, 409, 429 and 5xx are tried again by the package `openai`, after
    0.5 s, 1 s, ... or as long as ``Retry-After`` says. After `give_up` prompts in a row without an answer no more are
    sent, which is said once as a warning: a dead server costs a run a few minutes at most.

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
    give_up : int
        Prompts in a row without an answer.

    Raises
    ------
    ValueError, TypeError
        An URL that is none, a key that is not set or not fit for a header.
    ModuleNotFoundError
        The package `openai` is not installed.

    Examples
    --------
    >>> ChatModel("http://127.0.0.1:8080", "llama-3")
    ChatModel('http://127.0.0.1:8080/v1/chat/completions', 'llama-3')
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
        give_up: int = 5,
    ) -> None:
        self.url = _complete_url(url)
        check.one_of_types("model", model, str, "the name of a model")
        self.model = model.strip() or check.fail("model", "the name of a model", repr(model))
        self.timeout = check.number("timeout", timeout, 0.001, 3600)
        self.parallel = check.integer("parallel", parallel, 1)
        self.give_up = check.integer("give_up", give_up, 1)
        self._key = _read_key(key_env)
        self._client = self._make_client(check.integer("retries", retries, 0))
        self._failures = 0
        self._stopped = ""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"ChatModel({self.url!r}, {self.model!r})"

    def __call__(self, prompts: Sequence[str]) -> list[str | Exception]:
        """Return an answer for each prompt, in order; a `NoAnswer` with the reason where there is none."""
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="chat") as pool:
            try:
                return list(pool.map(self._answer, prompts))
            except BaseException:  # an interrupt: what is not sent yet never is
                self._stopped = "interrupted"
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _make_client(self, retries: int) -> Any:
        try:
            import openai
        except ImportError:
            message = "a language model behind a server needs the package openai: pip install 'audiomix[llm]'"
            raise ModuleNotFoundError(message) from None
        address = urllib.parse.urlsplit(self.url)
        base = address._replace(path=address.path.removesuffix("/chat/completions"), query="")
        omit = openai.Omit()
        return openai.OpenAI(
            base_url=urllib.parse.urlunsplit(base),
            default_query=dict(urllib.parse.parse_qsl(address.query)),
            api_key=self._key or "none",
            # nothing of the user's account at OpenAI goes to another server
            default_headers={"OpenAI-Organization": omit, "OpenAI-Project": omit},  # type: ignore[dict-item]
            timeout=self.timeout,
            max_retries=retries,
            # a redirect would take the prompts to another host
            http_client=openai.DefaultHttpxClient(follow_redirects=False, timeout=self.timeout),
        )

    def _answer(self, prompt: str) -> str | Exception:
        if self._stopped:
            return NoAnswer(self._stopped)
        try:
            answer: str | NoAnswer = self._ask(prompt)
        except NoAnswer as error:
            answer = error
        with self._lock:
            self._failures = self._failures + 1 if isinstance(answer, NoAnswer) else 0
            if self._failures < self.give_up or self._stopped:
                return answer
            self._stopped = f"{self.url} was given up after {self._failures} requests without an answer ({answer})"
        warnings.warn(f"{self._stopped}; templates are used from here on", RuntimeWarning, stacklevel=2)
        return answer

    def _ask(self, prompt: str) -> str:
        """Return the text of the answer or raise `NoAnswer`."""
        import openai

        completions = self._client.chat.completions.with_streaming_response
        headers = {} if self._key else {"Authorization": openai.Omit()}
        body = bytearray()
        try:
            with completions.create(
                model=self.model, messages=[{"role": "user", "content": prompt}], temperature=0, seed=0,
                extra_headers=headers,
            ) as response:  # fmt: skip
                until = time.monotonic() + self.timeout
                for part in response.iter_bytes():  # the time-out of the client is for each part only
                    body += part
                    if len(body) > _LARGEST:
                        raise NoAnswer(f"an answer of more than {_LARGEST} bytes")
                    if time.monotonic() > until:
                        raise NoAnswer(f"no whole answer in {self.timeout:g} s")
        except NoAnswer:
            raise
        except openai.APIStatusError as error:
            message = error.body.get("message") if isinstance(error.body, dict) else None
            text = self._hide_key(" ".join(str(message or "").split()))[:200]
            raise NoAnswer(f"HTTP {error.status_code}" + (f" ({text})" if text else "")) from None
        except openai.APITimeoutError:
            raise NoAnswer(f"no answer in {self.timeout:g} s") from None
        except Exception as error:  # what a server and the layers below can do has no common class
            raise NoAnswer(self._hide_key(str(error.__cause__ or error) or type(error).__name__)) from None
        return _text(bytes(body))

    def _hide_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _complete_url(url: Any) -> str:
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


def _read_key(variable: str | None) -> str:
    """Return the key; no message has it."""
    key = os.environ.get(variable or KEY, "").strip()
    if variable and not key:
        check.fail("key_env", "an environment variable with a key", f"{variable}, which is not set")
    if not (key.isascii() and key.isprintable()) or " " in key:
        check.fail(f"${variable or KEY}", "a key of printable ASCII without spaces", "something else")
    return key


def _text(body: bytes) -> str:
    """Return the text in an answer of the chat completions API, or raise `NoAnswer`."""
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, RecursionError):
        raise NoAnswer("an answer that is not JSON") from None
    except (LookupError, TypeError):
        raise NoAnswer("an answer without choices[0].message.content") from None
    if not isinstance(text, str) or not text.strip():
        raise NoAnswer("an answer without text")
    return text.strip()
