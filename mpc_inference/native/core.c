/* The local steps that Python would be too slow for: ring products, and keys of function secret sharing.
 *
 * Everything is arithmetic modulo 2^64 on unsigned words.  Nothing here draws randomness or talks to a network.
 * FSS trees: distributed point functions (Boyle, Gilboa, Ishai: "Function Secret Sharing: Improvements and Extensions",
 * CCS 2016, figure 1) with payloads at chosen levels (Boneh et al.: "Lightweight Techniques for Private Heavy Hitters",
 * IEEE S&P 2021, section 4).  Bit 0 of a seed is its control bit, bit 1 is always clear, so seeds carry 126 bits.
 * Table look-up by a shifted point function: Wagh, "Pika", PoPETs 2022; spline by payload (1, r): Boyle et al.,
 * "Function Secret Sharing for Mixed-Mode and Fixed-Point Secure Computation", EUROCRYPT 2021.
 * Compile with -ffp-contract=off: both parties must round the same public table to the same integers.
 */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include "aes.h"

typedef uint64_t u64; typedef uint32_t u32; typedef uint16_t u16; typedef uint8_t u8;
#define RIGHT_BIT 2ull /* in a correction word: the right child's control bit */

void core_init(const u8 *keys) { make_sbox(); for (int k = 0; k < KEYS; k++) expand_round_keys(keys + 16 * k, round_key_bytes[k]); }
void core_mmo(int key, const block *in, block *out, int n) { mmo(key, in, out, n); }
int core_has_aesni(void) {
#if defined(__AES__) && !defined(LLMOS_PORTABLE)
  return 1;
#else
  return 0;
#endif
}

/* y[m][rows] = x[m][cols] . w[rows][cols]^T modulo 2^64; w is a small signed integer. */
#define GEMM(NAME, TYPE)                                                                                       \
  void NAME(const TYPE *restrict w, const u64 *restrict x, u64 *restrict y, int rows, int cols, int m) {       \
    for (int o = 0; o < rows; o += 4) {                                                                        \
      int wide = rows - o < 4 ? rows - o : 4;                                                                  \
      const TYPE *w0 = w + (size_t)o * cols, *w1 = w0 + (wide > 1 ? cols : 0), *w2 = w0 + (wide > 2 ? 2 * cols : 0), *w3 = w0 + (wide > 3 ? 3 * cols : 0); \
      int t = 0;                                                                                               \
      for (; t + 4 <= m; t += 4) {                                                                             \
        const u64 *x0 = x + (size_t)t * cols, *x1 = x0 + cols, *x2 = x1 + cols, *x3 = x2 + cols;               \
        u64 a[4][4] = {{0}};                                                                                   \
        u64 a00 = 0, a01 = 0, a02 = 0, a03 = 0, a10 = 0, a11 = 0, a12 = 0, a13 = 0, a20 = 0, a21 = 0, a22 = 0, a23 = 0, a30 = 0, a31 = 0, a32 = 0, a33 = 0; \
        for (int i = 0; i < cols; i++) {                                                                       \
          u64 v0 = (u64)(int64_t)w0[i], v1 = (u64)(int64_t)w1[i], v2 = (u64)(int64_t)w2[i], v3 = (u64)(int64_t)w3[i]; \
          u64 p = x0[i], q = x1[i], r = x2[i], s = x3[i];                                                      \
          a00 += v0 * p; a01 += v1 * p; a02 += v2 * p; a03 += v3 * p;                                          \
          a10 += v0 * q; a11 += v1 * q; a12 += v2 * q; a13 += v3 * q;                                          \
          a20 += v0 * r; a21 += v1 * r; a22 += v2 * r; a23 += v3 * r;                                          \
          a30 += v0 * s; a31 += v1 * s; a32 += v2 * s; a33 += v3 * s;                                          \
        }                                                                                                      \
        a[0][0] = a00; a[0][1] = a01; a[0][2] = a02; a[0][3] = a03; a[1][0] = a10; a[1][1] = a11; a[1][2] = a12; a[1][3] = a13; \
        a[2][0] = a20; a[2][1] = a21; a[2][2] = a22; a[2][3] = a23; a[3][0] = a30; a[3][1] = a31; a[3][2] = a32; a[3][3] = a33; \
        for (int k = 0; k < 4; k++) for (int j = 0; j < wide; j++) y[(size_t)(t + k) * rows + o + j] = a[k][j]; \
      }                                                                                                        \
      for (; t < m; t++) {                                                                                     \
        const u64 *x0 = x + (size_t)t * cols;                                                                  \
        u64 a0 = 0, a1 = 0, a2 = 0, a3 = 0;                                                                    \
        for (int i = 0; i < cols; i++) {                                                                       \
          u64 p = x0[i];                                                                                       \
          a0 += (u64)(int64_t)w0[i] * p; a1 += (u64)(int64_t)w1[i] * p; a2 += (u64)(int64_t)w2[i] * p; a3 += (u64)(int64_t)w3[i] * p; \
        }                                                                                                      \
        u64 a[4] = {a0, a1, a2, a3};                                                                           \
        for (int j = 0; j < wide; j++) y[(size_t)t * rows + o + j] = a[j];                                     \
      }                                                                                                        \
    }                                                                                                          \
  }
