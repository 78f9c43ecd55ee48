enum { SGDLIMIT_MOST_ROOTS = 8, SGDLIMIT_ROOT_SAMPLES = 4 };

/* The sign change between two places, as close as doubles come: inverse quadratic interpolation through the last three
 * where that is monotonic, else bisection (Chandrupatla, Advances in Engineering Software 28, 145, 1997). The function
 * is one of many places at once. */
APART double sgdlimit_root(void (*function)(int, const double *, const double *, double *), const double *context,
                           double a, double at_a, double b, double at_b) {
  double c = b, at_c = at_b, share = 0.5;   /* the root is between a and b; c is the place before */
  for (;;) {
    const double least = 2.3e-16 * (fabs(at_a) < fabs(at_b) ? fabs(a) : fabs(b)) + 1e-300, width = fabs(b - a);
    if (!(width > 2 * least)) return fabs(at_a) < fabs(at_b) ? a : b;
    share = fmin(fmax(share, least / width), 1 - least / width);
    const double x = a + share * (b - a);
    double at_x;
    function(1, &x, context, &at_x);
    if (at_x == 0) return x;
    if ((at_x < 0) == (at_a < 0)) {
      c = a;
      at_c = at_a;
    } else {
      c = b;
      at_c = at_b;
      b = a;
      at_b = at_a;
    }
    a = x;
    at_a = at_x;
    const double xi = (a - b) / (c - b), phi = (at_a - at_b) / (at_c - at_b);
    share = phi * phi < xi && (1 - phi) * (1 - phi) < 1 - xi
                ? at_a / (at_b - at_a) * at_c / (at_b - at_c) + (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)
                : 0.5;
  }
}

/* Sign changes of a continuous function on the panels, each looked at in SGDLIMIT_ROOT_SAMPLES places, those of some
 * panels at once; returns how many were found (at most SGDLIMIT_MOST_ROOTS, from left to right). */
enum { SGDLIMIT_PANELS_AT_ONCE = 8 };

APART int sgdlimit_roots(void (*function)(int, const double *, const double *, double *), const double *context,
                         const double *edges, int panels, double *roots) {
  int found = 0;
  double a = edges[0], at_a;   /* the last place where the function was not 0 */
  function(1, &a, context, &at_a);
  for (int first = 0; first < panels; first += SGDLIMIT_PANELS_AT_ONCE) {
    double places[SGDLIMIT_PANELS_AT_ONCE * SGDLIMIT_ROOT_SAMPLES], values[SGDLIMIT_PANELS_AT_ONCE * SGDLIMIT_ROOT_SAMPLES];
    int count = 0;
    for (int q = first; q < panels && q < first + SGDLIMIT_PANELS_AT_ONCE; q++)
      for (int k = 1; k <= SGDLIMIT_ROOT_SAMPLES; k++)
        places[count++] = k == SGDLIMIT_ROOT_SAMPLES ? edges[q + 1]
                                                     : edges[q] + (edges[q + 1] - edges[q]) * k / SGDLIMIT_ROOT_SAMPLES;
    function(count, places, context, values);
    for (int k = 0; k < count && found < SGDLIMIT_MOST_ROOTS; k++) {
      const double b = places[k], at_b = values[k];
      if ((at_a < 0 && at_b > 0) || (at_a > 0 && at_b < 0))
        roots[found++] = sgdlimit_root(function, context, a, at_a, b, at_b);
      if (at_b != 0 || at_a == 0) {
        a = b;
        at_a = at_b;
      }
    }
  }
  return found;
}
