// What edge_run prints.
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "edge_run.h"

namespace edgec::tools {
namespace {

struct Latency {
  double min = 0, median = 0, p95 = 0;
};

// Nearest rank: every number printed was measured.
Latency latency_of(std::vector<double> ms) {
  if (ms.empty()) return {};
  std::sort(ms.begin(), ms.end());
  const auto rank = [&](double q) {
    const size_t i = static_cast<size_t>(std::ceil(q * static_cast<double>(ms.size())));
    return ms[std::min(ms.size(), std::max<size_t>(i, 1)) - 1];
  };
  return {ms.front(), rank(0.5), rank(0.95)};
}

// Of the whole process: mapped weights count as far as they were touched.
double peak_resident_bytes() {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#if defined(__APPLE__)
  return static_cast<double>(usage.ru_maxrss);
#else
  return static_cast<double>(usage.ru_maxrss) * 1024;
#endif
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", c);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string number(double value) {
  // JSON has neither.
  if (!std::isfinite(value)) return "null";
  char text[40];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

double megabytes(size_t bytes) { return static_cast<double>(bytes) / 1e6; }

struct StepTime {
  std::string op, name, kernel;
  double ms;
};

std::vector<StepTime> step_times(const Session& session, const Report& report) {
  std::vector<StepTime> times;
  const std::vector<StepInfo> steps = session.steps();
  for (size_t i = 0; i < steps.size() && i < report.step_seconds.size(); ++i) {
    if (steps[i].is_view) continue;
    const NodeInfo* node = steps[i].node;
    times.push_back({node ? node->op->name : "copy", node ? node->name : "",
                     steps[i].kernel ? steps[i].kernel : "",
                     report.step_seconds[i] * 1e3 / std::max(report.profile_runs, 1)});
  }
  return times;
}

}  // namespace

void print_text(const Options& options, const Session& session, const Report& report) {
  for (int i = 0; i < session.input_count(); ++i) {
    std::printf("input   %-24s %s\n", session.input_name(i).c_str(),
                session.input_type(i).to_string().c_str());
  }
  for (int i = 0; i < session.output_count(); ++i) {
    std::printf("output  %-24s %s\n", session.output_name(i).c_str(),
                session.output_type(i).to_string().c_str());
  }
  const Latency latency = latency_of(report.run_ms);
  const PlanStats& stats = session.stats();
  std::printf("load %.3f ms   prepare %.3f ms   first run %.3f ms\n", report.load_ms, report.prepare_ms,
              report.first_run_ms);
  std::printf("run  min %.3f ms   median %.3f ms   p95 %.3f ms   (%zu runs, %d threads, %s)\n", latency.min,
              latency.median, latency.p95, report.run_ms.size(),
              options.threads == 0 ? usable_cpus() : options.threads,
              options.isa.empty() ? isa_name(best_isa()) : options.isa.c_str());
  std::printf(
      "memory  arena %.3f MB   packed weights %.3f MB   mapped weights %.3f MB   peak resident %.1f MB\n",
      megabytes(stats.arena_bytes), megabytes(stats.packed_bytes), megabytes(stats.mapped_weight_bytes),
      peak_resident_bytes() / 1e6);
  std::vector<StepTime> times = step_times(session, report);
  if (!times.empty()) {
    double total = 0, cumulated = 0;
    for (const StepTime& t : times) total += t.ms;
    std::stable_sort(times.begin(), times.end(),
                     [](const StepTime& a, const StepTime& b) { return a.ms > b.ms; });
    std::printf("\n%10s %7s %7s  %-16s %-28s %s\n", "ms", "%", "cum %", "operator", "kernel", "node");
    for (const StepTime& t : times) {
      cumulated += t.ms;
      std::printf("%10.4f %7.2f %7.2f  %-16s %-28s %s\n", t.ms, 100 * t.ms / total, 100 * cumulated / total,
                  t.op.c_str(), t.kernel.c_str(), t.name.c_str());
    }
  }
  for (const Comparison& c : report.comparisons) {
    std::printf("%-8s %-24s max difference %.3g\n", c.same ? "matches" : "DIFFERS", c.name.c_str(),
                c.max_difference);
  }
  for (const auto& [name, path] : report.written) std::printf("wrote   %s\n", path.c_str());
}

void print_json(const Options& options, const Session& session, const Report& report) {
  const auto port = [](const std::string& name, const TensorType& type) {
    std::string dims;
    for (int64_t d : type.shape) dims += (dims.empty() ? "" : ",") + std::to_string(d);
    return "{\"name\":" + quoted(name) + ",\"dtype\":" + quoted(dtype_name(type.dtype)) + ",\"shape\":[" +
           dims + "]}";
  };
  std::string out =
      "{\"model\":" + quoted(options.model) + ",\"version\":" + quoted(EDGEC_VERSION) + ",\"inputs\":[";
  for (int i = 0; i < session.input_count(); ++i)
    out += (i ? "," : "") + port(session.input_name(i), session.input_type(i));
  out += "],\"outputs\":[";
  for (int i = 0; i < session.output_count(); ++i) {
    out += (i ? "," : "") + port(session.output_name(i), session.output_type(i));
  }
  const Latency latency = latency_of(report.run_ms);
  const PlanStats& stats = session.stats();
  out += "],\"threads\":" + std::to_string(options.threads == 0 ? usable_cpus() : options.threads);
  out += ",\"isa\":" + quoted(options.isa.empty() ? isa_name(best_isa()) : options.isa);
  out += ",\"load_ms\":" + number(report.load_ms) + ",\"prepare_ms\":" + number(report.prepare_ms);
  out += ",\"first_run_ms\":" + number(report.first_run_ms) +
         ",\"runs\":" + std::to_string(report.run_ms.size());
  out += ",\"min_ms\":" + number(latency.min) + ",\"median_ms\":" + number(latency.median);
  out += ",\"p95_ms\":" + number(latency.p95);
  out += ",\"memory\":{\"arena_bytes\":" + std::to_string(stats.arena_bytes);
  out += ",\"activation_peak\":" + std::to_string(stats.activation_peak);
  out += ",\"packed_bytes\":" + std::to_string(stats.packed_bytes);
  out += ",\"mapped_weight_bytes\":" + std::to_string(stats.mapped_weight_bytes);
  out += ",\"folded_bytes\":" + std::to_string(stats.folded_bytes);
  out += ",\"peak_resident_bytes\":" + number(peak_resident_bytes()) + "}";
  if (!report.step_seconds.empty()) {
    out += ",\"steps\":[";
    bool first = true;
    for (const StepTime& t : step_times(session, report)) {
      out += std::string(first ? "" : ",") + "{\"op\":" + quoted(t.op) + ",\"node\":" + quoted(t.name) +
             ",\"kernel\":" + quoted(t.kernel) + ",\"ms\":" + number(t.ms) + "}";
      first = false;
    }
    out += "]";
  }
  if (!report.comparisons.empty()) {
    out += ",\"comparisons\":[";
    for (size_t i = 0; i < report.comparisons.size(); ++i) {
      const Comparison& c = report.comparisons[i];
      out += std::string(i ? "," : "") + "{\"output\":" + quoted(c.name) +
             ",\"same\":" + (c.same ? "true" : "false") + ",\"max_difference\":" + number(c.max_difference) +
             "}";
    }
    out += "]";
  }
  if (!report.written.empty()) {
    out += ",\"written\":{";
    for (size_t i = 0; i < report.written.size(); ++i) {
      out += (i ? "," : "") + quoted(report.written[i].first) + ":" + quoted(report.written[i].second);
    }
    out += "}";
  }
  std::printf("%s}\n", out.c_str());
}

}  // namespace edgec::tools