GEMM(core_gemm16, int16_t)
GEMM(core_gemm64, int64_t)

/* ---- key generation (the dealer) ---------------------------------------------------------------------------- */
static inline block xor_if(block a, block b, u64 bit) { u64 m = 0 - bit; a.lo ^= b.lo & m; a.hi ^= b.hi & m; return a; }

/* Payload words: ws = 4 or 8 bytes; out = (beta - H(s0) + H(s1)) * (-1)^t1, word by word. */
static block payload_word(block beta, block h0, block h1, u64 t1, int ws) {
  u64 s[2][3] = {{beta.lo, h0.lo, h1.lo}, {beta.hi, h0.hi, h1.hi}}, r[2];
  for (int k = 0; k < 2; k++) {
    if (ws == 8) { u64 v = s[k][0] - s[k][1] + s[k][2]; r[k] = t1 ? 0 - v : v; }
    else {
      u32 a = (u32)s[k][0] - (u32)s[k][1] + (u32)s[k][2], b = (u32)(s[k][0] >> 32) - (u32)(s[k][1] >> 32) + (u32)(s[k][2] >> 32);
      if (t1) { a = 0 - a; b = 0 - b; }
      r[k] = a | (u64)b << 32;
    }
  }
  return (block){r[0], r[1]};
}

/* n keys of one depth.  alpha: the path, its top bit first (bit depth-1).  roots: party 0's then party 1's seeds.
 * Bit l of levels asks for a payload at level l (1..depth); betas: n x popcount(levels) blocks, in that order.
 * key: n x (depth + popcount(levels)) blocks: correction words, then payload corrections. */
#define LANES 16
void core_dpf_gen(int n, int depth, u64 levels, int ws, const u64 *alpha, const block *roots0, const block *roots1, const block *betas, block *key) {
  int payloads = __builtin_popcountll(levels), stride = depth + payloads;
  for (int base = 0; base < n; base += LANES) {
    int m = n - base < LANES ? n - base : LANES;
    block s[2 * LANES], left[2 * LANES], right[2 * LANES], h[2 * LANES];
    for (int i = 0; i < m; i++) {
      s[i] = roots0[base + i]; s[m + i] = roots1[base + i];
      s[i].lo &= ~3ull; s[m + i].lo = (s[m + i].lo & ~3ull) | 1;
    }
    int done = 0;
    for (int l = 1; l <= depth; l++) {
      mmo(KEY_LEFT, s, left, 2 * m); mmo(KEY_RIGHT, s, right, 2 * m);
      for (int i = 0; i < m; i++) {
        u64 bit = alpha[base + i] >> (depth - l) & 1, t0 = s[i].lo & 1, t1 = s[m + i].lo & 1;
        for (int b = 0; b < 2; b++) { left[b * m + i].lo &= ~2ull; right[b * m + i].lo &= ~2ull; }
        block *lose = bit ? left : right, *keep = bit ? right : left;
        block cw = {lose[i].lo ^ lose[m + i].lo, lose[i].hi ^ lose[m + i].hi};
        u64 tl = (left[i].lo ^ left[m + i].lo ^ bit ^ 1) & 1, tr = (right[i].lo ^ right[m + i].lo ^ bit) & 1;
        cw.lo = (cw.lo & ~3ull) | tl | tr * RIGHT_BIT;
        key[(size_t)(base + i) * stride + l - 1] = cw;
        block use = cw;
        use.lo = (cw.lo & ~3ull) | (bit ? tr : tl);
        s[i] = xor_if(keep[i], use, t0); s[m + i] = xor_if(keep[m + i], use, t1);
      }
      if (levels >> l & 1) {
        mmo(KEY_PAYLOAD, s, h, 2 * m);
        for (int i = 0; i < m; i++)
          key[(size_t)(base + i) * stride + depth + done] =
              payload_word(betas[(size_t)(base + i) * payloads + done], h[i], h[m + i], s[m + i].lo & 1, ws);
        done++;
      }
    }
  }
}

