/* Panels are taken from the one that holds 0 outwards, to the right and then to the left. The rest of a direction is
 * left out where a longest panel with the outermost values would add nothing to the sizes so far, on a panel that has all
 * features behind it: there an integrand is a smooth function that grows by far less than phi falls. Beside a feature it
 * may vanish, so narrow panels tell nothing. With a tilt its mass may lie as far out as the window moved. */
#define SGDLIMIT_NEGLIGIBLE 1e-15
#define SGDLIMIT_LEAST_JUDGED (SGDLIMIT_LONGEST_PANEL / 10)

/* Number of the panel that holds 0; beyond `below` and `above` there is no feature more that a panel notices. */
APART int sgdlimit_middle(const sgdlimit_shape *shape, const double *edges, int panels, double *below, double *above) {
  const double *places[] = {shape->kink, shape->pole, shape->step};
  const double *widths[] = {NULL, shape->pole_width, shape->step_width};
  const int counts[] = {shape->kinks, shape->poles, shape->steps};
  *below = shape->lower + SGDLIMIT_WINDOW;
  *above = shape->upper - SGDLIMIT_WINDOW;
  for (int kind = 0; kind < 3; kind++)
    for (int i = 0; i < counts[kind]; i++) {
      const double place = places[kind][i];
      if (widths[kind] && !(widths[kind][i] < SGDLIMIT_LONGEST_PANEL)) continue;
      if (place > shape->lower && place < *below) *below = place;
      if (place < shape->upper && place > *above) *above = place;
    }
  int middle = 0;
  while (middle + 1 < panels && edges[middle + 1] <= 0) middle++;
  return middle;
}

/* The panel after q, where `enough` says that what lies beyond it is nothing; -1 after the last. */
static int sgdlimit_next(int q, int middle, int panels, int enough) {
  if (q < middle) return enough ? -1 : q - 1;
  return enough || q + 1 == panels ? middle - 1 : q + 1;
}

/* Whether panel q is long, and has the features of its direction behind it (its end is where they are, up to rounding). */
static int sgdlimit_is_beyond(int q, int middle, const double *edges, double below, double above) {
  const double a = edges[q], b = edges[q + 1];
  return b - a >= SGDLIMIT_LEAST_JUDGED && (q < middle ? b <= below + 1e-9 : a >= above - 1e-9);
}

/* The larger of two terms at a panel's outer end: one alone may be at a zero. */
LANEWISE double sgdlimit_outermost(const double *terms, int right) {
  const double last = fabs(terms[right ? SGDLIMIT_POINTS - 1 : 0]), other = fabs(terms[right ? SGDLIMIT_POINTS - 5 : 4]);
  return last > other ? last : other;
}

/* Adds the terms of a panel to the integral, and their absolute values to its size. */
LANEWISE void sgdlimit_add(const double *terms, double *integral, double *size) {
  double sum = 0, sum_of_sizes = 0;
  #pragma omp simd reduction(+ : sum, sum_of_sizes)
  for (int k = 0; k < SGDLIMIT_POINTS; k++) {
    sum += terms[k];
    sum_of_sizes += fabs(terms[k]);
  }
  *integral += sum;
  *size += sum_of_sizes;
}
