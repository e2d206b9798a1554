"""docs/configuration.md says what Settings says."""

from tests.configuration_table import PAGE, page


def test_the_page_is_made_from_the_settings() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.configuration_table"
