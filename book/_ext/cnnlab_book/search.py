"""Search in languages that are not written as words between blanks.

The index holds every pair of neighbouring characters (and every single one) of a run of Japanese or Korean;
a query is cut into the same pairs, and a page is found if it has all of them. So 畳み込み is found inside
畳み込み層, and 합성곱 in 합성곱은. Runs of Latin letters and digits stay whole: ``conv2d``, ``im2col``.
"""

import re
import unicodedata

from sphinx.application import Sphinx
from sphinx.search import SearchLanguage

# Han, kana with the long mark, Hangul. The script below has the same ranges.
CJK = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
RUN = re.compile(f"[{CJK}]+|[^\\W{CJK}]+")

SPLITTER = r"""
function splitQuery(query) {
  const run = /[@CJK@]+|(?:(?![@CJK@])[\p{L}\p{N}_])+/gu;
  const cjk = /^[@CJK@]/u;
  const terms = [];
  for (const [text] of query.normalize("NFKC").matchAll(run)) {
    const letters = Array.from(text);
    if (!cjk.test(text) || letters.length === 1) terms.push(text);
    else for (let i = 0; i + 1 < letters.length; i++) terms.push(letters[i] + letters[i + 1]);
  }
  return terms;
}
""".replace("@CJK@", CJK.encode("ascii", "backslashreplace").decode())


def split(text: str) -> list[str]:
    """Terms of a text for the index: words, and single characters and pairs of Japanese and Korean."""
    terms = []
    for run in RUN.findall(unicodedata.normalize("NFKC", text)):
        if re.match(f"[{CJK}]", run):
            terms += list(run) + [a + b for a, b in zip(run, run[1:])]
        else:
            terms.append(run)
    return terms


class Pairs(SearchLanguage):
    """A search language that indexes pairs of characters."""

    js_splitter_code = SPLITTER

    def split(self, input: str) -> list[str]:
        return split(input)

    def word_filter(self, word: str) -> bool:
        return bool(word)


class Japanese(Pairs):
    lang = "ja"
    language_name = "Japanese"


class Korean(Pairs):
    lang = "ko"
    language_name = "Korean"


def setup(app: Sphinx) -> None:
    app.add_search_language(Japanese)
    app.add_search_language(Korean)
