/* ---- Random numbers: eight generators xoshiro256++, normals by Box-Muller -----------------------------------------
 * A kernel is compiled for one precision: `real` is double, or float with -DSGDLIMIT_FLOAT32. There are always eight
 * generators of 64 bits side by side, and as many logical lanes as reals fit in their words: 8 doubles or 16 floats. They
 * are held in as many vectors as the target needs for them: one of AVX-512, two of AVX2, four of SSE2 or NEON. A stream is
 * therefore the same on every target, up to the last bits that contraction to fused multiply-adds may change. Vectors of
 * the target's own width, and functions that are always inlined, since wider vectors spill and vectors passed in a call
 * are slow and warned of. Nothing below branches on a number.
 *
 * Generator: D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47 (2021). */
#ifdef SGDLIMIT_FLOAT32
typedef float real;
typedef uint32_t real_bits;
#else
typedef double real;
typedef uint64_t real_bits;
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

enum {
  GENERATORS = 8,
  VECTORS = 8 * GENERATORS / VECTOR_BYTES,
  GENERATORS_PER_VECTOR = GENERATORS / VECTORS,
  LANES_PER_VECTOR = VECTOR_BYTES / (int)sizeof(real),
  LANES = LANES_PER_VECTOR * VECTORS,
  BLOCK = 2 * LANES,   /* normals of one draw of all lanes */
  DRAWS = 16           /* of all lanes, at most, that are made in one go */
};

typedef uint64_t words __attribute__((vector_size(VECTOR_BYTES)));
typedef double doubles __attribute__((vector_size(VECTOR_BYTES)));
typedef real reals __attribute__((vector_size(VECTOR_BYTES)));
typedef real_bits bits __attribute__((vector_size(VECTOR_BYTES)));

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
 * a one-to-one function of (run, purpose). The two precisions begin apart: a run in one is independent of that in the
 * other. The 32 words of the eight states then follow as in splitmix64. */
static void seed_generator(generator *g, uint64_t seed, uint64_t run, uint64_t purpose) {
  const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
  const uint64_t precision = sizeof(double) / sizeof(real);
  const uint64_t key = mix(mix(seed + precision * golden) + run * PURPOSES + purpose);
  uint64_t state[4][GENERATORS];
  for (uint64_t i = 0; i < 4; i++)
    for (uint64_t k = 0; k < GENERATORS; k++) state[i][k] = mix(key + (1 + i * GENERATORS + k) * golden);
  memcpy(g->state, state, sizeof state);
}

LANEWISE words rotate_left(words word, int count) { return (word << count) | (word >> (64 - count)); }

/* The next 64 bits of each generator of vector v. */
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
LANEWISE doubles from_one_to_two(words word) { return (doubles)((word >> 12) | UINT64_C(0x3ff0000000000000)); }

/* Uniform on [0, 1). */
LANEWISE doubles draw_uniforms(generator *g, int v) { return from_one_to_two(draw_words(g, v)) - 1.0; }

#ifndef SGDLIMIT_FLOAT32

/* Uniform on (0, 1], from a word for the radius. */
LANEWISE reals radius_chance(words a) { return 2.0 - from_one_to_two(a); }

/* Uniform on [-1/2, 1/2), from a word for the angle: half a turn, so that the cosine is a short polynomial. */
LANEWISE reals half_turns(words b) { return from_one_to_two(b) - 1.5; }

/* The other half of the turn: a random sign of the radius, the lowest bit of the angle's word. */
LANEWISE reals with_sign(reals radius, words b) { return (reals)((words)radius | (b << 63)); }

/* u = 2^e m, m in [1/sqrt 2, sqrt 2), s = (m - 1)/(m + 1) */
typedef struct split {
  reals e, s;
} split;

LANEWISE split split_of(reals u) {
  const uint64_t one = UINT64_C(0x3ff0000000000000), root_half = UINT64_C(0x3fe6a09e667f3bcd);
  const uint64_t fraction = UINT64_C(0x000fffffffffffff), two_to_52 = UINT64_C(0x4330000000000000);
  const bits scaled = (bits)u + (one - root_half);   /* its exponent field is e + 1023, its fraction that of m */
  const reals m = (reals)((scaled & fraction) + root_half);
  return (split){(reals)((scaled >> 52) | two_to_52) - (4503599627370496.0 + 1023.0), (m - 1.0) / (m + 1.0)};
}

