"""Squares of sines in float64, of any finite number, which is first divided by pi.

M. Payne and R. Hanek, "Radian reduction for trigonometric functions", SIGNUM Newsletter 18 (1983): of a large number
all bits of 1 / pi drop out whose products with it are whole turns, and the others give as many digits as it takes. Here
they are four numbers, one quadruple for each 32 exponents. Every product is exact, and a small number takes the same
way.
"""

from __future__ import annotations

from ..primitives import abs, copysign, fma, where
from .parts import bits, is_zero, polynomial

BITS_OF_2_52 = 0x4330000000000000
PI, PI_LOW = 3.141592653589793, 1.2246467991473532e-16
# 1 / pi less a multiple of 2^(-32 k), in four numbers, for k from 0 to 31; 2^512 times that from 16 on.
INVERSE_PI = (
    (0.3183098861837907, 3.559123248900044e-11, -4.072445705814768e-22, -2.6608010397597296e-31,
     1.2592086916704748e-39, -2.6157824362585994e-49, -5.233782632873793e-61, -2.410007393254356e-69,
     -1.2289283550927863e-78, 2.6039402236937157e-88, 5.747738046531841e-99, 2.090367837764029e-108,
     1.2596363922524765e-116, 2.0446743710502946e-126, 6.2478568377771655e-136, -1.3092903051089904e-145,
     0.4562716529127888, 8.202415312786242e-11, -2.1009627869935988e-20, -3.0734735013092703e-30,
     8.983639979144069e-40, -8.823695676543579e-50, -6.970677291272933e-59, -2.461561665483689e-69,
     -2.8364649788433505e-79, -6.51767663789436e-88, -1.3422066878932112e-97, -4.603001124625805e-107,
     -8.760142216355057e-117, 1.827837392698545e-126, -3.730968824895796e-136, -1.2576700625627636e-146),
    (-1.9678676675182486e-17, -2.9056689322530833e-28, 1.2592086916704748e-39, 8.633382711560967e-48,
     5.256679928473805e-57, 1.7430858900837626e-65, 7.407240200001658e-78, 5.857256984056189e-86,
     -6.741039176952113e-95, -1.514943392684724e-104, 3.6790822114671567e-115, 8.477216278641048e-125,
     -1.3282985391870705e-133, -8.37379190853572e-143, -3.3230169366618807e-152, 3.360583926988486e-163,
     -1.210986385108331e-17, -2.8682162812640242e-27, 7.355823332618441e-37, -3.9773447372214357e-47,
     4.7095689604846276e-57, -2.461561665483689e-69, 6.880570194287122e-77, -1.1727611930017446e-85,
     7.356461498718196e-96, -1.6614603340685975e-104, 5.574711899878073e-114, -4.531733488917825e-124,
     3.834809696030078e-133, 1.140260764010038e-142, 1.4142445711416407e-152, -7.34524305891471e-164),
    (-1.0721436282893004e-33, 1.310201590874657e-44, 5.256679928473805e-57, 4.73218110697308e-64,
     -6.479840159722871e-74, 2.919250878926778e-82, 1.7229143759071944e-94, -2.9172658571044985e-102,
     1.3062912600302872e-111, -4.030580970978946e-121, -1.5630077900128895e-131, 2.2124111411182377e-141,
     7.985977784819844e-150, -2.0268199211376918e-159, -6.7146567750323e-170, -5.033761073370199e-180,
     3.106899327580826e-34, 9.805111905536497e-44, -3.572133239333144e-53, 7.216606871160792e-64,
     -1.1489587010347437e-73, -1.1727611930017446e-85, -1.1312272279624244e-93, -5.37436799997635e-102,
     3.156323631399032e-113, 1.2097318000415202e-120, -3.843041224817953e-132, -2.8381655724321896e-141,
     1.4525090172334538e-149, 4.1120302341168044e-159, 3.410062426611004e-169, -3.892998081982845e-180),
    (8.053563926594112e-50, -5.233782632873793e-61, -6.479840159722871e-74, -1.4467152032630055e-80,
     1.1938874016515888e-90, 5.747738046531841e-99, -1.1999833239995184e-110, -9.334526405348153e-119,
     1.341907513743263e-128, 2.2863984539705367e-137, -7.936293239974765e-148, -5.665333894848296e-158,
     -3.943477017246721e-166, -5.0779153414953014e-176, 6.113610815659098e-186, 2.2135686828900573e-196,
     -2.708486042485527e-51, 9.947822643893285e-60, 2.1749460228755876e-69, -1.376623053763365e-80,
     -7.694601142374243e-90, -5.37436799997635e-102, -4.4044974170020384e-110, -3.5967150582511933e-119,
     -1.446495950253839e-129, -2.914162578214468e-137, -6.368128073325534e-149, 1.4978274764037085e-157,
     3.501060148496078e-166, -1.5807921266169452e-175, -8.233338572118556e-187, 5.332005607370988e-198),
)  # fmt: skip
# (sin(y)^2 - y^2) / y^4 in y^2, for |y| <= pi / 4, times y^2 within 2^-56 and 2^-36.
SQUARE = (
    -0.3333333333333333, 0.04444444444444442, -0.0031746031746022205, 0.00014109347441443, -4.27555975223751e-06,
    9.396807485697059e-08, -1.565614934602085e-09, 1.9947321843510658e-11,
)  # fmt: skip
THIRD_LOW = -1.850371707708594e-17  # what the first lacks of -1 / 3
SQUARE_NARROW = (
    -0.33333333331735, 0.04444444314874691, -0.0031745863539972257, 0.00014101694688196847, -4.133029676562224e-06,
)  # fmt: skip


