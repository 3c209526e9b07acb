/* Fixed-key AES-128 in Matyas-Meyer-Oseas mode: the pseudorandom generator of every function-secret-sharing tree.
 *
 * H_k(s) = AES_k(s) xor s with four public keys (left child, right child, payload and its second block).  Modelled as a circular
 * correlation-robust hash in the ideal-cipher model (Guo, Katz, Wang, Yu: "Efficient and Secure Multiparty Computation
 * from Fixed-Key Block Ciphers", IEEE S&P 2020).  AES-NI when the compiler targets it; the portable path is a byte-wise
 * AES whose table look-ups are not constant-time: it is for machines without AES-NI, on hosts that nobody shares.
 */
#ifndef LLMOS_AES_H
#define LLMOS_AES_H
#include <stdint.h>
#include <string.h>

typedef struct { uint64_t lo, hi; } block;
enum { KEY_LEFT = 0, KEY_RIGHT = 1, KEY_PAYLOAD = 2, KEY_PAYLOAD_HIGH = 3, KEYS = 4, ROUND_KEYS = 11 };

static uint8_t round_key_bytes[KEYS][ROUND_KEYS * 16];
static uint8_t sbox[256];

static uint8_t gf_double(uint8_t x) { return (uint8_t)((x << 1) ^ ((x >> 7) * 0x1b)); }

static void make_sbox(void) { /* FIPS 197 section 5.1.1: inverse in GF(2^8), then the affine map */
  uint8_t p = 1, q = 1;
  do {
    p = (uint8_t)(p ^ (p << 1) ^ ((p & 0x80) ? 0x1b : 0));
    q ^= (uint8_t)(q << 1); q ^= (uint8_t)(q << 2); q ^= (uint8_t)(q << 4);
    if (q & 0x80) q ^= 0x09;
    uint8_t x = (uint8_t)(q ^ ((q << 1) | (q >> 7)) ^ ((q << 2) | (q >> 6)) ^ ((q << 3) | (q >> 5)) ^ ((q << 4) | (q >> 4)));
    sbox[p] = x ^ 0x63;
  } while (p != 1);
  sbox[0] = 0x63;
}

static void expand_round_keys(const uint8_t *key, uint8_t *out) { /* FIPS 197 section 5.2 */
  memcpy(out, key, 16);
  uint8_t rcon = 1;
  for (int i = 16; i < ROUND_KEYS * 16; i += 4) {
    uint8_t t[4] = {out[i - 4], out[i - 3], out[i - 2], out[i - 1]};
    if (i % 16 == 0) {
      uint8_t first = t[0];
      t[0] = sbox[t[1]] ^ rcon; t[1] = sbox[t[2]]; t[2] = sbox[t[3]]; t[3] = sbox[first];
      rcon = gf_double(rcon);
    }
    for (int j = 0; j < 4; j++) out[i + j] = out[i + j - 16] ^ t[j];
  }
}

static inline void aes_portable(const uint8_t *rk, const uint8_t *in, uint8_t *out) {
  uint8_t s[16], t[16];
  for (int i = 0; i < 16; i++) s[i] = in[i] ^ rk[i];
  for (int round = 1; round < ROUND_KEYS; round++) {
    for (int c = 0; c < 4; c++)
      for (int r = 0; r < 4; r++) t[4 * c + r] = sbox[s[4 * ((c + r) % 4) + r]];
    if (round < ROUND_KEYS - 1)
      for (int c = 0; c < 4; c++) {
        uint8_t *a = t + 4 * c, all = a[0] ^ a[1] ^ a[2] ^ a[3], first = a[0];
        for (int r = 0; r < 3; r++) s[4 * c + r] = a[r] ^ all ^ gf_double(a[r] ^ a[r + 1]);
        s[4 * c + 3] = a[3] ^ all ^ gf_double(a[3] ^ first);
      }
    else memcpy(s, t, 16);
    for (int i = 0; i < 16; i++) s[i] ^= rk[16 * round + i];
  }
  memcpy(out, s, 16);
}

