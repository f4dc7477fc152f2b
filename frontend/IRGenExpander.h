//===- IRGenExpander.h - Expansion of blocks into IR ------------*- C++ -*-===//
//
// The second half of semantic analysis and the building of IR are one walk:
// what a name means, which width a value has and which modalities can be
// present is known only where a block is expanded, and it is known there
// exactly. A fault makes an operand invalid; whatever uses it is skipped
// silently, so that one fault is one message.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_IRGENEXPANDER_H
#define MOEC_FRONTEND_IRGENEXPANDER_H

#include "dialects/interfaces/Activation.h"
#include "frontend/IRGen.h"
#include "frontend/IRGenCatalog.h"
#include "frontend/IRGenWeights.h"
#include "frontend/Sema.h"
#include "frontend/SemaOperations.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

#include <map>
#include <memory>

namespace moec::irgen {

/// What an expression stands for.
enum class OperandKind {
  Invalid, ///< an error was reported
  Static,
  Weight,
  Value,   ///< a token stream
  Ids,     ///< the token ids of a modality
  Raw,     ///< raw inputs of a modality, before they are cut into tokens
  Routing, ///< ids and weights of experts
  Zero,    ///< the word `zero`: contributes nothing
  Several  ///< the results of a block
};

/// Ids and weights over the experts [first, end).
struct RoutingValue {
  mlir::Value ids;
  mlir::Value weights;
  int64_t first = 0;
  int64_t end = 0;
  SourceRange range; ///< of the call that made it
};

struct Operand {
  OperandKind kind = OperandKind::Invalid;
  StaticValue constant;           ///< Static
  std::shared_ptr<WeightMap> map; ///< Weight
  mlir::Value value;              ///< Value, Ids, Raw
  /// Value, Ids: tokens per raw input in the expression of a modality; 0 for
  /// the merged sequence.
  int64_t rows = 0;
  const SemaModel::Modality *modality = nullptr; ///< Ids, Raw
  RoutingValue routing;                          ///< Routing
  std::vector<Operand> several;                  ///< Several

  static Operand ofStatic(std::optional<StaticValue> value);
  static Operand ofValue(mlir::Value value, int64_t rows = 0);
  static Operand ofWeight(WeightMap map);
  explicit operator bool() const { return kind != OperandKind::Invalid; }
  bool is(OperandKind k) const { return kind == k; }
  /// "a value", "a weight": for messages.
  std::string describe() const;
};

/// Element type of results and rounding of matmul operands of one operation.
struct Precision {
  mlir::Type element;
  mlir::Type compute;
};

/// What a table of rotary positions is made from (nn.rotary_table).
struct RotaryParameters {
  std::vector<float> frequencies; ///< one per pair of elements
  double magnitude = 1.0;
  /// Longer sequences differ: by a growth or by frequencies of their own.
  int64_t limit = 0;
  std::optional<double> growth;
  std::vector<float> longFrequencies;
  double longMagnitude = 1.0;

  bool dependsOnLength() const { return limit != 0; }
  bool operator<(const RotaryParameters &other) const;
};

/// The names and prefix of one expansion of a block.
struct Frame {
  struct Binding {
    Operand operand;
    SourceRange range;
  };

  const ast::BlockItem *block = nullptr; ///< null in a modality's expression
  Frame *caller = nullptr;
  llvm::StringMap<Binding> names;
  std::string prefix;
  std::optional<mlir::Location> callSite;
  /// The layers being expanded, and the names that end with the present one.
  const ast::LayersStmt *layers = nullptr;
  std::vector<std::string> layerNames;
};

/// A step function being built: entries that share one block, its static
/// arguments and its cache.
struct StepFunction {
  const ast::BlockItem *block = nullptr;
  std::string key;
  std::vector<const SemaModel::Entry *> entries;
  /// Modalities that some entry takes, ascending.
  llvm::SmallVector<int64_t, 4> modalities;
  int64_t cacheTokens = 0;
  /// Those of all entries.
  SemaModel::RoutingOptions routing;

