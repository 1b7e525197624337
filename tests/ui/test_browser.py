"""The app in a real headless Chromium, on the embedded model: what a person does, and what a stranger may not."""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="gradio is missing: pip install 'uce-concepts[ui]'")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")
pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("UCE_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MEADOW = Path(__file__).parents[2] / "examples" / "meadow.png"
WAIT = 300_000
"""Milliseconds that anything may take: how long it does take is not what is tested."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server on any free port."""
    from uce.ui.launch import served

    with pytest.MonkeyPatch.context() as patch:
        for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HF_HUB_DISABLE_TELEMETRY"):
            patch.setenv(name, os.environ.get(name, ""))  # put back at the end
        with served(port=0, device="cpu") as url:
            yield url.rstrip("/")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is missing: apt-get install chromium, or name one with UCE_CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> Any:
    """A new person's page, ready."""
    size = {"width": width, "height": 900}
    page = browser.new_context(viewport=size, color_scheme=scheme, accept_downloads=True).new_page()
    page.set_default_timeout(WAIT)
    page.goto(address)
    page.wait_for_selector("#uce-upload input[type=file]", state="attached")
    return page


def shot(page: Any, name: str) -> None:
    """A picture of the page, for people: `UCE_SCREENSHOTS=folder` says where."""
    if folder := os.environ.get("UCE_SCREENSHOTS"):
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def set_number(page: Any, key: str, value: int) -> None:
    box = page.locator(f"#uce-set-{key} input").first
    box.fill(str(value))
    box.press("Enter")
    page.wait_for_timeout(500)


def test_from_a_picture_to_a_download(browser: Any, address: str, tmp_path: Path) -> None:
    page = open_page(browser, address)
    hosts, errors = set(), []
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if request.url[:4] == "http" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))

    page.set_input_files("#uce-upload input[type=file]", str(MEADOW))
    page.wait_for_selector("#uce-ticked input[type=checkbox]:visible")
    assert page.locator("#uce-ticked input[type=checkbox]").count() >= 2
    shot(page, "things")
    page.locator("#uce-ticked input[type=checkbox]").last.click()

    page.click("#uce-settings > button")
    page.get_by_text("5. Learn: how the word is learned").click()
    set_number(page, "optimizer-steps", 12)
    shot(page, "settings")

    page.click("#uce-learn")
    page.wait_for_selector("#uce-status [role=progressbar]")
    page.reload()
    page.wait_for_selector("#uce-samples img")
    shot(page, "learning")
    page.wait_for_selector("#uce-go-draw:visible")
    assert page.locator("#uce-samples img").count() >= 2
    assert page.locator("#uce-losses svg path").count() > 2, "the curve is drawn"
    shot(page, "learned")
    page.click("#uce-go-draw")

    prompt = page.locator("#uce-prompt textarea")
    playwright.expect(prompt).to_have_value(re.compile("<thing1>"), timeout=WAIT)
    shot(page, "draw")
    page.locator("#uce-words button").last.click()
    playwright.expect(prompt).to_have_value(re.compile(r"<thing\d>.*<thing\d>"), timeout=WAIT)
    page.click("#uce-draw")
    page.wait_for_selector("#uce-drawings li")
    page.wait_for_selector("#uce-stop", state="hidden")
    shot(page, "drawn")
    page.wait_for_selector("#uce-download:not([disabled])")
    with page.expect_download() as download:
        page.click("#uce-download")
    path = tmp_path / "words.zip"
    download.value.save_as(path)
    with zipfile.ZipFile(path) as bundle:
        inside = bundle.namelist()
    assert {"README.txt", "meadow/report.html", "meadow/tokens/thing1.safetensors"} <= set(inside)
    assert any(name.startswith("drawn/") for name in inside)

    steps_stay_open(page)
    stranger = open_page(browser, address)
    assert stranger.locator("#uce-pictures img").count() == 0, "two people must not see each other's pictures"
    assert hosts == {address.split("/")[2]}, "the page asked another host for something"
    assert not errors


