/* ---- Elementary functions that loops over many arguments can vectorise --------------------------------------------
 * Branch-free: no table, no call, only arithmetic, comparisons that choose, and the bits of a double. Polynomials are
 * mpmath.chebyfit's at 60 digits. Relative errors are below 1e-15, NaN comes out where NaN went in, and what is below
 * 2^-1021 is 0. */
#define LANEWISE static inline __attribute__((always_inline))

/* What is long and called from many places: a copy for each would be most of the time of compilation. */
#if defined(__GNUC__) && !defined(__clang__)
#define APART static __attribute__((noinline, noclone))
#else
#define APART static __attribute__((noinline))
#endif

LANEWISE uint64_t sgdlimit_bits(double x) {
  uint64_t word;
  memcpy(&word, &x, sizeof word);
  return word;
}

LANEWISE double sgdlimit_from_bits(uint64_t word) {
  double x;
  memcpy(&x, &word, sizeof x);
  return x;
}

/* exp(r) - 1 for |r| <= log(2)/2 */
LANEWISE double sgdlimit_expm1_reduced(double r) {
  double a = r * 2.510038549551032e-08 + 2.7620088445409746e-07;
  a = a * r + 2.7557268459997064e-06;
  a = a * r + 2.4801521295954376e-05;
  a = a * r + 1.9841269863053618e-04;
  a = a * r + 1.3888888917213717e-03;
  a = a * r + 8.333333333330062e-03;
  a = a * r + 4.166666666662413e-02;
  a = a * r + 1.6666666666666669e-01;
  a = a * r + 0.5;
  return r + r * r * a;
}

/* exp(x + rest), |rest| < 1e-3: with x = k log 2 + r, adding 1.5 * 2^52 leaves k in the lowest bits of x/log 2. */
LANEWISE double sgdlimit_exp_sum(double x, double rest) {
  const double shifted = x * 1.4426950408889634 + 6755399441055744.0;
  const double k = shifted - 6755399441055744.0;
  const double r = ((x - k * 0.6931471803691238) - k * 1.9082149292705877e-10) + rest;
  /* 2^k in two factors, so that 2^1024 is never one */
  const double half_power = sgdlimit_from_bits((sgdlimit_bits(shifted) + 1022) << 52);
  const double y = (2.0 + 2.0 * sgdlimit_expm1_reduced(r)) * half_power;
  return x > 709.782712893384 ? INFINITY : x < -707.7 ? 0.0 : y;
}

LANEWISE double sgdlimit_exp(double x) { return sgdlimit_exp_sum(x, 0.0); }

/* exp(x) - 1 for x <= 0 */
LANEWISE double sgdlimit_expm1_negative(double x) {
  const double shifted = x * 1.4426950408889634 + 6755399441055744.0;
  const double k = shifted - 6755399441055744.0;
  const double r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10;
  const double power = sgdlimit_from_bits((sgdlimit_bits(shifted) + 1023) << 52);
  return x < -40.0 ? -1.0 : power * sgdlimit_expm1_reduced(r) + (power - 1.0);
}

LANEWISE double sgdlimit_sinh(double x) {
  const double fall = sgdlimit_expm1_negative(-fabs(x)), e = sgdlimit_exp(-fabs(x));
  return copysign(fabs(x) < 350.0 ? -0.5 * fall * (1.0 + e) / e : sgdlimit_exp(fabs(x)) * 0.5, x);
}

LANEWISE double sgdlimit_cosh(double x) {
  const double e = sgdlimit_exp(-fabs(x));
  return fabs(x) < 350.0 ? 0.5 * (e + 1.0 / e) : sgdlimit_exp(fabs(x)) * 0.5;
}

/* log(1 + x) for 0 <= x <= 1: 2 atanh(s), s = x/(2 + x) */
LANEWISE double sgdlimit_log1p_unit(double x) {
  const double s = x / (2.0 + x), t = s * s;
  double a = t * 0.1616404561194353 + 0.08800738486144674;
  a = a * t + 0.12001072809590713;
  a = a * t + 0.13314144209654935;
  a = a * t + 0.15385570064958623;
  a = a * t + 0.18181789436132859;
  a = a * t + 0.22222222717427864;
  a = a * t + 0.2857142856710876;
  a = a * t + 0.40000000000014585;
  a = a * t + 0.6666666666666666;
  return 2.0 * s + s * t * a;
}

