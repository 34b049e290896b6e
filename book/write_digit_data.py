"""Writes scikit-learn's 1,797 handwritten digits into a module for the page on which a network learns them.

    python book/write_digit_data.py

One character per pixel, from 0 to g (16): with gzip, that is as small as packing bits, and can be read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sklearn.datasets import load_digits

TARGET = Path(__file__).parents[1] / "src/cnnlab/widgets/digit_data.mjs"
TEXT = """\
/* {count:,} handwritten digits of 8 x 8 pixels, from 0 to g (16), one after the other; written by
 * `python book/write_digit_data.py`.
 *
 * Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (CC BY 4.0), as it
 * comes with scikit-learn.
 */
export const labels = "{labels}";
export const pixels = "{pixels}";
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    bunch = load_digits()
    levels = bunch.images.astype(int).ravel()
    text = TEXT.format(
        count=len(bunch.target),
        labels="".join(map(str, bunch.target)),
        pixels="".join("0123456789abcdefg"[level] for level in levels),
    )
    options.out.write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(text):,} bytes in {options.out}")


if __name__ == "__main__":
    main()
