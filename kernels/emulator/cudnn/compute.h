// What the stand-in's engines compute: the three passes of a convolution and what follows them,
// naively and in double.
#pragma once
#include "../cuda.h"
#include <array>
#include <cstdint>
#include <vector>

namespace cudnn {

enum DataType { FLOAT = 0, DOUBLE = 1, HALF = 2, BFLOAT16 = 9 };
enum Pass { TO_OUTPUT, TO_WEIGHT, TO_INPUT };
using Shape = std::array<int64_t, 4>;  // images or output channels, channels, rows, columns

inline size_t size_of(int type) { return type == FLOAT ? 4 : type == DOUBLE ? 8 : 2; }
inline int64_t count(const Shape& s) { return s[0] * s[1] * s[2] * s[3]; }
// Where an element is in a tensor that lies channels-last.
inline int64_t at(const Shape& s, int64_t n, int64_t c, int64_t h, int64_t w) {
  return ((n * s[2] + h) * s[3] + w) * s[1] + c;
}

inline double load(int type, const void* p, int64_t i) {
  switch (type) {
    case FLOAT: return static_cast<const float*>(p)[i];
    case DOUBLE: return static_cast<const double*>(p)[i];
    case HALF: return emulator_half_to_float(static_cast<const uint16_t*>(p)[i]);
    default: return __uint_as_float(unsigned(static_cast<const uint16_t*>(p)[i]) << 16);
  }
}

inline void store(int type, void* p, int64_t i, double value) {
  const float x = float(value);
  const unsigned bits = __float_as_uint(x);
  switch (type) {
    case FLOAT: static_cast<float*>(p)[i] = x; break;
    case DOUBLE: static_cast<double*>(p)[i] = value; break;
    case HALF: static_cast<uint16_t*>(p)[i] = emulator_float_to_half(x); break;
    default:
      static_cast<uint16_t*>(p)[i] =
          uint16_t(x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
}

// To TF32: ten bits after the point.
inline double to_tf32(double value) {
  const unsigned bits = __float_as_uint(float(value));
  return __uint_as_float((bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu);
}

struct Tensor {
  int64_t name;
  int type;
  Shape shape;
  bool is_virtual;
};

// Something added, or (without a tensor) the GELU.
struct Step {
  bool gelu;
  Tensor other;
};

struct Convolution {
  Pass pass;
  Tensor x, weight, y;
  std::array<int64_t, 2> padding, stride, dilation;
  std::vector<Step> steps;
  Tensor result;  // of the last step

  // Of the operands.
  int type() const { return pass == TO_WEIGHT ? x.type : weight.type; }
  const Tensor& computed() const { return pass == TO_OUTPUT ? y : pass == TO_INPUT ? x : weight; }
};

// An engine: what it does beside computing.
struct Engine {
  std::vector<int> numerical, behavior;  // notes
  int64_t workspace = 0;
  bool fails = false;  // when a plan is made of it
  bool has(int numerical_note) const {
    for (int note : numerical)
      if (note == numerical_note) return true;
    return false;
  }
};

// Runs it. `address` gives a tensor's memory by its name.
template <class Address> void run(const Convolution& c, const Engine& engine, Address address) {
  const Shape &x = c.x.shape, &w = c.weight.shape, &y = c.y.shape;
  static uint64_t runs = 0;
  ++runs;
  const bool tf32 = c.type() == FLOAT && engine.has(0);
  auto values = [&](const Tensor& tensor, bool computed) {
    std::vector<double> v(size_t(count(tensor.shape)));
    if (computed) return v;
    for (size_t i = 0; i < v.size(); ++i) {
      v[i] = load(tensor.type, address(tensor.name), int64_t(i));
      if (tf32) v[i] = to_tf32(v[i]);
    }
    return v;
  };
  std::vector<double> xs = values(c.x, c.pass == TO_INPUT),
                      ws = values(c.weight, c.pass == TO_WEIGHT),
                      ys = values(c.y, c.pass == TO_OUTPUT);
  const int64_t groups = x[1] / w[1], outputs = w[0] / groups;
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t h = 0; h < y[2]; ++h)
      for (int64_t v = 0; v < y[3]; ++v)
        for (int64_t k = 0; k < w[2]; ++k)
          for (int64_t l = 0; l < w[3]; ++l) {
            const int64_t row = h * c.stride[0] + k * c.dilation[0] - c.padding[0];
            const int64_t column = v * c.stride[1] + l * c.dilation[1] - c.padding[1];
            if (row < 0 || row >= x[2] || column < 0 || column >= x[3]) continue;
            for (int64_t o = 0; o < w[0]; ++o)
              for (int64_t i = 0; i < w[1]; ++i) {
                const size_t from = size_t(at(x, n, o / outputs * w[1] + i, row, column));
                const size_t by = size_t(at(w, o, i, k, l)), to = size_t(at(y, n, o, h, v));
                switch (c.pass) {
                  case TO_OUTPUT: ys[to] += xs[from] * ws[by]; break;
                  case TO_INPUT: xs[from] += ys[to] * ws[by]; break;
                  case TO_WEIGHT: ws[by] += xs[from] * ys[to];
                }
              }
          }
  const std::vector<double>& sums = c.pass == TO_OUTPUT ? ys : c.pass == TO_INPUT ? xs : ws;
  const Shape& shape = c.result.shape;
  for (size_t i = 0; i < sums.size(); ++i) {
    double value = sums[i];
    for (const Step& step : c.steps) {
      if (step.gelu) {
        value *= 0.5 * (1 + erf(value * M_SQRT1_2));
      } else {
        const int64_t channel = int64_t(i) % shape[1];
        value += load(step.other.type, address(step.other.name),
                      count(step.other.shape) == shape[1] ? channel : int64_t(i));
      }
    }
    // A sum in no fixed order has other bits each time.
    if (engine.has(4)) value *= 1 + 1e-7 * double(runs % 16);
    store(c.result.type, address(c.result.name), int64_t(i), value);
  }
}

}  // namespace cudnn
