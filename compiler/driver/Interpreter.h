//===- Interpreter.h - What moe-interp does ---------------------*- C++ -*-===//
#ifndef MOEC_COMPILER_DRIVER_INTERPRETER_H
#define MOEC_COMPILER_DRIVER_INTERPRETER_H

namespace moec {

/// The program moe-interp: evaluates a step function of IR by the reference
/// semantics of its operations. Returns the exit code.
int runInterpreter(int argc, char **argv);

} // namespace moec

#endif // MOEC_COMPILER_DRIVER_INTERPRETER_H