  mlir::func::FuncOp function;
  mlir::Value tokens, kinds, positions, cuSeqlens, logitsRows;
  llvm::DenseMap<int64_t, mlir::Value> raw;
  /// Modalities that can be present where the walk is, ascending.
  llvm::SmallVector<int64_t, 4> present;
  /// The modality whose expression is being expanded.
  const SemaModel::Modality *expression = nullptr;
  unsigned armDepth = 0; ///< regions of by_modality around the walk
  int64_t layer = -1;
  std::map<int64_t, unsigned> attentions; ///< per layer, so far
  std::map<RotaryParameters, mlir::Value> rotaryTables;
  mlir::Value sequenceLengths; ///< null until a table needs them
  mlir::Operation *prologueEnd = nullptr;
  /// A stream of each width, defined outside all regions.
  llvm::DenseMap<int64_t, mlir::Value> streamOfWidth;
};

class Expander {
public:
  Expander(const SemaModel &model, const Catalog &catalog,
           const ImportOptions &options, mlir::MLIRContext &context,
           Diagnostics &diagnostics);

  /// The module, or null after reporting errors.
  mlir::OwningOpRef<mlir::ModuleOp> run();

private:
  struct State {
    std::string symbol;
    mlir::RankedTensorType type;
    int64_t cacheTokens, layer;
    mlir::Location loc;
  };
  struct Table {
    std::string symbol;
    mlir::StringAttr body;
    mlir::ArrayAttr experts;
    mlir::Location loc;
  };
  struct LinearUse;
  struct NormUse;
  struct Rope;
  struct Mask;
  struct FeedForward;
  struct ExpertKind;
  struct ExpertSet;
  struct RoleUse;
  struct Arm;
  struct StageChoice;
  struct StageList;
  using Body =
      llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::ValueRange)>;
  using OperationBuilder = Operand (Expander::*)(const BoundCall &);

  // IRGenFunctions.cpp: module, entries, step functions.
  void reserveSymbols();
  void groupEntries();
  bool buildFunction(StepFunction &step);
  void addInputs(StepFunction &step);
  mlir::Value buildStream(SourceRange range);
  Operand expandModality(const SemaModel::Modality &modality);
  bool finishFunction(const Operand &result, const SemaModel::Entry &entry);
  int64_t longestLayout(const SemaModel::Entry &entry) const;
  bool checkLayouts();
  void emitDeclarations();
  void emitEntry(mlir::OpBuilder &b, const StepFunction &step,
                 const SemaModel::Entry &entry);
  void setModuleAttributes();
  bool verifyModule();

  // IRGenStatements.cpp: blocks and what they hold.
  Operand callBlock(const ast::BlockItem &block, const ast::CallExpr &call,
                    const Operand &first = Operand());
  bool checkArgument(const ast::Param &param, const ast::Expr &expr,
                     const Operand &argument);
  Operand expandBlock(const ast::BlockItem &block,
                      std::vector<Operand> arguments, SourceRange callRange);
  void execute(const ast::Body &body);
  void executeAssign(const ast::AssignStmt &assign);
  void executeLayers(const ast::LayersStmt &layers);
  void executeWhen(const ast::WhenStmt &when);
  void bind(const ast::Name &name, Operand operand);
  bool bindVariable(const ast::Name &name, StaticValue value);
  void unbind(llvm::StringRef name) { frame->names.erase(name); }
  bool isCarried(llvm::StringRef name) const;
  std::optional<bool> condition(const ast::Expr &expr);
  std::optional<StaticValue> counted(const ast::Expr &domain);
  std::string joinPrefix(llvm::StringRef outer, const ast::StringExpr *inner);

