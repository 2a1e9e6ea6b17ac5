// Owns: what every op of ours needs of TensorFlow's C API: inputs, outputs, attributes, refusals and registration.
// Refuses to know: what the ops compute.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernel_api.h"
#include "storage.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_tensor.h"

namespace lockstep {

template <typename T>
constexpr TF_DataType DATA_TYPE = TF_FLOAT;
template <>
inline constexpr TF_DataType DATA_TYPE<Bfloat16> = TF_BFLOAT16;
template <>
inline constexpr TF_DataType DATA_TYPE<uint8_t> = TF_UINT8;
template <>
inline constexpr TF_DataType DATA_TYPE<int32_t> = TF_INT32;

class Status {
 public:
  Status() : status_(TF_NewStatus()) {}
  ~Status() { TF_DeleteStatus(status_); }
  Status(const Status&) = delete;
  TF_Status* get() { return status_; }
  /** @throws std::runtime_error with TensorFlow's reason unless all is well */
  void check() {
    if (TF_GetCode(status_) != TF_OK) throw std::runtime_error(TF_Message(status_));
  }

 private:
  TF_Status* status_;
};

struct TensorDeleter {
  void operator()(TF_Tensor* tensor) const { TF_DeleteTensor(tensor); }
};
using TensorPtr = std::unique_ptr<TF_Tensor, TensorDeleter>;

inline std::vector<int64_t> shapeOf(const TensorPtr& tensor) {
  std::vector<int64_t> shape(TF_NumDims(tensor.get()));
  for (size_t axis = 0; axis < shape.size(); axis++) shape[axis] = TF_Dim(tensor.get(), static_cast<int>(axis));
  return shape;
}

/** A tensor's memory, or null for a tensor that was left out. */
template <typename T>
T* dataOf(const TensorPtr& tensor) {
  return tensor == nullptr ? nullptr : static_cast<T*>(TF_TensorData(tensor.get()));
}

/** One run of an op. */
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context_(context) {}

  TensorPtr input(int index) {
    Status status;
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context_, index, &tensor, status.get());
    status.check();
    return TensorPtr(tensor);
  }

  template <typename T>
  TensorPtr output(int index, const std::vector<int64_t>& shape) {
    Status status;
    size_t bytes = sizeof(T);
    for (int64_t side : shape) bytes *= side;
    TensorPtr tensor(TF_AllocateOutput(context_, index, DATA_TYPE<T>, shape.data(), static_cast<int>(shape.size()),
                                       bytes, status.get()));
    status.check();
    return tensor;
  }

  /** Makes an input's own memory the output: for ops whose caller gives that input up. */
  void handOn(int index, const TensorPtr& input) {
    Status status;
    TF_SetOutput(context_, index, input.get(), status.get());
    status.check();
  }

 private:
  TF_OpKernelContext* context_;
};

/** @throws std::runtime_error where an op was called in a way that it is not made for */
inline void require(bool holds, const char* otherwise) {
  if (!holds) throw std::runtime_error(otherwise);
}

/** Attributes of an op, read once when TensorFlow makes a kernel. */
class Attributes {
 public:
  explicit Attributes(TF_OpKernelConstruction* construction) : construction_(construction) {}

  int64_t integer(const char* name) {
    Status status;
    int64_t value = 0;
    TF_OpKernelConstruction_GetAttrInt64(construction_, name, &value, status.get());
    status.check();
    return value;
  }

  float real(const char* name) {
    Status status;
    float value = 0;
    TF_OpKernelConstruction_GetAttrFloat(construction_, name, &value, status.get());
    status.check();
    return value;
  }

  bool truth(const char* name) {
    Status status;
    unsigned char value = 0;
    TF_OpKernelConstruction_GetAttrBool(construction_, name, &value, status.get());
    status.check();
    return value != 0;
  }

 private:
  TF_OpKernelConstruction* construction_;
};

// Exceptions must not cross into TensorFlow, which is built without them.
template <typename Kernel>
void* createKernel(TF_OpKernelConstruction* construction) {
  try {
    return new Kernel(Attributes(construction));
  } catch (const std::exception& error) {
    Status status;
    TF_SetStatus(status.get(), TF_INVALID_ARGUMENT, error.what());
    TF_OpKernelConstruction_Failure(construction, status.get());
    return nullptr;
  }
}

template <typename Kernel>
void computeKernel(void* kernel, TF_OpKernelContext* context) {
  try {
    static_cast<const Kernel*>(kernel)->run(Call(context));
  } catch (const std::exception& error) {
    Status status;
    TF_SetStatus(status.get(), TF_INVALID_ARGUMENT, error.what());
    TF_OpKernelContext_Failure(context, status.get());
  }
}

template <typename Kernel>
void deleteKernel(void* kernel) {
  delete static_cast<Kernel*>(kernel);
}

/** What an op takes and gives, in the words of TensorFlow's op definitions. */
struct OpDefinition {
  const char* name;
  std::initializer_list<const char*> attributes;
  std::initializer_list<const char*> inputs;
  std::initializer_list<const char*> outputs;
};

/** Ends the process where TensorFlow refuses: then this addon and its library do not belong together. */
void registerOp(const OpDefinition& definition);
/** `type` is the one that the attribute T must have, null for an op without T. */
void registerKernel(const char* op, const char* name, const TF_DataType* type,
                    void* (*create)(TF_OpKernelConstruction*), void (*compute)(void*, TF_OpKernelContext*),
                    void (*destroy)(void*));

template <typename Kernel>
bool registerSingle(const OpDefinition& definition, const char* name = "", const TF_DataType* type = nullptr) {
  if (type == nullptr) registerOp(definition);
  registerKernel(definition.name, name, type, createKernel<Kernel>, computeKernel<Kernel>, deleteKernel<Kernel>);
  return true;
}

/** Registers an op with a kernel for float32 and one for bfloat16. */
template <template <typename> class Kernel>
bool registerFor(const OpDefinition& definition) {
  registerOp(definition);
  return registerSingle<Kernel<float>>(definition, "Float32", &DATA_TYPE<float>) &&
         registerSingle<Kernel<Bfloat16>>(definition, "Bfloat16", &DATA_TYPE<Bfloat16>);
}

}  // namespace lockstep