/* ---- evaluation (the parties) ------------------------------------------------------------------------------- */
/* Children first..last of a level whose parents (from parent_first on) are given; indices may run past the domain, modulo it. */
static void expand(const block *parents, int64_t parent_first, block *children, int64_t first, int64_t last, block cw) {
  block left[512], right[512], cl = cw, cr = cw;
  cl.lo = (cw.lo & ~3ull) | (cw.lo & 1); cr.lo = (cw.lo & ~3ull) | (cw.lo >> 1 & 1);
  int64_t p0 = first >> 1, p1 = last >> 1;
  const block *from = parents + (p0 - parent_first);
  int count = (int)(p1 - p0 + 1);
  mmo(KEY_LEFT, from, left, count); mmo(KEY_RIGHT, from, right, count);
  for (int64_t c = first; c <= last; c++) {
    int64_t p = (c >> 1) - p0;
    block k = (c & 1) ? right[p] : left[p];
    k.lo &= ~2ull;
    children[c - first] = xor_if(k, (c & 1) ? cr : cl, from[p].lo & 1);
  }
}

static inline block root_of(block seed, int party) { seed.lo = (seed.lo & ~3ull) | (u64)party; return seed; }

/* SiLU: y = silu(x) for x = (c - r) mod 2^bits, scale 2^fraction; leaf blocks hold two positions of 2^seg integers each,
 * words (1, r mod 2^seg) of 32 bits; level `coarse` holds (1, r).  table[c mod 2^seg][core + 1][2]: value and slope a segment.
 * The core is x in about (-half, half), in segments; above it y = x << up, below it 0. */
