//===- PchAnchor.cpp - Owner of the precompiled header --------------------===//
