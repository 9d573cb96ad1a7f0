// One time step of a recurrent layer after its products; see cells.py for what each function computes.
// T trials, B batch, H hidden. Each tensor is followed, after all pointers and T, B, H, by its strides over T and B.
#include <torch/csrc/inductor/cpp_prefix.h>

using Vec = at::vec::Vectorized<float>;
typedef int64_t Int;

static inline Vec sigmoid(Vec x) { return Vec(1.0f) / (Vec(1.0f) + x.neg().exp_u20()); }

// Rational approximation of tanh on [-7.9, 7.9] as in Eigen (generic_fast_tanh_float), within a few units of rounding.
static inline Vec tanh_of(Vec x) {
  using at::vec::fmadd;
  x = at::vec::clamp(x, Vec(-7.90531110763549805f), Vec(7.90531110763549805f));
  const Vec s = x * x;
  Vec p = fmadd(s, Vec(-2.76076847742355e-16f), Vec(2.00018790482477e-13f));
  p = fmadd(s, p, Vec(-8.60467152213735e-11f));
  p = fmadd(s, p, Vec(5.12229709037114e-08f));
  p = fmadd(s, p, Vec(1.48572235717979e-05f));
  p = fmadd(s, p, Vec(6.37261928875436e-04f));
  p = fmadd(s, p, Vec(4.89352455891786e-03f));
  Vec q = fmadd(s, Vec(1.19825839466702e-06f), Vec(1.18534705686654e-04f));
  q = fmadd(s, q, Vec(2.26843463243900e-03f));
  q = fmadd(s, q, Vec(4.89352518554385e-03f));
  return x * p / q;
}

template <typename Body> static inline void each(Int T, Int B, Int H, const Body& body) {
  constexpr Int width = Vec::size();
  for (Int t = 0; t < T; ++t)
    for (Int b = 0; b < B; ++b) {
      Int k = 0;
      for (; k + width <= H; k += width)
        body(t, b, k, [](const float* p) { return Vec::loadu(p); }, [](Vec v, float* p) { v.store(p); });
      if (k < H) {
        const int rest = static_cast<int>(H - k);
        body(t, b, k, [rest](const float* p) { return Vec::loadu(p, rest); }, [rest](Vec v, float* p) { v.store(p, rest); });
      }
    }
}

static void lstm(float* g, float* c, float* c_next, float* h_next, float* out, Int T, Int B, Int H, Int gt, Int gb,
                 Int ct, Int cb, Int nt, Int nb, Int ht, Int hb, Int ot, Int ob) {
  each(T, B, H, [&](Int t, Int b, Int k, auto load, auto save) {
    float* s = g + t * gt + b * gb + k;
    const Vec i = sigmoid(load(s)), f = sigmoid(load(s + H)), a = tanh_of(load(s + 2 * H)), o = sigmoid(load(s + 3 * H));
    const Vec next = f * load(c + t * ct + b * cb + k) + i * a;
    const Vec h = o * tanh_of(next);
    save(i, s), save(f, s + H), save(a, s + 2 * H), save(o, s + 3 * H);
    save(next, c_next + t * nt + b * nb + k), save(h, h_next + t * ht + b * hb + k), save(h, out + t * ot + b * ob + k);
  });
}

static void lstm_back(float* g, float* c, float* c_next, float* slope, float* dh, float* dc, float* d, Int T, Int B,
                      Int H, Int gt, Int gb, Int ct, Int cb, Int nt, Int nb, Int st, Int sb, Int ht, Int hb, Int qt,
                      Int qb, Int dt, Int db) {
  const Vec one(1.0f);
  each(T, B, H, [&](Int t, Int b, Int k, auto load, auto save) {
    const float* s = g + t * gt + b * gb + k;
    float* e = d + t * dt + b * db + k;
    float* q = dc + t * qt + b * qb + k;
    const Vec i = load(s), f = load(s + H), a = load(s + 2 * H), o = load(s + 3 * H);
    const Vec u = tanh_of(load(c_next + t * nt + b * nb + k));
    const Vec dh_all = load(dh + t * ht + b * hb + k) + load(slope + t * st + b * sb + k);
    const Vec dc_all = load(q) + dh_all * o * (one - u * u);
    save(dc_all * a * i * (one - i), e);
    save(dc_all * load(c + t * ct + b * cb + k) * f * (one - f), e + H);
    save(dc_all * i * (one - a * a), e + 2 * H);
    save(dh_all * u * o * (one - o), e + 3 * H);
    save(dc_all * f, q);
  });
}

static void gru(float* g, float* p, float* h, float* h_next, float* n, float* out, Int T, Int B, Int H, Int gt, Int gb,
                Int pt, Int pb, Int ht, Int hb, Int nt, Int nb, Int mt, Int mb, Int ot, Int ob) {
  each(T, B, H, [&](Int t, Int b, Int k, auto load, auto save) {
    float* s = g + t * gt + b * gb + k;
    const float* u = p + t * pt + b * pb + k;
    const Vec r = sigmoid(load(s) + load(u)), z = sigmoid(load(s + H) + load(u + H)), m = load(u + 2 * H);
    const Vec a = tanh_of(load(s + 2 * H) + r * m);
    const Vec next = a + z * (load(h + t * ht + b * hb + k) - a);
    save(r, s), save(z, s + H), save(a, s + 2 * H), save(m, n + t * mt + b * mb + k);
    save(next, h_next + t * nt + b * nb + k), save(next, out + t * ot + b * ob + k);
  });
}

static void gru_back(float* g, float* n, float* h, float* slope, float* dh, float* d, Int T, Int B, Int H, Int gt,
                     Int gb, Int mt, Int mb, Int ht, Int hb, Int st, Int sb, Int qt, Int qb, Int dt, Int db) {
  const Vec one(1.0f);
  each(T, B, H, [&](Int t, Int b, Int k, auto load, auto save) {
    const float* s = g + t * gt + b * gb + k;
    float* e = d + t * dt + b * db + k;
    float* q = dh + t * qt + b * qb + k;
    const Vec r = load(s), z = load(s + H), a = load(s + 2 * H);
    const Vec all = load(q) + load(slope + t * st + b * sb + k);
    const Vec da = all * (one - z) * (one - a * a);
    save(da, e);
    save(da * load(n + t * mt + b * mb + k) * r * (one - r), e + H);
    save(all * (load(h + t * ht + b * hb + k) - a) * z * (one - z), e + 2 * H);
    save(da * r, e + 3 * H);
    save(all * z, q);
  });
}
