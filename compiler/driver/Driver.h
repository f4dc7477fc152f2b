//===- Driver.h - What moec does --------------------------------*- C++ -*-===//
#ifndef MOEC_COMPILER_DRIVER_DRIVER_H
#define MOEC_COMPILER_DRIVER_DRIVER_H

namespace moec {

/// The program moec: parses the command line, compiles, and returns the exit
/// code. A crash inside becomes code 70 with a message.
int runDriver(int argc, char **argv);

} // namespace moec

#endif // MOEC_COMPILER_DRIVER_DRIVER_H
