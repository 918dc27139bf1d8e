"""exp, erf and what is made of them, as arithmetic that stays in vector registers.

LLVM turns a vector ``exp`` or ``erf`` into one libm call for each element. The polynomials are our own minimax fits
(weighted for relative error) and good to about 1 ulp of float32, which the tests measure against float64.

Every function works on a scalar or vector expression; `bind` says how to compute a value once (a statement while a
kernel is being built, a let when an expression is being rewritten).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.ir import Call, Op

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Value

Bind = Callable[[Value], Value]

_LN2 = 0.6931471805599453
LOG2_E = 1.4426950408889634
# ln 2 in two parts: n * _LN2_HIGH is exact for every exponent n.
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.12194440054690583e-4
_EXP_NORMAL = -87.33654
"""exp of less is below the smallest normal number."""
_EXP2_NORMAL = -126.0
"""The same of 2**x."""
_EXP_LOWEST = -104.0
"""exp of less is 0."""
_EXP_HIGHEST = 88.72283
_EXP = (
    0.4999999403953552,
    0.1666651964187622,
    0.04166839271783829,
    0.008368780836462975,
    0.001381446490995586,
)
# (2**r - 1) / r for r between -1/2 and 1/2.
_EXP2 = (
    0.6931471824645996,
    0.24022647738456726,
    0.055503323674201965,
    0.00961843691766262,
    0.0013398875016719103,
    0.00015353361959569156,
)
_ROUNDING = 1.5 * 2.0**23
"""Added to a number below 2**22, it leaves no digits behind the point."""
# log2(Phi(-x)) for x from 0 to 5.65, Phi the normal distribution function.
_LOG2_PHI = (
    -1.0,
    -1.1511051654815674,
    -0.4592128396034241,
    -0.05246531963348389,
    0.006984556559473276,
    -3.6685753002529964e-05,
    -0.0002554941165726632,
    6.575618317583576e-05,
    -8.002499271242414e-06,
    4.053056841257785e-07,
)
_PHI_ZERO = 5.65
"""Phi(-x) of more is below 1e-8."""
_ERF_SPLIT = 0.9
# erf(x) / x - 1 in x * x, for x up to 0.9.
_ERF_SMALL = (
    0.12837916709551256,
    -0.37612634897232056,
    0.11283715069293976,
    -0.02686050906777382,
    0.005203858949244022,
    -0.0008175639086402953,
    8.513102511642501e-05,
)
# -log2(1 - erf(x)) for x from 0.9 to 4; float32 cannot tell erf(4) from 1.
_ERF_LARGE = (
    0.00020540281548164785,
    1.6272138357162476,
    0.9187110066413879,
    0.15042872726917267,
    -0.032304055988788605,
    0.004450596868991852,
    -0.0002888694580178708,
)
_ERF_ONE = 4.0


def fma(a: Value, b: Value, c: Value) -> Value:
    """a * b + c, rounded once, as an intrinsic: TVM's simplifier rearranges plain float sums as if they were exact.

    It turns ``x - ((x + big) - big)`` into 0, for instance, and would undo a reduction in two parts.
    """
    return Call(Op.get("tirx.fma"), [a, b, c], ret_ty=a.ty)


def _polynomial(x: Value, coefficients: Sequence[float], bind: Bind, lanes: int) -> Value:
    """In pairs, and pairs of pairs (Estrin): a chain of half the length, which is what these functions wait for."""
    terms: list[Value] = [emit.constant(coefficient, lanes) for coefficient in coefficients]
    power = x
    while True:
        pairs = [fma(terms[i + 1], power, terms[i]) for i in range(0, len(terms) - 1, 2)]
        terms = [bind(pair) for pair in pairs] + terms[len(pairs) * 2 :]
        if len(terms) == 1:
            return terms[0]
        power = bind(power * power)


def horner(x: Value, coefficients: Sequence[float], lanes: int) -> Value:
    """One after the other: fewest operations, where others are there to be done meanwhile."""
    *lower, value = [emit.constant(coefficient, lanes) for coefficient in coefficients]
    for coefficient in reversed(lower):
        value = fma(value, x, coefficient)
    return value


def exp2_of_rest(r: Value, lanes: int) -> Value:
    """2**r for r between -1/2 and 1/2, in a chain."""
    return horner(r, (1.0, *_EXP2), lanes)


def _exp_reduced(r: Value, bind: Bind, lanes: int) -> Value:
    """exp(r) for r between -ln(2) / 2 and ln(2) / 2."""
    return fma(_polynomial(r, _EXP, bind, lanes), r * r, r + emit.constant(1.0, lanes))


def two_to(n: Value, lanes: int) -> Value:
    """2**n for integers -127 < n < 128."""
    exponent = tirx.shift_left(n + _integer(127, lanes), _integer(23, lanes))
    return tirx.reinterpret(emit.vector_type(lanes), exponent)


def _integer(value: int, lanes: int) -> Value:
    return emit.broadcast(tirx.IntImm("int32", value), lanes)


def _to_integer(rounded: Value, lanes: int) -> Value:
    """The bounds come second in max, so that NaN, whose conversion is undefined, becomes one of them."""
    bounded = tirx.max(rounded, emit.constant(-160.0, lanes))
    return tirx.Cast(_int32(lanes), bounded)


def _int32(lanes: int) -> str:
    return emit.vector_type(lanes, "int32")


def magnitude(x: Value, lanes: int) -> Value:
    """|x|. Not as a choice of two: LLVM then does what follows with both, and chooses last."""
    bits = tirx.bitwise_and(tirx.reinterpret(_int32(lanes), x), _integer(0x7FFFFFFF, lanes))
    return tirx.reinterpret(emit.vector_type(lanes), bits)


def _exponent(shifted: Value, lanes: int) -> Value:
    """The integer n in the low bits of ``shifted = n + 1.5 * 2**23``, where a float32 has its exponent."""
    return tirx.shift_left(tirx.reinterpret(_int32(lanes), shifted), _integer(23, lanes))


def _rest(n: Value, x: Value, bind: Bind, lanes: int) -> Value:
    """x - n * ln(2)."""
    return bind(fma(n, emit.constant(-_LN2_LOW, lanes), fma(n, emit.constant(-_LN2_HIGH, lanes), x)))


def _reduce(x: Value, bind: Bind, lanes: int) -> tuple[Value, Value]:
    """n and exp(r) with ``exp(x) = exp(r) * 2**n``."""
    n = bind(tirx.nearbyint(x * emit.constant(LOG2_E, lanes)))
    return n, _exp_reduced(_rest(n, x, bind, lanes), bind, lanes)


def exp_nonpositive(x: Value, bind: Bind, lanes: int) -> Value:
    """exp(x) for x <= 0, -inf and NaN included; less than the smallest normal number is 0.

    As few operations as can be, for it is a fifth of attention: the exponent is taken from the low bits of
    x / ln(2) + 1.5 * 2**23 and added to the fraction's bits; what that makes of numbers that are too small is replaced.
    """
    x = bind(x)
    one = emit.constant(1.0, lanes)
    shifted = bind(fma(x, emit.constant(LOG2_E, lanes), emit.constant(_ROUNDING, lanes)))
    n = bind(fma(shifted, one, emit.constant(-_ROUNDING, lanes)))
    fraction = bind(_exp_reduced(_rest(n, x, bind, lanes), bind, lanes))
    bits = tirx.reinterpret(_int32(lanes), fraction) + _exponent(shifted, lanes)
    value = tirx.reinterpret(emit.vector_type(lanes), bits)
    return tirx.Select(x < emit.constant(_EXP_NORMAL, lanes), emit.constant(0.0, lanes), value)


def exp2_nonpositive(x: Value, bind: Bind, lanes: int) -> Value:
    """2**x for x <= 0, -inf and NaN included; less than the smallest normal number is 0. As `exp_nonpositive`."""
    x = bind(x)
    shifted, fraction = _exp2_parts(x, bind, lanes)
    bits = tirx.reinterpret(_int32(lanes), bind(fraction)) + _exponent(shifted, lanes)
    value = tirx.reinterpret(emit.vector_type(lanes), bits)
    return tirx.Select(x < emit.constant(_EXP2_NORMAL, lanes), emit.constant(0.0, lanes), value)


def _exp2_parts(x: Value, bind: Bind, lanes: int) -> tuple[Value, Value]:
    """x + 1.5 * 2**23, in whose low bits the nearest integer ends up, and 2**x over 2 to the power of that."""
    one = emit.constant(1.0, lanes)
    shifted = bind(fma(x, one, emit.constant(_ROUNDING, lanes)))
    r = bind(x - fma(shifted, one, emit.constant(-_ROUNDING, lanes)))
    return shifted, fma(r, _polynomial(r, _EXP2, bind, lanes), one)


def _exp2(x: Value, bind: Bind, lanes: int) -> Value:
    """2**x for -127 <= x < 128, and NaN."""
    shifted, fraction = _exp2_parts(x, bind, lanes)
    exponent = _exponent(shifted, lanes) + _integer(127 << 23, lanes)
    return fraction * tirx.reinterpret(emit.vector_type(lanes), exponent)


def exp(x: Value, bind: Bind, lanes: int) -> Value:
    """exp(x) for every x."""
    x = bind(x)
    lowest, highest = emit.constant(_EXP_LOWEST, lanes), emit.constant(_EXP_HIGHEST, lanes)
    n, fraction = _reduce(bind(tirx.min(highest, tirx.max(lowest, x))), bind, lanes)
    # Neither 2**128 nor 2**-150 is a float32; their halves are.
    power = bind(_to_integer(n, lanes))
    half = bind(tirx.shift_right(power, _integer(1, lanes)))
    value = fraction * two_to(half, lanes) * two_to(power - half, lanes)
    infinite = tirx.Select(x > highest, emit.constant(float("inf"), lanes), value)
    return tirx.Select(x < lowest, emit.constant(0.0, lanes), infinite)


def erf(x: Value, bind: Bind, lanes: int) -> Value:
    """The error function."""
    x = bind(x)
    zero, one = emit.constant(0.0, lanes), emit.constant(1.0, lanes)
    size = bind(tirx.min(emit.constant(_ERF_ONE, lanes), magnitude(x, lanes)))
    small = fma(x, _polynomial(bind(x * x), _ERF_SMALL, bind, lanes), x)
    # 1 - 2**(-p), p > 0.
    power = bind(-_polynomial(size, _ERF_LARGE, bind, lanes))
    n = bind(tirx.nearbyint(power))
    r = bind(fma(n, emit.constant(-1.0, lanes), power) * emit.constant(_LN2, lanes))
    tail = bind(_exp_reduced(r, bind, lanes) * two_to(_to_integer(n, lanes), lanes))
    large = bind(one - tail)
    return tirx.Select(size < emit.constant(_ERF_SPLIT, lanes), small, tirx.Select(x < zero, -large, large))


def gelu(x: Value, bind: Bind, lanes: int) -> Value:
    """x * Phi(x), exact (not the tanh approximation).

    Phi(-|x|) is 2 to the power of a polynomial, good to 2e-9: less than what is rounded away when Phi(x) near 1 is
    made of it. Where it is below that, it is 0.
    """
    x = bind(x)
    zero, one = emit.constant(0.0, lanes), emit.constant(1.0, lanes)
    size = bind(magnitude(x, lanes))
    tail = _exp2(_polynomial(size, _LOG2_PHI, bind, lanes), bind, lanes)
    tail = bind(tirx.Select(size < emit.constant(_PHI_ZERO, lanes), tail, zero))
    return x * tirx.Select(x < zero, tail, one - tail)


def sigmoid(x: Value, bind: Bind, lanes: int) -> Value:
    one = emit.constant(1.0, lanes)
    return one / (one + exp(-x, bind, lanes))


def relu(x: Value, bind: Bind, lanes: int) -> Value:  # noqa: ARG001 (the signature of every activation)
    # The bound first, so that NaN comes through as in PyTorch.
    return tirx.max(emit.constant(0.0, lanes), x)
