/* Sign changes inside the panels of a function that may jump where panels end: each panel is looked at by itself, from a
 * little inside its ends. */
#define SGDLIMIT_INSIDE 1e-12

APART int sgdlimit_panel_roots(void (*function)(int, const double *, const double *, double *), const double *context,
                               const double *edges, int panels, double *roots) {
  int found = 0;
  for (int q = 0; q < panels; q++) {
    const double a = edges[q], b = edges[q + 1], inset = SGDLIMIT_INSIDE * (b - a);
    const double halves[] = {a + inset, (a + b) / 2, b - inset};
    double here[SGDLIMIT_MOST_ROOTS];
    const int more = sgdlimit_roots(function, context, halves, 2, here);
    for (int k = 0; k < more && found < SGDLIMIT_MOST_ROOTS; k++) roots[found++] = here[k];
  }
  return found;
}
