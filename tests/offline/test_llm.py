"""A language model behind a real server with every fault: good answers are taken, and no run stops."""

import email.utils
import json
import threading
import time
import warnings
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from audiomix.captions.captions import Templates

from audiomix.offline.providers.llm import KEY, Endpoint
from audiomix.offline.providers.rewrite import Joined, Request, join_captions, prompt

ENGLISH = Templates.english()
GOOD = "A dog is barking before the rain falls."
FIRST = Request(["then", 0, 1], ["A dog barks.", "Rain falls."], "A dog barks, then rain falls.")


def request(number):
    captions = [f"A dog{number} barks.", f"Rain{number} falls."]
    return Request(["then", 0, 1], captions, f"A dog{number} barks, then rain{number} falls.")


def good(text):
    """Return a good answer to the prompt of `request(n)` or `FIRST`."""
    number = text.split("1. A dog", 1)[1].split(" ", 1)[0]
    return f"A dog{number} is barking before the rain{number} falls."


def chat(text):
    return 200, {}, json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(KEY, raising=False)


@contextmanager
def serving(respond):
    """Serve `respond(number of the request, prompt) -> status, headers, body`; yield the URL and what was asked."""
    asked, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = body["messages"][0]["content"]
            with lock:
                asked.append({"path": self.path, "headers": dict(self.headers), "body": body, "at": time.monotonic()})
                number = len(asked) - 1
            answer = respond(number, text)
            try:
                if answer is None:  # hang up
                    return
                status, headers, parts = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for part in [parts] if isinstance(parts, bytes) else parts:
                    self.wfile.write(part)
                    self.wfile.flush()
            except OSError:  # who asked has gone
                pass

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def ask(url, requests, cache=None, max_words=20, **options):
    options = {"backoff": 0.01, "timeout": 2.0, "retries": 2} | options
    endpoint = Endpoint(url, "tiny", **options)
    return join_captions(requests, endpoint, templates=ENGLISH, max_words=max_words, cache=cache), endpoint


def test_good_answers_are_taken_in_order():
    requests = [request(n) for n in range(20)]
    with serving(lambda n, text: chat(good(text))) as (url, asked):
        found, endpoint = ask(url, requests)
        again, _ = ask(url, requests, parallel=1)
    assert found == again
    assert found == [Joined(f"A dog{n} is barking before the rain{n} falls.", "model") for n in range(20)]
    assert endpoint.requests == 20
    assert asked[0]["path"] == "/v1/chat/completions"
    assert asked[0]["body"]["model"] == "tiny"
    assert asked[0]["body"]["temperature"] == 0
    assert {one["body"]["messages"][0]["content"] for one in asked} == {prompt(one, 20) for one in requests}


def test_several_requests_are_under_way_at_once():
    together = threading.Barrier(4, timeout=5)

    def respond(number, text):
        together.wait()
        return chat(good(text))

    with serving(respond) as (url, _):
        assert [one.by for one in ask(url, [request(n) for n in range(8)], parallel=4)[0]] == ["model"] * 8


