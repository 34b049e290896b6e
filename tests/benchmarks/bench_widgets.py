"""How smoothly the widgets follow a pointer, and how large their scripts are.

    python tests/benchmarks/bench_widgets.py

For each widget, headless Chromium drags over every part that follows a pointer (windows, grids, canvases,
sliders) for two seconds. Told are the median and the 95th percentile of the time from frame to frame (the
screen's own is 16.7 ms) and the processor time that the page takes per frame: as long as that stays below
16.7 ms, there are 60 frames a second.
"""

import argparse
import gzip
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import Locator, Page
from reading import chromium, serve
from widget_pages import write_pages

from cnnlab import widgets

PARTS = ".cw-holder, .cw-cells.cw-pick, .cw canvas, .cw svg[role=slider], .cw input[type=range]"
RECORD = """() => { window.frames_ = [];
  const tick = (now) => { window.frames_.push(now); window.recording_ = requestAnimationFrame(tick); };
  window.recording_ = requestAnimationFrame(tick); }"""
STOP = "() => { cancelAnimationFrame(window.recording_); return window.frames_; }"


def drag(page: Page, part: Locator, moves: int) -> tuple[list[float], float]:
    """Times from frame to frame in ms, and the processor time per frame."""
    part.scroll_into_view_if_needed()
    box = part.bounding_box()
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable")

    def busy() -> float:
        metrics = {m["name"]: m["value"] for m in client.send("Performance.getMetrics")["metrics"]}
        return metrics["TaskDuration"]

    page.mouse.move(box["x"] + 3, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.evaluate(RECORD)
    before = busy()
    for k in range(moves):
        way = abs((k / 40) % 2 - 1)  # there and back
        page.mouse.move(box["x"] + 3 + way * (box["width"] - 6), box["y"] + (0.2 + 0.6 * way) * box["height"])
    used = busy() - before
    frames = page.evaluate(STOP)
    page.mouse.up()
    steps = [b - a for a, b in zip(frames, frames[1:])]
    return steps, 1000 * used / max(1, len(steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=240, help="moves of the pointer on each part (240)")
    moves = parser.parse_args().moves
    folder = Path(widgets.__file__).parent
    sizes = {path.name: len(gzip.compress(path.read_bytes(), mtime=0)) for path in folder.glob("*.mjs")}
    print(f"scripts, gzip: {sum(sizes.values()):,} bytes")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"  {size:7,}  {name}")
    print(f"\n{'':22}{'median ms':>10} {'95 % ms':>8} {'busy ms':>8}   (worst part of each)")
    with tempfile.TemporaryDirectory() as target, serve(Path(target)) as root, chromium() as browser:
        write_pages(Path(target), ("ja",))
        for name in widgets.__all__:
            module = getattr(widgets, name).module
            page = browser.new_page(viewport={"width": 1000, "height": 900})
            page.goto(f"{root}ja-{module}.html")
            page.wait_for_selector(".cw-host[data-ready]")
            parts = [part for part in page.locator(PARTS).all() if part.is_visible()]
            found = [drag(page, part, moves) for part in parts[:6]]
            if found:
                steps, busy = max(found, key=lambda result: result[1])
                steps.sort()
                median, late = steps[len(steps) // 2], steps[int(0.95 * len(steps))]
                print(f"{module:22}{median:10.1f} {late:8.1f} {busy:8.1f}")
            page.close()


if __name__ == "__main__":
    main()
