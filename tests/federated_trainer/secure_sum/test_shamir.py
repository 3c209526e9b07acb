"""Any threshold of shares gives the secret; one share less is consistent with every secret."""

from __future__ import annotations

import itertools
import secrets

import pytest

from federated_trainer.secure_sum import shamir


def test_any_threshold_of_shares_reconstructs() -> None:
    secret = secrets.token_bytes(32)
    shares = shamir.split(secret, 3, [1, 2, 5, 9])
    for chosen in itertools.combinations(shares, 3):
        assert shamir.combine({holder: shares[holder] for holder in chosen}) == secret
    assert shamir.combine(shares) == secret


def test_fewer_shares_fit_any_secret() -> None:
    """With threshold 2, one share and any secret lie on a line: the missing share exists for both secrets."""
    share = int.from_bytes(shamir.split(bytes(32), 2, [1, 2])[1], "big")
    for other_secret in (b"\x01" * 32, b"\xff" * 32):
        slope = (share - int.from_bytes(other_secret, "big")) % shamir.PRIME
        second = (int.from_bytes(other_secret, "big") + 2 * slope) % shamir.PRIME
        both = {1: share.to_bytes(shamir.SHARE_BYTES, "big"), 2: second.to_bytes(shamir.SHARE_BYTES, "big")}
        assert shamir.combine(both) == other_secret


def test_shares_that_do_not_belong_together_are_noticed() -> None:
    first, second = shamir.split(b"a" * 32, 2, [1, 2]), shamir.split(b"b" * 32, 2, [1, 2])
    with pytest.raises(ValueError, match="one secret"):  # a random element is below 2^256 with chance 2^-265
        shamir.combine({1: first[1], 2: second[2]})


@pytest.mark.parametrize(("threshold", "holders"), [(3, [1, 2]), (0, [1]), (2, [1, 1]), (1, [0])])
def test_bad_calls(threshold: int, holders: list[int]) -> None:
    with pytest.raises(ValueError, match="split needs"):
        shamir.split(bytes(32), threshold, holders)
