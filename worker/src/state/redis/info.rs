//! What Redis servers say of their memory: the text of `INFO memory`, one of each.

use crate::state::Room;

/// The first policy that may evict keys.
pub(super) fn evicting_policy(servers: &[String]) -> Option<String> {
    let mut policies = servers.iter().filter_map(|info| field(info, "maxmemory_policy"));
    policies.find(|policy| *policy != "noeviction").map(str::to_owned)
}

/// The server that is nearest to its limit; where none has one, the one that uses most.
pub(super) fn fullest(servers: &[String]) -> Option<Room> {
    let share = |room: &Room| match room.limit {
        0 => (0.0, room.used),
        limit => (room.used as f64 / limit as f64, room.used),
    };
    let rooms = servers.iter().filter_map(|info| {
        let bytes = |name| field(info, name)?.parse().ok();
        Some(Room { used: bytes("used_memory")?, limit: bytes("maxmemory")? })
    });
    rooms.max_by(|one, other| {
        let ((one, used), (other, others)) = (share(one), share(other));
        one.total_cmp(&other).then(used.cmp(&others))
    })
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(used: u64, limit: u64, policy: &str) -> String {
        format!(
            "# Memory\r\nused_memory:{used}\r\nused_memory_human:1M\r\nmaxmemory:{limit}\r\n\
             maxmemory_human:1M\r\nmaxmemory_policy:{policy}\r\n"
        )
    }

    #[test]
    fn a_policy_that_evicts_is_seen_on_any_server() {
        let servers = [info(1, 2, "noeviction"), info(1, 2, "allkeys-lru")];
        assert_eq!(evicting_policy(&servers).as_deref(), Some("allkeys-lru"));
        assert_eq!(evicting_policy(&servers[..1]), None);
    }

    #[test]
    fn the_fullest_is_the_one_nearest_to_its_limit() {
        let room = |used, limit| Some(Room { used, limit });
        let of = |servers: &[(u64, u64)]| {
            let texts: Vec<_> =
                servers.iter().map(|(used, limit)| info(*used, *limit, "noeviction")).collect();
            fullest(&texts)
        };
        assert_eq!(of(&[(50, 100), (80, 1000), (90, 0)]), room(50, 100));
        assert_eq!(of(&[(50, 0), (80, 0)]), room(80, 0));
        assert_eq!(of(&[]), None);
        assert_eq!(fullest(&["# Memory\r\n".to_owned()]), None);
    }
}