@pytest.mark.parametrize(
    "fault",
    [
        (500, {}, b""),
        (503, {}, b"<html>busy</html>"),
        (200, {}, b"\x00\xff\xfe garbage"),
        (200, {}, b'{"choices": ['),
        (200, {}, b'{"choices": []}'),
        (200, {}, b"[" * 100_000),
        (200, {}, b'{"choices": [{"message": null}]}'),
        (200, {}, b'{"choices": [{"message": {"content": null}}]}'),
        (200, {}, b'{"choices": [{"message": {"content": "  "}}]}'),
        (200, {"Content-Length": "1000"}, b'{"choi'),
        (200, {"Content-Length": "many"}, b"{}"),
        (200, {}, b" " * (2 << 20)),
        None,
    ],
)
def test_what_fails_twice_is_asked_a_third_time(fault):
    with serving(lambda n, text: fault if n < 2 else chat(good(text))) as (url, asked):
        found, _ = ask(url, [FIRST])
    assert found == [Joined(GOOD, "model")]
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ((500, {}, b'{"error": {"message": "out of  memory"}}'), "no answer: HTTP 500 (out of memory)"),
        ((200, {}, b"garbage"), "no answer: an answer that is not JSON"),
        ((200, {}, b'{"choices": []}'), "no answer: an answer without choices[0].message.content"),
        ((200, {}, b" " * (2 << 20)), "no answer: an answer of more than 1048576 bytes"),
    ],
)
def test_what_fails_for_good_stays_the_templates_with_the_reason(fault, reason):
    with serving(lambda n, text: fault) as (url, asked):
        found, _ = ask(url, [FIRST])
    assert found == [Joined(FIRST.template, "template", reason)]
    assert len(asked) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_errors_that_stay_are_not_asked_again(status):
    headers = {"Location": "http://127.0.0.1:9/"}
    with serving(lambda n, text: (status, headers, b"no")) as (url, asked):
        found, _ = ask(url, [FIRST])
    assert found[0].reason == f"no answer: HTTP {status}"
    assert len(asked) == 1


def test_waits_double_and_retry_after_is_honoured_up_to_a_cap():
    answers = [(429, {}, b""), (429, {"Retry-After": "0.4"}, b""), (429, {"Retry-After": "1"}, b""),
               (429, {"Retry-After": "3600"}, b"")]  # fmt: skip

    def respond(n, text):
        return answers[n] if n < 4 else chat(good(text))

    with serving(respond) as (url, asked):
        found, _ = ask(url, [FIRST], backoff=0.1, longest_wait=1.2, retries=4)
    waits = [b["at"] - a["at"] for a, b in pairwise(asked)]
    assert found[0].by == "model"
    # the second header is no whole number, which RFC 9110 wants: the schedule stands
    for wait, least in zip(waits, [0.1, 0.2, 1.0, 1.2], strict=True):
        assert least <= wait < least + 2


def test_retry_after_may_be_a_date():
    date = email.utils.formatdate(time.time() + 3600, usegmt=True)
    answer = (503, {"Retry-After": date}, b"")
    with serving(lambda n, text: answer if n == 0 else chat(good(text))) as (url, asked):
        ask(url, [FIRST], longest_wait=0.3)
    assert asked[1]["at"] - asked[0]["at"] >= 0.3


def test_slow_servers_are_left_be_they_silent_or_dripping():
    def silent(number, text):
        time.sleep(0.5)

    def dripping(number, text):
        return 200, {}, (time.sleep(0.05) or b" " for _ in range(100))

    for slow, reason in ((silent, "no answer in 0.2 s"), (dripping, "no whole answer in 0.2 s")):
        with serving(slow) as (url, asked):
            start = time.monotonic()
            found, _ = ask(url, [FIRST], timeout=0.2, retries=1)
            assert time.monotonic() - start < 4
        assert found == [Joined(FIRST.template, "template", f"no answer: {reason}")]
        assert len(asked) == 2