def steps_stay_open(page: Any) -> None:
    """After another picture and a reload, every step that the first one reached can be gone to."""
    tabs = page.locator("#uce-steps [role=tab]")
    page.click("#uce-another")
    page.locator("#uce-examples button").first.click()
    page.wait_for_selector("#uce-ticked input[type=checkbox]:visible")
    playwright.expect(tabs.nth(2)).to_be_disabled(timeout=WAIT)
    playwright.expect(tabs.nth(3)).to_be_enabled(timeout=WAIT)
    page.reload()
    tabs.nth(0).click()
    page.locator("#uce-pictures button").first.click()
    page.wait_for_selector("#uce-go-draw:visible")
    page.wait_for_function("document.activeElement.textContent.startsWith('Done: you have')")  # the keyboard follows
    for number, control in ((3, "#uce-drawings li"), (1, "#uce-ticked"), (2, "#uce-samples li")):
        tabs.nth(number).click()
        page.wait_for_selector(f"{control} >> visible=true")
    tabs.nth(3).click()
    page.locator("#uce-drawings [data-act=again]").last.click()
    playwright.expect(page.locator("#uce-seed input")).to_have_value("0", timeout=WAIT)
    note = page.locator(".uce-toast b").first
    playwright.expect(note).to_have_text("Text and seed are taken over", timeout=WAIT)
    unnamed = "es => es.filter(e => !(e.innerText.trim() || e.ariaLabel || e.title)).map(e => e.outerHTML)"
    assert page.locator("button:visible").evaluate_all(unnamed) == []


