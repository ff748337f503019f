//! The example model, deploy/examples/network.json: a believable edge network, made by this file
//! and nothing else. `TIDEWAIT_REGENERATE=1 cargo test --test it example` writes it anew.

use serde_json::{Map, Value, json};

const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
const NODES_PER_ZONE: usize = 160;
const SUBNETS_PER_ZONE: usize = 16;
const GROUPS: usize = 60;
const PORTS: [(&str, u16); 8] = [
    ("ssh", 22),
    ("dns", 53),
    ("http", 80),
    ("https", 443),
    ("bgp", 179),
    ("vxlan", 4789),
    ("postgres", 5432),
    ("metrics", 9100),
];

/// Knuth's linear congruential generator (MMIX): the same model on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

/// The model: zones with subnets, routes and nodes; security groups that the nodes wear.
pub(crate) fn network() -> Value {
    let mut dice = Dice(1);
    let zones: Map<_, _> =
        ZONES.iter().enumerate().map(|(at, name)| ((*name).to_owned(), zone(at, &mut dice))).collect();
    let groups: Map<_, _> = (0..GROUPS).map(|at| (format!("sg-{at:03}"), group(at, &mut dice))).collect();
    json!({
        "name": "edge-network",
        "generation": 1,
        "mtu": 1450,
        "dns": ["10.96.0.10", "10.96.0.11"],
        "zones": zones,
        "securityGroups": groups,
    })
}

fn zone(at: usize, dice: &mut Dice) -> Value {
    let subnets: Map<_, _> =
        (0..SUBNETS_PER_ZONE).map(|subnet| (format!("subnet-{subnet:02}"), subnet_of(at, subnet))).collect();
    let nodes: Map<_, _> =
        (0..NODES_PER_ZONE).map(|node| (format!("node-{node:03}"), node_of(at, node, dice))).collect();
    let routes: Vec<_> = (0..ZONES.len())
        .filter(|other| *other != at)
        .flat_map(|other| (0..SUBNETS_PER_ZONE).map(move |subnet| (other, subnet)))
        .map(|(other, subnet)| {
            json!({ "destination": cidr(other, subnet), "via": format!("10.{at}.255.{}", other + 1), "metric": 100 + 10 * other })
        })
        .collect();
    json!({ "asn": 64512 + at, "gateway": format!("10.{at}.255.254"), "subnets": subnets, "routes": routes, "nodes": nodes })
}

fn cidr(zone: usize, subnet: usize) -> String {
    format!("10.{zone}.{}.0/20", 16 * subnet)
}

fn subnet_of(zone: usize, subnet: usize) -> Value {
    json!({
        "cidr": cidr(zone, subnet),
        "cidr6": format!("fd00:{zone:x}:{subnet:x}::/64"),
        "gateway": format!("10.{zone}.{}.1", 16 * subnet),
        "vni": 5000 + 100 * zone + subnet,
        "public": subnet.is_multiple_of(5),
    })
}

fn node_of(zone: usize, node: usize, dice: &mut Dice) -> Value {
    let interfaces: Vec<_> = (0..2)
        .map(|interface| {
            let subnet = (node + 7 * interface) % SUBNETS_PER_ZONE;
            let host = 10 + node / SUBNETS_PER_ZONE + 40 * interface;
            json!({
                "name": format!("eth{interface}"),
                "mac": format!("02:{zone:02x}:{:02x}:{:02x}:{:02x}:{interface:02x}", node / 256, node % 256, dice.roll(256)),
                "address": format!("10.{zone}.{}.{host}", 16 * subnet),
                "subnet": format!("subnet-{subnet:02}"),
                "securityGroups": [format!("sg-{:03}", dice.roll(GROUPS)), format!("sg-{:03}", dice.roll(GROUPS))],
                "rateMbps": 1000 * (1 + dice.roll(10)),
            })
        })
        .collect();
    let role = ["compute", "compute", "compute", "storage", "gateway"][dice.roll(5)];
    json!({ "rack": format!("r{:02}", node / 20), "role": role, "interfaces": interfaces })
}

fn group(at: usize, dice: &mut Dice) -> Value {
    let rules: Vec<_> = (0..2 + dice.roll(6))
        .map(|_| {
            let (name, port) = PORTS[dice.roll(PORTS.len())];
            let source = if dice.roll(3) == 0 {
                json!({ "group": format!("sg-{:03}", dice.roll(GROUPS)) })
            } else {
                json!({ "cidr": cidr(dice.roll(ZONES.len()), dice.roll(SUBNETS_PER_ZONE)) })
            };
            let protocol = if matches!(name, "dns" | "vxlan") { "udp" } else { "tcp" };
            json!({ "name": name, "direction": "ingress", "protocol": protocol, "port": port, "from": source, "action": "allow" })
        })
        .collect();
    json!({ "description": format!("tier {}", at % 6), "stateful": true, "rules": rules })
}

#[test]
fn the_committed_example_is_what_this_file_makes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/network.json");
    let made = serde_json::to_string_pretty(&network()).expect("JSON") + "\n";
    if std::env::var_os("TIDEWAIT_REGENERATE").is_some() {
        std::fs::write(path, &made).expect("it can be written");
    }
    let committed = std::fs::read_to_string(path).expect("it is there");
    assert!(committed == made, "run: TIDEWAIT_REGENERATE=1 cargo test --test it example");
    assert!((200_000..600_000).contains(&made.len()), "a few hundred kilobytes, not {}", made.len());
}
