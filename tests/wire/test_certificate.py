"""The end of a certificate, read without a cryptography library, agrees with one."""

from datetime import UTC, datetime

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from webhook.wire.certificate import not_after


@pytest.mark.parametrize("end", [datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC), datetime(2077, 1, 2, tzinfo=UTC)])
def test_both_spellings_of_time_are_read(end):
    pem = trustme.CA().issue_cert("localhost", not_after=end).cert_chain_pems[0].bytes()
    assert not_after(pem.decode()) == end == x509.load_pem_x509_certificate(pem).not_valid_after_utc


@given(st.integers(0, 400))
def test_a_certificate_cut_off_is_refused(length):
    pem = trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes().decode()
    with pytest.raises(ValueError):
        not_after(pem[:length])
