"""The page in a real browser, about the real tiny artifact."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from sam3port.demo.example import example
from sam3port.runtime.masks import rle
from sam3port.serve.app import PAGE
from tests.serve.conftest import EXAMPLE, Server

_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_PATIENCE = 60_000
Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        missing = "no Chromium is installed here"
        if os.environ.get("SAM3PORT_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{missing}, and SAM3PORT_REQUIRE_BROWSER=1 asks for it", pytrace=False)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=[*_ARGUMENTS])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Opens pages in one window. Whatever the page complains about is a failure, except what the server refuses."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(_PATIENCE)
    expect.set_options(timeout=_PATIENCE)
    faults: list[str] = []

    def new(url: str, picture: Path | bytes | None = EXAMPLE) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Content Security" in line.text else None)
        page.on(
            "request", lambda request: None if request.url.startswith((url, "blob:")) else faults.append(request.url)
        )
        page.goto(url)
        if picture is not None:
            upload(page, picture)
        return page

    yield new
    context.close()
    assert faults == []


def upload(page: Page, picture: Path | bytes) -> None:
    data = picture if isinstance(picture, bytes) else picture.read_bytes()
    page.set_input_files("#file", {"name": "photo.png", "mimeType": "image/png", "buffer": data})
    expect(page.locator("#ask")).to_be_enabled()


def settled(page: Page) -> None:
    expect(page.locator("#working")).to_be_hidden()


def find(page: Page, text: str) -> list[str]:
    page.fill("#text", text)
    page.keyboard.press("Enter")
    settled(page)
    return shown(page)


def shown(page: Page) -> list[str]:
    return page.locator("#objects li").all_inner_texts()


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a place of the picture is in the window, both from 0 to 1 of the picture."""
    box = page.locator("#view").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def threshold(page: Page, value: float) -> None:
    page.locator("#threshold").fill(str(value))


