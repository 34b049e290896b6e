"""cnnlab: the small package behind a course book on convolutional neural networks (Japanese and Korean).

Importing it is quick: torch and matplotlib are loaded only by the modules that need them.
"""

from cnnlab.i18n import set_language

__all__ = ["__version__", "setup"]
__version__ = "0.1.0"


def setup(lang: str) -> None:
    """Choose the language of every message that `cnnlab` shows; each notebook calls it once, at its top.

    Parameters
    ----------
    lang : str
        A language code such as ``"ja"`` or ``"ko"``; `cnnlab.i18n.languages` lists them.

    Raises
    ------
    ValueError
        If there is no catalogue for `lang`.
    """
    set_language(lang)
