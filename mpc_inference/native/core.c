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

/* wide: leaves have two payload blocks, the second under KEY_PAYLOAD_HIGH.
 * n keys of one depth.  alpha: the path, its top bit first (bit depth-1).  roots: party 0's then party 1's seeds.
 * Bit l of levels asks for a payload at level l (1..depth); betas: n x payloads blocks, in that order.
 * key: n x (depth + payloads) blocks: correction words, then payload corrections. */
#define LANES 16
void core_dpf_gen(int n, int depth, u64 levels, int ws, int wide, const u64 *alpha, const block *roots0, const block *roots1, const block *betas, block *key) {
  int payloads = __builtin_popcountll(levels) + wide, stride = depth + payloads;
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
    if (wide) {
      mmo(KEY_PAYLOAD_HIGH, s, h, 2 * m);
      for (int i = 0; i < m; i++)
        key[(size_t)(base + i) * stride + depth + done] =
            payload_word(betas[(size_t)(base + i) * payloads + done], h[i], h[m + i], s[m + i].lo & 1, ws);
    }
  }
}

/* ---- evaluation (the parties) ------------------------------------------------------------------------------- */
/* A run of one level's nodes by index; indices may run past the domain, modulo it. */
typedef struct { block *a, *b, *nodes; int64_t first, last; } strip; /* a: where nodes lie; b: the other buffer */

static inline void expand(strip *s, int64_t first, int64_t last, block cw) {
  int64_t p0 = first >> 1, p1 = last >> 1;
  block *out = s->b;
  both_children(s->nodes + (p0 - s->first), out, (int)(p1 - p0 + 1), cw);
  s->b = s->a; s->a = out; s->nodes = out + (first & 1);
  s->first = first; s->last = last;
}

static inline block root_of(block seed, int party) { seed.lo = (seed.lo & ~3ull) | (u64)party; return seed; }

static inline void plant(strip *s, block *a, block *b, block root, int64_t first, int64_t last) {
  s->a = s->nodes = a; s->b = b; s->first = first; s->last = last;
  for (int64_t k = first; k <= last; k++) a[k - first] = root;
}

/* SiLU: y = silu(x) for x = (c - r) mod 2^bits, scale 2^fraction.  A leaf node holds four positions of 2^seg integers each as two
 * payload blocks of words (1, r mod 2^seg) of 32 bits; level `coarse` holds (1, r).  table[c mod 2^seg][2 half + 1][2]: value and
 * minus the slope, by rising position.  The core is x in about (-half, half) segments; above it y = x << up, below it 0. */
typedef u32 four __attribute__((vector_size(16), aligned(4), may_alias));
/* Sum over leaf nodes: their payloads, corrected where the control bit is set, times the table. A node has four positions of two words.
 * Reads up to three nodes past the last, which the table must weigh with zero. */
static inline u32 weigh(const block *nodes, const block *low, const block *high, const block *correction, const u32 *tab, int leaves) {
#if defined(__AVX512F__) && !defined(LLMOS_PORTABLE)
  const __m512i p0 = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)correction)), p1 = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)correction + 1));
  const __m512i one = _mm512_set_epi64(0, 1, 0, 1, 0, 1, 0, 1);
  const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0;
  for (int k = 0; k < leaves; k += 4) {
    __mmask8 on = _mm512_test_epi64_mask(_mm512_loadu_si512(nodes + k), one);
    on |= (__mmask8)(on << 1);
    __m512i l = _mm512_add_epi32(_mm512_loadu_si512(low + k), _mm512_maskz_mov_epi64(on, p0));
    __m512i h = _mm512_add_epi32(_mm512_loadu_si512(high + k), _mm512_maskz_mov_epi64(on, p1));
    sum0 = _mm512_add_epi32(sum0, _mm512_mullo_epi32(_mm512_permutex2var_epi64(l, first, h), _mm512_loadu_si512(tab + 8 * k)));
    sum1 = _mm512_add_epi32(sum1, _mm512_mullo_epi32(_mm512_permutex2var_epi64(l, second, h), _mm512_loadu_si512(tab + 8 * k + 16)));
  }
  return (u32)_mm512_reduce_add_epi32(_mm512_add_epi32(sum0, sum1));
