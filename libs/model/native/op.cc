#include "op.h"

#include <cstdio>

namespace lockstep {
namespace {

void endUnlessGood(TF_Status* status, const char* op) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "TensorFlow refuses Lockstep's op %s: %s. Run `lockstep setup`.\n", op, TF_Message(status));
  std::abort();
}

}  // namespace

void registerOp(const OpDefinition& definition) {
  Status status;
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder(definition.name);
  for (const char* attribute : definition.attributes) TF_OpDefinitionBuilderAddAttr(builder, attribute);
  for (const char* input : definition.inputs) TF_OpDefinitionBuilderAddInput(builder, input);
  for (const char* output : definition.outputs) TF_OpDefinitionBuilderAddOutput(builder, output);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, [](TF_ShapeInferenceContext* context, TF_Status* result) {
    TF_ShapeInferenceContextSetUnknownShape(context, result);
  });
  TF_RegisterOpDefinition(builder, status.get());
  endUnlessGood(status.get(), definition.name);
}

void registerKernel(const char* op, const char* name, const TF_DataType* type,
                    void* (*create)(TF_OpKernelConstruction*), void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*)) {
  Status status;
  TF_KernelBuilder* builder = TF_NewKernelBuilder(op, "CPU", create, compute, destroy);
  if (type != nullptr) TF_KernelBuilder_TypeConstraint(builder, "T", *type, status.get());
  endUnlessGood(status.get(), op);
  TF_RegisterKernelBuilder((std::string(op) + name).c_str(), builder, status.get());
  endUnlessGood(status.get(), op);
}

}  // namespace lockstep
