"""The report page in a browser: slider, play, keyboard, table, downloads, and that nothing leaves the page."""

import base64
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time

import matplotlib
import numpy as np
import pytest

import sparserbm as sr
from sparserbm.plotting import report
from sparserbm.runs import Run
from sparserbm.topology import concentric_trend, learning_index

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium or Chrome is installed"),
    pytest.mark.skipif(os.name != "posix", reason="the browser is driven through pipes 3 and 4"),
]

KEYS = {"Tab": 9, "Enter": 13, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40}


class Browser:
    """A headless Chromium with one page, driven by the Chrome DevTools Protocol over two pipes.

    The messages are JSON texts that end in a zero byte; the browser reads them from its file 3 and writes to file 4.
    """

    def __init__(self, folder):
        commands, answers = os.pipe(), os.pipe()
        place = (
            "import fcntl, os, sys; ends = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]]; "
            "os.dup2(ends[0], 3); os.dup2(ends[1], 4); os.execv(sys.argv[3], sys.argv[3:])"
        )
        # a sandbox in a container fails, and the page is our own
        flags = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", place, str(commands[0]), str(answers[1])),
                *(PROGRAM, *flags, f"--user-data-dir={folder}", "about:blank"),
            ],
            pass_fds=(commands[0], answers[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands[0])
        os.close(answers[1])
        self.out, self.into = os.fdopen(commands[1], "wb", buffering=0), os.fdopen(answers[0], "rb")
        self.events, self.number, self.session, self.rest = [], 0, None, b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScrollbarsHidden", hidden=True)  # so that a page is as wide as its window

    def call(self, method, **parameters):
        """Send a command and return its result; what the browser reports meanwhile goes to `events`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        self.out.write(json.dumps(message).encode() + b"\0")
        while True:
            found = self.read()
            if found.get("id") == self.number:
                assert "error" not in found, (method, found)
                return found["result"]
            self.events.append(found)

    def read(self):
        while b"\0" not in self.rest:
            more = self.into.read1()
            assert more, "the browser has ended"
            self.rest += more
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def open(self, path, width=1280, dark=False, calm=False):
        """Load a page; returns the seconds until it was drawn."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if calm else "",
        }
        self.call("Emulation.setEmulatedMedia", features=[{"name": k, "value": v} for k, v in features.items()])
        self.events = []
        start = time.perf_counter()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.read())
        # two frames later the first one has been painted
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return time.perf_counter() - start

    def run(self, script):
        """The value of an expression in the page, awaited."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script, seconds=20):
        """Wait until an expression is true."""
        end = time.perf_counter() + seconds
        while not self.run(script):
            assert time.perf_counter() < end, f"never true: {script}"
            time.sleep(0.02)

    def key(self, key):
        code = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": {"Enter": "\r"}.get(key, key)} if key in ("Enter", " ") else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def click(self, selector, share=0.5):
        """Click into an element, at this share of its width."""
        x, y = self.run(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); one.scrollIntoView({{block: 'center', "
            f"behavior: 'instant'}}); const box = one.getBoundingClientRect(); "
            f"return [box.x + {share} * box.width, box.y + box.height / 2]; }})()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def download(self, selector, folder):
        """The text of the file that a link saves."""
        session, self.session = self.session, None  # the setting is one of the browser, not of the page
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.session = session
        file = folder / self.run(f"document.querySelector('{selector}').download")
        self.click(selector)
        end = time.perf_counter() + 20
        while not file.is_file():  # it has another name until it is complete
            assert time.perf_counter() < end, f"{file.name} was never saved"
            time.sleep(0.05)
        return file.read_text(encoding="utf-8")

    def picture(self, path):
        """Save the whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        self.session = None
        self.call("Browser.close")
        self.process.wait(20)
        self.out.close()
        self.into.close()