  // IRGenExpressions.cpp: expressions of any kind.
  Operand evaluate(const ast::Expr &expr);
  Operand evaluateName(const ast::NameExpr &name);
  void reportUnbound(const ast::NameExpr &name);
  Operand evaluateList(const ast::ListExpr &list);
  Operand evaluateCall(const ast::CallExpr &call);
  Operand evaluateOperation(const ast::CallExpr &call);
  Operand evaluateFunction(const ast::CallExpr &call);
  Operand evaluateIndex(const ast::IndexExpr &index);
  Operand evaluateSlice(Operand base, const ast::IndexExpr &index);
  Operand evaluateMember(const ast::MemberExpr &member);
  Operand evaluateView(const ast::CallExpr &call,
                       const ast::MemberExpr &member);
  Operand evaluateUnary(const ast::UnaryExpr &unary);
  Operand evaluateBinary(const ast::BinaryExpr &binary);
  Operand evaluateRange(const ast::RangeExpr &range);
  Operand addWeights(const ast::BinaryExpr &binary, const Operand &lhs,
                     const Operand &rhs);
  Operand weightName(const ast::StringExpr &string, llvm::StringRef alias);
  std::optional<std::string> text(const ast::StringExpr &string);
  std::optional<StaticValue> evaluateStatic(const ast::Expr &expr,
                                            llvm::StringRef what);
  std::optional<int64_t> evaluateInteger(const ast::Expr &expr,
                                         llvm::StringRef what);

  // IRGenArguments.cpp: arguments by kind.
  const ast::Expr *choice(const ast::Expr *expr);
  bool isGiven(const BoundCall &call, llvm::StringRef param);
  std::optional<std::string> word(const BoundCall &call, llvm::StringRef param,
                                  llvm::ArrayRef<llvm::StringRef> words);
  std::optional<int64_t> size(const BoundCall &call, llvm::StringRef param);
  std::optional<double> real(const BoundCall &call, llvm::StringRef param);
  Operand stream(const BoundCall &call, llvm::StringRef param);
  Operand asStream(Operand operand, SourceRange range);
  mlir::Value cutRows(mlir::Value value, llvm::ArrayRef<int64_t> dims,
                      SourceRange range);
  std::optional<WeightMap> weight(const BoundCall &call, llvm::StringRef param,
                                  bool biasAllowed);
  std::optional<HiddenFunction> activation(const BoundCall &call);
  bool readClamp(const BoundCall &call, HiddenFunction &function);
  const ast::Expr *soleArgument(const ast::CallExpr &record,
                                llvm::StringRef name);
  std::optional<double> recordNumber(const ast::CallExpr &record,
                                     llvm::StringRef name);
  std::optional<Precision> precision(const BoundCall &call);
  std::optional<int64_t> sizeOr(const BoundCall &call, llvm::StringRef param,
                                int64_t otherwise);
  DimSource dim(const BoundCall &call, llvm::StringRef param, int64_t value);
  void wrongKind(const BoundCall &call, llvm::StringRef param,
                 const Operand &found, llvm::StringRef expected);
  bool needPositive(const ast::Expr &expr, const llvm::Twine &what,
                    double value);

