"""What all tests share: property tests that draw the same examples in every run, and leave no files."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser
from reading import Reader, chromium, serve

from cnnlab import i18n

settings.register_profile(
    "cnnlab",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("cnnlab")


@pytest.fixture(params=i18n.languages())
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each language of the messages in turn."""
    before = i18n.language()
    i18n.set_language(request.param)
    yield request.param
    i18n.set_language(before)


@pytest.fixture
def english() -> Iterator[None]:
    before = i18n.language()
    i18n.set_language("en")
    yield
    i18n.set_language(before)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def widget_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page for each widget in each language."""
    from widget_pages import write_pages  # brings Sphinx, which most tests do without

    folder = tmp_path_factory.mktemp("widgets")
    write_pages(folder)
    return folder


@pytest.fixture(scope="session")
def root(widget_folder: Path) -> Iterator[str]:
    """The address of `widget_folder`."""
    with serve(widget_folder) as address:
        yield address


@pytest.fixture
def reader(browser: Browser, root: str, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Somebody who opens pages of widgets, and to whom nothing goes wrong. The context's options are those of
    the test, if it is parametrized with them, and before that of its module, if that has them as READER."""
    options = {**getattr(request.module, "READER", {}), **getattr(request, "param", {})}
    visitor = Reader(browser, root, **options)
    yield visitor
    visitor.context.close()
    assert visitor.troubles == []
