"""The form of a flag: what nobody touched stays as it was saved, to the letter."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.flags.options import left_out, users_in
from tests.dashboard.screens import Screens, texts
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


def test_a_form_that_nobody_touched_differs_in_nothing(console: RunningStack, screens: Screens) -> None:
    """Of a flag with every option, also such as the form shows in other words."""
    console.define("flag", "needed", "true")
    console.define("trait", "company", "profile.company")
    console.define(
        "flag",
        "every_option",
        "profile.plan == 'pro'",
        variants=[
            {"name": "blue", "weight": 1, "value": {"colour": "#00f", "sizes": [1, 2.5]}},
            {"name": "red", "weight": 2.5},
            {"name": "text", "weight": 0, "value": "7"},
        ],
        rollout=12.345,
        default="red",
        bucket_by="trait:company",
        starts_at="2026-01-02T03:04:05.678Z",
        ends_at="2031-01-02T03:04:05.678+02:00",
        prerequisites=[{"flag": "needed", "variant": None}],
        users={"ada": True, "bob": "blue", "anon:5f": False},
        salt="pepper",
        cache_seconds=7,
        tags=["beta"],
        owner="growth",
    )

    app = screens.open("flags", key_="every_option")

    assert any("every_option" in title.value for title in app.main.get("html"))
    assert "Not saved yet" not in texts(app)


def test_a_touched_field_is_all_that_differs(console: RunningStack, screens: Screens) -> None:
    """The page says that it is not saved yet."""
    console.define("flag", "touched", "true", rollout=50)
    app = screens.open("flags", key_="touched")

    app.number_input[0].set_value(60.0).run()

    assert "Not saved yet" in texts(app)


def test_a_salt_that_is_cleared_is_the_flags_key(console: RunningStack, screens: Screens) -> None:
    """An empty one would deal everybody out as each other flag whose salt is empty."""
    console.define("flag", "salted", "true", salt="pepper")
    console.define("flag", "unsalted", "true")

    def cleared(key: str) -> AppTest:
        app = screens.open("flags", key_=key)
        return next(one for one in app.text_input if one.label == "Salt").set_value("").run()

    app = cleared("salted")
    next(one for one in app.button if one.label == "Save …").click().run()
    assert any("-salt: pepper\n+salt: salted" in code.value for code in app.code)
    assert "Not saved yet" not in texts(cleared("unsalted"))


def test_a_flag_without_a_rule_is_saved_knowingly(screens: Screens) -> None:
    """Whoever has begun a condition and not ended it would give it to everybody."""
    app = screens.open("flags", new="1")
    next(one for one in app.text_input if one.label == "Key").set_value("for_everybody").run()

    next(one for one in app.button if one.label == "Save …").click().run()

    assert any("for everybody" in warning.value for warning in app.warning)


@pytest.mark.parametrize("second", ["allow", "refuse", None])
def test_a_user_who_is_named_twice_loses_no_answer(second: str | None) -> None:
    """The form says so, and sends neither: of two rows of one id the API would be told the last alone."""
    rows = [{"id": "ada", "answer": "refuse"}, {"id": "", "answer": "allow"}, {"id": None}, {"id": "bob"}]

    assert users_in(rows) == {"ada": False, "bob": True}
    with pytest.raises(ValueError, match="ada is named twice"):
        users_in([*rows, {"id": " ada ", "answer": second}])


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize(
    ("times", "says", "state"),
    [
        ({"starts_at": "2001-01-01T00:00:00Z", "ends_at": "2199-01-01T00:00:00Z"}, "Its rule decides.", "on"),
        ({"starts_at": "2199-01-01T00:00:00Z"}, "Its time begins at 2199", "not now"),
        ({"ends_at": "2001-01-01T00:00:00Z"}, "Its time was over at 2001", "not now"),
        ({"ends_at": "2001-01-01T00:00:00Z", "enabled": False}, "Everybody gets the default", "off"),
    ],
)
def test_a_flag_outside_its_time_is_not_told_to_decide(
    console: RunningStack, screens: Screens, times: dict[str, Any], says: str, state: str
) -> None:
    """It is on, and everybody gets its default all the same: its page and the list say so."""
    key = f"timed_{state.replace(' ', '_')}_{len(times)}_{'starts_at' in times}"
    console.define("flag", key, "true", **times)
    decides = state == "on"

    page = texts(screens.open("flags", key_=key))
    assert says in page
    assert ("Its rule decides." in page, "Everybody gets the default" in page) == (decides, not decides)
    (rows,) = screens.open("flags", find_flag=key).dataframe
    assert list(rows.value["state"]) == [state]


def test_rows_without_a_name_are_counted() -> None:
    """Those that say something: a row that nobody filled in is none."""
    assert left_out([{"name": "", "weight": None, "value": ""}, {"name": "red", "weight": 1, "value": ""}], "name") == 0
    assert left_out([{"name": None, "weight": 2, "value": None}, {"name": " ", "value": "7"}], "name") == 2
    assert left_out([{"flag": None, "variant": "red"}], "flag") == 1


def test_a_row_without_a_name_is_said() -> None:
    """It was dropped, and nothing said so."""

    def form() -> None:
        from dashboard.flags.options import say_what_is_left_out

        say_what_is_left_out([{"name": "red", "value": "1"}], "name", "variant", "a name")
        say_what_is_left_out([{"id": " ", "answer": "allow"}], "id", "named user", "an id")

    app = AppTest.from_function(form, default_timeout=30).run()

    (said,) = [one.value for one in app.warning]
    assert said == "1 row has no id, and will not be saved. A named user needs an id."