/* log(x + rest), |rest| a rounding of x: x = 2^e m, m in [1/sqrt 2, sqrt 2), and 2 atanh((m - 1)/(m + 1)). */
LANEWISE double sgdlimit_log_sum(double x, double rest) {
  const uint64_t one = UINT64_C(0x3ff0000000000000), root_half = UINT64_C(0x3fe6a09e667f3bcd);
  const uint64_t scaled = sgdlimit_bits(x) + (one - root_half);
  const double e = sgdlimit_from_bits((scaled >> 52) | UINT64_C(0x4330000000000000)) - (4503599627370496.0 + 1023.0);
  const double m = sgdlimit_from_bits((scaled & UINT64_C(0x000fffffffffffff)) + root_half);
  const double s = (m - 1.0) / (m + 1.0), t = s * s;
  double a = t * 0.14616449685043406 + 0.15331721600556042;
  a = a * t + 0.18182889125261723;
  a = a * t + 0.2222221113479508;
  a = a * t + 0.28571428625975487;
  a = a * t + 0.39999999999899505;
  a = a * t + 0.6666666666666670;
  const double y = e * 0.6931471803691238 + (2.0 * s + (s * t * a + (e * 1.9082149292705877e-10 + rest / x)));
  return x < 2.2250738585072014e-308 ? (x >= 0.0 ? -INFINITY : NAN) : x > 1.7976931348623157e308 ? INFINITY : y + (x - x);
}

LANEWISE double sgdlimit_log(double x) { return sgdlimit_log_sum(x, 0.0); }

LANEWISE double sgdlimit_log1p(double x) {
  const double u = 1.0 + x;
  return sgdlimit_log_sum(u, x > 1e15 ? 0.0 : x - (u - 1.0));
}

LANEWISE double sgdlimit_tanh(double x) {
  const double t = sgdlimit_expm1_negative(-2.0 * fabs(x));
  return copysign(t / (2.0 + t), x);
}

/* M_1(h)/M_0(h) of the normal density's tail beyond h >= 0, the mean of z - h there: at 0 it is sqrt(2/pi), far out 1/h.
 * 28 coefficients of (h + 4) times it in t = (h - 4)/(h + 4), odd and even ones apart: half as long a chain. The last one
 * is rounded so that 1 - Phi(0) is 1/2. */
LANEWISE double sgdlimit_tail_ratio(double h) {
  const double q = 1.0 / (h + 4.0), t = 1.0 - 8.0 * q, u = t * t;
  double a = u * 1.6032788795386732e-08 - 1.4360935380845031e-07;
  double b = u * -2.0720960346813525e-08 + 2.5575598560518874e-07;
  a = a * u + 5.856091601311411e-07;
  b = b * u - 1.6907513438144842e-06;
  a = a * u - 1.1708386948108753e-06;
  b = b * u + 8.114491573713766e-06;
  a = a * u - 1.4060247434863265e-06;
  b = b * u - 3.170894333965478e-05;
  a = a * u + 2.5559015582861455e-05;
  b = b * u + 0.00010488780723204895;
  a = a * u - 0.0001503099414745899;
  b = b * u - 0.0002892919343453747;
  a = a * u + 0.0006654877420034621;
  b = b * u + 0.0005948560376954562;
  a = a * u - 0.0024857901680142395;
  b = b * u - 0.00037358598026898405;
  a = a * u + 0.00796141079607631;
  b = b * u - 0.004488589888986743;
  a = a * u - 0.020800454273858873;
  b = b * u + 0.0316565274896319;
  a = a * u + 0.0337036676512472;
  b = b * u - 0.13822449147914684;
  a = a * u + 0.06751792792283014;
  b = b * u + 0.40195670380623516;
  a = a * u - 1.1822045015192797;
  b = b * u + 1.804857155915769;
  return (a * t + b) * q;
}

/* exp(-x^2): the rounding of the square is put back, which far out is worth many digits. */
LANEWISE double sgdlimit_exp_minus_square(double x) {
  const double head = sgdlimit_from_bits(sgdlimit_bits(x) & UINT64_C(0xfffffffff8000000));
  return sgdlimit_exp_sum(-head * head, (head - x) * (x + head));
}

/* exp(-x^2/2)/sqrt(2 pi) */
LANEWISE double sgdlimit_normal_density(double x) {
  const double head = sgdlimit_from_bits(sgdlimit_bits(x) & UINT64_C(0xfffffffff8000000));
  return 0.3989422804014327 * sgdlimit_exp_sum(-0.5 * head * head, 0.5 * (head - x) * (x + head));
}

/* 1 - Phi(h) for h >= 0 */
LANEWISE double sgdlimit_normal_tail(double h) { return sgdlimit_normal_density(h) / (h + sgdlimit_tail_ratio(h)); }

LANEWISE double sgdlimit_erfc(double x) {
  const double h = 1.4142135623730951 * fabs(x);
  const double tail = 0.7978845608028654 * sgdlimit_exp_minus_square(x) / (h + sgdlimit_tail_ratio(h));
  return x < 0 ? 2.0 - tail : tail;
}

/* -log(erfc(x)) for 1/2 <= x < 5.93, up to an error that makes one of less than 1e-16 in 1 - erfc(x): 20 coefficients, least
 * squares in units of 1/erfc at 80 digits. Beyond, where erfc is below half a digit, what it is at 5.93. */
