// SPDX-License-Identifier: MIT
// A child process of the test, made by fork(): a second program on the same queue, or one without rights.
// It dies with the test, and is killed and reaped with its object.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace kernel_tests {

class child {
 public:
  // The child's end of the conversation.
  class line {
   public:
    // Tells the parent something; one line of text.
    void say(const std::string& words) const;
    // Waits until the parent says go().
    void wait_for_go() const;

   private:
    friend class child;
    explicit line(int fd) : fd_(fd) {}
    int fd_;
  };

  // Runs what(line) in the child, which then ends; an exception is passed on to hear() in the parent.
  explicit child(const std::function<void(const line&)>& what);
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child();

  // Ends this process, a child that the test or the library has made. Not exit(): the parent's objects are not the
  // child's to destroy.
  [[noreturn]] static void end(int status);

  // Ends another process that this one has started.
  static void kill_and_reap(pid_t pid);

  // Whether this build counts the lines that are run; it is not optimized then.
  static bool counts_lines();

  pid_t pid() const { return pid_; }

  // The next thing that the child says. Throws when it says nothing within `patience`, has ended, or has failed.
  std::string hear() const;
  // Lets the child go on from wait_for_go().
  void go() const;
  // Kills the child with a signal and waits for its end.
  void end_by(int signal);
  // Waits for the end of the child; its status as from waitpid. Throws when that takes longer than `patience`.
  int wait();

 private:
  pid_t pid_ = -1;
  int fd_ = -1;
};

}  // namespace kernel_tests
