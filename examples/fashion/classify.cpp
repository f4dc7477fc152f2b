//===- classify.cpp - Captions for Fashion-MNIST, with the compiled model -===//
//
//   classify MODEL.so CAPTIONS.txt [--images N] [--show N] [--prompt TEXT]
//            [--scores FILE] [--data FOLDER] [--threads N]
//
// Scores the ten captions of each test image by their log-probability, says
// which share of the images got the right one, draws a few of them in the
// terminal and continues a prompt. --scores writes the f32 [N, captions] scores
// (row-major, little endian, nothing else) for comparison with reference/.
//
// An image and the words that all captions begin with go through the model
// once; each caption then continues a fork of that sequence, all in one step.
//
//===----------------------------------------------------------------------===//
#include "moe/runtime.hpp"

#include <zlib.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

namespace {

constexpr size_t kImageBytes = 28 * 28;
constexpr char kTerminator = '\n';
/// Images per step: enough rows for the matmuls, little enough scratch.
constexpr size_t kImagesPerStep = 8;

[[noreturn]] void fail(const std::string &message) {
  throw std::runtime_error(message);
}

/// The payload of a gzipped IDX file of unsigned bytes.
std::vector<uint8_t> readIdx(const std::string &path, size_t headerBytes) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (!file)
    fail(path + ": cannot be opened; is dataset-fashion-mnist installed?");
  std::vector<uint8_t> bytes;
  char buffer[1 << 16];
  int count;
  while ((count = gzread(file, buffer, sizeof(buffer))) > 0)
    bytes.insert(bytes.end(), buffer, buffer + count);
  gzclose(file);
  if (count < 0 || bytes.size() < headerBytes)
    fail(path + ": expected a gzipped IDX file");
  bytes.erase(bytes.begin(), bytes.begin() + headerBytes);
  return bytes;
}

struct Options {
  std::string model, captions, prompt, scores;
  std::string data = "/usr/share/datasets/fashion-mnist";
  size_t images = 10000, show = 0;
  unsigned threads = 0;
};

Options parse(int argc, char **argv) {
  Options options;
  std::vector<std::string> positional;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    auto value = [&]() -> std::string {
      if (++i == argc)
        fail(word + " needs a value");
      return argv[i];
    };
    auto number = [&] {
      std::string text = value();
      char *end = nullptr;
      long long n = std::strtoll(text.c_str(), &end, 10);
      if (*end || text.empty() || n < 0)
        fail(word + ": expected a number, found '" + text + "'");
      return static_cast<size_t>(n);
    };
    if (word == "--images")
      options.images = number();
    else if (word == "--show")
      options.show = number();
    else if (word == "--threads")
      options.threads = static_cast<unsigned>(number());
    else if (word == "--prompt")
      options.prompt = value();
    else if (word == "--scores")
      options.scores = value();
    else if (word == "--data")
      options.data = value();
    else if (word.rfind("--", 0) == 0)
      fail("unknown option " + word);
    else
      positional.push_back(word);
  }
  if (positional.size() != 2)
    fail("usage: classify MODEL.so CAPTIONS.txt [--images N] [--show N] "
         "[--prompt TEXT] [--scores FILE] [--data FOLDER] [--threads N]");
  options.model = positional[0];
  options.captions = positional[1];
  return options;
}

std::vector<std::string> readCaptions(const std::string &path) {
  std::ifstream file(path);
  std::vector<std::string> captions;
  for (std::string line; std::getline(file, line);)
    if (!line.empty())
      captions.push_back(line + kTerminator);
  if (captions.empty())
    fail(path + ": expected a caption per line, found none");
  return captions;
}

/// Bytes that all captions begin with.
size_t commonPrefix(const std::vector<std::string> &captions) {
  size_t length = captions[0].size() - 1;
  for (const std::string &caption : captions)
    while (caption.compare(0, length, captions[0], 0, length) != 0)
      --length;
  return length;
}