#else
  four p0, p1, sum = {0, 0, 0, 0};
  memcpy(&p0, correction, 16); memcpy(&p1, correction + 1, 16);
  for (int k = 0; k < leaves; k++) {
    u32 m = (u32)(0 - (nodes[k].lo & 1));
    four mm = {m, m, m, m};
    sum += (*(const four *)(low + k) + (p0 & mm)) * *(const four *)(tab + 8 * k) + (*(const four *)(high + k) + (p1 & mm)) * *(const four *)(tab + 8 * k + 4);
  }
  return sum[0] + sum[1] + sum[2] + sum[3];
#endif
}

#define SILU_LANES 8
void core_silu(int party, int n, int bits, int seg, int coarse, int half, int up, const block *roots, const block *keys, const u32 *c, const u32 *table, u32 *y) {
  int positions = bits - seg, depth = positions - 2, stride = depth + 3, core = 2 * half + 1, down = positions - coarse;
  int64_t total = 1ll << positions;
  block room[SILU_LANES][2][160], low[160], high[160];
  u32 tab[2 * 640];
  for (int base = 0; base < n; base += SILU_LANES) {
    int lanes = n - base < SILU_LANES ? n - base : SILU_LANES;
    strip s[LANES];
    int64_t cn0[LANES], cn1[LANES], edge[LANES], j0[LANES], cov0[LANES], cov1[LANES];
    u32 acc[LANES] = {0};
    for (int i = 0; i < lanes; i++) {
      int64_t chi = (int64_t)(c[base + i] >> seg);
      /* position j holds x in (clo + (chi - j - 1) 2^seg, clo + (chi - j) 2^seg]; the core is j in [chi - half, chi + half] */
      j0[i] = chi - half;
      edge[i] = (j0[i] >> down) << down;                                /* whole coarse nodes end here, leaves go on to j0 */
      cn0[i] = (chi - total / 2 + (1ll << down)) >> down;               /* whole nodes with x below half the ring */
      cn1[i] = (edge[i] >> down) - 1;
      cov0[i] = edge[i] >> 2; cov1[i] = (chi + half) >> 2;
      plant(s + i, room[i][0], room[i][1], root_of(roots[base + i], party), cn0[i] >> coarse, cov1[i] >> depth);
    }
    for (int l = 1; l <= depth; l++) {
      for (int i = 0; i < lanes; i++)
        expand(s + i, l <= coarse ? cn0[i] >> (coarse - l) : cov0[i] >> (depth - l), cov1[i] >> (depth - l), keys[(size_t)(base + i) * stride + l - 1]);
      if (l == coarse)
        for (int i = 0; i < lanes; i++) {
          int count = (int)(cn1[i] - cn0[i] + 1);
          block p = keys[(size_t)(base + i) * stride + depth];
          mmo(KEY_PAYLOAD, s[i].nodes, low, count);
          for (int k = 0; k < count; k++) {
            u32 m = (u32)(0 - (s[i].nodes[k].lo & 1)), on = (u32)low[k].lo + ((u32)p.lo & m), onr = (u32)(low[k].lo >> 32) + ((u32)(p.lo >> 32) & m);
            u32 wrapped = cn0[i] + k < 0 ? 1u << bits : 0; /* an index below zero stands for r - 2^bits */
            acc[i] += ((c[base + i] + wrapped) * on - onr) << up;
          }
        }
    }
    for (int i = 0; i < lanes; i++) {
      u32 ci = c[base + i], clo = ci & ((1u << seg) - 1);
      int64_t chi = (int64_t)(ci >> seg), start = cov0[i] << 2;
      int leaves = (int)(cov1[i] - cov0[i] + 1);
      u32 *t = tab;
      for (int64_t j = start; j < j0[i]; j++) { u32 x = clo + (u32)((chi - j) << seg); *t++ = x << up; *t++ = 0 - (1u << up); }
      memcpy(t, table + (size_t)clo * core * 2, sizeof(u32) * 2 * (size_t)core);
      t += 2 * core;
      memset(t, 0, sizeof(u32) * 8 * 5); /* nodes past the last count nothing */
      mmo(KEY_PAYLOAD, s[i].nodes, low, leaves); mmo(KEY_PAYLOAD_HIGH, s[i].nodes, high, leaves);
      u32 all = acc[i] + weigh(s[i].nodes, low, high, keys + (size_t)(base + i) * stride + depth + 1, tab, leaves);
      y[base + i] = party ? 0 - all : all;
    }
  }
}

/* e = exp(x) for x = (c - r) mod 2^bits below about one segment: exp(c - r) = exp(c) exp(-r), so the payload at r's segment is
 * exp(-(r mod 2^seg)).  hi[d] stands for segment distance 1 - d; lo[c mod 2^seg]; anything farther below is 0. */
