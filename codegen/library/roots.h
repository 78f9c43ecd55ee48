enum { SGDLIMIT_MOST_ROOTS = 8, SGDLIMIT_ROOT_SAMPLES = 4 };

/* Sign changes of a continuous function on the panels, each looked at in SGDLIMIT_ROOT_SAMPLES places; returns how many
 * were found (at most SGDLIMIT_MOST_ROOTS, from left to right). Bisection and the secant in turn: the bracket halves at
 * every second step at least, and ends when it holds no double between its ends. */
static inline int sgdlimit_roots(double (*function)(double, const double *), const double *context, const double *edges,
                                 int panels, double *roots) {
  int found = 0;
  double a = edges[0], at_a = function(a, context);   /* the last place where the function was not 0 */
  for (int q = 0; q < panels; q++) {
    for (int k = 1; k <= SGDLIMIT_ROOT_SAMPLES && found < SGDLIMIT_MOST_ROOTS; k++) {
      const double b = k == SGDLIMIT_ROOT_SAMPLES ? edges[q + 1]
                                                  : edges[q] + (edges[q + 1] - edges[q]) * k / SGDLIMIT_ROOT_SAMPLES;
      const double at_b = function(b, context);
      if ((at_a < 0 && at_b > 0) || (at_a > 0 && at_b < 0)) {
        double left = a, right = b, at_left = at_a, at_right = at_b;
        for (int step = 0;; step++) {
          double middle = step % 2 ? (left + right) / 2 : (left * at_right - right * at_left) / (at_right - at_left);
          if (!(middle > left && middle < right)) middle = (left + right) / 2;
          if (!(middle > left && middle < right)) break;
          const double here = function(middle, context);
          if (here == 0) {
            left = right = middle;
            break;
          }
          if ((here < 0) == (at_left < 0)) {
            left = middle;
            at_left = here;
          } else {
            right = middle;
            at_right = here;
          }
        }
        roots[found++] = (left + right) / 2;
      }
      if (at_b != 0 || at_a == 0) {
        a = b;
        at_a = at_b;
      }
    }
  }
  return found;
}