def exact_sum(x, y):
    s = x + y
    kept = s - x
    return s, (x - (s - kept)) + (y - kept)


def less_integer(x):
    """Return a number below 2^52 less its nearest integer, which is left where 2^52 of its sign is added."""
    large = copysign(2.0**52, x)
    return x - ((x + large) - large)


def chosen(index, numbers):
    """Return the number of a place, by a selection for each of its bits."""
    places = 63
    while len(numbers) > 1:
        odd = (index << places) < 0
        numbers = [where(odd, b, a) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
        places -= 1
    return numbers[0]


def turns(x, count):
    """Return x / pi less an integer, and its tail, within 2^-100; `count` of the quadruples are enough for x."""
    k = (bits(abs(x)) - BITS_OF_2_52) >> 57
    index = where(k < 0, 0, k)
    a, b, c, d = [chosen(index, numbers[:count]) for numbers in INVERSE_PI]
    if count > 16:
        x = where(abs(x) >= 2.0**564, x * 2.0**-512, x)
    p, q, r = x * a, x * b, x * c
    low = fma(x, c, -r) + x * d
    s, tail = exact_sum(where(abs(p) < 2.0**52, less_integer(p), 0.0), less_integer(fma(x, a, -p)))
    s, more = exact_sum(s, less_integer(q))
    tail, more = exact_sum(tail, more)
    tail, last = exact_sum(tail, fma(x, b, -q))
    tail, least = exact_sum(tail, r)
    s, tail = exact_sum(s, tail)
    return exact_sum(less_integer(s), tail + (low + (more + last + least)))


def folded(x, tail, shift, count):
    """Return the distance of x + tail, and of some turns more, to the nearest integer, or to a half if that is nearer.

    Which it is comes first, and the tail last.
    """
    u, lost = turns(x, count)
    if not is_zero(tail):
        v, more = turns(tail, count)
        u, last = exact_sum(u, v)
        lost = (lost + more) + last
    if shift:
        u, last = exact_sum(u, shift)
        lost = lost + last
    u, lost = exact_sum(less_integer(u), lost)
    lost, u = where(u < 0.0, -lost, lost), abs(u)
    half = u > 0.25
    return half, where(half, 0.5 - u, u), where(half, -lost, lost)


def square(half, u, lost):
    """Return the square of the sine of so many turns of pi, and its tail."""
    y = u * PI
    y_lost = fma(u, PI, -y) + fma(u, PI_LOW, lost * PI)
    z = y * y
    z_lost = fma(y, y, -z) + (y + y) * y_lost
    # The second term, too, has a tail: it is up to a fifth of the sum.
    w = z * z
    w_lost = fma(z, z, -w) + (z + z) * z_lost
    second = w * SQUARE[0]
    second_lost = fma(w, SQUARE[0], -second) + fma(w, THIRD_LOW, w_lost * SQUARE[0])
    first = z + second
    more = ((z - first) + second) + (z_lost + second_lost) + w * (z * polynomial(z, SQUARE[1:]))
    s = first + more
    lost = (first - s) + more
    rest = 1.0 - s
    return where(half, rest, s), where(half, ((1.0 - rest) - s) - lost, lost)


def square_narrow(half, u, lost):
    y = (u + lost) * PI
    z = y * y
    s = fma(z * z, polynomial(z, SQUARE_NARROW), z)
    return where(half, 1.0 - s, s)
