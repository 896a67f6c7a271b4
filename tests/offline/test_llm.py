"""A language model behind a real server with every fault: good answers are taken, and no run stops."""

import json
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from audiomix.captions.templates import Templates
from audiomix.offline.providers.llm import KEY, ChatModel
from audiomix.offline.providers.rewrite import CaptionRewriter, Rewrite, RewriteRequest, prompt_of

pytest.importorskip("openai")

ENGLISH = Templates.english()
GOOD = "A dog is barking before the rain falls."
FIRST = RewriteRequest(["then", 0, 1], ["A dog barks.", "Rain falls."], "A dog barks, then rain falls.")


def request(number):
    captions = [f"A dog{number} barks.", f"Rain{number} falls."]
    return RewriteRequest(["then", 0, 1], captions, f"A dog{number} barks, then rain{number} falls.")


def good(text):
    """Return a good answer to the prompt of `request(n)` or `FIRST`."""
    number = text.split("1. A dog", 1)[1].split(" ", 1)[0]
    return f"A dog{number} is barking before the rain{number} falls."


def chat(text):
    return 200, {}, json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


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
            if answer is None:  # hang up
                return
            status, headers, parts = answer
            with suppress(ConnectionError):  # tests of time limits: who asked has gone
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for part in [parts] if isinstance(parts, bytes) else parts:
                    self.wfile.write(part)
                    self.wfile.flush()

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
    model = ChatModel(url, "tiny", **({"timeout": 2.0, "retries": 2} | options))
    return CaptionRewriter(model, templates=ENGLISH, max_words=max_words, cache=cache)(requests)


def test_good_answers_are_taken_in_order():
    requests = [request(n) for n in range(20)]
    with serving(lambda n, text: chat(good(text))) as (url, asked):
        found = ask(url, requests)
        again = ask(url, requests, parallel=1)
    assert found == again
    assert found == [Rewrite(f"A dog{n} is barking before the rain{n} falls.", "model") for n in range(20)]
    assert len(asked) == 40
    assert asked[0]["path"] == "/v1/chat/completions"
    assert asked[0]["body"]["model"] == "tiny"
    assert asked[0]["body"]["temperature"] == 0
    assert {one["body"]["messages"][0]["content"] for one in asked} == {prompt_of(one, 20) for one in requests}


def test_several_requests_are_under_way_at_once():
    together = threading.Barrier(4, timeout=5)

    def respond(number, text):
        together.wait()
        return chat(good(text))

    with serving(respond) as (url, _):
        assert [one.by for one in ask(url, [request(n) for n in range(8)], parallel=4)] == ["model"] * 8


def test_what_fails_in_passing_is_asked_again():
    broken_header = (200, {"Content-Length": "many"}, b"{}")
    for fault in (
        (500, {}, b""),
        (503, {}, b"<html>busy</html>"),
        (429, {"Retry-After": "0.1"}, b""),
        broken_header,
        None,
    ):
        with serving(lambda n, text, fault=fault: fault if n < 2 else chat(good(text))) as (url, asked):
            assert ask(url, [FIRST]) == [Rewrite(GOOD, "model")], fault
        assert len(asked) == 3
        if fault and "Retry-After" in fault[1]:
            assert asked[1]["at"] - asked[0]["at"] >= 0.1


FAULTS = [
    # what the server does, the reason, how often it is asked
    ((500, {}, b'{"error": {"message": "out of  memory"}}'), "HTTP 500 (out of memory)", 3),
    ((400, {}, b'{"error": "no"}'), "HTTP 400", 1),
    ((404, {}, b'"no"'), "HTTP 404", 1),
    ((302, {"Location": "http://127.0.0.1:9/"}, b"no"), "HTTP 302", 1),
    ((200, {}, b"\x00\xff\xfe garbage"), "an answer that is not JSON", 1),
    ((200, {}, b"[" * 100_000), "an answer that is not JSON", 1),
    ((200, {}, b'{"choices": []}'), "an answer without choices[0].message.content", 1),
    ((200, {}, b'{"choices": [{"message": null}]}'), "an answer without choices[0].message.content", 1),
    ((200, {}, b'{"choices": [{"message": {"content": null}}]}'), "an answer without text", 1),
    ((200, {}, b'{"choices": [{"message": {"content": "  "}}]}'), "an answer without text", 1),
    ((200, {}, b" " * (2 << 20)), "an answer of more than 1048576 bytes", 1),
    ((200, {"Content-Length": "1000"}, b'{"choi'), "peer closed connection", 1),
]


def test_what_fails_for_good_stays_the_templates_with_the_reason():
    for fault, reason, times in FAULTS:
        with serving(lambda n, text, fault=fault: fault) as (url, asked):
            (found,) = ask(url, [FIRST])
        assert (found.text, found.by) == (FIRST.template, "template")
        assert found.reason.startswith(f"no answer: {reason}"), fault
        assert len(asked) == times, fault


def test_slow_servers_are_left_be_they_silent_or_dripping():
    def silent(number, text):
        time.sleep(0.5)

    def dripping(number, text):
        return 200, {}, (time.sleep(0.05) or b" " for _ in range(100))

    for slow, reason in ((silent, "no answer in 0.2 s"), (dripping, "no whole answer in 0.2 s")):
        with serving(slow) as (url, asked):
            start = time.monotonic()
            found = ask(url, [FIRST], timeout=0.2, retries=0)
            assert time.monotonic() - start < 4
        assert found == [Rewrite(FIRST.template, "template", f"no answer: {reason}")]
        assert len(asked) == 1