void core_silu(int party, int n, int bits, int seg, int coarse, int half, int up, const block *roots, const block *keys, const u32 *c, const u32 *table, u32 *y) {
  int positions = bits - seg, depth = positions - 1, stride = depth + 2, core = 2 * half + 1;
  int64_t total = 1ll << positions, per_coarse = total >> coarse;
  block a[520], b[520], h[520];
  for (int i = 0; i < n; i++) {
    const block *cw = keys + (size_t)i * stride;
    u32 ci = c[i], clo = ci & ((1u << seg) - 1);
    int64_t chi = (int64_t)(ci >> seg);
    /* position j holds x in (clo + (chi - j - 1) 2^seg, clo + (chi - j) 2^seg]; the core is j in [chi - half, chi + half] */
    int64_t j0 = chi - half, j1 = chi + half;
    /* far positive: x >= half segments: j below j0 down to chi - total/2 (x up to half the ring) */
    int64_t far_last = j0 - 1, far_first = chi - total / 2 + 1;
    int64_t edge = (far_last + 1) & ~(per_coarse - 1); /* coarse nodes end here; edge..far_last by leaves */
    int64_t lo = (edge < j0 ? edge : j0), hi = j1;
    block root = root_of(roots[i], party);
    /* walk down, keeping the nodes that cover leaves lo>>1 .. hi>>1, and at `coarse` also those of the far region */
    int64_t cov0 = lo >> 1, cov1 = hi >> 1;
    int64_t cn0 = (far_first + per_coarse - 1) >> (positions - coarse); /* whole nodes only: x below half the ring */
    block *cur = a, *next = b; int64_t cur_first = (cn0 >> coarse), cur_last = cov1 >> depth;
    for (int64_t k = cur_first; k <= cur_last; k++) cur[k - cur_first] = root;
    u32 acc = 0;
    for (int l = 1; l <= depth; l++) {
      int64_t f = l <= coarse ? (cn0 >> (coarse - l)) : (cov0 >> (depth - l)), t = cov1 >> (depth - l);
      expand(cur, cur_first, next, f, t, cw[l - 1]);
      block *swap = cur; cur = next; next = swap; cur_first = f;
      if (l == coarse) {
        int64_t e = edge >> (positions - coarse);
        int count = (int)(e - f);
        if (count > 0) {
          mmo(KEY_PAYLOAD, cur, h, count);
          block p = cw[depth];
          for (int k = 0; k < count; k++) {
            u32 m = (u32)(0 - (cur[k].lo & 1)), on = (u32)h[k].lo + ((u32)p.lo & m), onr = (u32)(h[k].lo >> 32) + ((u32)(p.lo >> 32) & m);
            u32 wrapped = f + k < 0 ? 1u << bits : 0; /* an index below zero stands for r - 2^bits */
            acc += ((ci + wrapped) * on - onr) << up;
          }
        }
      }
    }
    int leaves = (int)(cov1 - cov0 + 1);
    mmo(KEY_PAYLOAD, cur, h, leaves);
    block p = cw[depth + 1];
    const u32 *row = table + (size_t)clo * core * 2;
    u32 pw[4] = {(u32)p.lo, (u32)(p.lo >> 32), (u32)p.hi, (u32)(p.hi >> 32)};
    for (int k = 0; k < leaves; k++) {
      u32 m = (u32)(0 - (cur[k].lo & 1));
      u32 w[4] = {(u32)h[k].lo, (u32)(h[k].lo >> 32), (u32)h[k].hi, (u32)(h[k].hi >> 32)};
      for (int z = 0; z < 2; z++) {
        int64_t j = ((cov0 + k) << 1) + z;
        u32 on = w[2 * z] + (pw[2 * z] & m), onr = w[2 * z + 1] + (pw[2 * z + 1] & m);
        if (j >= j0 && j <= j1) {
          const u32 *ab = row + 2 * (j1 - j);
          acc += ab[0] * on - ab[1] * onr;
        } else if (j >= edge && j < j0) {
          /* x = clo + (chi - j) 2^seg - (r mod 2^seg), exactly */
          u32 x = clo + (u32)((chi - j) << seg);
          acc += (x * on - onr) << up;
        }
      }
    }
    y[i] = party ? 0 - acc : acc;
  }
}

/* e = exp(x) for x = (c - r) mod 2^bits below about one segment: exp(c - r) = exp(c) exp(-r), so the payload at r's segment is
 * exp(-(r mod 2^seg)).  hi[d] stands for segment distance 1 - d; lo[c mod 2^seg]; anything farther below is 0. */
void core_exp(int party, int n, int bits, int seg, int span, const block *roots, const block *keys, const u32 *c, const double *hi, const double *lo, u64 *e) {
  int positions = bits - seg, depth = positions - 1, stride = depth + 1;
  block a[64], b[64], h[64];
  for (int i = 0; i < n; i++) {
    const block *cw = keys + (size_t)i * stride;
    int64_t chi = (int64_t)(c[i] >> seg), j0 = chi - 1, j1 = chi - 2 + span, cov0 = j0 >> 1, cov1 = j1 >> 1;
    double scale = lo[c[i] & ((1u << seg) - 1)];
    block *cur = a, *next = b, root = root_of(roots[i], party);
    int64_t first = cov0 >> depth;
    for (int64_t k = first; k <= cov1 >> depth; k++) cur[k - first] = root;
    for (int l = 1; l <= depth; l++) {
      int64_t f = cov0 >> (depth - l);
      expand(cur, first, next, f, cov1 >> (depth - l), cw[l - 1]);
      block *swap = cur; cur = next; next = swap; first = f;
    }
    int leaves = (int)(cov1 - cov0 + 1);
    mmo(KEY_PAYLOAD, cur, h, leaves);
    block p = cw[depth];
    u64 acc = 0;
    for (int k = 0; k < leaves; k++) {
      u64 m = 0 - (cur[k].lo & 1), w[2] = {h[k].lo + (p.lo & m), h[k].hi + (p.hi & m)};
      for (int z = 0; z < 2; z++) {
        int64_t j = ((cov0 + k) << 1) + z;
        if (j >= j0 && j <= j1) acc += (u64)(int64_t)rint(hi[j - j0] * scale) * w[z];
      }
    }
    e[i] = party ? 0 - acc : acc;
  }
}

