//! PURE. The address of a client: that of its connection, or what trusted proxies say it is.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client behind `peer`: the last one in `X-Forwarded-For` that is no trusted proxy's.
pub(in crate::http) fn of_client(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(&client) {
        return client;
    }
    let values: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    for text in values.iter().flat_map(|value| value.split(',')).rev() {
        let Ok(address) = text.trim().trim_matches(['[', ']']).parse::<IpAddr>() else { return client };
        client = address.to_canonical();
        if !is_trusted(&client) {
            return client;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_say_who_is_behind_them() {
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        for (peer, fields, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7", "10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
        ] {
            let headers = fields.iter().map(|value| (X_FORWARDED_FOR, value.parse().expect("a value"))).collect();
            let found = of_client(&headers, peer.parse().expect("an address"), &trusted);
            assert_eq!(found.to_string(), expected, "{peer} {fields:?}");
        }
    }
}