def test_a_server_that_is_not_there_is_given_up_and_said_once():
    with serving(lambda n, text: None) as (url, _):
        pass
    requests = [request(n) for n in range(300)]
    write = CaptionRewriter(ChatModel(url, "tiny", retries=1, give_up=3), templates=ENGLISH, max_words=20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = write(requests) + write(requests[:1])
    assert [one.text for one in found] == [one.template for one in (*requests, requests[0])]
    assert {one.by for one in found} == {"template"}
    assert "refused" in found[0].reason
    assert "given up after 3 requests without an answer" in found[-1].reason
    assert [str(one.message).count("given up") for one in caught] == [1]


def test_a_server_that_dies_midway_leaves_what_it_answered(tmp_path):
    requests = [request(n) for n in range(200)]

    def respond(number, text):
        return chat(good(text)) if number < 70 else None

    with serving(respond) as (url, asked):
        with pytest.warns(RuntimeWarning, match="given up"):
            found = ask(url, requests, tmp_path, give_up=2, parallel=1, retries=1)
        assert len(asked) == 70 + 2 * 2
    assert [one.by for one in found] == ["model"] * 70 + ["template"] * 130
    with serving(lambda n, text: chat(good(text))) as (url, asked):
        found = ask(url, requests, tmp_path)
    assert [one.by for one in found] == ["cache"] * 70 + ["model"] * 130
    assert len(asked) == 130


def test_failures_in_a_row_are_counted_not_failures():
    with serving(lambda n, text: (400, {}, b"") if n % 3 else chat(good(text))) as (url, _):
        found = ask(url, [request(n) for n in range(30)], give_up=3, parallel=1)
    assert [one.by for one in found] == ["model", "template", "template"] * 10


def test_the_key_is_sent_and_in_no_message_and_nothing_else_of_the_user_is(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "private")
    body = b'{"error": {"message": "wrong key sk-secret"}}'
    with serving(lambda n, text: (401, {}, body)) as (url, asked):
        found = ask(url, [FIRST], key_env="SOME_KEY")
        ask(url, [FIRST])
    headers = [{name.lower(): value for name, value in one["headers"].items()} for one in asked]
    assert headers[0]["authorization"] == "Bearer sk-secret"
    assert "authorization" not in headers[1]
    assert "private" not in str(asked)
    assert found[0].reason == "no answer: HTTP 401 (wrong key ***)"
    assert "secret" not in repr(ChatModel(url, "tiny", key_env="SOME_KEY"))
    monkeypatch.setenv("SOME_KEY", "sk-secret\nX: y")
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        ChatModel(url, "tiny", key_env="SOME_KEY")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="NO_KEY, which is not set"):
        ChatModel(url, "tiny", key_env="NO_KEY")


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'audiomix\[llm\]'"):
        ChatModel("http://127.0.0.1:9", "tiny")


WRONG_URLS = [
    ("127.0.0.1:8080", "did you mean http://127.0.0.1:8080"),
    ("file:///etc/passwd", "url must be as in http"),
    ("http://", "url must be as in http"),
    ("http://me:word@host", "url must be without a name and password"),
    ("http://host:99999", "url must be the URL of a server"),
]


def test_wrong_urls_are_named():
    for url, match in WRONG_URLS:
        with pytest.raises(ValueError, match=match) as caught:
            ChatModel(url, "tiny")
        assert "word@" not in str(caught.value)


def test_urls_are_completed():
    base = "http://h:1"
    for tail in ("", "/", "/v1", "/v1/", "/v1/chat/completions"):
        assert ChatModel(base + tail, "m").url == "http://h:1/v1/chat/completions"
    assert ChatModel(base + "/api/v3?a=b", "m").url == "http://h:1/api/v3/chat/completions?a=b"


def test_cached_answers_make_no_request_and_belong_to_prompt_and_model(tmp_path):
    with serving(lambda n, text: chat(good(text))) as (url, asked):
        assert ask(url, [FIRST, FIRST, request(1)], tmp_path)[1] == Rewrite(GOOD, "model")
        assert len(asked) == 2
        assert ask(url, [FIRST, request(1)], tmp_path)[0] == Rewrite(GOOD, "cache")
        assert len(asked) == 2
        assert ask(url, [FIRST], tmp_path, max_words=19)[0].by == "model"
        assert len(asked) == 3
        write = CaptionRewriter(ChatModel(url, "large"), templates=ENGLISH, max_words=20, cache=tmp_path)
        assert write([FIRST])[0].by == "model"
        assert len(asked) == 4
        assert ask(url, [FIRST], tmp_path)[0].by == "cache"


def test_refused_answers_are_not_asked_again_and_failures_are(tmp_path):
    with serving(lambda n, text: chat("Thunder rolls.")) as (url, asked):
        first = ask(url, [FIRST], tmp_path)
        assert ask(url, [FIRST], tmp_path) == first
        assert len(asked) == 1
    assert first[0].reason.startswith("answer refused: does not mention 'A dog barks.'")
    with serving(lambda n, text: (400, {}, b"") if n == 0 else chat(good(text))) as (url, _):
        assert ask(url, [request(5)], tmp_path)[0].by == "template"
        assert ask(url, [request(5)], tmp_path)[0].by == "model"
