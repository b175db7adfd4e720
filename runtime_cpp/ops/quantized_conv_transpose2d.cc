#include <memory>

#include "ops/conv_transpose2d_phases.h"
#include "ops/quantized_dot.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  ConvGeometry g;
  EDGEC_TRY(conv_transpose2d_geometry(ctx, &g, true));
  return infer_quantized_product(ctx, "x", g.out_channels,
                                 {g.batch, g.out_height, g.out_width, g.out_channels});
}

struct PlainStep final : Step {
  ConvGeometry g;
  ProductEpilogue epilogue;
  StoredBytes x_form;
  const int8_t* weight = nullptr;

  Status run(const StepArgs& args) override {
    const TensorView &x = *args.inputs[kQuantizedX], &y = *args.outputs[0];
    for (int64_t m = 0; m < g.batch * g.out_height * g.out_width; ++m) {
      const int64_t ox = m % g.out_width, oy = m / g.out_width % g.out_height,
                    n = m / g.out_width / g.out_height;
      for (int64_t o = 0; o < g.out_channels; ++o) {
        const int64_t group = o / g.out_group_channels();
        uint32_t sum = 0;
        for (int64_t ky = 0; ky < g.kernel_height; ++ky)
          for (int64_t kx = 0; kx < g.kernel_width; ++kx) {
            const int64_t iy = oy + g.pad_top - ky * g.dilation_height,
                          ix = ox + g.pad_left - kx * g.dilation_width;
            if (iy < 0 || iy % g.stride_height != 0 || iy / g.stride_height >= g.height) continue;
            if (ix < 0 || ix % g.stride_width != 0 || ix / g.stride_width >= g.width) continue;
            const uint8_t* p =
                x.as<uint8_t>() + group * g.group_channels +
                ((n * g.height + iy / g.stride_height) * g.width + ix / g.stride_width) * x.pitch;
            const int8_t* w = weight + ((o * g.kernel_height + ky) * g.kernel_width + kx) * g.group_channels;
            for (int64_t c = 0; c < g.group_channels; ++c)
              sum += static_cast<uint32_t>(((p[c] ^ x_form.flip) - x_form.zero) * w[c]);
          }
        epilogue.store(sum, o, nullptr, y, m * y.pitch + o);
      }
    }
    return ok_status();
  }
  const char* kernel_name() const override { return "quantized_conv_transpose2d_plain"; }
};

Status prepare(PrepareContext& ctx) {
  auto step = std::make_unique<PlainStep>();
  EDGEC_TRY(conv_transpose2d_geometry(ctx, &step->g, true));
  EDGEC_TRY(want_constants(ctx, true));
  EDGEC_TRY(step->epilogue.set(ctx, "x", step->g.out_channels));
  step->x_form = stored_form(ctx.input(kQuantizedX), zero_point_of(ctx, "x"));
  step->weight = static_cast<const int8_t*>(ctx.constant(kQuantizedWeight));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantized_conv_transpose2d) {
  OpBuilder op = registry.add("QuantizedConvTranspose2d");
  op.doc("ConvTranspose2d of integers with 32-bit sums, requantised in the same pass (docs/numerics.md).")
      .input("x", "i8 [N,H,W,C]")
      .input("weight", "i8 [O,kh,kw,C/group], zero point 0; a constant")
      .input("weight_scale", "f32 [O] or [1]; a constant")
      .optional("bias", "i32 [O], scale x_scale * weight_scale; a constant")
      .output("y", "[N,OH,OW,O]")
      .attr("strides", std::vector<int64_t>{1, 1}, "height, width")
      .attr("dilations", std::vector<int64_t>{1, 1}, "height, width")
      .attr("pads", std::vector<int64_t>{0, 0, 0, 0}, "top, left, bottom, right; taken from the output")
      .attr("output_padding", std::vector<int64_t>{0, 0},
            "rows and columns added at the bottom and the right")
      .attr("group", 1, "groups of channels that do not see each other");
  declare_quantized_product(op, "x", false);
  op.flags(kPitchedInputs | kPitchedOutputs | kRequantizes).infer(infer).prepare(prepare);
}

}  // namespace edgec
