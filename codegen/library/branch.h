/* ---- Panels that end at branch points ---------------------------------------------------------------------------
 * Where two kinks of an inner integral meet and vanish, an integrand is a function of the square root of the distance.
 * A panel that ends there has its nodes in t, z = end + length t^2 (between two such ends z = a + length t^2 (3 - 2t)), in
 * which nothing is singular. To any other panel a branch point is a singularity of no width, from which it keeps clear. */
#define SGDLIMIT_SAME_BRANCH (4 * SGDLIMIT_SAME_BREAKPOINT)
/* Beyond a branch point panels grow threefold from one to the next, from 1e-14 to 26, and before one they shrink like that
 * if another is close behind it: 32 on either side, and twice as many at a clearance of 3.5. */
#define SGDLIMIT_MAX_BRANCH_EDGES(edges, branches) ((edges) + 140 * (branches))

/* Cuts panels again; the branch points are among their ends. */
APART int sgdlimit_branch_panels(const double *coarse, int count, const double *branch, int branches, double *edges) {
  int panels = 0;
  edges[0] = coarse[0];
  for (int q = 0; q < count; q++) {
    const double stop = coarse[q + 1];
    while (edges[panels] < stop) {
      const double a = edges[panels];
      double length = stop - a;
      for (int i = 0; i < branches; i++) {
        if (branch[i] < a - SGDLIMIT_SAME_BRANCH) {
          const double longest = 2 * (a - branch[i]) / (SGDLIMIT_CLEARANCE - 1);
          if (longest < length) length = longest;
        } else if (branch[i] > stop + SGDLIMIT_SAME_BRANCH) {
          const double longest = 2 * (branch[i] - a) / (SGDLIMIT_CLEARANCE + 1);
          if (longest < length) length = longest;
        }
      }
      if (length < stop - a)
        for (int i = 0; i < branches; i++)
          if (fabs(branch[i] - stop) <= SGDLIMIT_SAME_BRANCH && 2 * (stop - a) / (SGDLIMIT_CLEARANCE + 1) < length)
            length = 2 * (stop - a) / (SGDLIMIT_CLEARANCE + 1);
      edges[++panels] = stop - a <= length * (1 + 1e-9) ? stop : a + length;
    }
  }
  return panels;
}

/* The nodes of the panel [a, b], and their weights with phi(z) in them. */
APART void sgdlimit_branch_nodes(double a, double b, const double *branch, int branches, double *z, double *weight) {
  int left = 0, right = 0;
  for (int i = 0; i < branches; i++) {
    left |= fabs(branch[i] - a) <= SGDLIMIT_SAME_BRANCH;
    right |= fabs(branch[i] - b) <= SGDLIMIT_SAME_BRANCH;
  }
  if (!left && !right) {
    sgdlimit_nodes(a, b, z, weight);
    return;
  }
  double t[SGDLIMIT_POINTS], share[SGDLIMIT_POINTS];
  sgdlimit_nodes(0, 1, t, share);
  for (int i = 0; i < SGDLIMIT_POINTS; i++) {
    const double near = t[i], far = t[SGDLIMIT_POINTS - 1 - i];   /* far = 1 - near */
    const double place = left && right ? near * near * (3 - 2 * near) : left ? near * near : 1 - far * far;
    const double slope = left && right ? 6 * near * far : 2 * (left ? near : far);
    /* the weights have phi(t) in them */
    z[i] = right && !left ? b - (b - a) * far * far : a + (b - a) * place;
    weight[i] = (b - a) * slope * share[i] / sgdlimit_normal_density(near) * sgdlimit_normal_density(z[i]);
  }
}