/* z = 1 where c = r (a count of zero), one path a key. */
void core_zero(int party, int n, int depth, const block *roots, const block *keys, const u32 *c, u64 *z) {
  int stride = depth + 1;
  for (int base = 0; base < n; base += LANES) {
    int m = n - base < LANES ? n - base : LANES;
    block s[LANES], left[LANES], right[LANES];
    for (int i = 0; i < m; i++) s[i] = root_of(roots[base + i], party);
    for (int l = 1; l <= depth; l++) {
      mmo(KEY_LEFT, s, left, m); mmo(KEY_RIGHT, s, right, m);
      for (int i = 0; i < m; i++) {
        block cw = keys[(size_t)(base + i) * stride + l - 1], k = (c[base + i] >> (depth - l) & 1) ? right[i] : left[i];
        u64 bit = (c[base + i] >> (depth - l) & 1) ? cw.lo >> 1 & 1 : cw.lo & 1;
        cw.lo = (cw.lo & ~3ull) | bit; k.lo &= ~2ull;
        s[i] = xor_if(k, cw, s[i].lo & 1);
      }
    }
    mmo(KEY_PAYLOAD, s, left, m);
    for (int i = 0; i < m; i++) {
      u64 v = left[i].lo + (keys[(size_t)(base + i) * stride + depth].lo & (0 - (s[i].lo & 1)));
      z[base + i] = party ? 0 - v : v;
    }
  }
}

/* y = f(x) with x = (c - r) mod 2^bits over many binades: chords on tree nodes at most 1/32 as wide as the x that they hold.
 * kind 0: 1 / (x unit); kind 1: 1 / sqrt(x unit + shift).  Payload at level l, words of 64 bits: (1, ten bits of r below the node).
 * Output scale 2^fraction.  Levels first..depth carry payloads; x below 32 leaves is answered with less precision. */
static double curve(int kind, double x, double unit, double shift, double least) {
  if (x < least) x = least;
  return kind ? 1.0 / sqrt(x * unit + shift) : 1.0 / (x * unit);
}

void core_curve(int party, int n, int bits, int leaf, int first_level, int kind, double unit, double shift, double scale, const block *roots, const block *keys, const u64 *c, u64 *y) {
  int depth = bits - leaf, stride = depth + depth - first_level + 1;
  block a[160], b[160], h[160];
  double least = ldexp(1.0, leaf);
  for (int i = 0; i < n; i++) {
    const block *cw = keys + (size_t)i * stride;
    int64_t ci = (int64_t)c[i];
    block *cur = a, *next = b;
    int64_t have = 0; /* extended index of cur[0] */
    cur[0] = root_of(roots[i], party); cur[1] = cur[0];
    have = -1;
    u64 acc = 0;
    for (int l = 1; l <= depth; l++) {
      int w = bits - l;
      int64_t kc = ci >> w, kp = ci >> (w + 1);
      int64_t parents = l - 1 >= 6 ? 32 : 1ll << (l - 1); /* the nodes kp - parents .. kp were kept */
      int64_t low = l == 1 ? kc - 2 : 2 * (kp - parents);
      expand(cur, have, next, low, kc, cw[l - 1]);
      block *swap = cur; cur = next; next = swap; have = low;
      int64_t keep = l >= 6 ? kc - 32 : kc - (1ll << l);
      int64_t last = l == depth ? kc : keep - 1, from = kc - (1ll << l) + 1; /* a node once only: the domain is a ring */
      if (from < low) from = low;
      if (l >= first_level && last >= from) {
        int count = (int)(last - from + 1);
        const block *emit = cur + (from - low);
        mmo(KEY_PAYLOAD, emit, h, count);
        block p = cw[depth + l - first_level];
        double width = ldexp(1.0, w);
        for (int k = 0; k < count; k++) {
          u64 m = 0 - (emit[k].lo & 1), on = h[k].lo + (p.lo & m), onr = h[k].hi + (p.hi & m);
          double top = (double)(ci - ((from + k) << w));
          double ft = curve(kind, top, unit, shift, least), fl = curve(kind, top - width, unit, shift, least);
          double fm = curve(kind, top - width / 2, unit, shift, least);
          double slope = (ft - fl) / 1024.0, value = ft + (fm - (ft + fl) / 2) / 2 - slope / 2;
          acc += (u64)(int64_t)rint(value * scale) * on - (u64)(int64_t)rint(slope * scale) * onr;
        }
      }
      if (keep > have && l < depth) { /* drop what was emitted */
        memmove(cur, cur + (keep - have), sizeof(block) * (size_t)(kc - keep + 1)); have = keep;
      }
    }
    y[i] = party ? 0 - acc : acc;
  }
}

