// SPDX-License-Identifier: MIT
// Records messages of the running kernel as readable files, in network namespaces of its own: see README.md.
// usage: record_messages FOLDER    as root
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "dissection.hpp"
#include "kernel/command.hpp"
#include "kernel/netns.hpp"
#include "wire/config.hpp"
#include "wire/verdict.hpp"

namespace {

using kernel_tests::in;
using kernel_tests::must_run;
using kernel_tests::netns;
namespace wire = ipq::wire;
using bytes = std::vector<std::byte>;

std::string folder;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void must(bool done, const char* what) {
  if (!done) fail(what);
}

void set_option(int fd, int level, int option, int value) {
  must(setsockopt(fd, level, option, &value, sizeof value) == 0, "setsockopt");
}

void save(const std::string& name, const std::string& about, std::span<const std::byte> datagram) {
  const std::string path = folder + "/" + name + ".hex";
  FILE* file = fopen(path.c_str(), "we");
  must(file != nullptr, path.c_str());
  const std::string text = test_data::dissect(about, datagram);
  must(fputs(text.c_str(), file) >= 0, path.c_str());
  must(fclose(file) == 0, path.c_str());
  printf("%s: %zu bytes\n", path.c_str(), datagram.size());
}

class fd_owner {
 public:
  explicit fd_owner(int fd) : fd_(fd) { must(fd >= 0, "socket"); }
  fd_owner(const fd_owner&) = delete;
  fd_owner& operator=(const fd_owner&) = delete;
  ~fd_owner() { close(fd_); }
  int get() const { return fd_; }

 private:
  int fd_;
};

// Netlink with a port id of our own choice, so that recordings differ only where the kernel does.
class connection {
 public:
  connection(int protocol, std::uint32_t port_id) : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)) {
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_pid = port_id;
    must(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind");
    const timeval patience{5, 0};
    must(setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0, "SO_RCVTIMEO");
  }
  int fd() const { return socket_.get(); }
  void send(std::span<const std::byte> request) const {
    must(::send(fd(), request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()), "send a request");
  }
  bytes receive() const {
    bytes datagram(1 << 17);
    const ssize_t length = recv(fd(), datagram.data(), datagram.size(), 0);
    must(length >= 0, "receive a message");
    datagram.resize(static_cast<std::size_t>(length));
    return datagram;
  }
  bytes ask(std::span<const std::byte> request) const {
    send(request);
    return receive();
  }

 private:
  fd_owner socket_;
};

bytes encoded(const wire::config& wanted) {
  alignas(4) std::byte into[wire::max_config_size];
  const std::size_t length = wire::encode_config(wanted, into);
  return {into, into + length};
}

bytes encoded(const wire::verdict& answer) {
  alignas(4) std::byte into[wire::max_verdict_size];
  const std::size_t length = wire::encode_verdict(answer, into);
  return {into, into + length};
}

// A queue that is bound, and whose packets are accepted once they are recorded.
class queue : public connection {
 public:
  explicit queue(std::uint32_t flags = 0) : connection(NETLINK_NETFILTER, 4711) {
    set_option(fd(), SOL_NETLINK, NETLINK_CAP_ACK, 1);
    set_option(fd(), SOL_SOCKET, SO_TIMESTAMP, 1);
    send(encoded({.command = wire::config_command::bind, .flags = {{flags, flags}}}));
    copy(wire::copy_mode::packet, 0xffff);
  }
  void copy(wire::copy_mode mode, std::uint32_t range) const { send(encoded({.copy = {{mode, range}}})); }
  bytes take() const {
    bytes datagram = receive();
    std::uint32_t id;  // the first attribute is the packet header, and begins with the id
    memcpy(&id, datagram.data() + 24, sizeof id);
    send(encoded(wire::verdict{.id = ntohl(id), .value = 1}));
    return datagram;
  }
  // Takes packets until one has an attribute of this type.
  bytes take_with(std::uint16_t attribute, const auto& provoke) const {
    for (int attempt = 0; attempt < 1000; ++attempt) {
      provoke();
      bytes datagram = take();
      if (test_data::has_attribute(datagram, attribute)) return datagram;
    }
    throw std::runtime_error("no packet has attribute " + std::to_string(attribute));
  }
};

