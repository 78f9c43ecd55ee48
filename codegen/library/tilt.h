#define SGDLIMIT_FARTHEST_TILT 40.0   /* e^(40 z) moves the mass to where phi is e^-800: no sum meets it */

/* Widens the window for an integrand with a factor e^(rate z): it moves the mass by `rate`. */
static inline void sgdlimit_tilt(double rate, double *lower, double *upper) {
  if (rate > 0) *upper = fmax(*upper, SGDLIMIT_WINDOW + fmin(rate, SGDLIMIT_FARTHEST_TILT));
  if (rate < 0) *lower = fmin(*lower, -SGDLIMIT_WINDOW + fmax(rate, -SGDLIMIT_FARTHEST_TILT));
}
