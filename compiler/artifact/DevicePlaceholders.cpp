//===- DevicePlaceholders.cpp - Calls that become inline PTX --------------===//
#include "compiler/artifact/DevicePlaceholders.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InlineAsm.h"

using namespace llvm;

/// "{$first, .., $last}".
static std::string registers(unsigned count) {
  std::string text = "{";
  for (unsigned i = 0; i < count; ++i)
    text += (i ? ", $" : "$") + std::to_string(i);
  return text + "}";
}

/// Calls inline PTX whose results are tied to the members of `accumulators`.
static Value *callTied(IRBuilder<> &b, StringRef text, Value *accumulators,
                       ArrayRef<Value *> rest, StringRef constraints) {
  auto *type = cast<StructType>(accumulators->getType());
  unsigned count = type->getNumElements();
  SmallVector<Value *> operands;
  SmallVector<Type *> types;
  std::string outputs, inputs;
  for (unsigned i = 0; i < count; ++i) {
    operands.push_back(b.CreateExtractValue(accumulators, i));
    outputs += std::string(i ? "," : "") + "=f";
    inputs += "," + std::to_string(i);
  }
  operands.append(rest.begin(), rest.end());
  for (Value *operand : operands)
    types.push_back(operand->getType());
  std::string all = outputs + inputs;
  if (!constraints.empty())
    all += "," + constraints.str();
  all += ",~{memory}";
  auto *code = InlineAsm::get(FunctionType::get(type, types, false), text, all,
                              /*hasSideEffects=*/true);
  CallInst *call = b.CreateCall(code, operands);
  call->setConvergent();
  return call;
}

/// wgmma of two descriptors.
static Value *buildProduct(IRBuilder<> &b, CallBase &call, StringRef shape,
                           StringRef types) {
  Value *accumulators = call.getArgOperand(0);
  unsigned count = cast<StructType>(accumulators->getType())->getNumElements();
  auto place = [&](unsigned i) { return "$" + std::to_string(2 * count + i); };
  std::string text = "{\n.reg .pred p;\nsetp.ne.b32 p, " + place(2) +
                     ", 0;\nwgmma.mma_async.sync.aligned." + shape.str() + "." +
                     types.str() + " " + registers(count) + ", " + place(0) +
                     ", " + place(1) + ", p, 1, 1, 0, 0;\n}";
  Value *adds = b.CreateZExt(call.getArgOperand(3), b.getInt32Ty());
  return callTied(b, text, accumulators,
                  {call.getArgOperand(1), call.getArgOperand(2), adds},
                  "l,l,r");
}

std::string moec::replacePlaceholders(Module &module) {
  for (Function &function : make_early_inc_range(module)) {
    StringRef name = function.getName();
    if (!name.consume_front("moec.nv."))
      continue;
    for (User *user : make_early_inc_range(function.users())) {
      auto *call = cast<CallBase>(user);
      IRBuilder<> b(call);
      Value *result = nullptr;
      StringRef rest = name;
      if (rest.consume_front("wgmma.wait.")) {
        auto *pending = dyn_cast<ConstantInt>(call->getArgOperand(1));
        if (!pending)
          return function.getName().str();
        std::string text = "wgmma.wait_group.sync.aligned " +
                           std::to_string(pending->getZExtValue()) + ";";
        result = callTied(b, text, call->getArgOperand(0), {}, "");
      } else if (rest.consume_front("wgmma.") && rest.consume_back(".ss")) {
        auto [shape, types] = rest.split('.');
        result = buildProduct(b, *call, shape, types);
      } else {
        return function.getName().str();
      }
      call->replaceAllUsesWith(result);
      call->eraseFromParent();
    }
    function.eraseFromParent();
  }
  return {};
}