def downloaded(page: Page, button: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.click(button)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def asked(page: Page) -> list[str]:
    """The prompts that the page sends from now on."""
    sent: list[str] = []
    page.on(
        "request",
        lambda request: sent.append(request.post_data or "") if request.url.endswith(("segment", "click")) else None,
    )
    return sent


def test_text_slider_and_exports(opened: Opened, server: Server) -> None:
    page = opened(server.url)
    threshold(page, 0.4)
    found = find(page, "red star, green circle")
    assert found
    assert all(line.startswith(("red star", "green circle")) for line in found)
    scores = [float(line.split()[-1]) for line in found]
    sent = asked(page)
    threshold(page, 0.05)
    more = shown(page)
    assert len(more) > len(found)
    threshold(page, 0.4)
    assert shown(page) == found
    assert sent == []  # no new computation

    name, content = downloaded(page, "#coco")
    coco = json.loads(content)
    assert name == "photo.coco.json"
    assert [round(each["score"], 2) for each in coco["annotations"]] == scores
    labels = {each["id"]: each["name"] for each in coco["categories"]}
    assert [labels[each["category_id"]] for each in coco["annotations"]] == [
        line.rsplit(maxsplit=1)[0] for line in found
    ]
    assert [rle.decode(each["segmentation"]).area for each in coco["annotations"]] == [
        each["area"] for each in coco["annotations"]
    ]

    # With one object shown, the picture is changed within its mask and nowhere else.
    for check in page.locator("#objects input").all()[1:]:
        check.uncheck()
    name, content = downloaded(page, "#png")
    assert name == "photo.overlay.png"
    drawn = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    changed = np.abs(drawn - np.asarray(Image.open(EXAMPLE).convert("RGB"))).max(2) > 12
    mask = rle.decode(coco["annotations"][0]["segmentation"]).mask(448, 448)
    assert changed[~mask].mean() < 0.001
    assert changed[mask].mean() > 0.8
    only = json.loads(downloaded(page, "#coco")[1])
    assert len(only["annotations"]) == 1


def test_clicks_and_undo(opened: Opened, server: Server) -> None:
    page = opened(server.url)
    sent = asked(page)
    page.mouse.click(*at(page, 0.25, 0.5))
    expect(page.locator("#objects li")).to_have_count(1)
    settled(page)
    first = shown(page)
    page.mouse.click(*at(page, 0.75, 0.75), button="right")
    expect(page.locator("#given-text")).to_have_text("2 clicks")
    settled(page)
    given = [json.loads(each) for each in sent]
    assert [each["point_labels"] for each in given] == [[True], [True, False]]
    np.testing.assert_allclose(given[1]["points"], [[112, 224], [336, 336]], atol=1)
    page.keyboard.press("Control+z")
    expect(page.locator("#given-text")).to_have_text("1 click")
    assert shown(page) == first
    page.click("#keep")
    expect(page.locator("#given-text")).to_have_text("1 kept object")
    assert [line.split()[0] for line in shown(page)] == ["kept"]
    page.click("#undo")
    page.click("#undo")
    assert shown(page) == []
    expect(page.locator("#undo")).to_be_disabled()
    assert len(sent) == 2


def test_finds_an_object_by_a_click_with_the_weights_that_come_along(opened: Opened, demo_artifact: Path) -> None:
    """Each object of the example under the pointer, and no other."""
    server = Server(demo_artifact, "--rate", "0")
    try:
        page = opened(server.url, None)
        page.click("#example")
        expect(page.locator("#ask")).to_be_enabled()
        truths = [drawn.mask for drawn in example().scene.objects]
        for truth in truths:
            rows, columns = np.nonzero(truth)
            half = len(rows) // 2
            page.mouse.click(*at(page, (columns[half] + 0.5) / 448, (rows[half] + 0.5) / 448))
            settled(page)
            page.click("#keep")
        expect(page.locator("#given-text")).to_have_text(f"{len(truths)} kept objects")
        coco = json.loads(downloaded(page, "#coco")[1])
        masks = [rle.decode(each["segmentation"]).mask(448, 448) for each in coco["annotations"]]
        overlaps = [[(truth & mask).sum() / (truth | mask).sum() for mask in masks] for truth in truths]
        assert len(masks) == len(truths) == 3
        assert np.diag(overlaps).min() > 0.7, overlaps
    finally:
        server.stop()


def test_boxes(opened: Opened, server: Server) -> None:
    page = opened(server.url)
    sent = asked(page)
    page.get_by_label("Draw example").check()
    for (x0, y0), (x1, y1), shift in (((0.2, 0.2), (0.6, 0.7), False), ((0.9, 0.95), (0.8, 0.85), True)):
        if shift:
            page.keyboard.down("Shift")
        page.mouse.move(*at(page, x0, y0))
        page.mouse.down()
        page.mouse.move(*at(page, x1, y1), steps=3)
        page.mouse.up()
        settled(page)
    page.keyboard.up("Shift")
    last = json.loads(sent[-1])
    assert last["box_labels"] == [True, False]
    np.testing.assert_allclose(last["boxes"], [[90, 90, 269, 314], [358, 381, 403, 426]], atol=2)
    assert "texts" not in last


def test_everything_goes_without_a_mouse(opened: Opened, server: Server) -> None:
    page = opened(server.url)
    sent = asked(page)
    page.locator("#view").focus()
    for key in ("ArrowLeft", "ArrowUp", "Alt+ArrowUp", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#given-text")).to_have_text("1 click")
    settled(page)
    page.keyboard.press("Shift+Enter")
    settled(page)
    last = json.loads(sent[-1])
    assert last["point_labels"] == [True, False]
    step = 448 / 50
    np.testing.assert_allclose(last["points"], [[224 - step, 224 - step - 1]] * 2, atol=0.01)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.press("Control+z")
    expect(page.locator("#given-text")).to_have_text("1 click")
    # All controls have names, and are reached by Tab.
    for control in page.locator("button:visible, input:visible").all():
        assert control.evaluate("each => each.labels?.length || each.innerText || each.ariaLabel")
    seen = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate("document.activeElement.id || document.activeElement.name || document.activeElement.tagName")
        )
    assert {"open", "example", "undo", "png", "coco", "view", "text", "ask", "tool", "sign", "threshold"} <= seen


def test_two_tabs_do_not_mix(opened: Opened, server: Server) -> None:
    first, second = opened(server.url), opened(server.url, PAGE.parents[2] / "docs" / "images" / "demo.png")
    threshold(first, 0.05)
    threshold(second, 0.05)
    one, other = find(first, "red star"), find(second, "red star")
    assert one != other
    assert find(first, "red star") == one
    second.close()
    assert find(first, "red star") == one


def test_an_upload_can_be_cancelled(opened: Opened, server: Server) -> None:
    page = opened(server.url, None)
    page.route("**/v1/images?*", lambda _route: None)  # it never arrives
    page.set_input_files("#file", {"name": "photo.png", "mimeType": "image/png", "buffer": EXAMPLE.read_bytes()})
    page.click("#cancel")
    expect(page.locator("#status")).to_have_text("Cancelled.")
    expect(page.locator("#empty")).to_be_visible()
    page.unroute("**/v1/images?*")
    upload(page, EXAMPLE)
    assert not page.locator("#empty").is_visible()


def test_what_is_no_picture_is_said(opened: Opened, server: Server) -> None:
    page = opened(server.url, None)
    page.set_input_files("#file", {"name": "photo.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(page.locator("#status")).to_contain_text("no picture that Pillow can read")
    expect(page.locator("#empty")).to_be_visible()


def test_a_server_that_starts_again_gets_the_picture_again(opened: Opened, tiny_artifact: Path) -> None:
    token = "0123456789abcdef"
    before = Server(tiny_artifact, SAM3PORT_TOKEN=token)
    page = opened(before.url, None)
    page.fill("#token", token)
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_contain_text("seeded")
    upload(page, EXAMPLE)
    threshold(page, 0.05)
    found = find(page, "red star")
    assert before.stop()[0] == 0
    page.fill("#text", "green circle")
    page.click("#ask")
    expect(page.locator("#status")).to_contain_text("does not answer")
    after = Server(tiny_artifact, port=before.port, SAM3PORT_TOKEN=token)
    try:
        settled(page)
        expect(page.locator("#status")).to_contain_text("found")
        assert shown(page)[0].startswith("green circle")
        assert find(page, "red star") == found
    finally:
        page.close()
        after.stop()


def test_touch_and_dark(browser: Browser, server: Server) -> None:
    shape: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    context = browser.new_context(color_scheme="dark", **shape)
    page = context.new_page()
    page.goto(server.url)
    page.tap("#example")
    expect(page.locator("#ask")).to_be_enabled()
    page.touchscreen.tap(*at(page, 0.5, 0.5))
    expect(page.locator("#objects li")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(red, green, blue) < 60
    context.close()


def test_a_model_without_clicks_offers_none(opened: Opened, server: Server) -> None:
    """As of a checkpoint that has no weights for them: the server says so, and refuses what would need them."""
    page = opened(server.url, None)

    def without(route: Route) -> None:
        about = route.fetch()
        content = about.json()
        content["weights"] = {"checkpoint": "model.safetensors", "sha256": "0" * 64, "lacks": ["points", "clicks"]}
        route.fulfill(response=about, json=content)

    page.route("**/v1/about", without)
    page.reload()
    expect(page.locator("#clicking")).to_be_hidden()
    expect(page.locator("[name=tool][value=box]")).to_be_checked()
    upload(page, EXAMPLE)
    expect(page.get_by_text("or draw an example.")).to_be_visible()
    clicks: list[str] = []
    page.on("request", lambda request: clicks.append(request.url) if request.url.endswith("/click") else None)
    page.mouse.click(*at(page, 0.5, 0.5))
    assert find(page, "red star") is not None  # whatever was asked before has been answered by now
    assert clicks == []