void core_exp(int party, int n, int bits, int seg, int span, const block *roots, const block *keys, const u32 *c, const double *hi, const double *lo, u64 *e) {
  int positions = bits - seg, depth = positions - 1, stride = depth + 1;
  block room[LANES][2][24], h[24];
  for (int base = 0; base < n; base += LANES) {
    int lanes = n - base < LANES ? n - base : LANES;
    strip s[LANES];
    int64_t j0[LANES], cov0[LANES], cov1[LANES];
    for (int i = 0; i < lanes; i++) {
      j0[i] = (int64_t)(c[base + i] >> seg) - 1;
      cov0[i] = j0[i] >> 1; cov1[i] = (j0[i] + span - 1) >> 1;
      plant(s + i, room[i][0], room[i][1], root_of(roots[base + i], party), cov0[i] >> depth, cov1[i] >> depth);
    }
    for (int l = 1; l <= depth; l++)
      for (int i = 0; i < lanes; i++) expand(s + i, cov0[i] >> (depth - l), cov1[i] >> (depth - l), keys[(size_t)(base + i) * stride + l - 1]);
    for (int i = 0; i < lanes; i++) {
      int leaves = (int)(cov1[i] - cov0[i] + 1);
      double scale = lo[c[base + i] & ((1u << seg) - 1)];
      mmo(KEY_PAYLOAD, s[i].nodes, h, leaves);
      block p = keys[(size_t)(base + i) * stride + depth];
      u64 acc = 0;
      for (int k = 0; k < leaves; k++) {
        u64 m = 0 - (s[i].nodes[k].lo & 1), w[2] = {h[k].lo + (p.lo & m), h[k].hi + (p.hi & m)};
        for (int z = 0; z < 2; z++) {
          int64_t d = ((cov0[i] + k) << 1) + z - j0[i];
          if (d >= 0 && d < span) acc += (u64)(int64_t)rint(hi[d] * scale) * w[z];
        }
      }
      e[base + i] = party ? 0 - acc : acc;
    }
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
  block a[96], b[96], h[96];
  double least = ldexp(1.0, leaf);
  for (int i = 0; i < n; i++) {
    const block *cw = keys + (size_t)i * stride;
    int64_t ci = (int64_t)c[i];
    strip s;
    plant(&s, a, b, root_of(roots[i], party), -1, 0);
    u64 acc = 0;
    for (int l = 1; l <= depth; l++) {
      int w = bits - l;
      int64_t kc = ci >> w, kp = ci >> (w + 1);
      int64_t parents = l - 1 >= 6 ? 32 : 1ll << (l - 1); /* the nodes kp - parents .. kp go on, the others were emitted */
      int64_t low = l == 1 ? kc - 2 : 2 * (kp - parents);
      expand(&s, low, kc, cw[l - 1]);
      int64_t keep = l >= 6 ? kc - 32 : kc - (1ll << l);
      int64_t last = l == depth ? kc : keep - 1, from = kc - (1ll << l) + 1; /* a node once only: the domain is a ring */
      if (from < low) from = low;
      if (l >= first_level && last >= from) {
        int count = (int)(last - from + 1);
        const block *emit = s.nodes + (from - low);
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
    }
    y[i] = party ? 0 - acc : acc;
  }
}

/* counts[h][b-1] += 1 where a score's bucket is at least base + b: the one-hot table of `count` buckets (a power of two), shifted by c. */
void core_buckets(int heads, int keys, int count, int seg, int base, int thresholds, const u32 *c, const u16 *onehot, u32 *counts) {
  memset(counts, 0, sizeof(u32) * (size_t)heads * thresholds);
  for (int h = 0; h < heads; h++)
    for (int k = 0; k < keys; k++) {
      size_t i = (size_t)h * keys + k;
      const u16 *row = onehot + i * count;
      int chi = (int)(c[i] >> seg);
      u16 sum = 0;
      for (int d = count / 2 - 1; d > base; d--) {
        sum += row[(chi - d) & (count - 1)];
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

/* ---- private weights ---------------------------------------------------------------------------------------- */
/* y[m][rows] = x[m][cols] . (open + mask)[rows][cols]^T modulo 2^64, where mask is the AES-128-CTR stream of prg.py's counter (position,
 * layer, block) and `open` may be null: the mask is made anew a tile at a time, so a party stores no second copy of the weights. */
#define TILE 2048 /* words: one tile and its products stay in the first-level cache */
void core_gemm_masked(const u8 *key, u32 position, u32 layer, const u64 *open, const u64 *restrict x, u64 *restrict y, int rows, int cols, int m) {
  u8 round_keys[ROUND_KEYS * 16];
  expand_round_keys(key, round_keys);
  u64 tile[TILE + 16];
  memset(y, 0, sizeof(u64) * (size_t)rows * m);
  for (int o = 0; o < rows; o++)
    for (int from = 0; from < cols; from += TILE) {
      int count = cols - from < TILE ? cols - from : TILE;
      size_t first = (size_t)o * cols + from;
      const u64 *w = tile + (first & 1);
      ctr_words(round_keys, position, layer, first >> 1, tile, (int)(count + (first & 1) + 1) / 2);
      if (open) {
        const u64 *e = open + first;
        u64 *sum = tile + (first & 1);
        for (int i = 0; i < count; i++) sum[i] += e[i];
      }
      for (int t = 0; t < m; t++) {
        const u64 *v = x + (size_t)t * cols + from;
        u64 acc = 0;
        for (int i = 0; i < count; i++) acc += w[i] * v[i];
        y[(size_t)t * rows + o] += acc;
      }
    }
}

/* out[j] = this party's share of [j = alpha] for j below `count`: a point function over its whole domain, two words of 64 bits a leaf. */
int core_onehot(int party, int depth, int count, const block *root, const block *key, u64 *out) {
  size_t leaves = (size_t)1 << depth;
  block *a = malloc(sizeof(block) * (leaves + 16)), *b = malloc(sizeof(block) * (leaves + 16));
  if (!a || !b) { free(a); free(b); return -1; }
  memset(a, 0, sizeof(block) * 16);
  a[0] = root_of(*root, party);
  for (int l = 1; l <= depth; l++) {
    both_children(a, b, 1 << (l - 1), key[l - 1]);
    block *swap = a; a = b; b = swap;
  }
  mmo(KEY_PAYLOAD, a, b, (int)leaves);
  for (int j = 0; j < count; j++) {
    u64 t = 0 - (a[j >> 1].lo & 1), v = j & 1 ? b[j >> 1].hi + (key[depth].hi & t) : b[j >> 1].lo + (key[depth].lo & t);
    out[j] = party ? 0 - v : v;
  }
  free(a); free(b);
  return 0;
}

/* Shares of the payload (two words of 32 bits) where c < alpha, else of zero: a point function with payloads at every level, evaluated at the
 * right siblings of c's path (Boyle et al., EUROCRYPT 2021, section 3).  words: n x depth x 2 payload corrections. */
void core_less(int party, int n, int depth, const block *roots, const block *keys, const u32 *words, const u32 *c, u32 *out) {
  for (int base = 0; base < n; base += LANES) {
    int m = n - base < LANES ? n - base : LANES;
    block s[LANES], left[LANES], right[LANES], h[LANES];
    u32 sum[LANES][2] = {{0}};
    for (int i = 0; i < m; i++) s[i] = root_of(roots[base + i], party);
    for (int l = 0; l < depth; l++) {
      mmo(KEY_LEFT, s, left, m); mmo(KEY_RIGHT, s, right, m);
      for (int i = 0; i < m; i++) {
        block cw = keys[(size_t)(base + i) * depth + l];
        right[i] = corrected(right[i], cw, cw.lo >> 1 & 1, s[i].lo & 1);
        left[i] = corrected(left[i], cw, cw.lo & 1, s[i].lo & 1);
      }
      mmo(KEY_PAYLOAD, right, h, m);
      for (int i = 0; i < m; i++) {
        const u32 *w = words + ((size_t)(base + i) * depth + l) * 2;
        u32 bit = c[base + i] >> (depth - 1 - l) & 1, beside = bit - 1, on = (u32)(0 - (right[i].lo & 1));
        sum[i][0] += ((u32)h[i].lo + (w[0] & on)) & beside;
        sum[i][1] += ((u32)(h[i].lo >> 32) + (w[1] & on)) & beside;
        s[i] = bit ? right[i] : left[i];
      }
    }
    for (int i = 0; i < m; i++)
      for (int k = 0; k < 2; k++) out[(size_t)(base + i) * 2 + k] = party ? 0 - sum[i][k] : sum[i][k];
  }
}