/* -2 log(u) for u in (0, 1], never negative: log(u) = e log 2 + s A(s^2), A(t) = 2 atanh(sqrt t)/sqrt t, relatively
 * accurate at u = 1 too, where e = 0. A: mpmath.chebyfit at 40 digits, 6 coefficients on 0 <= t <= 17 - 12 sqrt 2, times
 * -2. Relative error 2.8e-14. */
LANEWISE reals minus_two_log_of(split u) {
  const reals t = u.s * u.s;
  reals a = t * -0.3921619127950611 - 0.4434849982015498;
  a = a * t - 0.5714433229175145;
  a = a * t - 0.7999998978366476;
  a = a * t - 1.3333333335915852;
  a = a * t - 3.9999999999998943;
  return u.e * -1.3862943611198906 + u.s * a;
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

#else

/* The same in single precision, where a word of 64 bits serves two lanes. Of the radius's 32 bits none is lost where it
 * counts: u is small in the tail, and a float holds it to 24 digits there; the largest radius is sqrt(66 log 2) = 6.8. The
 * angle's word gives 31 bits and the sign. */
typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));

LANEWISE reals radius_chance(words a) { return __builtin_convertvector((bits)a, reals) * 0x1p-32f + 0x1p-33f; }

LANEWISE reals half_turns(words b) {
  return __builtin_convertvector((integers)b >> 1, reals) * 0x1p-31f + 0x1p-32f;
}

LANEWISE reals with_sign(reals radius, words b) { return (reals)((bits)radius | ((bits)b << 31)); }

typedef struct split {
  reals e, s;
} split;

LANEWISE split split_of(reals u) {
  const uint32_t one = 0x3f800000, root_half = 0x3f3504f3, fraction = 0x007fffff, two_to_23 = 0x4b000000;
  const bits scaled = (bits)u + (one - root_half);
  const reals m = (reals)((scaled & fraction) + root_half);
  return (split){(reals)((scaled >> 23) | two_to_23) - (8388608.0f + 127.0f), (m - 1.0f) / (m + 1.0f)};
}

/* A: 3 coefficients, 4.8e-7 absolute, 1.2e-7 of the value. */
LANEWISE reals minus_two_log_of(split u) {
  const reals t = u.s * u.s;
  const reals a = (t * -0.8258981836f - 1.333045335f) * t - 4.000000472f;
  return u.e * -1.3862943611f + u.s * a;
}

/* 5 coefficients each; errors 4e-9, relative, and 4.7e-8, absolute. */
LANEWISE reals sine_of_half_turns(reals w) {
  const reals t = w * w;
  reals a = t * 0.07765591228f - 0.5982904113f;
  a = a * t + 2.550077387f;
  a = a * t - 5.167710077f;
  a = a * t + 3.14159264f;
  return a * w;
}

LANEWISE reals cosine_of_half_turns(reals w) {
  const reals t = w * w;
  reals a = t * 0.2196824236f - 1.331872973f;
  a = a * t + 4.058410791f;
  a = a * t - 4.934792802f;
  return a * t + 0.999999953f;
}

LANEWISE reals square_root(reals x) {
  for (int lane = 0; lane < LANES_PER_VECTOR; lane++) x[lane] = sqrtf(x[lane]);
  return x;
}

#endif

LANEWISE reals minus_two_log(reals u) { return minus_two_log_of(split_of(u)); }

/* Two independent standard normals, from the square of their radius and the word for their angle. */
LANEWISE void turn(reals radius2, words b, reals *first, reals *second) {
  const reals radius = with_sign(square_root(radius2), b), w = half_turns(b);
  *first = radius * cosine_of_half_turns(w);
  *second = radius * sine_of_half_turns(w);
}

/* Two for each lane of vector v. */
LANEWISE void draw_normals(generator *g, int v, reals *first, reals *second) {
  const words a = draw_words(g, v), b = draw_words(g, v);
  turn(minus_two_log(radius_chance(a)), b, first, second);
}

/* What `draw_normals` turns, of up to DRAWS draws. Words, division, polynomial and root are one long chain, of which a
 * processor has fewer than two in sight: it waits less in a loop over each part of them. */
LANEWISE void draw_polar(generator *g, int draws, reals radius2[DRAWS * VECTORS], words angles[DRAWS * VECTORS]) {
  split u[DRAWS * VECTORS];
  for (int i = 0; i < draws * VECTORS; i += VECTORS)
    for (int v = 0; v < VECTORS; v++) {
      u[i + v] = split_of(radius_chance(draw_words(g, v)));
      angles[i + v] = draw_words(g, v);
    }
  for (int i = 0; i < draws * VECTORS; i++) radius2[i] = minus_two_log_of(u[i]);
}