  // IRGenOps.cpp: operations on streams.
  Operand buildEmbed(const BoundCall &call);
  Operand buildPatches(const BoundCall &call);
  Operand buildAddPositions(const BoundCall &call);
  Operand buildLinear(const BoundCall &call);
  Operand buildNorm(const BoundCall &call);
  Operand buildFeedForward(const BoundCall &call);
  std::optional<mlir::Value> biasRef(const BoundCall &call,
                                     llvm::StringRef argument,
                                     const WeightMap &map, DimSource size);
  Operand buildActivationMap(const BoundCall &call);
  Operand buildSoftcap(const BoundCall &call);
  std::optional<FeedForward> feedForward(const BoundCall &call, int64_t hidden,
                                         bool gated);
  mlir::Value linear(const LinearUse &use);
  mlir::Value projection(const BoundCall &call, llvm::StringRef param,
                         llvm::StringRef formula, mlir::Value input, int64_t to,
                         Precision precision);
  mlir::Value norm(const NormUse &use);
  mlir::Value weightRef(const WeightTerm &term, WeightUse use);
  WeightUse weightUse(const BoundCall &call, llvm::StringRef argument,
                      llvm::StringRef formula,
                      llvm::SmallVector<DimSource, 2> dims);
  Operand elementwise(const ast::BinaryExpr &binary, Operand lhs, Operand rhs);
  Operand withStored(const ast::BinaryExpr &binary, const Operand &value,
                     const Operand &stored, bool isLeft);
  bool sameStreams(const ast::BinaryExpr &binary, const Operand &lhs,
                   const Operand &rhs, int64_t width);
  Operand negate(const Operand &operand, SourceRange range);
  mlir::Value map(mlir::Location loc, mlir::ValueRange inputs, int64_t width,
                  mlir::Type element, Body body);
  mlir::Value convert(mlir::Location loc, mlir::Value value,
                      mlir::Type element);
  void remember(mlir::Value stream);
  mlir::Value placeholder(mlir::RankedTensorType type);
  Operand recover(const Operand &x,
                  std::optional<int64_t> width = std::nullopt);

  // IRGenAttention.cpp.
  Operand buildAttention(const BoundCall &call);
  struct AttentionParts;
  bool canAttend(const BoundCall &call);
  bool readMask(const BoundCall &call, Mask &mask);
  bool readScoring(const BoundCall &call, int64_t headDim,
                   AttentionParts &parts);
  bool readAttention(const BoundCall &call, AttentionParts &parts);
  bool projectAttention(const BoundCall &call, mlir::Value x,
                        AttentionParts &parts);
  mlir::Value partNorm(const BoundCall &call, llvm::StringRef param,
                       mlir::Value input, std::optional<int64_t> headDim,
                       mlir::Type element);
  mlir::Value scaleQueries(const BoundCall &call, mlir::Value query,
                           const AttentionParts &parts);
  mlir::Value gateOutput(const BoundCall &call, mlir::Value x,
                         mlir::Value output, const AttentionParts &parts);
  std::optional<std::vector<std::string>>
  attentionStates(const BoundCall &call,
                  llvm::ArrayRef<std::pair<llvm::StringRef, mlir::Value>> rows);
  bool biasKeys(const BoundCall &call, AttentionParts &parts);
  mlir::Value attend(const BoundCall &call, AttentionParts &parts);
  mlir::Value projectOutput(const BoundCall &call, mlir::Value x,
                            mlir::Value output, Precision precision);

  // IRGenAttentionExperts.cpp.
  bool readRouting(const BoundCall &call, AttentionParts &parts);
  std::optional<std::string> mapTable(const RoleUse &use,
                                      const RoutingValue &routing);
  mlir::Value mapSlot(const BoundCall &call, llvm::StringRef table,
                      mlir::Value input, const RoutingValue &routing,
                      int64_t slot, mlir::RankedTensorType type,
                      mlir::Type compute);
  mlir::Value
  routedQueries(const BoundCall &call, mlir::Value x,
                const AttentionParts &parts,
                llvm::function_ref<mlir::Value(mlir::Value)> finish);
  mlir::Value routedOutput(const BoundCall &call, mlir::Value x,
                           mlir::Value output, const AttentionParts &parts);

  // IRGenMla.cpp.
  Operand buildMla(const BoundCall &call);
  struct LatentParts;
  mlir::Value latentQuery(const BoundCall &call, mlir::Value x,
                          const LatentParts &parts);
  mlir::Value latentRow(const BoundCall &call, mlir::Value x,
                        LatentParts &parts);
  mlir::Value headMap(const BoundCall &call, mlir::Value input,
                      const LatentParts &parts, bool isKey);
  mlir::Value slicePart(mlir::Location where, mlir::Value input, int64_t heads,
                        int64_t from, int64_t size);

