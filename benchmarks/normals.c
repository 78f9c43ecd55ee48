/* Normals of a kernel's random.h, which stands in front of this when it is compiled: counts, sums of powers, and products
 * of the lanes of a block and of the next one. */
enum { BINS = 2048, POWERS = 6, COLUMNS = 2 * BLOCK };

void observe(uint64_t seed, uint64_t run, int64_t blocks, int64_t correlated, int64_t *counts, double *powers,
             double *products);
void observe(uint64_t seed, uint64_t run, int64_t blocks, int64_t correlated, int64_t *counts, double *powers,
             double *products) {
  generator g;
  seed_generator(&g, seed, run, COORDINATES);
  double z[COLUMNS] = {0};
  for (int64_t block = 0; block < blocks; block++) {
    memmove(z, z + BLOCK, BLOCK * sizeof *z);
    for (int v = 0; v < VECTORS; v++) {
      reals drawn[2];
      draw_normals(&g, v, &drawn[0], &drawn[1]);
      for (int i = 0; i < 2; i++)
        for (int lane = 0; lane < LANES_PER_VECTOR; lane++)
          z[BLOCK + i * LANES + v * LANES_PER_VECTOR + lane] = drawn[i][lane];
    }
    double sums[POWERS] = {0};
    for (int k = BLOCK; k < COLUMNS; k++) {   /* bins of width 1/128 on [-8, 8), further out counted at the ends */
      const double z2 = z[k] * z[k];
      counts[(int)(fmin(fmax(z[k] * 128.0 + 1024.0, 0.0), 2047.0))]++;
      sums[0] += z[k], sums[1] += z2, sums[2] += z2 * z[k];
      sums[3] += z2 * z2, sums[4] += z2 * z2 * z[k], sums[5] += z2 * z2 * z2;
    }
    for (int i = 0; i < POWERS; i++) powers[i] += sums[i];
    if (block > 0 && block <= correlated)
      for (int a = 0; a < COLUMNS; a++)
        for (int b = 0; b < COLUMNS; b++) products[a * COLUMNS + b] += z[a] * z[b];
  }
}
