from __future__ import annotations

import random
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albkit.policy import seal as seal_module
from albkit.policy.seal import Seal

_SECRET = b"a secret of the house, 32 bytes."
_OTHER = b"another secret, just as long, so"
_THIRD = b"a third secret, for good measure"
_PLAIN = b"0123456789abcdef0123456789abcdef01234567"
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _entropy(seed: int = 1) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def _seal(*secrets: bytes, seed: int = 1, length: int = len(_PLAIN)) -> Seal:
    return Seal(secrets or (_SECRET,), [length], _entropy(seed))


def test_seal_opens_what_it_closed() -> None:
    """The plain value comes back, as often as it is asked for."""
    seal = _seal()
    value = seal.close(_PLAIN)
    assert seal.open(value) == _PLAIN
    assert seal.open(value) == _PLAIN


@given(st.binary(min_size=1, max_size=70))
def test_seal_opens_values_of_any_length_it_was_made_for(plain: bytes) -> None:
    """Whatever the length leaves over in the alphabet of base64."""
    seal = _seal(length=len(plain))
    value = seal.close(plain)
    assert _seal(length=len(plain)).open(value) == plain


def test_seal_makes_values_that_need_no_quoting_and_tell_nothing() -> None:
    """Letters, digits, hyphen and underscore only; nothing of the plain value shows, and no value is like another."""
    seal = _seal()
    values = [seal.close(_PLAIN) for _ in range(200)]
    assert len(set(values)) == 200
    assert all(re.fullmatch(rb"[A-Za-z0-9_-]{91}", value) for value in values)
    assert all(_PLAIN[:8] not in urlsafe_b64decode(value + b"=") for value in values)
    assert len({urlsafe_b64decode(value + b"=")[:12] for value in values}) == 200


def test_seal_takes_its_nonce_from_the_chance_it_was_given() -> None:
    """12 bytes a value, and none for opening one."""
    asked: list[int] = []

    def entropy(size: int) -> bytes:
        asked.append(size)
        return bytes([len(asked)] * size)

    seal = Seal((_SECRET,), [len(_PLAIN)], entropy)
    first, second = seal.close(_PLAIN), seal.close(_PLAIN)
    assert urlsafe_b64decode(first + b"=")[:12] == b"\x01" * 12
    assert urlsafe_b64decode(second + b"=")[:12] == b"\x02" * 12
    seal.open(first)
    assert asked == [12, 12]


def test_two_instances_with_the_same_secret_agree() -> None:
    """What one closes the other opens, whatever chance they have."""
    one, other = _seal(seed=1), _seal(seed=2)
    assert other.open(one.close(_PLAIN)) == _PLAIN
    assert one.open(other.close(_PLAIN)) == _PLAIN


def test_seal_value_is_opened_in_every_release() -> None:
    """An update must not end sessions: this value was made by the first release with secrets."""
    value = b"9bFlIkpYt5HfavHYNnh4k72sHExy3IseIbJIbHbXPCQlVPTOXstnaOwP4kRr4cNLGyIplweOaGKH73DxH9OxVrmS_LE"
    assert _seal().open(value) == _PLAIN


@pytest.mark.parametrize("seed", range(8))
def test_seal_refuses_a_value_with_any_bit_flipped(seed: int) -> None:
    """Each of the eight bits of each character, in several values: not one that differs is opened."""
    value = _seal(seed=seed).close(_PLAIN)
    seal = _seal()
    opened = []
    for place in range(len(value)):
        for bit in range(8):
            flipped = value[:place] + bytes([value[place] ^ 1 << bit]) + value[place + 1 :]
            if seal.open(flipped):
                opened.append((place, bit))
    assert opened == []
    assert seal.open(value) == _PLAIN


def test_seal_refuses_every_other_last_character() -> None:
    """The last character says four bits and could hold six: only the one that was written will do."""
    value = _seal().close(_PLAIN)
    seal = _seal()
    assert [last for last in _ALPHABET if seal.open(value[:-1] + bytes([last]))] == [value[-1]]


def test_seal_refuses_the_other_alphabet_of_base64() -> None:
    """One value has one spelling."""
    seal = _seal()
    values = [seal.close(_PLAIN) for _ in range(20)]
    spelled = [value.translate(bytes.maketrans(b"-_", b"+/")) for value in values]
    assert [one for one, value in zip(spelled, values, strict=True) if one != value and _seal().open(one)] == []


