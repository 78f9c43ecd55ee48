/* ---- Random numbers: xoshiro256++ in eight lanes, normals by Box-Muller ----------------------------------------
 * There are always eight logical lanes, held in as many vectors as the target needs for them: one of AVX-512, two of
 * AVX2, four of SSE2 or NEON. A stream is therefore the same on every target, up to the last bits that contraction
 * to fused multiply-adds may change. Vectors of the target's own width, and functions that are always inlined, since
 * wider vectors spill and vectors passed in a call are slow and warned of. Nothing below branches on a number.
 *
 * Generator: D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47 (2021). */
#if defined(__AVX512F__)
#define LANES_PER_VECTOR 8
#elif defined(__AVX2__)
#define LANES_PER_VECTOR 4
#else
#define LANES_PER_VECTOR 2
#endif

enum { LANES = 8, VECTORS = LANES / LANES_PER_VECTOR, BLOCK = 2 * LANES /* normals of one draw of all lanes */ };

typedef double reals __attribute__((vector_size(8 * LANES_PER_VECTOR)));
typedef uint64_t words __attribute__((vector_size(8 * LANES_PER_VECTOR)));

typedef struct generator {
  words state[4][VECTORS];
} generator;

/* What a stream is for; streams of one run that differ in purpose are independent. */
enum { COORDINATES, CHANCES, PURPOSES };

/* The finaliser of splitmix64: a bijection of 64-bit words that leaves no pattern of its argument. */
static uint64_t mix(uint64_t word) {
  word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
  return word ^ (word >> 31);
}

/* Neighbouring seeds and runs are the usual ones: both go through `mix` before they meet, and for one seed the key is
 * a one-to-one function of (run, purpose). The 32 words of the eight states then follow as in splitmix64. */
static void seed_generator(generator *g, uint64_t seed, uint64_t run, uint64_t purpose) {
  const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
  const uint64_t key = mix(mix(seed + golden) + run * PURPOSES + purpose);
  uint64_t state[4][LANES];
  for (uint64_t i = 0; i < 4; i++)
    for (uint64_t lane = 0; lane < LANES; lane++) state[i][lane] = mix(key + (1 + i * LANES + lane) * golden);
  memcpy(g->state, state, sizeof state);
}

LANEWISE words rotate_left(words word, int count) { return (word << count) | (word >> (64 - count)); }

/* The next 64 bits of each lane of vector v. */
LANEWISE words draw_words(generator *g, int v) {
  words s0 = g->state[0][v], s1 = g->state[1][v], s2 = g->state[2][v], s3 = g->state[3][v];
  const words drawn = rotate_left(s0 + s3, 23) + s0;
  const words shifted = s1 << 17;
  s2 ^= s0;
  s3 ^= s1;
  s1 ^= s2;
  s0 ^= s3;
  s2 ^= shifted;
  s3 = rotate_left(s3, 45);
  g->state[0][v] = s0, g->state[1][v] = s1, g->state[2][v] = s2, g->state[3][v] = s3;
  return drawn;
}

/* Uniform on [1, 2): the upper 52 bits as the fraction of a double, which needs no conversion of integers. */
LANEWISE reals from_one_to_two(words word) { return (reals)((word >> 12) | UINT64_C(0x3ff0000000000000)); }

/* Uniform on [0, 1). */
LANEWISE reals draw_uniforms(generator *g, int v) { return from_one_to_two(draw_words(g, v)) - 1.0; }

/* -2 log(u) for u in (0, 1], never negative. With u = 2^e m, m in [1/sqrt 2, sqrt 2) and s = (m - 1)/(m + 1),
 * log(u) = e log 2 + s A(s^2), A(t) = 2 atanh(sqrt t)/sqrt t: relatively accurate at u = 1 too, where e = 0.
 * A: mpmath.chebyfit at 40 digits, 6 coefficients on 0 <= t <= 17 - 12 sqrt 2, times -2. Relative error 2.8e-14. */
LANEWISE reals minus_two_log(reals u) {
  const uint64_t one = UINT64_C(0x3ff0000000000000), root_half = UINT64_C(0x3fe6a09e667f3bcd);
  const uint64_t fraction = UINT64_C(0x000fffffffffffff), two_to_52 = UINT64_C(0x4330000000000000);
  const words scaled = (words)u + (one - root_half);   /* its exponent field is e + 1023, its fraction that of m */
  const reals e = (reals)((scaled >> 52) | two_to_52) - (4503599627370496.0 + 1023.0);
  const reals m = (reals)((scaled & fraction) + root_half);
  const reals s = (m - 1.0) / (m + 1.0);
  const reals t = s * s;
  reals a = t * -0.3921619127950611 - 0.4434849982015498;
  a = a * t - 0.5714433229175145;
  a = a * t - 0.7999998978366476;
  a = a * t - 1.3333333335915852;
  a = a * t - 3.9999999999998943;
  return e * -1.3862943611198906 + s * a;
}

/* sin(pi w) and cos(pi w) for |w| <= 1/2: mpmath.chebyfit at 40 digits of sin(pi sqrt t)/sqrt t and cos(pi sqrt t), 8
 * coefficients each on 0 <= t <= 1/4; errors 5e-16, relative, and 2.1e-15, absolute. */
LANEWISE reals sine_of_half_turns(reals w) {
  const reals t = w * w;
  reals a = t * -2.113362735205297e-05 + 0.0004659870158043378;
  a = a * t - 0.0073703643265304155;
  a = a * t + 0.08214587881631043;
  a = a * t - 0.599264528825224;
  a = a * t + 2.5501640398618677;
  a = a * t - 5.1677127800497855;
  a = a * t + 3.1415926535897927;
  return a * w;
}

LANEWISE reals cosine_of_half_turns(reals w) {
  const reals t = w * w;
  reals a = t * -0.0001004164642205389 + 0.0019278700526981333;
  a = a * t - 0.025806531975921563;
  a = a * t + 0.23533058831317874;
  a = a * t - 1.3352627661817635;
  a = a * t + 4.058712126333295;
  a = a * t - 4.934802200543686;
  return a * t + 0.9999999999999981;
}

LANEWISE reals square_root(reals x) {
  for (int lane = 0; lane < LANES_PER_VECTOR; lane++) x[lane] = sqrt(x[lane]);   /* one instruction with -O3 */
  return x;
}

/* Two independent standard normals for each lane of vector v. The angle covers half a turn, so that the cosine is a
 * short polynomial; the other half is reached by a random sign of the radius, the lowest bit of the angle's word. */
LANEWISE void draw_normals(generator *g, int v, reals *first, reals *second) {
  const words a = draw_words(g, v), b = draw_words(g, v);
  const reals radius = square_root(minus_two_log(2.0 - from_one_to_two(a)));
  const reals signed_radius = (reals)((words)radius | (b << 63));
  const reals w = from_one_to_two(b) - 1.5;
  *first = signed_radius * cosine_of_half_turns(w);
  *second = signed_radius * sine_of_half_turns(w);
}