def complaints(browser):
    """What the page said on the console, and what it asked for that is not in it."""
    found = []
    for event in browser.events:
        method, about = event.get("method"), event.get("params", {})
        if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            found.append(about)
        if method == "Network.requestWillBeSent" and about["request"]["url"].partition(":")[0] not in ("data", "blob"):
            found.append(about["request"]["url"])
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def runs(mlp, rbm):
    """Two runs with images, an MLP and an RBM, and one without."""
    plain = rbm.config | {"name": "plain", "data": rbm.config["data"] | {"image_shape": None}}
    return [mlp, rbm, Run(plain, rbm.metrics, rbm.snapshots)]


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    return report(runs, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def opened(browser, page):
    """The browser with the page, which has to be silent and alone to the end of the test."""
    browser.open(page)
    yield browser
    assert complaints(browser) == [page.as_uri()]


def move(browser, place):
    browser.run(
        f"(() => {{ const slider = document.querySelector('#epoch'); slider.value = {place}; "
        "slider.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )


def value(browser):
    return int(browser.run("document.querySelector('#epoch').value"))


def text(browser, selector):
    return browser.run(f"document.querySelector({json.dumps(selector)}).textContent")


def column(browser, number):
    """The texts of a column of the table, of the rows that are seen."""
    rows = "[...document.querySelector('#results').tBodies[0].rows].filter((row) => !row.hidden)"
    return browser.run(f"{rows}.map((row) => row.cells[{number}].textContent)")


def colours(browser):
    """The heat map, (n_inputs, 4) bytes."""
    script = (  # from a copy: the browser warns of a canvas that is read again and again
        "(() => { const map = document.querySelector('.map canvas'), copy = map.cloneNode().getContext('2d'); "
        "copy.drawImage(map, 0, 0); return Array.from(copy.getImageData(0, 0, map.width, map.height).data); })()"
    )
    return np.array(browser.run(script)).reshape(-1, 4)


def test_every_epoch_is_drawn_as_it_was_measured(opened, mlp):
    images = np.array([mlp.snapshots[epoch].layers[0].degree_pre for epoch in range(11)])
    low, high = np.floor(np.percentile(images, 0.5)), np.ceil(np.percentile(images, 99.5))
    seen = set()
    for epoch in (0, 4, 10):
        move(opened, epoch)
        degrees = images[epoch]
        expected = matplotlib.colormaps["viridis"]((degrees - low) / (high - low), bytes=True)
        assert np.abs(colours(opened) - expected.astype(int)).max() == 0
        found = learning_index(degrees, mlp.zone_mask, 784 * 64)
        assert text(opened, "#now") == f"epoch {epoch}, z {found.z:+.1f} ({found.verdict})".replace(
            "-", "\N{MINUS SIGN}"
        )
        label = opened.run("document.querySelectorAll('.chart')[0].getAttribute('aria-label')")
        trend = dict(pair.split(": ") for pair in label.partition(f"epoch {epoch}: ")[2].split(", "))
        assert [int(side) for side in trend] == [*range(6, 30, 2)]
        assert [float(mean) for mean in trend.values()] == pytest.approx(concentric_trend(degrees, (28, 28))[2:], 1e-3)
        lines = "[...document.querySelectorAll('.cursor line')].map((line) => line.getAttribute('x1'))"
        places = opened.run(lines)
        assert len(places) > 5
        seen.add(tuple(places))
    assert len(seen) == 3  # the upright lines have moved


def test_play_plays_to_the_end(opened):
    move(opened, 7)
    opened.click("#play")
    assert text(opened, "#play") == "Pause"
    assert opened.run("document.querySelector('#now').getAttribute('aria-live')") == "off"
    opened.until("document.querySelector('#epoch').value === '10'")
    assert text(opened, "#play") == "Play"
    assert text(opened, "#now").startswith("epoch 10, z +")
    assert opened.run("document.querySelector('#now').getAttribute('aria-live')") == "polite"
    opened.click("#play")  # once more, from the start
    opened.until("Number(document.querySelector('#epoch').value) > 0")
    opened.click("#play")
    stopped = value(opened)
    assert text(opened, "#play") == "Play"
    time.sleep(1.0)
    assert value(opened) == stopped < 10


@pytest.mark.parametrize(("calm", "wait"), [(False, 400), (True, 1000)])
def test_play_is_slow_for_readers_who_want_little_motion(browser, page, calm, wait):
    browser.open(page, calm=calm)
    browser.run("window.setInterval = (step, wait) => { window.waited = wait; }")
    browser.click("#play")
    assert browser.run("window.waited") == wait


def test_the_keyboard_is_enough(opened, mlp):
    focused = "document.activeElement.id || document.activeElement.tagName"
    opened.run("document.body.focus()")
    order = []
    for _ in range(5):
        opened.key("Tab")
        order.append(opened.run(focused))
    assert order == ["run", "play", "epoch", "CANVAS", "filter"]
    opened.run("document.querySelector('#epoch').focus()")
    opened.key("Home")
    opened.key("ArrowRight")
    assert value(opened) == 1
    assert opened.run("document.querySelector('#epoch').getAttribute('aria-valuetext')").startswith("epoch 1, z ")
    opened.run("document.querySelector('#play').focus()")
    opened.key(" ")
    opened.until("Number(document.querySelector('#epoch').value) > 1")
    opened.key("Enter")
    assert text(opened, "#play") == "Play"
    opened.run("document.querySelector('.map canvas').focus()")
    move(opened, 10)
    for key in ("ArrowDown", "ArrowDown", "ArrowLeft"):  # the first one goes to the middle
        opened.key(key)
    degree = mlp.snapshots[10].layers[0].degree_pre[15 * 28 + 13]
    assert text(opened, "figure:has(.map) span") == f"row 15, column 13: {degree}, active zone"
    opened.run("document.querySelector('#results thead button').focus()")
    opened.key("Enter")
    assert opened.run("document.querySelector('#results thead th').getAttribute('aria-sort')") == "ascending"


def test_a_chart_picks_the_epoch(opened):
    assert value(opened) == 10
    opened.click(".chart.linked", share=0.5)
    assert 3 <= value(opened) <= 7


def test_the_table_sorts_by_numbers_and_filters(opened):
    heads = opened.run("[...document.querySelectorAll('#results thead th')].map((head) => head.textContent)")
    z, accuracy = heads.index("z"), heads.index("validation accuracy")
    before = column(opened, z)
    opened.click(f"#results thead th:nth-child({z + 1}) button")
    ascending = column(opened, z)
    assert ascending == sorted(before, key=lambda cell: float(cell.replace("\N{MINUS SIGN}", "-")))
    opened.click(f"#results thead th:nth-child({z + 1}) button")
    assert column(opened, z) == ascending[::-1]
    sorts = "[...document.querySelectorAll('#results thead th')].map((head) => head.getAttribute('aria-sort'))"
    assert [one for one in opened.run(sorts) if one] == ["descending"]
    for _ in range(2):  # an RBM has no accuracy: last in both orders
        opened.click(f"#results thead th:nth-child({accuracy + 1}) button")
        assert column(opened, accuracy)[1:] == ["\N{EN DASH}"] * 2
    opened.click("#filter")
    opened.type("RBM plain")
    assert column(opened, 0) == ["plain"]
    assert text(opened, "#count") == "1 of 3 runs"


def test_a_name_in_the_table_shows_the_run(opened):
    move(opened, 4)
    opened.click("#results tbody tr:nth-child(2) button")
    assert opened.run("document.querySelector('#run').value") == "1"
    assert text(opened, "#now").startswith("epoch 4, z \N{MINUS SIGN}")  # the epoch stays
    assert opened.run("document.activeElement.id") == "epoch"
    assert opened.run("document.querySelector('#results [aria-current]').rowIndex") == 2


def test_a_run_without_image_has_its_curves(opened):
    opened.click("#results tbody tr:nth-child(3) button")
    hidden = opened.run("[...document.querySelectorAll('figure')].filter((one) => one.hidden).length")
    assert hidden == 3  # map, trend, receptive fields
    assert "draws the inputs as an image" in text(opened, "#missing")
    move(opened, 3)
    assert text(opened, "#now").startswith("epoch 3, z ")
    readings = opened.run(
        "[...document.querySelectorAll('figure:not([hidden]) figcaption span')].map((one) => one.textContent)"
    )
    assert any(reading.startswith("active zone ") for reading in readings)


def test_downloads_hold_the_numbers(opened, runs, tmp_path):
    table = list(csv.DictReader(io.StringIO(opened.download("#save-runs", tmp_path))))
    for row, run in zip(table, runs):
        assert row["run"] == run.name
        found = learning_index(run.snapshots[10].layers[0].degree_pre, run.zone_mask, 784 * 64)
        assert (float(row["z"]), float(row["index"])) == (found.z, found.index)
        assert float(row["validation loss"]) == run.metrics[-1]["validation_loss"]
    epochs = list(csv.DictReader(io.StringIO(opened.download("#save-epochs", tmp_path))))
    assert len(epochs) == 33
    assert float(epochs[7]["accuracy"]) == pytest.approx(runs[0].metrics[7]["accuracy"], rel=1e-5)
    assert epochs[0]["loss"] == epochs[20]["accuracy"] == ""
    degrees = np.loadtxt(io.StringIO(opened.download("#save-degrees", tmp_path)), delimiter=",", skiprows=1)
    assert (degrees[:, 0] == range(11)).all()
    assert (degrees[:, 1:] == runs[0].degrees()[1]).all()
    whole = json.loads(opened.download("#save-all", tmp_path))
    assert [run["name"] for run in whole["runs"]] == [run.name for run in runs]
    assert (np.array(whole["runs"][1]["connections_per_input"]) == runs[1].degrees()[1]).all()
    assert whole["runs"][0]["active_zone"] == runs[0].config["zone"]["inputs"]
    assert whole["runs"][0]["settings"]["training.epochs"] == "10"
    assert whole["table"][0]["z"] == float(table[0]["z"])


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_overflows_in_light_and_dark(browser, page, width):
    backs = set()
    for dark in (False, True):
        browser.open(page, width, dark)
        assert browser.run("document.documentElement.scrollWidth") <= width
        wide = "[...document.querySelectorAll('main figure, .controls > *')].map((one) => one.getBoundingClientRect().right)"
        assert max(browser.run(wide)) <= width
        columns = browser.run("new Set([...document.querySelectorAll('figure')].map((one) => one.offsetLeft)).size")
        assert columns == (1 if width == 400 else 3)
        backs.add(browser.run("getComputedStyle(document.body).backgroundColor"))
        assert complaints(browser) == [page.as_uri()]
    assert len(backs) == 2


def test_runs_that_lack_something(browser, run_maker, mlp, tmp_path):
    nothing = Run(mlp.config, [], {})
    for runs in (
        [nothing],
        [nothing, mlp],
        [Run(mlp.config, mlp.metrics[:1], {0: mlp.snapshots[0]})],
        [Run(mlp.config, [], mlp.snapshots)],
        [run_maker(image_shape=None, zone=False, study=False, n_epochs=2)],
        [run_maker(image_shape=[14, 56], n_epochs=2)],
    ):
        path = report(runs, tmp_path / "report.html")
        browser.open(path)
        assert complaints(browser) == [path.as_uri()]
        assert text(browser, "#now") == "nothing measured" or text(browser, "#now").startswith("epoch ")


def test_a_large_page_is_small_enough_and_opens(browser, run_maker, tmp_path):
    cells = (("mlp", 0.0, 0.0), ("mlp", 0.01, 0.4), ("rbm", 0.0, -0.3), ("rbm", 0.01, 0.1))
    runs = [
        run_maker(kind=kind, l2=l2, seed=seed, drift=drift, n_epochs=200)
        for kind, l2, drift in cells
        for seed in range(5)
    ]
    path = report(runs, tmp_path / "report.html")
    assert path.stat().st_size < 15e6
    seconds = browser.open(path)
    print(f"{path.stat().st_size / 1e6:.1f} MB, drawn after {seconds:.2f} s")
    assert complaints(browser) == [path.as_uri()]
    move(browser, 100)  # the 201 epochs are thinned to 200
    assert text(browser, "#now").startswith("epoch 101, z ")


def test_a_study_on_digits(browser, tmp_path):
    sr.study("digits", models=["mlp", "rbm"], l2=[0.0], seeds=2, epochs=4, out=tmp_path / "study")
    path = tmp_path / "study" / "report.html"
    browser.open(path)
    assert complaints(browser) == [path.as_uri()]
    assert "in all 2 runs" in text(browser, ".verdicts")
    move(browser, 0)
    assert text(browser, "#now").startswith("epoch 0, z ")
    assert colours(browser).shape == (784, 4)