  // IRGenRotary.cpp.
  bool readRope(const BoundCall &call, int64_t headDim,
                std::optional<Rope> &rope);
  bool readScaling(const ast::Expr &expr, double theta, int64_t dims,
                   RotaryParameters &parameters);
  std::optional<std::vector<float>>
  factors(const BoundCall &call, llvm::StringRef param, int64_t count);
  std::optional<bool> flag(const BoundCall &call, llvm::StringRef param);
  mlir::Value rotaryTable(const RotaryParameters &parameters);
  mlir::Value rotate(mlir::Location where, mlir::Value rows, const Rope &rope,
                     int64_t headDim);

  // IRGenRouting.cpp, IRGenStages.cpp.
  Operand buildRoute(const BoundCall &call);
  Operand buildRouter(const Router &router, const ast::CallExpr &call);
  Operand limitSlots(const BoundCall &call, Operand routing);
  bool tableOperand(const StageChoice &choice, RoutingStageAttrInterface stage,
                    llvm::SmallVectorImpl<mlir::Value> &operands);
  mlir::Value logits(const BoundCall &call, llvm::StringRef param = "logits");
  bool checkStageOrder(const ast::CallExpr &call);
  bool reportMissingStages(const BoundCall &call);
  bool readStages(const BoundCall &call, StageList &stages);
  bool readStage(const BoundCall &call, StageKind kind, StageChoice &choice);
  bool readRankSum(const ast::BinaryExpr &sum, StageChoice &choice);
  bool pickStage(StageKind kind, llvm::StringRef spelling, StageChoice &choice);
  bool readStageArguments(const ast::CallExpr *call, StageChoice &choice);
  bool readNumberStage(const ast::Expr &expr, StageKind kind,
                       StageChoice &choice);
  bool selectsWithoutRank(const BoundCall &call);
  bool readRouter(const Router &router, const BoundCall &call,
                  mlir::OperationState &state);
  bool stageOperand(const StageChoice &choice, RoutingStageAttrInterface stage,
                    int64_t width,
                    llvm::SmallVectorImpl<mlir::Value> &operands);
  bool checkStages(const BoundCall &call, const StageList &stages, int64_t pool,
                   int64_t always);
  bool readAlways(const BoundCall &call, std::pair<int64_t, int64_t> pool,
                  mlir::DenseI64ArrayAttr &columns);
  mlir::Attribute staticAttribute(const Argument &argument,
                                  const ast::Expr &expr,
                                  const OperationSpec &operation);
  std::optional<std::pair<int64_t, int64_t>> pool(const BoundCall &call,
                                                  int64_t width);
  std::string takeMessages(llvm::function_ref<void()> run);

  // IRGenExperts.cpp.
  Operand buildExperts(const BoundCall &call);
  bool readArm(const ast::Expr &arm, ExpertSet &set);
  bool readExpert(const ast::Expr &body, int64_t id, ExpertSet &set);
  bool readBlockExpert(const ast::BlockItem &block, const ast::CallExpr &record,
                       int64_t id, ExpertSet &set);
  mlir::Value weighBlock(const BoundCall &call, int64_t id, mlir::Value result,
                         const RoutingValue &routing);
  bool readVirtual(const ast::CallExpr &record, const OperationSpec &operation,
                   int64_t id, ExpertSet &set);
  ExpertKind *kindOf(const BoundCall &call, const FeedForward &expert,
                     ExpertSet &set);
  mlir::FlatSymbolRefAttr
  expertWeight(const BoundCall &call, llvm::StringRef param,
               llvm::StringRef formula, const WeightTerm &term,
               llvm::ArrayRef<DimSource> dims, int64_t id);
  void addRole(llvm::SmallVectorImpl<mlir::NamedAttribute> &roles,
               llvm::StringRef role, const RoleUse &use, const WeightMap &map,
               int64_t id);
  std::optional<FeedForward> linearExpert(const BoundCall &call,
                                          int64_t hidden);
  bool checkCoverage(const BoundCall &call, const RoutingValue &routing,
                     ExpertSet &set);
  bool placeVirtuals(ExpertSet &set);
  Operand joinExperts(const BoundCall &call, const ExpertSet &set,
                      const Operand &x, const RoutingValue &routing,
                      bool appliesToInput);
  mlir::Value buildKind(const BoundCall &call, const ExpertSet &set,
                        const ExpertKind &kind, bool withVirtuals,
                        const Operand &x, const RoutingValue &routing,
                        mlir::Type element);
  std::string declareTable(mlir::StringAttr body,
                           llvm::ArrayRef<mlir::Attribute> experts,
                           mlir::Location loc);
  std::optional<bool> appliesToInput(const BoundCall &call);