CONTRAST = """
(e) => {
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  const rgb = (text, under) => {
    pen.fillStyle = under; pen.fillRect(0, 0, 1, 1); pen.fillStyle = text; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (c) => c.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const layers = [];
  for (let one = e; one; one = one.parentElement) layers.unshift(getComputedStyle(one).backgroundColor);
  const paper = layers.reduce((under, layer) => `rgb(${rgb(layer, under).join(",")})`, "white");
  const [low, high] = [light(rgb(paper, "white")), light(rgb(getComputedStyle(e).color, paper))].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(browser: Any, address: str, scheme: str) -> None:
    """Contrast of at least 4.5 (WCAG 2.2, 1.4.3), also of the palest text."""
    page = open_page(browser, address, scheme=scheme)
    page.wait_for_selector("#uce-examples button")
    for name in (".uce-model", "#uce-foot p", "#uce-steps [role=tab]:disabled", "#uce-steps [aria-selected=true]",
                 "#uce-examples .uce-title", "#uce-forget"):  # fmt: skip
        for element in page.locator(name).all():
            assert element.evaluate(CONTRAST) >= 4.5, (scheme, name, element.inner_text())


def test_a_phone_shows_everything_without_scrolling_sideways(browser: Any, address: str) -> None:
    page = open_page(browser, address, width=390, scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, "phone")
    assert page.locator("#uce-steps [role=tab]:visible").count() == 4, "all steps are in sight"
    assert page.locator(".uce-toast, .toast-body").count() == 0, "nothing is wrong yet"
    page.locator("#uce-examples button").nth(1).click()
    page.wait_for_selector("#uce-ticked input[type=checkbox]:visible")
    page.click("#uce-edit > button")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#uce-learn").evaluate(CONTRAST) >= 4.5
    shot(page, "phone-things")


def test_things_are_made_by_clicks_and_by_the_brush(browser: Any, address: str) -> None:
    page = open_page(browser, address)
    page.locator("#uce-examples button").nth(2).click()
    page.wait_for_selector("#uce-ticked input[type=checkbox]:visible")
    boxes, outlines = page.locator("#uce-ticked input[type=checkbox]"), page.locator(".uce-sheet-outlines path.line")
    before = boxes.count()
    assert page.locator("#uce-learn").evaluate(CONTRAST) >= 4.5
    page.click("#uce-edit > button")
    first = outlines.first.get_attribute("d")
    page.locator(".uce-sheet-names button").first.click()
    mark = page.locator(".uce-sheet-outlines circle").first.bounding_box()
    page.mouse.click(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2, button="right")
    page.locator(".uce-toast b").first.wait_for()
    title = page.locator(".uce-toast b").last.inner_text()
    assert title in ("Outline changed", "This place cannot be used"), "a part is taken away, or all would be"
    if title == "Outline changed":
        playwright.expect(outlines.first).not_to_have_attribute("d", first, timeout=WAIT)
    page.click("#uce-add")
    stroke(page)
    shot(page, "paint")
    page.click("#uce-keep")
    playwright.expect(boxes).to_have_count(before + 1, timeout=WAIT)
    page.click("#uce-correct")
    canvas = page.locator("#uce-sheet canvas[data-ready=yes]")
    canvas.wait_for()
    assert canvas.evaluate(PAINTED) > 100, "the outline as it is can be seen"
    assert outlines.count() == before, "and those of the others"
    page.click("[data-zoom=in]")
    playwright.expect(page.locator(".uce-sheet output")).to_have_text("150%")
    painted = canvas.evaluate(PAINTED)
    page.locator(".uce-sheet-view").focus()
    for key in ("ArrowRight", "Enter", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert canvas.evaluate(PAINTED) > painted, "the keyboard paints"
    shot(page, "correct")
    page.click("#uce-keep")
    playwright.expect(boxes).to_have_count(before + 1, timeout=WAIT)


PAINTED = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 == 3 && v).length"


def stroke(page: Any) -> None:
    """One line of the brush, in the upper left of the picture."""
    canvas = page.locator("#uce-sheet canvas[data-ready=yes]")
    canvas.wait_for()
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    left, top = box["x"] + box["width"] / 8, box["y"] + box["height"] / 8
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 50, top + 20, steps=5)
    page.mouse.up()


def test_a_file_that_is_no_picture_is_a_note_on_the_page(browser: Any, address: str, tmp_path: Path) -> None:
    path = tmp_path / "no.png"
    path.write_bytes(b"no picture")
    page = open_page(browser, address)
    page.set_input_files("#uce-upload input[type=file]", str(path))
    note = page.locator(".uce-toast")
    playwright.expect(note).to_contain_text("not a picture in a format that can be read", timeout=WAIT)
    assert note.locator("b").inner_text() == "This picture cannot be used"
    page.click("#uce-log > button")
    playwright.expect(page.locator(".uce-log li").first).to_contain_text("This picture cannot be used", timeout=WAIT)


def answer(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=WAIT / 1000) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../../../etc/passwd", "%2Fetc%2Fpasswd", "/proc/self/environ", str(MEADOW), str(Path.cwd()),
     "http://127.0.0.1:1/x", "https://example.com/", "%68ttp://127.0.0.1:1/x"],
)  # fmt: skip
def test_no_path_of_the_server_can_be_read(address: str, path: str) -> None:
    status, body = answer(f"{address}/gradio_api/file={path}")
    assert status in (403, 404) and b"root:" not in body


def test_the_guard_stands_before_every_answer(address: str) -> None:
    with urllib.request.urlopen(f"{address}/", timeout=WAIT / 1000) as response:
        assert "frame-ancestors 'self'" in response.headers["content-security-policy"]
        assert response.headers["referrer-policy"] == "no-referrer"


def test_doors_that_the_app_does_not_need_are_closed(address: str) -> None:
    for door in ("proxy=https://x.hf.space/", "monitoring", "run-history/buckets", "deep_link"):
        assert answer(f"{address}/gradio_api/{door}")[0] in (403, 404), door


@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:1/x.png", "https://example.com/x.png"])
def test_a_forged_upload_reads_nothing(address: str, path: str) -> None:
    """Gradio's own protocol, with a file of the server, or an address, in the place of an upload."""
    config = json.loads(answer(f"{address}/config")[1])
    upload = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "uce-upload")
    forged = {"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
    session = f"forged{abs(hash(path))}"
    handlers = [d for d in config["dependencies"] if [upload, "upload"] in d["targets"]]
    assert len(handlers) == 1
    body = {"data": ["x" * 32, forged], "fn_index": handlers[0]["id"], "session_hash": session}
    answer(f"{address}/gradio_api/queue/join", json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash={session}", timeout=60) as stream:
        lines = [json.loads(line[5:]) for line in stream if line.startswith(b"data:")]
    (ended,) = [line for line in lines if line["msg"] == "process_completed"]
    assert ended["success"] is False, ended
    assert "root:" not in json.dumps(lines)


def test_a_body_that_is_too_large_is_refused(address: str) -> None:
    headers = {"content-type": "application/octet-stream", "content-length": str(10**9)}
    status, _ = answer(f"{address}/gradio_api/upload", b"", headers)
    assert status == 413