/// log softmax(row)[byte], in double.
double logProbability(moe::Row row, uint8_t byte) {
  double max = row[row.argmax()], sum = 0.0;
  for (float logit : row)
    sum += std::exp(logit - max);
  return row[byte] - max - std::log(sum);
}

/// Scores captions as continuations of images.
class Scorer {
public:
  Scorer(const moe::Model &model, std::vector<std::string> captions)
      : captions(std::move(captions)), prefix(commonPrefix(this->captions)),
        session(model, kImagesPerStep * (this->captions.size() + 1)) {
    for (uint32_t i = 0; i < 512; ++i)
      rowNumbers.push_back(i);
  }

  /// Scores of `count` images, row-major [count, captions].
  std::vector<float> score(const uint8_t *pixels, size_t count) {
    std::vector<float> scores;
    std::vector<moe::Sequence> images = readImages(pixels, count, scores);
    continueCaptions(images, scores);
    return scores;
  }

  size_t tokens = 0; ///< that went through the model

private:
  /// The images and the common words; a caption's score starts with the
  /// log-probabilities of those words.
  std::vector<moe::Sequence>
  readImages(const uint8_t *pixels, size_t count, std::vector<float> &scores) {
    std::vector<moe::Sequence> sequences;
    std::vector<std::vector<moe::Input>> inputs(count);
    std::vector<moe::Item> items;
    for (size_t i = 0; i < count; ++i) {
      sequences.push_back(session.create_sequence());
      inputs[i] = {moe::input("image", MOE_U8, pixels + i * kImageBytes,
                              kImageBytes),
                   moe::input("text", MOE_U8, captions[0].data(), prefix)};
      auto item = moe::detail::sized<moe::Item>();
      item.sequence = sequences[i].get();
      item.inputs = inputs[i].data();
      item.num_inputs = inputs[i].size();
      // Row 48, the last patch, predicts the first byte.
      item.rows = rowNumbers.data() + 48;
      item.num_rows = prefix + 1;
      items.push_back(item);
      tokens += 49 + prefix;
    }
    moe::Logits logits = session.step("prefill", items);
    for (size_t i = 0; i < count; ++i) {
      double sum = 0.0;
      for (size_t p = 0; p < prefix; ++p)
        sum += logProbability(logits.row(logits.row_start(i) + p),
                              static_cast<uint8_t>(captions[0][p]));
      moe::Row last = logits.last(i);
      for (const std::string &caption : captions)
        scores.push_back(static_cast<float>(
            sum +
            logProbability(last, static_cast<uint8_t>(caption[prefix]))));
    }
    return sequences;
  }

  void continueCaptions(std::vector<moe::Sequence> &images,
                        std::vector<float> &scores) {
    std::vector<moe::Sequence> forks;
    std::vector<moe::Input> inputs;
    std::vector<size_t> scored;
    for (size_t i = 0; i < images.size(); ++i)
      for (size_t c = 0; c < captions.size(); ++c) {
        const std::string &caption = captions[c];
        if (caption.size() - prefix < 2)
          continue; // nothing beyond the byte that is scored already
        forks.push_back(images[i].fork());
        inputs.push_back(moe::input("text", MOE_U8, caption.data() + prefix,
                                    caption.size() - prefix - 1));
        scored.push_back(i * captions.size() + c);
      }
    std::vector<moe::Item> items;
    for (size_t f = 0; f < forks.size(); ++f) {
      auto item = moe::detail::sized<moe::Item>();
      item.sequence = forks[f].get();
      item.inputs = &inputs[f];
      item.num_inputs = 1;
      item.rows = rowNumbers.data();
      item.num_rows = inputs[f].count;
      tokens += inputs[f].count;
      items.push_back(item);
    }
    moe::Logits logits = session.step("prefill", items);
    for (size_t f = 0; f < forks.size(); ++f) {
      const std::string &caption = captions[scored[f] % captions.size()];
      double sum = 0.0;
      for (size_t p = prefix + 1; p < caption.size(); ++p)
        sum += logProbability(
            logits.row(logits.row_start(f) + p - prefix - 1),
            static_cast<uint8_t>(caption[p]));
      scores[scored[f]] += static_cast<float>(sum);
    }
  }