  // IRGenModality.cpp.
  /// What is made of the operand of each arm; null for the operand itself.
  using ArmMap = llvm::function_ref<Operand(Operand)>;
  Operand evaluateFamily(const ast::FamilyExpr &family, ArmMap map = nullptr);
  Operand evaluateBy(const ast::ByExpr &by, ArmMap map = nullptr);
  bool differsByModality(const BoundCall &call);
  Operand evaluateByModality(const ast::CallExpr &call);
  bool checkArms(const ast::ByExpr &by);
  Operand expandArm(const Arm &arm);
  Operand byModality(llvm::MutableArrayRef<Arm> arms, SourceRange range,
                     ArmMap map);
  Operand joinValues(llvm::MutableArrayRef<Arm> arms, SourceRange range);
  Operand joinRoutings(llvm::MutableArrayRef<Arm> arms, SourceRange range);
  mlir::Value zeros(mlir::Location loc, int64_t width, mlir::Type element);
  void reportUncovered(int64_t modality, SourceRange word);

  // Shared small parts.
  mlir::Location loc(SourceRange range);
  std::string symbolBase(llvm::StringRef what) const;
  bool spend(uint64_t cost = 1);
  bool stopped() const { return exhausted || diagnostics.limitReached(); }
  void notBuilt(SourceRange range, const llvm::Twine &what) {
    reportNotBuilt(diagnostics, range, what);
  }
  static int64_t width(mlir::Value stream);
  static mlir::Type elementOf(mlir::Value stream);
  mlir::RankedTensorType streamType(int64_t width, mlir::Type element);

  /// What a layer or a call of a block costs in steps.
  static constexpr uint64_t expansionCost = 100;
  static constexpr unsigned maxDepth = 1000;

  const SemaModel &model;
  const Catalog &catalog;
  const ImportOptions &options;
  mlir::MLIRContext &context;
  Diagnostics &diagnostics;
  StaticMath math;
  mlir::OpBuilder builder;
  SymbolNames symbols;
  WeightTable weights;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::Type dtype;   ///< of values between operations
  mlir::Type compute; ///< default rounding of matmul operands
  std::deque<StepFunction> steps;
  std::vector<State> states;
  /// By block of the entry, layer, number of the attention in the layer: the
  /// first of its states.
  std::map<std::tuple<const ast::BlockItem *, int64_t, unsigned>, size_t>
      stateIndex;
  std::vector<Table> tables;
  llvm::DenseMap<std::pair<mlir::Attribute, mlir::Attribute>, size_t>
      tableIndex;
  /// Tokens per raw input, known once a modality's expression was expanded.
  std::vector<int64_t> tokensPerInput;
  StepFunction *fn = nullptr;
  Frame *frame = nullptr;
  bool inPlaceholder = false;
  llvm::DenseSet<uint32_t> unboundNames; ///< places reported, by offset
  uint64_t spent = 0;
  unsigned depth = 0;
  bool exhausted = false;
};

} // namespace moec::irgen

#endif // MOEC_FRONTEND_IRGENEXPANDER_H
