"""The variables of the environment: all that are read are known, and one that is misspelt is not overlooked."""

import pytest
from goldherd import environment
from goldherd.errors import SettingsError
from goldherd.settings import ServerSettings


def test_variables_are_those_of_the_settings_and_the_data_folder() -> None:
    fields = {environment.PREFIX + name.upper() for name in ServerSettings.model_fields}
    assert fields | {environment.DATA, environment.SETTINGS} == environment.VARIABLES


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GOLDHERD_LISTN", "GOLDHERD_LISTEN"),
        ("GOLDHERD_TARGET_PREFFIX", "GOLDHERD_TARGET_PREFIX"),
        ("GOLDHERD_DATA_", "GOLDHERD_DATA"),
        ("GOLDHERD_REACTOR", "GOLDHERD_REACTORS"),
        ("GOLDHERD_LOGIN_MAX", "GOLDHERD_LOGINS_MAX"),
    ],
)
def test_misspelt_variable_is_refused_with_the_right_one(name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} does not exist: write {meant}, or unset it"):
        environment.check_variables({name: "x", "PATH": "/bin"})


def test_variable_like_none_of_ours_is_only_told() -> None:
    theirs = {"GOLDHERD_SERVICE_HOST": "10.0.0.1", "GOLDHERD_LISTEN": "x", "GOLDHERD_SANITIZE": "address"}
    assert environment.check_variables(theirs) == ["GOLDHERD_SANITIZE", "GOLDHERD_SERVICE_HOST"]
