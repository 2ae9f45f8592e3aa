// Reads what the driver must know from a module's PTX text: its target and, of each entry, the
// sizes of the parameters, the shared memory, and whether its threads wait for each other.
#pragma once
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace emulator {

struct Entry {
  std::vector<size_t> sizes;    // bytes of each parameter
  unsigned max_threads = 1024;  // of a block, from __launch_bounds__
  size_t shared = 0;            // bytes of static shared memory
  bool waits = false;
};

struct Ptx {
  std::string version;
  int target = 0;  // 70 for sm_70
  std::map<std::string, Entry, std::less<>> entries;
};

using Text = std::string_view;

inline bool contains(Text text, Text word) { return text.find(word) != Text::npos; }
inline size_t number(Text text) {
  return strtoul(std::string(text.substr(0, 20)).c_str(), nullptr, 10);
}

// The words of a text, between spaces and commas.
inline std::vector<Text> words(Text text) {
  std::vector<Text> all;
  const char* space = " \t\r\n,";
  for (size_t at = text.find_first_not_of(space); at != Text::npos;) {
    size_t end = std::min(text.find_first_of(space, at), text.size());
    all.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(space, end);
  }
  return all;
}

// What `.param .align 8 .b8 name[24]` or `.shared .u64 name` declares.
struct Declaration {
  Text name;
  size_t size = 0;
};
inline Declaration declaration(Text text) {
  Declaration d;
  for (Text word : words(text)) {
    if (word[0] != '.') d.name = word;
    else if (word.size() > 2 && Text("busf").find(word[1]) != Text::npos && isdigit(word[2]))
      d.size = number(word.substr(2)) / 8;
  }
  if (size_t bracket = d.name.find('['); bracket != Text::npos) {
    d.size *= number(d.name.substr(bracket + 1));
    d.name = d.name.substr(0, bracket);
  }
  return d;
}

// Calls `each` with every text that begins with `keyword` and ends before one of `ends`.
template <class Each> void each_from(Text text, Text keyword, const char* ends, Each each) {
  for (size_t at = text.find(keyword); at != Text::npos; at = text.find(keyword, at + 1))
    each(text.substr(at, std::min(text.find_first_of(ends, at), text.size()) - at));
}

inline bool read_ptx(Text text, Ptx& ptx) {
  const Text start = text.substr(0, 4096);
  each_from(start, ".version ", "\r\n;", [&](Text t) { ptx.version = t.substr(9); });
  each_from(start, ".target sm_", "\r\n;,",
            [&](Text t) { ptx.target = int(number(t.substr(11))); });
  if (ptx.version.empty() || !ptx.target) return false;

  const Text keyword = ".visible .entry ";
  // A body's shared variables are declared in it, those of functions it calls before all entries.
  std::vector<Declaration> module_shared;
  each_from(text.substr(0, text.find(keyword)), "\n.shared ", ";",
            [&](Text t) { module_shared.push_back(declaration(t)); });

  for (size_t at = text.find(keyword); at != Text::npos; at = text.find(keyword, at)) {
    at += keyword.size();
    const size_t name_end = text.find_first_of("({ \t\r\n", at), body = text.find('{', at);
    if (body == Text::npos) return false;
    size_t end = body;
    for (int depth = 0; end < text.size(); ++end)
      if (text[end] == '{') ++depth;
      else if (text[end] == '}' && --depth == 0) break;
    const Text head = text.substr(name_end, body - name_end), code = text.substr(body, end - body);

    Entry& entry = ptx.entries[std::string(text.substr(at, name_end - at))];
    each_from(head, ".param ", ",)", [&](Text t) { entry.sizes.push_back(declaration(t).size); });
    each_from(head, "ntid ", "\r\n", [&](Text t) {  // .maxntid or .reqntid x, y, z
      entry.max_threads = 1;
      for (Text n : words(t.substr(5))) entry.max_threads *= unsigned(number(n));
    });
    each_from(code, "\t.shared .", ";", [&](Text t) { entry.shared += declaration(t).size; });
    for (auto& variable : module_shared)
      if (contains(code, variable.name)) entry.shared += variable.size;
    for (Text word : {"bar.", "barrier.", "shfl.", "vote.", "match.", "redux.", "warpsync"})
      if (contains(code, word)) entry.waits = true;
    // What is called might wait, except printf.
    each_from(code, "call", ";", [&](Text t) { entry.waits |= !contains(t, "vprintf"); });
    at = end;
  }
  return true;
}

}  // namespace emulator