def _cases(value: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "one character less": value[:-1],
        "first character missing": value[1:],
        "half": value[:45],
        "one more": value + b"A",
        "padded": value + b"=",
        "twice": value * 2,
        "long": value * 700,
        "blank": b" " + value[:-1],
        "blank inside": value[:40] + b" " + value[41:],
        "extended by blanks": value[:40] + b"    " + value[40:],
        "line end": value[:-1] + b"\n",
        "no base64": b"!" * 91,
        "not ASCII": b"\xff" * 91,
        "NUL": b"\0" * 91,
        "padding only": b"=" * 91,
        "padding inside": value[:44] + b"=" + value[45:],
        "all zero": b"A" * 91,
        "hexadecimal": value.hex().encode()[:91],
        "plain": _PLAIN,
        "plain, as long": (_PLAIN * 3)[:91],
        "another length": _seal(length=39).close(_PLAIN[:39]),
        "halves exchanged": value[45:] + value[:45],
    }


@pytest.mark.parametrize("case", list(_cases(b"A" * 91)))
def test_seal_refuses_what_is_none_of_its_values(case: str) -> None:
    """Truncated, extended, and what is no base64: empty, and never an error."""
    wrong = _cases(_seal(seed=9).close(_PLAIN))[case]
    assert _seal().open(wrong) == b""


@given(st.one_of(st.binary(max_size=120), st.binary(min_size=91, max_size=91), st.text("AQgw-_", min_size=91, max_size=91).map(str.encode)))
def test_seal_opens_nothing_that_it_has_not_closed(value: bytes) -> None:
    """Whatever it is, and it raises nothing."""
    assert _seal().open(value) == b""


def test_seal_refuses_a_value_of_another_secret() -> None:
    """Who does not know the secret can make none."""
    assert _seal(_OTHER).open(_seal(_SECRET).close(_PLAIN)) == b""
    assert _seal(_SECRET[:-1]).open(_seal(_SECRET).close(_PLAIN)) == b""


@pytest.mark.parametrize(
    ("writes", "reads", "opens"),
    [
        ((_SECRET,), (_SECRET,), True),
        ((_SECRET,), (_OTHER, _SECRET), True),
        ((_SECRET,), (_OTHER, _THIRD, _SECRET), True),
        ((_OTHER, _SECRET), (_OTHER,), True),
        ((_OTHER, _SECRET), (_SECRET, _OTHER), True),
        ((_OTHER, _SECRET), (_SECRET,), False),
        ((_SECRET,), (_OTHER, _THIRD), False),
    ],
    ids=["same", "new in front", "two in front", "old one dropped", "order changed", "not taken over yet", "dropped"],
)
def test_seal_closes_with_the_first_secret_and_opens_with_all(writes: Sequence[bytes], reads: Sequence[bytes], opens: bool) -> None:
    """So that secrets can be changed without ending sessions: the new one in front, later the old one out."""
    assert _seal(*reads).open(_seal(*writes).close(_PLAIN)) == (_PLAIN if opens else b"")


@pytest.mark.parametrize("size", [16, 17, 31, 64, 1000])
def test_seal_takes_secrets_of_any_length(size: int) -> None:
    """Every byte of a secret counts."""
    secret = bytes(range(1, 251)) * 4
    value = _seal(secret[:size]).close(_PLAIN)
    assert _seal(secret[:size]).open(value) == _PLAIN
    assert _seal(secret[: size - 1] + b"\0").open(value) == b""


def test_seal_remembers_a_bounded_number_of_opened_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many values come; one that was forgotten is opened again."""
    monkeypatch.setattr(seal_module, "_MOST_OPENED", 50)
    seal = _seal()
    values = [seal.close(_PLAIN) for _ in range(220)]
    most = 0
    for value in values:
        assert seal.open(value) == _PLAIN
        most = max(most, len(seal._opened))
    assert most == 50
    assert all(seal.open(value) == _PLAIN for value in values)


def test_seal_remembers_nothing_that_it_refused() -> None:
    """Nobody can fill its memory with values of their own making."""
    seal = _seal()
    for place in range(200):
        seal.open(bytes([65 + place % 26]) * 91)
        seal.open(b"x" * place)
    assert len(seal._opened) == 0


def test_seal_decrypts_a_value_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All clients that one target answered in one second bring the same value."""
    seal = _seal()
    value = seal.close(_PLAIN)
    decrypted = 0
    decrypt: Any = Seal._decrypted

    def counted(self: Seal, value: bytes) -> bytes:
        nonlocal decrypted
        decrypted += 1
        result: bytes = decrypt(self, value)
        return result

    monkeypatch.setattr(Seal, "_decrypted", counted)
    for _ in range(100):
        seal.open(value)
    assert decrypted == 1
