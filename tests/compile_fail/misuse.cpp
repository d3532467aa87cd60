// SPDX-License-Identifier: MIT
// Each CASE is a mistake that must not compile; without one the unit compiles. misuse_test.sh tries them all.
#include <ipq/queue.hpp>
#include <vector>

std::vector<std::byte> replacement();

void right(ipq::queue& q) {
  const auto got = q.receive();
  if (!got) return;
  for (const ipq::packet& p : *got) {
    const auto bytes = replacement();
    static_cast<void>(q.set_verdict(p, ipq::verdict::accept().with_mark(1).with_payload(bytes)));
  }
  auto held = q.hold((*got)[0]);
  if (held) static_cast<void>(std::move(*held).set_verdict(ipq::verdict::drop()));
  static_cast<void>(ipq::serve(q, [](const ipq::packet&) { return ipq::verdict::accept(); }));
}

#if CASE == 1  // views of a queue that is gone
auto dangling() {
  return ipq::queue::open({})->receive();
}
auto wrong() {
  return ipq::queue::open({}).value().receive();
}
#elif CASE == 2   // a verdict out of a number, whose high bits would mean something else
ipq::verdict wrong() {
  return ipq::verdict(0x10001);
}
#elif CASE == 3   // a replacement that is gone before it is sent
auto wrong() {
  return ipq::verdict::accept().with_payload(replacement());
}
#elif CASE == 4   // two owners of a queue
void wrong(ipq::queue& q) {
  ipq::queue copy = q;
}
#elif CASE == 5   // a queue that is not open
ipq::queue wrong;
#elif CASE == 6   // two owners of a held packet: two verdicts
void wrong(ipq::held_packet& held) {
  ipq::held_packet copy = held;
}
#elif CASE == 7   // a verdict that does not use the packet up
void wrong(ipq::held_packet& held) {
  static_cast<void>(held.set_verdict(ipq::verdict::drop()));
}
#elif CASE == 8   // a handler without a verdict
void wrong(ipq::queue& q) {
  static_cast<void>(ipq::serve(q, [](const ipq::packet&) {}));
}
#elif CASE == 9   // a batch, and with it packets, thrown away unseen
void wrong(ipq::queue& q) {
  q.receive();
}
#elif CASE == 10  // a batch of the user's own making
ipq::batch wrong;
#elif CASE == 11  // a verdict that says nothing
ipq::verdict wrong;
#endif
