// SPDX-License-Identifier: MIT
#include "firewall/selection.hpp"

#include <fmt/format.h>

#include <optional>

#include "firewall/iptables.hpp"
#include "firewall/keeper.hpp"
#include "firewall/nftables.hpp"
#include "firewall/program.hpp"
#include "firewall/tag.hpp"
#include "firewall/translation.hpp"
#include "ipq/status.hpp"

namespace tool::firewall {

struct selection::installed {
  tag name;
  std::string description;
  std::optional<nftables> owner = {};
  std::optional<keeper> after = {};

  ~installed() {
    // While the tag is alive nobody takes the rules for stale.
    after.reset();
  }
};

selection::selection(std::unique_ptr<installed> made) noexcept : installed_(std::move(made)) {}
selection::selection(selection&&) noexcept = default;
selection& selection::operator=(selection&&) noexcept = default;
selection::~selection() = default;

outcome<selection> selection::install(std::span<const selector> selectors, const queue_range& queues,
                                      fail_policy policy, by means) {
  if (const auto access = ipq::check_queue_access(); !access) return std::unexpected(access.error());
  auto named = tag::make();
  if (!named) return std::unexpected(named.error());
  auto made = std::make_unique<installed>(*std::move(named), std::string());

  const auto abilities = find_nft_abilities();
  if (abilities.tables) {
    if (const auto understood = check_matches(selectors); !understood) return std::unexpected(understood.error());
  }
  if (means == by::nft && !abilities.queue) {
    return fail(kernel_lacks, "this kernel's nftables has no queue statement (CONFIG_NFT_QUEUE; modprobe nft_queue)");
  }
  if (means == by::nft || (means == by::automatic && abilities.queue)) {
    // One command and no other: whatever made libnftables open another socket would end the table.
    made->owner.emplace();
    const auto added = made->owner->run(nft_table(selectors, queues, policy, made->name.table_name(), true));
    if (!added) return fail(failed, fmt::format("nft does not take the rules: {}", added.error().message));
    made->description = fmt::format("nft table inet {}, which the kernel removes", made->name.table_name());
    return selection(std::move(made));
  }

  const auto text = make_restore_text(selectors, queues, policy, made->name.name());
  if (!text && text.error().code != kernel_lacks) return std::unexpected(text.error());
  if (!text) {
    return fail(
        text.error().code,
        fmt::format("{}, and this kernel's nftables has no queue statement (CONFIG_NFT_QUEUE)", text.error().message));
  }
  // What can't be listed could not be removed, and the keeper would try for an hour.
  if (const auto listed = list_tagged_rules(); !listed) return std::unexpected(listed.error());
  // First the keeper, then what it is for. The programs that install hold its line: a SIGKILL that comes while one of
  // them works or waits for the lock leaves nothing behind, since the keeper waits for that one, too.
  auto started = keeper::start([name = made->name.name()] { return remove_tagged(name).has_value(); });
  if (!started) return std::unexpected(started.error());
  made->after = *std::move(started);
  std::string refusals;
  exit_code refused = kernel_lacks;
  bool installed_nowhere = true;
  for (const auto kind : {iptables_kind::legacy, iptables_kind::nft}) {
    if (means == by::iptables_legacy && kind != iptables_kind::legacy) continue;
    if (means == by::iptables_nft && kind != iptables_kind::nft) continue;
    const auto added = firewall::install(kind, *text, made->name.name(), made->after->line());
    if (added) {
      made->description =
          fmt::format("iptables-{} rules tagged {}, which are removed at the end", to_string(kind), made->name.name());
      return selection(std::move(made));
    }
    // Something is in the way now, and may be in half: other means are no way out.
    if (added.error().code == no_rights) {
      refused = no_rights;
    } else if (added.error().code != kernel_lacks) {
      return std::unexpected(added.error());
    }
    installed_nowhere &= added.error().message.ends_with(not_installed);
    refusals += fmt::format("{}{}", refusals.empty() ? "" : "; ", added.error().message);
  }
  return fail(refused, fmt::format("neither nft nor iptables takes the rules: {}{}", refusals,
                                   installed_nowhere ? ": install iptables, or modprobe nft_queue" : ""));
}

bool selection::empty_table() {
  return installed_ && installed_->owner &&
         installed_->owner->run(fmt::format("flush table inet {}", installed_->name.table_name())).has_value();
}

outcome<void> selection::remove() {
  if (!installed_) return {};
  const auto name = installed_->name.name();
  const auto end = installed_->after ? installed_->after->finish() : keeper::end::tidy;
  installed_.reset();
  if (end == keeper::end::tidy) return {};
  return fail(failed,
              fmt::format("rules tagged {} could not be removed: {}ipq cleanup tries again", name,
                          end == keeper::end::goes_on ? "\"ipq keeper\" goes on trying for an hour, and " : ""));
}

int selection::keeper_line() const noexcept {
  return installed_ && installed_->after ? installed_->after->line() : -1;
}

const std::string& selection::description() const noexcept {
  return installed_->description;
}

std::string dry_run(std::span<const selector> selectors, const queue_range& queues, fail_policy policy) {
  std::string text = "# for nft -f\n" + nft_table(selectors, queues, policy, "ipq", false);
  text += "# for iptables\n";
  for (const auto& each : selectors) {
    const auto matches = translate_selector(each);
    if (!matches) {
      text += fmt::format("# {}: {}\n", each.text(), matches.error().message);
      continue;
    }
    for (const bool ipv6 : {false, true}) {
      for (const auto& words : ipv6 ? matches->ipv6 : matches->ipv4) {
        auto rule = feeding_rule_of(each, queues, policy);
        rule.family = ipv6 ? ipq::feeding_rule::ip_family::ipv6 : ipq::feeding_rule::ip_family::ipv4;
        std::string match;
        for (const auto& word : words) match += (match.empty() ? "" : " ") + word;
        text += ipq::iptables_rule(rule, match);
      }
    }
  }
  return text;
}

}  // namespace tool::firewall
