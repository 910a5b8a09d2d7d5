"""Tokens: shown once, kept as a digest, believed until they expire or are revoked."""

from __future__ import annotations

import hmac
import json
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import (
    AlreadyExists,
    AtWork,
    InvalidName,
    InvalidOption,
    StateFailed,
    Untrusted,
)
from holdfast.policy.watching import only_one
from holdfast.service import api_tokens
from holdfast.service.api_tokens import (
    MOST_TOKENS,
    ApiTokens,
    TokenScope,
    believed,
    forget_volume,
    read_tokens,
    tokens_path,
)

HOUR = 3600.0


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(api_tokens, "need_root", lambda: None)
    return Settings(tmp_path)


def test_only_a_digest_is_kept(settings: Settings) -> None:
    tokens = ApiTokens(settings)
    made, report = tokens.create("ops", TokenScope.READ, seconds=HOUR)
    path = tokens_path(settings.state_directory)
    secret = made.rpartition("_")[2] if made.count("_") == 2 else made[len("hf_12345678_") :]
    assert len(secret) >= 40
    assert secret not in path.read_text() and made not in json.dumps(vars(report))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    (kept,) = read_tokens(settings.state_directory)
    assert believed(made, [kept], kept.made) == kept
    assert (report.name, report.expires, report.volumes) == ("ops", kept.made + HOUR, None)


def test_what_is_no_token_is_not_believed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = ApiTokens(settings)
    made, _ = tokens.create("ops", TokenScope.READ, seconds=HOUR)
    other, _ = tokens.create("other", TokenScope.CHANGE, seconds=None)
    kept = read_tokens(settings.state_directory)
    now = kept[0].made
    wrong = made[:-1] + ("A" if made[-1] != "A" else "B")
    mixed = other[:12] + made[12:]
    unknown = "hf_00000000" + made[11:]
    compared = list[tuple[str, str]]()

    def compare(one: str, two: str) -> bool:
        compared.append((one, two))
        return original(one, two)

    original = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    for text in (wrong, mixed, unknown, made[3:], made + "A", "", "hf_", "\xff", made.upper()):
        assert believed(text, kept, now) is None
    assert len(compared) == 3, "also a token that there is not is compared, as long as others are"
    assert believed(made, kept, now + HOUR - 1) == kept[0]
    assert believed(made, kept, now + HOUR) is None
    assert believed(other, kept, now + 1e9) == kept[1]
    tokens.revoke("ops")
    tokens.revoke(kept[1].id)
    assert read_tokens(settings.state_directory) == () == tuple(tokens.show())


def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = ApiTokens(settings)
    monkeypatch.setattr(api_tokens, "MOST_TOKENS", 2)
    tokens.create("a", TokenScope.READ)
    before = tokens_path(settings.state_directory).read_bytes()
    with pytest.raises(AlreadyExists):
        tokens.create("a", TokenScope.READ)
    for name, volumes in (("../x", None), ("b", [".."])):
        with pytest.raises(InvalidName):
            tokens.create(name, TokenScope.READ, volumes)
    with pytest.raises(InvalidOption):
        tokens.create("b", TokenScope.READ, [])
    with pytest.raises(InvalidOption):
        tokens.revoke("b")
    with only_one(settings.run_directory, "token"), pytest.raises(AtWork):
        tokens.create("b", TokenScope.READ)
    assert tokens_path(settings.state_directory).read_bytes() == before
    tokens.create("b", TokenScope.READ)
    with pytest.raises(InvalidOption, match="2 tokens"):
        tokens.create("c", TokenScope.READ)
    assert MOST_TOKENS == 100


def test_a_volume_that_is_no_more_is_in_no_token(settings: Settings) -> None:
    tokens = ApiTokens(settings)
    tokens.create("both", TokenScope.CHANGE, ["shop", "bank", "shop"])
    tokens.create("one", TokenScope.CHANGE, ["shop"])
    tokens.create("all", TokenScope.CHANGE)
    assert forget_volume(settings, "shop") == []
    assert [each.volumes for each in tokens.show()] == [("bank",), (), None]


def test_a_file_that_cannot_be_read_is_no_list_of_tokens(settings: Settings) -> None:
    tokens = ApiTokens(settings)
    tokens.create("all", TokenScope.CHANGE)
    path = tokens_path(settings.state_directory)
    path.write_text('{"tokens": [{"id": 1}]}')
    with pytest.raises(StateFailed):
        tokens.show()
    assert forget_volume(settings, "shop") != []
    path.chmod(0o666)
    with pytest.raises(Untrusted):
        tokens.show()
