// SPDX-License-Identifier: MIT
#include "recordings.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "printable.hpp"
#include "rule_options.hpp"
#include "rules/file.hpp"
#include "say.hpp"

namespace tool {
outcome<void> recordings::create(const ipq::tool::rules::ruleset& rules) {
  std::map<std::pair<dev_t, ino_t>, std::filesystem::path> known;
  const auto paths = rules.record_files();
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const auto& path = paths[i];
    const auto where = rules.fault_at(*rules.first_record(i), {});
    // Without waiting for the reader of a pipe, which may never come.
    constexpr int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = ::open(path.c_str(), flags | O_CREAT | O_EXCL, 0666);
    const bool is_new = fd >= 0;
    if (fd < 0 && errno == EEXIST) fd = ::open(path.c_str(), flags | O_CREAT, 0666);
    if (fd < 0 && errno == ENXIO) {
      return fail_at(where, failed,
                     fmt::format("record {}: nobody reads this pipe: start its reader first", path.string()));
    }
    struct stat about {};
    if (fd < 0 || ::fcntl(fd, F_SETFL, 0) != 0 || ::fstat(fd, &about) != 0) {
      return fail_at(where, errno == EACCES || errno == EPERM ? no_rights : failed,
                     fmt::format("record {}: {}", path.string(), ipq::tool::rules::file_reason(errno)));
    }
    const bool is_file = S_ISREG(about.st_mode);
    const bool is_taken = is_file && !known.contains({about.st_dev, about.st_ino}) &&
                          ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    // What another writes stays, even if it was made here.
    files_.push_back({.path = path, .created = fd, .is_new = is_new && !is_taken, .where = where});
    if (is_taken) {
      return fail_at(where, failed,
                     fmt::format("record {}: another writer has it open: write to another place", path.string()));
    }
    if (!is_file) continue;
    const auto [other, is_first] = known.try_emplace({about.st_dev, about.st_ino}, path);
    if (!is_first) {
      return fail_at(
          where, wrong_usage,
          fmt::format("record {}: is the same file as {}; name it in one way", path.string(), other->second.string()));
    }
  }
  return {};
}

outcome<void> recordings::open(const std::function<ipq::tool::rules::interface_names()>& make_names) {
  for (file& each : files_) {
    // Not by its name: folder and file may be such that only special rights led to.
    auto opened = ipq::recorder::adopt(std::exchange(each.created, -1), {.interface_name = make_names()});
    if (!opened) {
      return fail_at(
          each.where, exit_code_of(opened.error()),
          fmt::format("record {}: {}", each.path.string(), ipq::tool::rules::file_reason(opened.error().code.value())));
    }
    each.to = std::make_unique<ipq::recorder>(*std::move(opened));
  }
  return {};
}

outcome<std::vector<ipq::recorder*>> recordings::of(const ipq::tool::rules::ruleset& rules) {
  std::vector<ipq::recorder*> made;
  const auto paths = rules.record_files();
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const auto& path = paths[i];
    const auto found = std::ranges::find(files_, path, &file::path);
    if (found == files_.end()) {
      return fail_at(
          rules.fault_at(*rules.first_record(i), {}), no_rights,
          fmt::format("record {}: was not opened at the start, and can't be now: start again", path.string()));
    }
    made.push_back(found->to.get());
  }
  return made;
}

void recordings::tell_failures() {
  for (file& each : files_) {
    if (!each.to || each.told) continue;
    const auto wrong = each.to->failure();
    // Whoever waits for a stopped terminal hears no signal.
    pollfd ready{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    if (!wrong || ::poll(&ready, 1, 0) != 1) continue;
    each.told = true;
    say("ipq run: record {}: {}; traffic goes on, and nothing more is recorded there\n", printable(each.path.string()),
        ipq::tool::rules::file_reason(*wrong));
  }
}

outcome<void> recordings::close() {
  outcome<void> first;
  for (file& each : files_) {
    if (!each.to) continue;
    if (const auto closed = each.to->close(); !closed && first) {
      first = fail(failed, fmt::format("record {}: {}; {} packets are missing there", each.path.string(),
                                       ipq::tool::rules::file_reason(closed.error()), each.to->counts().lost));
    }
  }
  return first;
}

std::vector<recordings::count> recordings::counts() const {
  std::vector<count> made;
  for (const file& each : files_) {
    if (each.to) made.push_back({each.path.string(), each.to->counts()});
  }
  return made;
}

recordings::~recordings() {
  for (file& each : files_) {
    if (each.created >= 0) ::close(each.created);
    each.to.reset();
    if (each.is_new && !kept_) ::unlink(each.path.c_str());
  }
}

}  // namespace tool