  std::vector<std::string> captions;
  size_t prefix;
  moe::Session session;
  std::vector<uint32_t> rowNumbers;
};

/// Draws an image with half blocks, two pixel rows per line, two columns of
/// text beside it.
void draw(const uint8_t *pixels, const std::string &caption, bool right) {
  static const char *const shades[] = {" ", "░", "▒", "▓", "█"};
  for (int y = 0; y < 28; y += 2) {
    std::cout << "    ";
    for (int x = 0; x < 28; ++x) {
      int value = (pixels[y * 28 + x] + pixels[(y + 1) * 28 + x]) / 2;
      std::cout << shades[value * 5 / 256];
    }
    if (y == 12)
      std::cout << "   " << caption << (right ? "" : "   (it is not)");
    std::cout << '\n';
  }
  std::cout << '\n';
}

double seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since)
      .count();
}

void classify(const Options &options, const moe::Model &model) {
  std::vector<std::string> captions = readCaptions(options.captions);
  std::vector<uint8_t> pixels =
      readIdx(options.data + "/t10k-images-idx3-ubyte.gz", 16);
  std::vector<uint8_t> labels =
      readIdx(options.data + "/t10k-labels-idx1-ubyte.gz", 8);
  size_t count = std::min(options.images, labels.size());
  Scorer scorer(model, captions);
  std::vector<float> scores;
  size_t correct = 0;
  auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < count; i += kImagesPerStep) {
    size_t n = std::min(kImagesPerStep, count - i);
    std::vector<float> part = scorer.score(&pixels[i * kImageBytes], n);
    scores.insert(scores.end(), part.begin(), part.end());
  }
  double elapsed = seconds(start);
  for (size_t i = 0; i < count; ++i) {
    const float *row = &scores[i * captions.size()];
    size_t best = std::max_element(row, row + captions.size()) - row;
    bool right = best == labels[i];
    correct += right;
    if (i < options.show)
      draw(&pixels[i * kImageBytes],
           captions[best].substr(0, captions[best].size() - 1), right);
  }
  std::printf("%zu of %zu test images got the right caption: %.2f %%\n",
              correct, count, 100.0 * correct / std::max<size_t>(count, 1));
  std::printf("%.1f images/s, %.0f tokens/s\n", count / elapsed,
              scorer.tokens / elapsed);
  if (!options.scores.empty()) {
    std::ofstream file(options.scores, std::ios::binary);
    file.write(reinterpret_cast<const char *>(scores.data()),
               scores.size() * sizeof(float));
    if (!file.flush())
      fail(options.scores + ": cannot be written");
  }
}

void continuePrompt(const Options &options, const moe::Model &model) {
  constexpr int kBytes = 160;
  moe::Session session(model);
  moe::Sequence sequence = session.create_sequence();
  std::string text = options.prompt;
  int next =
      session.step("prefill", sequence, {moe::input("text", text)}).argmax(0);
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kBytes; ++i) {
    const uint8_t byte = static_cast<uint8_t>(next);
    text.push_back(static_cast<char>(byte));
    next = session
               .step("decode", sequence, {moe::input("text", MOE_U8, &byte, 1)})
               .argmax(0);
  }
  double elapsed = seconds(start);
  std::printf("\n%s\n\n%.0f tokens/s, one at a time\n", text.c_str(),
              kBytes / elapsed);
}

} // namespace

int main(int argc, char **argv) try {
  Options options = parse(argc, argv);
  moe::Engine engine(options.threads);
  moe::Model model = moe::Model::load(engine, options.model);
  if (options.images)
    classify(options, model);
  if (!options.prompt.empty())
    continuePrompt(options, model);
  return 0;
} catch (const std::exception &error) {
  std::cerr << "classify: error: " << error.what() << '\n';
  return 1;
}