#if defined(__AES__) && defined(__SSE4_1__) && !defined(LLMOS_PORTABLE)
#include <immintrin.h>
static inline void mmo(int key, const block *in, block *out, int n) {
  const __m128i *rk = (const __m128i *)round_key_bytes[key];
  int i = 0;
#if defined(__VAES__) && defined(__AVX512F__)
  __m512i k[ROUND_KEYS];
  for (int r = 0; r < ROUND_KEYS; r++) k[r] = _mm512_broadcast_i32x4(_mm_loadu_si128(rk + r));
  for (; i + 16 <= n; i += 16) {
    __m512i a[4], s[4];
    for (int j = 0; j < 4; j++) { a[j] = _mm512_loadu_si512(in + i + 4 * j); s[j] = _mm512_xor_si512(a[j], k[0]); }
    for (int r = 1; r < 10; r++) for (int j = 0; j < 4; j++) s[j] = _mm512_aesenc_epi128(s[j], k[r]);
    for (int j = 0; j < 4; j++) _mm512_storeu_si512(out + i + 4 * j, _mm512_xor_si512(a[j], _mm512_aesenclast_epi128(s[j], k[10])));
  }
  for (; i < n; i += 4) {
    __mmask8 m = n - i >= 4 ? 0xff : (__mmask8)((1u << (2 * (n - i))) - 1);
    __m512i a = _mm512_maskz_loadu_epi64(m, in + i), s = _mm512_xor_si512(a, k[0]);
    for (int r = 1; r < 10; r++) s = _mm512_aesenc_epi128(s, k[r]);
    _mm512_mask_storeu_epi64(out + i, m, _mm512_xor_si512(a, _mm512_aesenclast_epi128(s, k[10])));
  }
#else
  for (; i < n; i += 4) {
    int w = n - i < 4 ? n - i : 4;
    __m128i a[4], s[4];
    for (int j = 0; j < w; j++) { a[j] = _mm_loadu_si128((const __m128i *)(in + i + j)); s[j] = _mm_xor_si128(a[j], _mm_loadu_si128(rk)); }
    for (int r = 1; r < 10; r++) for (int j = 0; j < w; j++) s[j] = _mm_aesenc_si128(s[j], _mm_loadu_si128(rk + r));
    for (int j = 0; j < w; j++)
      _mm_storeu_si128((__m128i *)(out + i + j), _mm_xor_si128(a[j], _mm_aesenclast_si128(s[j], _mm_loadu_si128(rk + 10))));
  }
#endif
}
#else
static inline void mmo(int key, const block *in, block *out, int n) {
  for (int i = 0; i < n; i++) {
    block c;
    aes_portable(round_key_bytes[key], (const uint8_t *)(in + i), (uint8_t *)&c);
    out[i].lo = in[i].lo ^ c.lo; out[i].hi = in[i].hi ^ c.hi;
  }
}
#endif

/* Both children of `count` parents, interleaved: out[2k] left, out[2k + 1] right.  cw: the level's correction word (core.c).
 * Bit 0 of a seed is its control bit, bit 1 is clear.  Reads and writes up to three parents and six children past the end. */
static inline block corrected(block child, block cw, uint64_t bit, uint64_t t) {
  uint64_t m = 0 - t;
  child.lo = (child.lo & ~2ull) ^ (((cw.lo & ~3ull) | bit) & m); child.hi ^= cw.hi & m;
  return child;
}
#if defined(__VAES__) && defined(__AVX512F__) && !defined(LLMOS_PORTABLE)
/* From four parents and the encryptions of both children to eight corrected children, in order. */
#define FINISH(parent, l, r, at)                                                                                                  \
  {                                                                                                                               \
    __m512i left_ = _mm512_and_si512(_mm512_xor_si512(parent, l), not_two), right_ = _mm512_and_si512(_mm512_xor_si512(parent, r), not_two); \
    __mmask8 t_ = _mm512_test_epi64_mask(parent, one);                                                                            \
    t_ |= (__mmask8)(t_ << 1);                                                                                                    \
    left_ = _mm512_mask_xor_epi64(left_, t_, left_, cl); right_ = _mm512_mask_xor_epi64(right_, t_, right_, cr);                  \
    _mm512_storeu_si512(out + 2 * (at), _mm512_permutex2var_epi64(left_, low, right_));                                           \
    _mm512_storeu_si512(out + 2 * (at) + 4, _mm512_permutex2var_epi64(left_, high, right_));                                      \
  }
