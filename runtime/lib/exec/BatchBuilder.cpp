//===- BatchBuilder.cpp - From a caller's items to a batch ----------------===//

#include "runtime/lib/exec/BatchBuilder.h"

#include "runtime/lib/exec/Layout.h"

#include "absl/strings/str_join.h"

#include <climits>

using namespace moe::rt;

void BatchBuilder::begin(const Entry &wanted) {
  entry = &wanted;
  function = &model.functions[wanted.function];
  present = 0;
  std::fill(std::begin(rawInputs), std::end(rawInputs), 0);
  tokens.clear();
  kinds.clear();
  positions.clear();
  cuSeqlens.assign(1, 0);
  pageTable.clear();
  logitsRows.clear();
  starts.assign(1, 0);
  rawSources.clear();
}

absl::StatusOr<BatchBuilder::Resolved>
BatchBuilder::resolve(const moe_input &input) const {
  const Modality *modality = input.modality ? model.findModality(input.modality)
                             : input.modality_id < MOE_MAX_MODALITIES
                                 ? model.byId[input.modality_id]
                                 : nullptr;
  if (!modality) {
    const std::string name = input.modality
                                 ? absl::StrCat("'", input.modality, "'")
                                 : absl::StrCat("id ", input.modality_id);
    const std::string known = absl::StrJoin(
        model.modalities, ", ", [](std::string *out, const Modality &each) {
          absl::StrAppend(out, each.name);
        });
    return notFound("entry '", entry->name, "', item ", cuSeqlens.size() - 1,
                    ": expected a modality of the model (", known, "), found ",
                    name);
  }
  if (!input.data || input.count == 0)
    return badItem("expected data of '", modality->name, "', found ",
                   input.data ? "no elements" : "NULL");
  if (modality->isRaw) {
    if (input.dtype != modality->dtype)
      return badItem("expected '", modality->name, "' as ",
                     dtypeName(modality->dtype), ", found ",
                     dtypeName(input.dtype));
    if (input.count % modality->elements)
      return badItem("expected '", modality->name, "' in steps of ",
                     modality->elements, " elements, found ", input.count);
    return Resolved{modality, input.count / modality->elements};
  }
  constexpr uint32_t kByteIds = 256;
  if (input.dtype != MOE_I32 &&
      (input.dtype != MOE_U8 || modality->vocab != kByteIds))
    return badItem("expected '", modality->name, "' (", modality->vocab,
                   " ids) as ",
                   modality->vocab == kByteIds ? "u8 or i32" : "i32",
                   ", found ", dtypeName(input.dtype));
  return Resolved{modality, input.count};
}

absl::Status BatchBuilder::checkLength(uint64_t held, uint64_t added) const {
  const uint64_t capacity = function->cacheTokens;
  if (capacity && added > capacity - std::min(held, capacity))
    return overCapacity(
        "entry '", entry->name, "', item ", cuSeqlens.size() - 1, ": needs ",
        added, " tokens of cache, ", capacity - std::min(held, capacity),
        " are available (the sequence holds ", held, " of ", capacity, ")");
  const uint64_t longest = function->maxSequence;
  if (!capacity && longest && added > longest)
    return overCapacity("entry '", entry->name, "', item ",
                        cuSeqlens.size() - 1, ": expected at most ", longest,
                        " tokens, found ", added);
  return absl::OkStatus();
}

absl::Status BatchBuilder::layoutError(StructArray<const moe_input> inputs,
                                       uint64_t held) const {
  std::vector<std::string> found;
  for (uint64_t i = 0; i < inputs.size(); ++i) {
    const auto resolved = resolve(inputs[i]);
    found.push_back(
        absl::StrCat(resolved->modality->name, "[", resolved->inputs, "]"));
  }
  return badItem("expected ", held ? "a part of " : "", entry->layoutText,
                 held ? absl::StrCat(" after ", held, " tokens") : "",
                 ", found ",
                 found.empty() ? "nothing" : absl::StrJoin(found, ", "));
}

absl::Status BatchBuilder::add(const moe_item &item, const PageList *sequence) {
  const StructArray<const moe_input> inputs(item.inputs, item.num_inputs);
  MOE_RETURN_IF_ERROR(inputs.check("inputs"));
  const uint64_t held = sequence ? sequence->length.load() : 0;

  // The sizes first: appending relies on a sum that fits.
  LayoutMatcher layout(*entry, held == 0);
  uint64_t added = 0;
  for (uint64_t i = 0; i < inputs.size(); ++i) {
    const auto resolved = resolve(inputs[i]);
    if (!resolved.ok())
      return resolved.status();
    const Modality &modality = *resolved->modality;
    if (!(function->modalities >> modality.id & 1))
      return badItem("modality '", modality.name,
                     "' does not occur in this entry, which expects ",
                     entry->layoutText);
    if (!layout.add(modality, resolved->inputs))
      return layoutError(inputs, held);
    // Neither the product nor the sum overflows: both factors are checked to
    // be below 2^32, the sum so far to be below 2^31.
    added += std::min<uint64_t>(resolved->inputs, INT32_MAX) *
             modality.tokensPerInput;
    if (added > INT32_MAX - tokens.size())
      return badItem("expected at most ", INT32_MAX, " tokens in a batch");
  }
  if (added == 0 || !layout.finish())
    return layoutError(inputs, held);
  MOE_RETURN_IF_ERROR(checkLength(held, added));

  const uint64_t firstToken = tokens.size();
  for (uint64_t i = 0; i < inputs.size(); ++i) {
    const auto resolved = resolve(inputs[i]);
    if (resolved->modality->isRaw)
      appendRaw(inputs[i], *resolved);
    else
      MOE_RETURN_IF_ERROR(appendIds(inputs[i], *resolved));
    present |= 1u << resolved->modality->id;
  }
  for (uint64_t i = 0; i < added; ++i)
    positions.push_back(static_cast<int32_t>(held + i));
  MOE_RETURN_IF_ERROR(appendRows(item, firstToken));
  cuSeqlens.push_back(static_cast<int32_t>(tokens.size()));
  return absl::OkStatus();
}

