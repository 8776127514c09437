"""The special functions against values of sixteen digits (computed with mpmath at forty), closed forms and symmetries."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.stats import _special as special

T_QUANTILES = [
    (1, 0.975, math.tan(math.pi * 0.475)),
    (2, 0.975, 0.95 * math.sqrt(2 / (1 - 0.95**2))),
    (3, 0.975, 3.182446305283708),
    (4, 0.5001, 0.0002666666706172547),
    (4.5, 0.99, 3.527050890626092),
    (7, 0.995, 3.499483297350493),
    (14, 0.975, 2.144786687917803),
    (29, 0.9, 1.311433647301551),
    (79, 0.975, 1.990450210230129),
    (79, 1 - 1e-9, 6.775668500389784),
    (999, 0.975, 1.96234146113345),
    (99_999, 0.975, 1.959987707771844),
    (100_001, 0.975, 1.959987707297379),
    (10**8, 0.975, 1.959964008262766),
]


@pytest.mark.parametrize(("df", "p", "value"), T_QUANTILES)
def test_t_quantiles(df: float, p: float, value: float) -> None:
    assert special.t_quantile(p, df) == pytest.approx(value, rel=1e-9 if p == 0.5001 else 1e-11)
    assert special.t_quantile(1 - p, df) == pytest.approx(-special.t_quantile(p, df), rel=1e-6)


@pytest.mark.parametrize(
    ("x", "df", "value"),
    [
        (4, 1, 0.04550026389635841),
        (22.774368841894, 1, 1.82179287261953e-6),
        (3, 2, math.exp(-1.5)),
        (0.5, 3, 0.9188914116546759),
        (10, 3, 0.01856613546304323),
        (50, 10, 2.669083424904496e-7),
        (200, 50, 7.857610724654744e-20),
        (40, 50, 0.8432273781737623),
        (0, 3, 1.0),
    ],
)
def test_chi_square_upper_tails(x: float, df: int, value: float) -> None:
    assert special.chi2_upper(x, df) == pytest.approx(value, rel=1e-11)


@pytest.mark.parametrize(
    ("x", "a", "b", "value"),
    [
        (0.2, 0.5, 3, 0.733430296619931),
        (0.5, 20, 21, 0.5626853438097896),
        (0.99, 100, 2, 0.7320646825464587),
        (0.001, 1, 500, 0.393621055138815),
        (0, 2, 3, 0.0),
        (1, 2, 3, 1.0),
    ],
)
def test_incomplete_beta(x: float, a: float, b: float, value: float) -> None:
    assert special.beta_cdf(x, a, b) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        (0.5, 0.5, math.log(math.pi)),
        (19, 19.5, -26.889584438870419),
        (20, 0.5, -0.91925184440660399),
        (1e4, 1e5, -33513.609276569982),
        (801, 201, -503.85421537703138),
        (1e8, 0.5, -8.6379754278014826),
    ],
)
def test_log_beta(a: float, b: float, value: float) -> None:
    assert special.log_beta(a, b) == pytest.approx(value, rel=1e-14)
    assert special.log_beta(b, a) == special.log_beta(a, b)


@given(st.integers(1, 400), st.data())
def test_counted_and_computed_binomial_tails_are_the_same(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    assert special.binomial_upper(k, n) == pytest.approx(special.beta_cdf(0.5, k, n - k + 1), rel=1e-10)


def test_binomial_tails_beyond_counting() -> None:
    assert special.binomial_upper(1100, 2100) == pytest.approx(0.01536035393212115, rel=1e-10)
    assert special.binomial_upper(5200, 10_000) == pytest.approx(3.296757799336221e-5, rel=1e-10)
    assert special.binomial_upper(0, 10) == 1.0
    assert special.binomial_upper(11, 10) == 0.0


@given(st.floats(0.5, 500), st.floats(0.001, 0.999))
def test_t_quantile_and_tail_are_inverse(df: float, p: float) -> None:
    assert special.t_upper(special.t_quantile(p, df), df) == pytest.approx(1 - p, abs=1e-12)


@given(st.floats(-30, 4))
def test_normal_quantile_and_distribution_are_inverse(z: float) -> None:
    assert special.normal_quantile(special.normal_cdf(z)) == pytest.approx(z, abs=1e-9)
    assert special.normal_quantile(0) == -math.inf
    assert special.normal_quantile(1) == math.inf
