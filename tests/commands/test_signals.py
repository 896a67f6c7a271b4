"""Ctrl-C, SIGTERM and closed pipes at any moment: one message, no traceback, and an exit code that tells."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from sounds import ROOT

from audiomix.interrupts import Interrupts, how_to_go_on

WORDS = str(ROOT / "assets" / "words")
QUICK = ["--preset", "demo", "--steps", "400"]
AUGMENT = ["audiomix", "augment", WORDS, "{}", "--copies", "30"]
COMMANDS = {
    "augment": (AUGMENT, "the same command goes on where it stopped"),
    "workers": ([*AUGMENT, "--workers", "2"], "the same command goes on where it stopped"),
    "beats": (["audiomix", "beats", WORDS, "--no-cache"], "begins anew"),
    "run": (["recipes", "run", "fixmatch", "demo", *QUICK, "--out", "{}"], "the same command with --resume goes on"),
    "bench": (["recipes", "bench", "demo", *QUICK, "--jobs", "2", "--out", "{}"], "with --resume goes on"),
    "devices": (
        ["recipes", "run", "fixmatch", "demo", *QUICK, "--devices", "2", "--device", "cpu", "--batch-labelled", "16",
         "--out", "{}"],
        "with --resume goes on",
    ),
    "demo": (["recipes", "demo", "--out", "{}"], "the same command goes on"),
}  # fmt: skip
# from the first imports over torch's and the reading of data to work; Python itself needs the first 40 ms. Each command
# is stopped at a seventh of them, another one for each, and at all (20 minutes) where AUDIOMIX_MOMENTS=all
MOMENTS = [0.15, 0.3, 0.6, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 11]


def start(words, out, **options):
    # a job in the background is started with SIGINT ignored, and so are its children
    usual = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    words = [sys.executable, "-m", *(word.format(out) for word in words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(words, cwd=ROOT, text=True, start_new_session=True, preexec_fn=usual, **pipes)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_at_any_moment_ends_a_command_with_one_message(command, number, tmp_path):
    words, way = COMMANDS[command]
    first = [*COMMANDS].index(command)
    for moment in MOMENTS if os.environ.get("AUDIOMIX_MOMENTS") == "all" else MOMENTS[first :: len(COMMANDS)]:
        process = start(words, tmp_path / f"{moment}")
        time.sleep(moment)
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)  # as a terminal, and as kill do
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + number, (moment, said)
        assert said.splitlines()[-1].endswith(way), (moment, said)
        assert not any(word in said for word in ("Traceback", "Exception", "Error", "\r", "\x1b")), (moment, said)
        until = time.monotonic() + 20
        while _is_alive(process.pid):  # no process of its group is left
            assert time.monotonic() < until, moment
            time.sleep(0.1)


def _is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_what_was_interrupted_goes_on(tmp_path):
    words = ["audiomix", "augment", WORDS, "{}", "--copies", "4", "--workers", "2"]
    for moment in (3, 4):
        process = start(words, tmp_path / "o")
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert start(words, tmp_path / "o").wait(timeout=120) == 0
    assert start(words, tmp_path / "whole").wait(timeout=120) == 0
    tables = [
        {path.relative_to(out): path.read_bytes() for path in out.rglob("metadata.jsonl")}
        for out in (tmp_path / "o", tmp_path / "whole")
    ]
    assert tables[0] == tables[1] != {}


@pytest.mark.slow
def test_a_reader_that_stops_reading_is_no_error(tmp_path):
    commands = [
        ["audiomix", "--help"], ["audiomix", "list"], ["audiomix", "augment", WORDS, "{}"],
        ["audiomix", "beats", WORDS, "--json"], ["recipes", "list"], ["recipes", "run", "--help"],
    ]  # fmt: skip
    for i, words in enumerate(commands):
        for both in (False, True):
            process = start(words, tmp_path / f"{i}{both}", stderr=subprocess.STDOUT if both else subprocess.PIPE)
            process.stdout.close()
            said = "" if both else process.stderr.read()
            assert process.wait(timeout=120) == 141, (words, said)
            assert not any(word in said for word in ("Traceback", "Exception", "Broken")), (words, said)
    with open("/dev/full", "w") as full:
        process = start(["audiomix", "list"], tmp_path, stdout=full)
        assert "no space left" in process.stderr.read()
        assert process.wait(timeout=60) == 3


def test_a_signal_is_raised_again_where_it_was_dropped():
    class Dropping:
        def __del__(self):
            if signal.getsignal(signal.SIGINT) == interrupts._receive:
                signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Interrupts("stopped") as interrupts:
            interrupts.begin()
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                Dropping()  # Python prints and forgets what is raised in __del__
                for _ in range(500):
                    time.sleep(0.01)
        assert interrupts.received == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_is_ignored_from_the_start_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts("stopped") as interrupts:
            interrupts.begin()
            signal.raise_signal(signal.SIGINT)
        assert not interrupts.received
    finally:
        signal.signal(signal.SIGINT, before)


def test_each_command_says_how_it_goes_on():
    ways = {"run": "the same command with --resume goes on"}
    for words, way in {
        ("run", "x"): "the same command with --resume goes on",
        ("run", "x", "--resume"): "the same command goes on",
        ("list",): "the same command begins anew",
    }.items():
        assert how_to_go_on("p", words, ways) == f"p: stopped; {way}"


@pytest.mark.slow
def test_a_command_that_does_not_end_is_ended():
    code = """if True:
        import os, signal, threading
        from audiomix import interrupts
        interrupts._LONGEST_END = 0.5
        with interrupts.Interrupts("x: stopped", last=True) as received:
            received.begin()
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                threading.Event().wait()
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (143, "x: stopped\n")
