//===- MoeAllAttrs.td - All attributes of the dialect ------*- tablegen -*-===//
//
// One generated list, so that the dialect has one attribute parser.
//
//===----------------------------------------------------------------------===//
include "dialects/moe/MoeAttrs.td"
include "dialects/moe/MoeRoutingStages.td"
