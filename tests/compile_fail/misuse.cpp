// SPDX-License-Identifier: MIT
// Each CASE is a mistake that must not compile; without one the unit compiles. misuse_test.sh tries them all, and looks
// whether the compiler refuses the mistake itself: the line below a CASE is a pattern of its message, g++'s or clang's.
#include <ipq/edit.hpp>
#include <ipq/ipv4.hpp>
#include <ipq/ipv6.hpp>
#include <ipq/owned_packet.hpp>
#include <ipq/queue.hpp>
#include <ipq/tcp.hpp>
#include <ipq/workers.hpp>
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
  const auto bytes = replacement();
  static_cast<void>(ipq::ipv4_view::parse(bytes));
  static_cast<void>(std::move(q).release());
  auto pool = ipq::workers::start({}, [](ipq::queue& mine, std::size_t) {
    return ipq::serve(mine, [](const ipq::packet&) { return ipq::verdict::accept(); });
  });
  if (pool) static_cast<void>(pool->join());
  static_cast<void>(ipq::serve(q, [](const ipq::packet& p, std::vector<std::byte>& buffer) {
    auto editor = ipq::packet_editor::edit(p, buffer);
    return editor ? ipq::verdict::accept().with_payload(editor->finish()) : ipq::verdict::drop();
  }));
  for (const ipq::packet& p : q.try_receive().value()) static_cast<void>(p);
}

#if CASE == 1  // views of a queue that is gone
// refused: deleted.*receive
auto wrong() {
  return ipq::queue::open({}).value().receive();
}
#elif CASE == 2   // a verdict out of a number, whose high bits would mean something else
// refused: no matching (function for call to 'ipq::verdict::verdict\(int\)|conversion .* from 'int' to 'ipq::verdict')
ipq::verdict wrong() {
  return ipq::verdict(0x10001);
}
#elif CASE == 3   // a replacement that is gone before it is sent
// refused: deleted.*with_payload
auto wrong() {
  return ipq::verdict::accept().with_payload(replacement());
}
#elif CASE == 4   // two owners of a queue
// refused: deleted.*(queue\(const ipq::queue&\)|copy constructor of 'ipq::queue')
void wrong(ipq::queue& q) {
  ipq::queue copy = q;
}
#elif CASE == 5   // a queue that is not open
// refused: no matching (function|constructor) .*'ipq::queue(::queue\(\))?'
ipq::queue wrong;
#elif CASE == 6   // two owners of a held packet: two verdicts
// refused: deleted.*(held_packet\(const ipq::held_packet&\)|copy constructor of 'ipq::held_packet')
void wrong(ipq::held_packet& held) {
  ipq::held_packet copy = held;
}
#elif CASE == 7   // a verdict that does not use the packet up
// refused: 'ipq::held_packet' as 'this' argument|'this' argument to member function 'set_verdict' is an lvalue
void wrong(ipq::held_packet& held) {
  static_cast<void>(held.set_verdict(ipq::verdict::drop()));
}
#elif CASE == 8   // a handler without a verdict
// refused: no matching function for call to 'serve
void wrong(ipq::queue& q) {
  static_cast<void>(ipq::serve(q, [](const ipq::packet&) {}));
}
#elif CASE == 9   // a batch, and with it packets, thrown away unseen
// refused: ignoring return value of
void wrong(ipq::queue& q) {
  q.receive();
}
#elif CASE == 10  // a batch of the user's own making
// refused: no matching (function|constructor) .*'ipq::batch(::batch\(\))?'
ipq::batch wrong;
#elif CASE == 11  // a verdict that says nothing
// refused: no matching (function|constructor) .*'ipq::verdict(::verdict\(\))?'
ipq::verdict wrong;
#elif CASE == 12  // views of a queue that is gone, likewise
// refused: deleted.*try_receive
auto wrong() {
  return ipq::queue::open({}).value().try_receive();
}
#elif CASE == 13  // a queue that is given away and used on
// refused: 'ipq::queue' as 'this' argument|'this' argument to member function 'release' is an lvalue
void wrong(ipq::queue& q) {
  static_cast<void>(q.release());
}
#elif CASE == 14  // a descriptor that nobody closes
// refused: ignoring return value of
void wrong(ipq::queue& q) {
  std::move(q).release();
}
#elif CASE == 15  // a queue, or the error, thrown away
// refused: ignoring return value of
void wrong() {
  ipq::queue::open({});
}
#elif CASE == 16  // the same
// refused: ignoring return value of
void wrong() {
  ipq::queue::adopt(3, {});
}
#elif CASE == 17  // a held packet forgotten unseen
// refused: ignoring return value of
void wrong(ipq::queue& q, const ipq::packet& p) {
  q.hold(p);
}
#elif CASE == 18  // a view of bytes that are gone
// refused: deleted.*parse
auto wrong() {
  return ipq::ipv4_view::parse(replacement());
}
#elif CASE == 19  // the same
// refused: deleted.*parse
auto wrong() {
  return ipq::ipv6_view::parse(replacement());
}
#elif CASE == 20  // the same
// refused: deleted.*parse
auto wrong() {
  return ipq::tcp_view::parse(replacement());
}
#elif CASE == 21  // a packet whose bytes are gone
// refused: deleted.*get
const ipq::packet& wrong(const ipq::packet& p) {
  return ipq::owned_packet(p).get();
}
#elif CASE == 22  // two editors of one buffer
// refused: deleted.*(packet_editor\(const ipq::packet_editor&\)|constructor of 'ipq::packet_editor')
void wrong(ipq::packet_editor& editor) {
  ipq::packet_editor copy = editor;
  static_cast<void>(copy);
}
#elif CASE == 23  // an edit whose refusal nobody sees
// refused: ignoring return value of
void wrong(ipq::packet_editor& editor) {
  editor.set_source_port(53);
}
#elif CASE == 24  // two owners of the same threads
// refused: deleted.*(workers\(const ipq::workers&\)|copy constructor of 'ipq::workers')
void wrong(ipq::workers& pool) {
  ipq::workers copy = pool;
}
#elif CASE == 25  // threads that work on nothing
// refused: no matching (function|constructor) .*'ipq::workers(::workers\(\))?'
ipq::workers wrong;
#elif CASE == 26  // a worker that does not say how it ended
// refused: (cannot convert|no viable conversion from) .*lambda.* to '.*body'
void wrong() {
  static_cast<void>(ipq::workers::start({}, [](ipq::queue&, std::size_t) {}));
}
#elif CASE == 27  // threads, or why there are none, thrown away
// refused: ignoring return value of
void wrong(ipq::workers::body work) {
  ipq::workers::start({}, work);
}
#elif CASE == 28  // a packet without a source that it could be held for
// refused: no matching (function|constructor) .*'ipq::held_packet(::held_packet\(\))?'
ipq::held_packet wrong;
#elif CASE == 29  // a verdict the kernel does not take, NF_STOLEN
// refused: 'stolen' is not a member of 'ipq::verdict'|no member named 'stolen' in 'ipq::verdict'
auto wrong() {
  return ipq::verdict::stolen();
}
#elif CASE == 30  // a loop over a batch that is gone, or over none
// refused: use of deleted function.*operator\*|selected deleted operator '\*'
void wrong(ipq::queue& q) {
  for (const ipq::packet& p : *q.receive()) static_cast<void>(p);
}
#elif CASE == 31  // bytes that are gone
// refused: use of deleted function.*operator->|selected deleted operator '->'
auto wrong(const ipq::packet& p) {
  return ipq::owned_packet(p)->payload;
}
#endif