LANEWISE double sgdlimit_erfc_exponent(double x) {
  const double h = x > 5.93 ? 5.93 : x, u = h * h;
  double a = u * 2.396326327003667e-13 + 1.8032562599653722e-10;
  double b = u * -9.69646777423947e-12 - 2.030842012600915e-09;
  a = a * u + 1.527299271021768e-08;
  b = b * u - 7.864584659295978e-08;
  a = a * u + 2.611294306973625e-07;
  b = b * u - 3.527683238894276e-07;
  a = a * u - 1.6374150707673145e-06;
  b = b * u + 1.2737514761307754e-05;
  a = a * u - 4.419953722245e-05;
  b = b * u + 8.1891461674689e-05;
  a = a * u + 9.47325888578872e-06;
  b = b * u - 0.0005780073636080113;
  a = a * u + 0.0016892703475774723;
  b = b * u - 0.0002061831865354163;
  a = a * u - 0.01912940431991657;
  b = b * u + 0.10277281309628844;
  a = a * u + 0.6366197440883569;
  b = b * u + 1.1283791688597773;
  return (a * h + b) * h;
}

LANEWISE double sgdlimit_erf(double x) {
  const double t = x * x;
  double a = t * 1.4725865480556744e-06 - 1.4845849259707869e-05;
  a = a * t + 1.2053335124353741e-04;
  a = a * t - 8.548297753674966e-04;
  a = a * t + 5.22397737302147e-03;
  a = a * t - 2.6866170632887928e-02;
  a = a * t + 1.1283791670925353e-01;
  a = a * t - 3.7612638903183476e-01;
  a = a * t + 1.1283791670955126;
  return fabs(x) < 0.5 ? x * a : copysign(1.0 - sgdlimit_exp(-sgdlimit_erfc_exponent(fabs(x))), x);
}

/* Phi(x) */
LANEWISE double normal_cdf(double x) {
  const double tail = sgdlimit_normal_tail(fabs(x));
  return x < 0 ? tail : 1.0 - tail;
}

/* phi(x)/Phi(x) */
LANEWISE double hazard(double x) {
  const double h = fabs(x), sum = h + sgdlimit_tail_ratio(h), density = sgdlimit_normal_density(h);
  return x < 0 ? sum : density / (1.0 - density / sum);
}

/* x + phi(x)/Phi(x) */
LANEWISE double hazard_excess(double x) {
  const double h = fabs(x), ratio = sgdlimit_tail_ratio(h), density = sgdlimit_normal_density(h);
  return x < 0 ? ratio : h + density / (1.0 - density / (h + ratio));
}

/* log(Phi(x)) */
LANEWISE double log_normal_cdf(double x) {
  const double h = fabs(x), sum = h + sgdlimit_tail_ratio(h), tail = sgdlimit_normal_density(h) / sum, above = 1.0 - tail;
  const double far = sgdlimit_log_sum(x < 0 ? 0.3989422804014327 / sum : above, x < 0 ? 0.0 : (1.0 - above) - tail);
  return x < 0 ? far - 0.5 * h * h : far;
}

/* log(1 + exp(x)) */
LANEWISE double softplus(double x) { return (x > 0 ? x : 0.0) + sgdlimit_log1p_unit(sgdlimit_exp(-fabs(x))); }

/* 1/(1 + exp(-x)) */
LANEWISE double sigmoid(double x) {
  const double e = sgdlimit_exp(-fabs(x));
  return (x > 0 ? 1.0 : e) / (1.0 + e);
}

/* log(cosh(x)) = log(1 + (1 - e)^2/(2 e)), e = exp(-|x|), or |x| - log(2) + log(1 + e^2) */
LANEWISE double log_cosh(double x) {
  const double a = fabs(x), fall = sgdlimit_expm1_negative(-a), e = 1.0 + fall;
  const int near = a < 1;
  return (near ? 0.0 : a - 0.6931471805599453) + sgdlimit_log1p_unit(near ? 0.5 * fall * fall / e : e * e);
}

LANEWISE double square(double x) { return x * x; }

/* NaN if one of the two is, which fmax and fmin would swallow. */
LANEWISE double larger(double a, double b) { return ((a > b) | (a != a)) ? a : b; }

LANEWISE double smaller(double a, double b) { return ((a < b) | (a != a)) ? a : b; }

/* M_k(h), the integral over z > h of (z - h)^k phi(z) dz for h >= 0 */
LANEWISE double tail_moment0(double h) { return sgdlimit_normal_tail(h); }

LANEWISE double tail_moment1(double h) { return sgdlimit_tail_ratio(h) * sgdlimit_normal_tail(h); }

LANEWISE double tail_moment2(double h) {
  return h > 50.0 ? 0.0 : (1.0 - h * sgdlimit_tail_ratio(h)) * sgdlimit_normal_tail(h);
}

/* M_k(h)/phi(h) */
LANEWISE double scaled_tail_moment0(double h) { return 1.0 / (h + sgdlimit_tail_ratio(h)); }

LANEWISE double scaled_tail_moment1(double h) {
  const double ratio = sgdlimit_tail_ratio(h);
  return ratio / (h + ratio);
}