static inline void both_children(const block *parents, block *out, int count, block cw) {
  const __m128i *kl = (const __m128i *)round_key_bytes[KEY_LEFT], *kr = (const __m128i *)round_key_bytes[KEY_RIGHT];
  const __m512i one = _mm512_set_epi64(0, 1, 0, 1, 0, 1, 0, 1), not_two = _mm512_set_epi64(-1, -3, -1, -3, -1, -3, -1, -3);
  const __m512i low = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), high = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  const __m512i cl = _mm512_broadcast_i32x4(_mm_set_epi64x((long long)cw.hi, (long long)((cw.lo & ~3ull) | (cw.lo & 1))));
  const __m512i cr = _mm512_broadcast_i32x4(_mm_set_epi64x((long long)cw.hi, (long long)((cw.lo & ~3ull) | (cw.lo >> 1 & 1))));
  int i = 0;
  for (; i + 8 <= count; i += 8) { /* two groups at a time hide the latency of an AES round */
    __m512i a[2], l[2], r[2];
    for (int g = 0; g < 2; g++) {
      a[g] = _mm512_loadu_si512(parents + i + 4 * g);
      l[g] = _mm512_xor_si512(a[g], _mm512_broadcast_i32x4(kl[0])); r[g] = _mm512_xor_si512(a[g], _mm512_broadcast_i32x4(kr[0]));
    }
    for (int k = 1; k < 10; k++) {
      __m512i left = _mm512_broadcast_i32x4(kl[k]), right = _mm512_broadcast_i32x4(kr[k]);
      for (int g = 0; g < 2; g++) { l[g] = _mm512_aesenc_epi128(l[g], left); r[g] = _mm512_aesenc_epi128(r[g], right); }
    }
    for (int g = 0; g < 2; g++) {
      l[g] = _mm512_aesenclast_epi128(l[g], _mm512_broadcast_i32x4(kl[10])); r[g] = _mm512_aesenclast_epi128(r[g], _mm512_broadcast_i32x4(kr[10]));
      FINISH(a[g], l[g], r[g], i + 4 * g)
    }
  }
  for (; i < count; i += 4) {
    __m512i a = _mm512_loadu_si512(parents + i);
    __m512i l = _mm512_xor_si512(a, _mm512_broadcast_i32x4(kl[0])), r = _mm512_xor_si512(a, _mm512_broadcast_i32x4(kr[0]));
    for (int k = 1; k < 10; k++) {
      l = _mm512_aesenc_epi128(l, _mm512_broadcast_i32x4(kl[k]));
      r = _mm512_aesenc_epi128(r, _mm512_broadcast_i32x4(kr[k]));
    }
    l = _mm512_aesenclast_epi128(l, _mm512_broadcast_i32x4(kl[10])); r = _mm512_aesenclast_epi128(r, _mm512_broadcast_i32x4(kr[10]));
    FINISH(a, l, r, i)
  }
}
#undef FINISH
#else
static inline void both_children(const block *parents, block *out, int count, block cw) {
  block l[16], r[16];
  for (int i = 0; i < count; i += 16) {
    int w = count - i < 16 ? count - i : 16;
    mmo(KEY_LEFT, parents + i, l, w); mmo(KEY_RIGHT, parents + i, r, w);
    for (int k = 0; k < w; k++) {
      uint64_t t = parents[i + k].lo & 1;
      out[2 * (i + k)] = corrected(l[k], cw, cw.lo & 1, t);
      out[2 * (i + k) + 1] = corrected(r[k], cw, cw.lo >> 1 & 1, t);
    }
  }
}
#endif

/* `count` blocks of AES-128-CTR from block `first` of the counter (position, layer, block), each big-endian, as prg.py makes them. */
static inline block counter_block(uint32_t position, uint32_t layer, uint64_t number) {
  return (block){(uint64_t)__builtin_bswap32(layer) << 32 | __builtin_bswap32(position), __builtin_bswap64(number)};
}
static inline void ctr_words(const uint8_t *round_keys, uint32_t position, uint32_t layer, uint64_t first, uint64_t *words, int count) {
  block *out = (block *)words;
  int i = 0;
#if defined(__VAES__) && defined(__AVX512F__) && !defined(LLMOS_PORTABLE)
  __m512i k[ROUND_KEYS];
  for (int r = 0; r < ROUND_KEYS; r++) k[r] = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)round_keys + r));
  const block head = counter_block(position, layer, 0);
  const __m512i swap = _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 7, 6, 5, 4, 3, 2, 1, 0)); /* the number only */
  __m512i at = _mm512_set_epi64((long long)(first + 3), (long long)head.lo, (long long)(first + 2), (long long)head.lo, (long long)(first + 1),
                                (long long)head.lo, (long long)first, (long long)head.lo);
  const __m512i four_more = _mm512_set_epi64(4, 0, 4, 0, 4, 0, 4, 0);
  for (; i + 16 <= count; i += 16) {
    __m512i s[4];
    for (int j = 0; j < 4; j++) { s[j] = _mm512_xor_si512(_mm512_shuffle_epi8(at, swap), k[0]); at = _mm512_add_epi64(at, four_more); }
    for (int r = 1; r < 10; r++) for (int j = 0; j < 4; j++) s[j] = _mm512_aesenc_epi128(s[j], k[r]);
    for (int j = 0; j < 4; j++) _mm512_storeu_si512(out + i + 4 * j, _mm512_aesenclast_epi128(s[j], k[10]));
  }
#endif
#if defined(__AES__) && defined(__SSE4_1__) && !defined(LLMOS_PORTABLE)
  const __m128i *rk = (const __m128i *)round_keys;
  for (; i < count; i++) {
    block in = counter_block(position, layer, first + i);
    __m128i s = _mm_xor_si128(_mm_loadu_si128((const __m128i *)&in), _mm_loadu_si128(rk));
    for (int r = 1; r < 10; r++) s = _mm_aesenc_si128(s, _mm_loadu_si128(rk + r));
    _mm_storeu_si128((__m128i *)(out + i), _mm_aesenclast_si128(s, _mm_loadu_si128(rk + 10)));
  }
#else
  for (; i < count; i++) {
    block in = counter_block(position, layer, first + i);
    aes_portable(round_keys, (const uint8_t *)&in, (uint8_t *)(out + i));
  }
#endif
}
#endif
