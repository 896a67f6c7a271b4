"""A real browser, Debian's chromium with its driver, that may open nothing but files; and pages to open in it."""

import base64
import json
import os
import shutil

import pytest
import soundfile
from sounds import ROOT, noise

from audiomix import cli

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
# text that would run as a script, were it not escaped
HOSTILE = "<img src=x onerror=window.broken=1>"


class Browser:
    """A browser that keeps what pages say in the console and what they ask for."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, width=1200, scheme="light"):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(path.as_uri())

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def press(self, key):
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def wait(self, script, *arguments):
        """Wait until a script returns something true, and return that."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, 10, poll_frequency=0.05).until(lambda _: self.run(script, *arguments))

    def requests(self):
        """Return the addresses that were asked for since the page was opened."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.driver.get_screenshot_as_base64()))

    def faults(self):
        """Return what axe-core finds that is serious or critical, with where it is."""
        import axe_core_python

        folder = os.path.dirname(axe_core_python.__file__)
        with open(os.path.join(folder, "axe.min.js"), encoding="utf-8") as file:
            self.run(file.read())
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']}).then((r) => done(r.violations));"
        )
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        return [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in serious]


@pytest.fixture(scope="session")
def browser():
    """Start the browser once for all pages."""
    reason = "" if CHROMIUM and DRIVER else "no chromium and chromedriver: apt-get install chromium chromium-driver"
    try:
        import axe_core_python  # noqa: F401
        from selenium import webdriver
    except ModuleNotFoundError as error:
        reason = reason or f"no {error.name}: pip install -e .[test]"
    if reason:
        assert "AUDIOMIX_REQUIRE_BROWSER" not in os.environ, reason
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # no sandbox: containers seldom allow one to root, and the pages are ours; scripts of tests may play sounds
    switches = ["headless=new", "no-sandbox", "disable-dev-shm-usage", "mute-audio", "hide-scrollbars"]
    for argument in [*switches, "autoplay-policy=no-user-gesture-required"]:
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="session")
def hostile():
    """Return the text that all hostile names, labels and captions hold."""
    return HOSTILE


@pytest.fixture(scope="session")
def mixes(tmp_path_factory):
    """Return the page of a data set whose names, labels and captions are hostile; some mixes have a tempo."""
    folder = tmp_path_factory.mktemp("mixes")
    rows = []
    for i, label in enumerate(["dog", "rain", HOSTILE]):
        for j in range(2):
            name = f"{i}{j}{HOSTILE if i == 2 else ''}.wav"
            soundfile.write(folder / name, 0.2 * noise(12000, seed=2 * i + j).numpy(), 8000)
            rows.append({"file_name": name, "label": label, "caption": f"{label} is heard"})
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = folder / "out"
    words = ["--mixer", "cutmix", "--fade", "0.01", "--quiet", "--seed", "3"]
    assert cli.main(["augment", str(folder / "list.jsonl"), str(out), *words]) == 0
    table = out / "metadata.jsonl"
    made = [json.loads(line) for line in table.read_text().splitlines()]
    for i, row in enumerate(made):  # as a mixer on the beat, and another mixer, would have it
        row |= {"bpm": 100.0 + 10 * i, "mixer": "mixup" if i == 0 else row["mixer"]}
    table.write_text("".join(json.dumps(row) + "\n" for row in made))
    assert cli.main(["show", str(out), "-o", str(folder / "page.html")]) == 0
    return folder / "page.html"


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    """Return the page of an annotated song."""
    page = tmp_path_factory.mktemp("song") / "page.html"
    assert cli.main(["show", str(ROOT / "assets" / "loops" / "rock_120.flac"), "-o", str(page)]) == 0
    return page
