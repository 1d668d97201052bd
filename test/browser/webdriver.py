"""Drives Chromium through ChromeDriver with the WebDriver protocol."""

import base64
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

LIMIT_S = 30
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """A headless Chromium, ended by close()."""

    def __init__(self, program):
        self.profile = tempfile.TemporaryDirectory(prefix="mission-control-browser-")
        self.log = tempfile.TemporaryFile("w+")
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=self.log, stderr=subprocess.STDOUT)
        self.base = "http://127.0.0.1:%d" % self._port()
        options = {
            "binary": program,
            "args": ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage",
                     "--no-first-run", "--hide-scrollbars", "--user-data-dir=" + self.profile.name,
                     "--window-size=1200,900"],
        }
        # Chromium's sandbox does not work for root, as which tests in containers run.
        if os.geteuid() == 0:
            options["args"].append("--no-sandbox")
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.base += "/session/" + session["sessionId"]

    def _port(self):
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline and self.driver.poll() is None:
            self.log.seek(0)
            for line in self.log:
                if "started successfully on port" in line:
                    return int(line.rstrip(". \n").rsplit(" ", 1)[1])
            time.sleep(0.02)
        raise RuntimeError("ChromeDriver failed to start")

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=2 * LIMIT_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def close(self):
        try:
            self._call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(LIMIT_S)
            self.log.close()
            self.profile.cleanup()

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """Runs script as a function body in the page and returns its result."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command, **parameters):
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def console(self):
        """Console messages since the last call, including policy violations."""
        return self._call("POST", "/se/log", {"type": "browser"})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def accessible(self, selector):
        """The role and the name of an element as exposed to assistive technology."""
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        path = "/element/" + found[ELEMENT]
        return self._call("GET", path + "/computedrole"), self._call("GET", path + "/computedlabel")

    def set_scheme(self, scheme):
        self.devtools("Emulation.setEmulatedMedia",
                      features=[{"name": "prefers-color-scheme", "value": scheme}])

    def set_width(self, width, height=900):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=1, mobile=width < 500)

    def window_screenshot(self):
        """What is in sight, as a PNG."""
        return base64.b64decode(self.devtools("Page.captureScreenshot", format="png")["data"])

    def screenshot(self):
        """The whole page at its full height as a PNG."""
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.devtools(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])