/* counts[h][b-1] += 1 where a score's bucket is at least base + b: the one-hot table of 64 buckets, shifted by c. */
void core_buckets(int heads, int keys, int seg, int base, int thresholds, const u32 *c, const u16 *onehot, u32 *counts) {
  memset(counts, 0, sizeof(u32) * (size_t)heads * thresholds);
  for (int h = 0; h < heads; h++)
    for (int k = 0; k < keys; k++) {
      size_t i = (size_t)h * keys + k;
      const u16 *row = onehot + i * 64;
      int chi = (int)(c[i] >> seg);
      u16 sum = 0;
      for (int d = 31; d > base; d--) {
        sum += row[(chi - d) & 63];
        if (d - base <= thresholds) counts[h * thresholds + d - base - 1] += sum;
      }
    }
}

/* One token's attention.  q: own share; q_open, q_mask: the opened value, own mask share; cached k likewise; prefix keys are public. */
void core_scores(int heads, int group, int dim, int prefix, int own, const u64 *q, const u64 *q_open, const u64 *q_mask, const u64 *prefix_k,
                 const u64 *k_share, const u64 *k_open, const u64 *product, u64 *s) {
  int kv = heads / group * dim, total = prefix + own;
  for (int h = 0; h < heads; h++) {
    int at = h / group * dim;
    for (int j = 0; j < prefix; j++) {
      u64 acc = 0;
      for (int d = 0; d < dim; d++) acc += q[h * dim + d] * prefix_k[(size_t)j * kv + at + d];
      s[(size_t)h * total + j] = acc;
    }
    for (int j = 0; j < own; j++) {
      u64 acc = product[(size_t)h * own + j];
      const u64 *ks = k_share + (size_t)j * kv + at, *ko = k_open + (size_t)j * kv + at;
      for (int d = 0; d < dim; d++) acc += q_open[h * dim + d] * ks[d] - q_mask[h * dim + d] * ko[d];
      s[(size_t)h * total + prefix + j] = acc;
    }
  }
}

void core_values(int heads, int group, int dim, int prefix, int own, const u64 *e, const u64 *e_open, const u64 *e_mask, const u64 *prefix_v,
                 const u64 *v_share, const u64 *v_open, const u64 *product, u64 *out) {
  int kv = heads / group * dim, total = prefix + own;
  for (int h = 0; h < heads; h++) {
    int at = h / group * dim;
    u64 *o = out + h * dim;
    for (int d = 0; d < dim; d++) o[d] = product[h * dim + d];
    for (int j = 0; j < prefix; j++)
      for (int d = 0; d < dim; d++) o[d] += e[(size_t)h * total + j] * prefix_v[(size_t)j * kv + at + d];
    for (int j = 0; j < own; j++) {
      u64 eo = e_open[(size_t)h * own + j], em = e_mask[(size_t)h * own + j];
      for (int d = 0; d < dim; d++) o[d] += eo * v_share[(size_t)j * kv + at + d] - em * v_open[(size_t)j * kv + at + d];
    }
  }
}