def test_a_server_that_is_not_there_is_given_up_and_said_once():
    with serving(lambda n, text: None) as (url, _):
        pass
    requests = [request(n) for n in range(300)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found, endpoint = ask(url, requests, give_up=3, parallel=4)
        more, _ = join_captions(requests[:1], endpoint, templates=ENGLISH, max_words=20), None
    assert [one.text for one in found] == [one.template for one in requests]
    assert {one.by for one in [*found, *more]} == {"template"}
    assert "refused" in found[0].reason
    assert "given up after 3 requests without an answer" in found[-1].reason
    assert endpoint.requests <= (3 + 4) * 3
    assert [str(one.message).count("given up") for one in said] == [1]


def test_a_server_that_dies_midway_leaves_what_it_answered(tmp_path):
    requests = [request(n) for n in range(200)]

    def respond(number, text):
        return chat(good(text)) if number < 70 else None

    with serving(respond) as (url, asked):
        with pytest.warns(RuntimeWarning, match="given up"):
            found, _ = ask(url, requests, tmp_path, give_up=2, parallel=1, retries=1)
        assert len(asked) == 70 + 2 * 2
    assert [one.by for one in found] == ["model"] * 70 + ["template"] * 130
    with serving(lambda n, text: chat(good(text))) as (url, asked):
        found, _ = ask(url, requests, tmp_path)
    assert [one.by for one in found] == ["cache"] * 70 + ["model"] * 130
    assert len(asked) == 130


def test_failures_in_a_row_are_counted_not_failures():
    with serving(lambda n, text: (400, {}, b"") if n % 3 else chat(good(text))) as (url, _):
        found, endpoint = ask(url, [request(n) for n in range(30)], give_up=3, parallel=1)
    assert [one.by for one in found] == ["model", "template", "template"] * 10
    assert not endpoint.dead


def test_the_key_is_sent_and_in_no_message(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    body = b'{"error": {"message": "wrong key sk-secret"}}'
    with serving(lambda n, text: (401, {}, body)) as (url, asked):
        found, endpoint = ask(url, [FIRST], key_env="SOME_KEY")
        ask(url, [FIRST])
    assert asked[0]["headers"]["Authorization"] == "Bearer sk-secret"
    assert "Authorization" not in asked[1]["headers"]
    assert found[0].reason == "no answer: HTTP 401 (wrong key ***)"
    assert "secret" not in repr(endpoint)
    monkeypatch.setenv("SOME_KEY", "sk-secret\nX: y")
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        Endpoint(url, "tiny", key_env="SOME_KEY")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="NO_KEY, which is not set"):
        Endpoint(url, "tiny", key_env="NO_KEY")


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("127.0.0.1:8080", "did you mean http://127.0.0.1:8080"),
        ("file:///etc/passwd", "url must be as in http"),
        ("http://", "url must be as in http"),
        ("http://me:word@host", "url must be without a name and password"),
        ("http://host:99999", "url must be the URL of a server"),
    ],
)
def test_wrong_urls_are_named(url, match):
    with pytest.raises(ValueError, match=match) as caught:
        Endpoint(url, "tiny")
    assert "word@" not in str(caught.value)


def test_urls_are_completed():
    base = "http://h:1"
    for tail in ("", "/", "/v1", "/v1/", "/v1/chat/completions"):
        assert Endpoint(base + tail, "m").url == "http://h:1/v1/chat/completions"
    assert Endpoint(base + "/api/v3?a=b", "m").url == "http://h:1/api/v3/chat/completions?a=b"


def test_cached_answers_make_no_request_and_belong_to_prompt_and_model(tmp_path):
    with serving(lambda n, text: chat(good(text))) as (url, asked):
        assert ask(url, [FIRST, FIRST, request(1)], tmp_path)[0][1] == Joined(GOOD, "model")
        assert len(asked) == 2
        assert ask(url, [FIRST, request(1)], tmp_path)[0][0] == Joined(GOOD, "cache")
        assert len(asked) == 2
        assert ask(url, [FIRST], tmp_path, max_words=19)[0][0].by == "model"
        assert len(asked) == 3
        other = Endpoint(url, "large")
        assert join_captions([FIRST], other, templates=ENGLISH, max_words=20, cache=tmp_path)[0].by == "model"
        assert len(asked) == 4
        assert ask(url, [FIRST], tmp_path)[0][0].by == "cache"


def test_refused_answers_are_not_asked_again_and_failures_are(tmp_path):
    with serving(lambda n, text: chat("Thunder rolls.")) as (url, asked):
        first, _ = ask(url, [FIRST], tmp_path)
        assert ask(url, [FIRST], tmp_path)[0] == first
        assert len(asked) == 1
    assert first[0].reason.startswith("answer refused: does not mention 'A dog barks.'")
    with serving(lambda n, text: (400, {}, b"") if n == 0 else chat(good(text))) as (url, _):
        assert ask(url, [request(5)], tmp_path)[0][0].by == "template"
        assert ask(url, [request(5)], tmp_path)[0][0].by == "model"
