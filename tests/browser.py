"""Pages in a real browser: what is wrong with one, at the widths at which people read it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

WIDTHS = {"desk": 1280, "telephone": 375}

# What a reader would miss: things without size, and things that stick out of the window without a bar of their own.
_LOOK = """
() => {
  const box = e => e.getBoundingClientRect();
  const shown = e => !e.closest("details:not([open])");
  const flat = list => [...list].filter(shown).filter(e => box(e).width < 4 || box(e).height < 4).length;
  const inBar = e => { for (; e; e = e.parentElement)
    if (["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX)) return true; return false; };
  const wide = [...document.body.querySelectorAll("*")].filter(shown)
    .filter(e => box(e).right > document.documentElement.clientWidth + 1 && !inBar(e));
  return {
    formulas: document.querySelectorAll("math").length,
    flatFormulas: flat(document.querySelectorAll("math")),
    figures: document.images.length,
    flatFigures: flat(document.images),
    unread: [...document.images].filter(e => !e.complete || e.naturalWidth === 0).length,
    unknown: document.querySelectorAll("merror").length,
    headings: document.querySelectorAll("h1, h2").length,
    over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    wide: wide.slice(0, 3).map(e => e.tagName.toLowerCase() + "." + e.className),
  };
}
"""


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Any]:
    """Chromium without a window, with a new profile; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright; pip install '.[browser]'")
    if CHROMIUM is None:
        pytest.skip("no chromium; apt-get install chromium")
    with playwright.sync_playwright() as run:
        context = run.chromium.launch_persistent_context(
            str(profile), executable_path=CHROMIUM, args=FLAGS, headless=True, chromium_sandbox=False
        )
        yield context
        context.close()


def problems(context: Any, page: Path, *, width: int, media: str = "screen", formulas: int, figures: int) -> list[str]:
    """What is wrong with a page at a width.

    Parameters
    ----------
    context
        Of :func:`browser`.
    page : Path
    width : int
        Of the window.
    media : {"screen", "print"}
    formulas, figures : int
        How many there are at least.
    """
    found: list[str] = []
    tab = context.new_page()
    tab.on("console", lambda message: found.append(f"the console says {message.type}: {message.text}"))
    tab.on("pageerror", lambda error: found.append(f"a script fails: {error}"))
    own = page.resolve().as_uri()
    tab.on(
        "request", lambda request: found.append(f"it asks for {request.url[:80]}") if _leaves(request, own) else None
    )
    tab.set_viewport_size({"width": width, "height": 800})
    tab.emulate_media(media=media)
    tab.goto(own, wait_until="load")
    seen = tab.evaluate(_LOOK)
    tab.close()
    if seen["headings"] < 2:
        found.append("it is hardly a page: fewer than two headings")
    for kind, least in (("formulas", formulas), ("figures", figures)):
        if seen[kind] < least:
            found.append(f"it has {seen[kind]} {kind}, not {least}")
    for key, told in (
        ("flatFormulas", "formulas have no size"),
        ("flatFigures", "figures have no size"),
        ("unread", "figures cannot be read"),
        ("unknown", "formulas are in error"),
    ):
        if seen[key]:
            found.append(f"{seen[key]} {told}")
    if media == "screen" and seen["over"] > 0:
        found.append(f"it is {seen['over']} pixels too wide: {', '.join(seen['wide'])}")
    return found


def _leaves(request: Any, own: str) -> bool:
    """Whether a request goes beyond the page itself."""
    return request.url.partition("#")[0] != own and not request.url.startswith("data:")
