// Owns: the addon's entry: all that the package's own binding offers, and `readInto`, which copies a tensor's numbers to where they
// are wanted, converted on the way, and leaves no garbage, and `trimMemory`. Refuses to know: kernels that compute.

// The package's entry under another name, so that ours can call it.
#define napi_register_module_v1 registerPackageBinding
#include "tfjs_binding.cc"
#undef napi_register_module_v1

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "op.h"
#include "passes.h"

namespace lockstep {
namespace {

/** Where LockstepRead writes: set for the length of one call, in whose thread the op runs. */
struct Destination {
  void* numbers;
  int64_t count;
  napi_typedarray_type type;
  bool written;
};
thread_local Destination* destination = nullptr;

template <typename T>
class Read {
 public:
  explicit Read(Attributes) {}

  void run(Call call) const {
    require(destination != nullptr, "LockstepRead is run by readInto alone, in its own thread");
    const TensorPtr tensor = call.input(0);
    require(TF_TensorElementCount(tensor.get()) == destination->count, "the array is not as long as the tensor");
    copy(dataOf<T>(tensor), destination->count);
    destination->written = true;
  }

 private:
  static void copy(const float* from, int64_t count) {
    requireArray(napi_float32_array, napi_uint16_array);
    if (destination->type == napi_uint16_array)
      passesFor(2).round(from, static_cast<Bfloat16*>(destination->numbers), count);
    else memcpy(destination->numbers, from, count * sizeof(float));
  }

  static void copy(const Bfloat16* from, int64_t count) {
    requireArray(napi_float32_array, napi_uint16_array);
    if (destination->type == napi_uint16_array) memcpy(destination->numbers, from, count * sizeof(Bfloat16));
    else passesFor(2).widen(from, static_cast<float*>(destination->numbers), count);
  }

  static void copy(const uint8_t* from, int64_t count) {
    requireArray(napi_uint8_array, napi_uint8_array);
    memcpy(destination->numbers, from, count);
  }

  static void requireArray(napi_typedarray_type one, napi_typedarray_type other) {
    require(destination->type == one || destination->type == other, "the array is not of a type for this tensor");
  }
};

const bool registered =
    registerFor<Read>({"LockstepRead", {"T: {float, bfloat16, uint8}"}, {"tensor: T"}, {}}) &&
    registerSingle<Read<uint8_t>>({"LockstepRead", {}, {}, {}}, "Uint8", &DATA_TYPE<uint8_t>);

/**
 * readInto(id, attributes, array): float32 or bfloat16 as float32 into a Float32Array, as the bits of bfloat16 into a
 * Uint16Array; uint8 into a Uint8Array.
 */
napi_value readInto(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value arguments[3];
  napi_typedarray_type type;
  size_t length = 0;
  void* numbers = nullptr;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) != napi_ok || count < 3 ||
      napi_get_typedarray_info(env, arguments[2], &type, &length, &numbers, nullptr, nullptr) != napi_ok ||
      (type != napi_float32_array && type != napi_uint16_array && type != napi_uint8_array)) {
    napi_throw_type_error(env, nullptr, "readInto takes a tensor's id, attributes and a Float32Array, Uint16Array or Uint8Array");
    return nullptr;
  }
  napi_value name, inputs, outputs;
  napi_create_string_utf8(env, "LockstepRead", NAPI_AUTO_LENGTH, &name);
  napi_create_array_with_length(env, 1, &inputs);
  napi_set_element(env, inputs, 0, arguments[0]);
  napi_create_int32(env, 0, &outputs);
  void* backend = nullptr;
  napi_get_instance_data(env, &backend);
  Destination target = {numbers, static_cast<int64_t>(length), type, false};
  destination = &target;
  static_cast<tfnodejs::TFJSBackend*>(backend)->ExecuteOp(env, name, arguments[1], inputs, outputs);
  destination = nullptr;
  bool failed = false;
  napi_is_exception_pending(env, &failed);
  if (!failed && !target.written) napi_throw_error(env, nullptr, "TensorFlow ran LockstepRead in another thread");
  return nullptr;
}

/** trimMemory(): what was freed goes back to the system, where the C library would keep it. */
napi_value trimMemory(napi_env, napi_callback_info) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return nullptr;
}

}  // namespace
}  // namespace lockstep

extern "C" NAPI_MODULE_EXPORT napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  exports = tfnodejs::registerPackageBinding(env, exports);
  const napi_property_descriptor own[] = {
      {"readInto", nullptr, lockstep::readInto, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"trimMemory", nullptr, lockstep::trimMemory, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  if (exports != nullptr) napi_define_properties(env, exports, sizeof(own) / sizeof(own[0]), own);
  return exports;
}