void send_udp(const char* to, std::string_view payload, int mark = 0, int priority = 0) {
  const bool ipv6 = strchr(to, ':') != nullptr;
  const fd_owner socket(::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (mark != 0) set_option(socket.get(), SOL_SOCKET, SO_MARK, mark);
  if (priority != 0) set_option(socket.get(), SOL_SOCKET, SO_PRIORITY, priority);
  sockaddr_in6 address6{
      .sin6_family = AF_INET6, .sin6_port = htons(5000), .sin6_flowinfo = 0, .sin6_addr = {}, .sin6_scope_id = 0};
  sockaddr_in address4{.sin_family = AF_INET, .sin_port = htons(5000), .sin_addr = {}, .sin_zero = {}};
  must(inet_pton(ipv6 ? AF_INET6 : AF_INET, to, ipv6 ? static_cast<void*>(&address6.sin6_addr) : &address4.sin_addr) ==
           1,
       to);
  const auto* address = ipv6 ? reinterpret_cast<sockaddr*>(&address6) : reinterpret_cast<sockaddr*>(&address4);
  must(sendto(socket.get(), payload.data(), payload.size(), 0, address, ipv6 ? sizeof address6 : sizeof address4) ==
           static_cast<ssize_t>(payload.size()),
       "send a datagram");
}

void rule(std::string_view what) {
  must_run("iptables-legacy -w " + std::string(what));
}
void rule6(std::string_view what) {
  must_run("ip6tables-legacy -w " + std::string(what));
}

struct network {
  netns near = netns::create(), far = netns::create();
};

// near0 192.0.2.1 - far0 192.0.2.2
void join(const network& net) {
  const std::string far_path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(net.far.fd());
  must_run("ip -batch -",
           "link set lo up\n"
           "link add near0 address 02:00:00:00:00:01 type veth peer name far0 address 02:00:00:00:00:02 "
           "netns " +
               far_path +
               "\n"
               "link set near0 addrgenmode none up\n"
               "addr add 192.0.2.1/24 dev near0\n"
               "neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 nud permanent dev near0\n");
  in(net.far, [] {
    must_run("ip -batch -",
             "link set far0 addrgenmode none up\naddr add 192.0.2.2/24 dev far0\n"
             "neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 nud permanent dev far0\n");
  });
}

void record_ip_packets(const network& net) {
  rule("-A INPUT -i near0 -p udp -j QUEUE");
  {
    const queue packets;
    const auto datagram =
        packets.take_with(wire::attribute_timestamp, [&] { in(net.far, [] { send_udp("192.0.2.1", "hello"); }); });
    save("packet_input", "UDP \"hello\" from 192.0.2.2 in hook INPUT on veth, with a time stamp", datagram);
  }
  rule("-F INPUT");
  rule("-A INPUT -i lo -p udp -j QUEUE");
  {
    const queue packets;
    send_udp("127.0.0.1", "on loopback");
    save("packet_input_loopback", "UDP \"on loopback\" in hook INPUT on lo: a link address of zeros", packets.take());
  }
  rule("-F INPUT");
  rule("-A OUTPUT -p udp -j QUEUE");
  {
    const queue packets(wire::queue_uid_gid);
    send_udp("192.0.2.2", "marked", 0x0badcafe, 6);
    save("packet_output_mark", "UDP \"marked\" in hook OUTPUT: mark 0x0badcafe, priority 6, user and group 0",
         packets.take());
  }
  const queue packets;
  for (const std::string_view payload : {"1", "22", "333", "4444"}) {
    send_udp("127.0.0.1", payload);
    save("packet_tail_" + std::string(payload.substr(0, 1)),
         "UDP \"" + std::string(payload) + "\" in hook OUTPUT: the last attribute is not padded", packets.take());
  }
  packets.copy(wire::copy_mode::packet, 33);
  send_udp("127.0.0.1", std::string(500, 'x'));
  save("packet_truncated", "UDP of 528 bytes in hook OUTPUT, copy range 33", packets.take());
  packets.copy(wire::copy_mode::meta, 0);
  send_udp("127.0.0.1", "nobody sees this");
  save("packet_meta", "UDP of 44 bytes in hook OUTPUT, copy mode meta: no payload, checksum not ready", packets.take());
  rule("-F OUTPUT");
}

void record_ipv6_packet() {
  rule6("-A OUTPUT -p udp -j QUEUE");
  const queue packets;
  send_udp("::1", "six");
  save("packet_output_ipv6", "UDP \"six\" from ::1 to ::1 in hook OUTPUT", packets.take());
  rule6("-F OUTPUT");
}

void record_gso_packet(const network& net) {
  const fd_owner listener(in(net.far, [] { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }));
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(5001), .sin_addr = {}, .sin_zero = {}};
  must(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind");
  must(listen(listener.get(), 1) == 0, "listen");
  const fd_owner client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  inet_pton(AF_INET, "192.0.2.2", &address.sin_addr);
  must(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
  rule("-A OUTPUT -p tcp --dport 5001 -j QUEUE");
  const queue packets(wire::queue_gso);
  packets.copy(wire::copy_mode::packet, 64);
  const std::string much(10000, 'g');
  must(send(client.get(), much.data(), much.size(), 0) == 10000, "send");
  save("packet_gso", "TCP of some segments in one packet, in hook OUTPUT; flag GSO, copy range 64", packets.take());
  rule("-F OUTPUT");
}

// Sends one frame, ready-made, out of a device.
void send_frame(const char* device, const bytes& frame) {
  const fd_owner socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(if_nametoindex(device));
  must(sendto(socket.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&address), sizeof address) ==
           static_cast<ssize_t>(frame.size()),
       "send a frame");
}

// From left0 to right0: IPv4, 203.0.113.1 to 203.0.113.2, protocol 253 (for experiments), "bridged!".
bytes ethernet_frame() {
  bytes frame;
  for (int byte : {2,  0, 0, 0,    0, 0x0b, 2,   0,    0,    0,   0, 0x0a, 8, 0,   0x45, 0,   0,
                   28, 0, 0, 0x40, 0, 64,   253, 0xc1, 0xe0, 203, 0, 113,  1, 203, 0,    113, 2}) {
    frame.push_back(static_cast<std::byte>(byte));
  }
  for (char byte : std::string_view("bridged!")) frame.push_back(static_cast<std::byte>(byte));
  return frame;
}

// left - port0 bridge0 port1 - right
void record_bridged_packet() {
  const network net;
  const netns right = netns::create();
  const kernel_tests::inside guard(net.near);
  const std::string left_path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(net.far.fd());
  const std::string right_path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(right.fd());
  must_run("ip -batch -",
           "link add bridge0 address 02:00:00:00:00:0c type bridge\n"
           "link add port0 address 02:00:00:00:01:00 type veth peer name left0 address "
           "02:00:00:00:00:0a netns " +
               left_path +
               "\n"
               "link add port1 address 02:00:00:00:01:01 type veth peer name right0 address "
               "02:00:00:00:00:0b netns " +
               right_path +
               "\n"
               "link set port0 master bridge0 addrgenmode none up\n"
               "link set port1 master bridge0 addrgenmode none up\n"
               "link set bridge0 addrgenmode none up\n");
  in(net.far, [] { must_run("ip link set left0 addrgenmode none up"); });
  in(right, [] { must_run("ip link set right0 addrgenmode none up"); });
  // A port forwards once the kernel has noticed its carrier, which takes up to a second.
  for (const char* port : {"port0", "port1"}) {
    for (int attempt = 0; must_run(std::string("bridge link show dev ") + port).find("forwarding") == std::string::npos;
         ++attempt) {
      if (attempt == 100) throw std::runtime_error("a port of the bridge does not forward");
      usleep(50'000);
    }
  }
  rule("-A FORWARD -p 253 -j QUEUE");
  const queue packets;
  in(net.far, [] { send_frame("left0", ethernet_frame()); });
  save("packet_forward_bridged", "IPv4 in hook FORWARD by way of br_netfilter: bridge ports", packets.take());
}

bytes raw_config(std::uint32_t sequence, std::uint16_t type, std::initializer_list<int> attributes) {
  bytes request = encoded(wire::config{.queue = 7, .acknowledge = true, .sequence = sequence, .port_id = 0x01020304});
  for (int byte : attributes) request.push_back(static_cast<std::byte>(byte));
  request[0] = static_cast<std::byte>(request.size());
  memcpy(request.data() + 4, &type, sizeof type);
  return request;
}

void record_errors() {
  const connection plain(NETLINK_NETFILTER, 4713);
  const auto bind = [](std::uint32_t sequence) {
    return encoded({.queue = 7,
                    .acknowledge = true,
                    .sequence = sequence,
                    .port_id = 0x01020304,
                    .command = wire::config_command::bind});
  };
  const auto unknown_id =
      encoded(wire::verdict{.queue = 7, .id = 99, .value = 1, .sequence = 0xabcd, .port_id = 0x01020304});
  // An attribute NFQA_CFG_CMD of one byte, where four are wanted.
  const auto short_attribute = raw_config(0x66, wire::message_config, {5, 0, 1, 0, 1, 0, 0, 0});
  save("error_acknowledgement_plain", "ACK of a BIND, on a socket without options", plain.ask(bind(0x11)));
  save("error_busy_whole", "EBUSY for a second BIND, without NETLINK_CAP_ACK: the request follows",
       plain.ask(bind(0x12)));
  save("error_unknown_id_whole", "ENOENT for a verdict on packet 99, without NETLINK_CAP_ACK", plain.ask(unknown_id));
  save("error_type_whole", "524 for a message of type PACKET, without NETLINK_CAP_ACK",
       plain.ask(raw_config(0x13, wire::message_packet, {})));
  const connection foreign(NETLINK_NETFILTER, 4714);
  set_option(foreign.fd(), SOL_NETLINK, NETLINK_CAP_ACK, 1);
  save("error_foreign", "EPERM for a BIND of a queue that another socket owns", foreign.ask(bind(0x14)));
  set_option(plain.fd(), SOL_NETLINK, NETLINK_EXT_ACK, 1);
  save("error_range_whole_text", "ERANGE for a short attribute, NETLINK_EXT_ACK: request and explanation follow",
       plain.ask(short_attribute));
  set_option(plain.fd(), SOL_NETLINK, NETLINK_CAP_ACK, 1);
  save("error_range_text", "ERANGE for a short attribute, NETLINK_CAP_ACK and NETLINK_EXT_ACK",
       plain.ask(short_attribute));
  save("error_unknown_id", "ENOENT for a verdict on packet 99", plain.ask(unknown_id));
  save("error_acknowledgement", "ACK of an UNBIND",
       plain.ask(encoded({.queue = 7,
                          .acknowledge = true,
                          .sequence = 0x15,
                          .port_id = 0x01020304,
                          .command = wire::config_command::unbind})));
}

void record_links() {
  const connection routes(NETLINK_ROUTE, 4715);
  set_option(routes.fd(), SOL_NETLINK, NETLINK_CAP_ACK, 1);
  const auto ask = [&](int index) {
    struct {
      nlmsghdr header;
      ifinfomsg body;
    } request{};
    request.header = {sizeof request, RTM_GETLINK, NLM_F_REQUEST, 0x21, 0};
    request.body.ifi_index = index;
    return routes.ask(std::as_bytes(std::span(&request, 1)));
  };
  save("link_loopback", "RTM_NEWLINK: the answer to RTM_GETLINK for lo", ask(1));
  save("link_veth", "RTM_NEWLINK: the answer to RTM_GETLINK for near0", ask(static_cast<int>(if_nametoindex("near0"))));
  save("error_no_link", "ENODEV: the answer to RTM_GETLINK for interface 999", ask(999));
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    fputs("usage: record_messages FOLDER\n", stderr);
    return 2;
  }
  folder = argv[1];
  // The lock of iptables is the machine's; these tables are ours alone.
  setenv("XTABLES_LOCKFILE", (folder + "/.lock").c_str(), 1);
  const network net;
  {
    const kernel_tests::inside guard(net.near);
    join(net);
    record_ip_packets(net);
    record_ipv6_packet();
    record_gso_packet(net);
    record_errors();
    record_links();
  }
  record_bridged_packet();
  unlink((folder + "/.lock").c_str());
  return 0;
} catch (const std::exception& error) {
  fprintf(stderr, "record_messages: %s\n", error.what());
  return 1;
}
