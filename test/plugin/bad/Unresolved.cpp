//===- Unresolved.cpp - A symbol that only another build has --------------===//

extern "C" void moec_symbol_of_another_build();

extern "C" __attribute__((visibility("default"))) void useOfAnotherBuild() {
  moec_symbol_of_another_build();
}