absl::Status BatchBuilder::appendIds(const moe_input &input,
                                     const Resolved &resolved) {
  const Modality &modality = *resolved.modality;
  kinds.insert(kinds.end(), input.count, static_cast<int8_t>(modality.id));
  if (input.dtype == MOE_U8) {
    const auto *bytes = static_cast<const uint8_t *>(input.data);
    tokens.insert(tokens.end(), bytes, bytes + input.count);
    return absl::OkStatus();
  }
  const auto *ids = static_cast<const int32_t *>(input.data);
  for (uint64_t i = 0; i < input.count; ++i) {
    if (ids[i] < 0 || static_cast<uint32_t>(ids[i]) >= modality.vocab)
      return badItem("expected ids of '", modality.name, "' from 0 to ",
                     modality.vocab - 1, ", found ", ids[i], " at ", i);
    tokens.push_back(ids[i]);
  }
  return absl::OkStatus();
}

void BatchBuilder::appendRaw(const moe_input &input, const Resolved &resolved) {
  const Modality &modality = *resolved.modality;
  const uint64_t count = resolved.inputs * modality.tokensPerInput;
  const uint64_t first = rawInputs[modality.id] * modality.tokensPerInput;
  for (uint64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(first + i));
  kinds.insert(kinds.end(), count, static_cast<int8_t>(modality.id));
  rawInputs[modality.id] += resolved.inputs;
  rawSources.push_back({&modality, input.data, resolved.inputs});
}

absl::Status BatchBuilder::appendRows(const moe_item &item,
                                      uint64_t firstToken) {
  const uint64_t count = tokens.size() - firstToken;
  if (!item.rows && item.num_rows)
    return badItem("expected ", item.num_rows, " rows, found NULL");
  if (item.rows) {
    for (uint64_t i = 0; i < item.num_rows; ++i) {
      if (item.rows[i] >= count)
        return badItem("expected rows below the ", count,
                       " tokens of the item, found ", item.rows[i]);
      logitsRows.push_back(static_cast<int32_t>(firstToken + item.rows[i]));
    }
  } else {
    for (uint64_t i = entry->lastOnly ? count - 1 : 0; i < count; ++i)
      logitsRows.push_back(static_cast<int32_t>(firstToken + i));
  }
  if (logitsRows.size() > INT32_MAX)
    return badItem("expected at most ", INT32_MAX, " rows in a batch");
  starts.push_back(logitsRows.size());
  return absl::OkStatus();
}

absl::Status BatchBuilder::finish() {
  result = {};
  result.size = sizeof(result);
  result.extents.size = sizeof(result.extents);
  result.extents.tokens = tokens.size();
  result.extents.sequences = cuSeqlens.size() - 1;
  result.extents.logits_rows = logitsRows.size();
  result.tokens = tokens.data();
  result.kinds = kinds.data();
  result.positions = positions.data();
  result.cu_seqlens = cuSeqlens.data();
  result.logits_rows = logitsRows.data();
  uint64_t copied[MOE_MAX_MODALITIES] = {};
  for (const RawSource &source : rawSources) {
    const Modality &modality = *source.modality;
    const uint64_t all = rawInputs[modality.id];
    result.extents.raw_inputs[modality.id] = all;
    // One aligned array is used where it lies.
    if (source.inputs == all &&
        reinterpret_cast<uintptr_t>(source.data) % dtypeBytes(modality.dtype) ==
            0) {
      result.raw[modality.id] = source.data;
      continue;
    }
    Region &buffer = rawBuffers[modality.id];
    MOE_RETURN_IF_ERROR(buffer.grow(all * modality.bytes));
    std::memcpy(buffer.data() + copied[modality.id], source.data,
                source.inputs * modality.bytes);
    copied[modality.id] += source.inputs * modality.bytes;
    result.raw[modality.id] = buffer.data();
  }
  return absl::OkStatus();
}

void BatchBuilder::setPages(const std::vector<PageList *> &sequences) {
  uint64_t columns = 0;
  for (const PageList *sequence : sequences)
    columns = std::max<uint64_t>(columns, sequence->pages.size());
  // Entries that no token reaches stay 0, a page that exists.
  pageTable.assign(sequences.size() * columns, 0);
  for (size_t b = 0; b < sequences.size(); ++b)
    std::copy(sequences[b]->pages.begin(), sequences[b]->pages.end(),
              pageTable.begin() + static_cast<std::ptrdiff_t>(b * columns));
  result.page_table = pageTable.data();
  result.pages_per_sequence = columns;
}
